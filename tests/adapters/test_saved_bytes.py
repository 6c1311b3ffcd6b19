"""A saved adapter is the same bytes in every process: a training that is resumed publishes what it published before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from descant.artifacts.commit import files_of
from descant.core.fingerprint import file_digest

SAVE = """
import sys
from pathlib import Path
from descant.adapters import Dora, Lora
from descant.models.tiny import tiny_model
method = {"lora": Lora, "dora": Dora}[sys.argv[1]](r=2)
model = method.attach(tiny_model("bert", 0, vocab_size=64), seed=0)
method.save(model, Path(sys.argv[2]), {n: p for n, p in model.named_parameters() if p.requires_grad})
"""


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_adapter_saved_under_another_hash_seed_is_the_same_bytes(kind: str, tmp_path: Path) -> None:
    digests = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", SAVE, kind, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
        digests.append({name: file_digest(path) for name, path in files_of(folder).items()})
    assert "adapter_config.json" in digests[0]
    assert digests[0] == digests[1]
