"""The program of the reference: ``SentenceTransformer.encode`` on all cores, its model loaded and warm.

Arguments: model folder, file of texts (JSON), most tokens of a text, batch size, device.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer


def main(model_folder: str, texts_file: str, max_tokens: str, batch_size: str, device: str) -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    texts = json.loads(Path(texts_file).read_text("utf-8"))
    model = SentenceTransformer(model_folder, device=device)
    model.max_seq_length = int(max_tokens)
    model.encode(texts[: int(batch_size)], show_progress_bar=False)
    start, cpu = time.perf_counter(), time.process_time()
    vectors = model.encode(
        texts, batch_size=int(batch_size), normalize_embeddings=True, show_progress_bar=False
    )
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    figures = {"documents": len(vectors), "seconds": seconds, "cpu_seconds": round(cpu, 1)}
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
