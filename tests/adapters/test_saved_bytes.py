"""A saved adapter is the same bytes in every process: a training that is resumed publishes what it published before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from descant.artifacts.commit import files_of
from descant.core.fingerprint import file_digest
from tests.adapters.tiny import SPECS

SAVE = """
import sys
from pathlib import Path
import torch
from transformers import GPT2LMHeadModel
from descant.adapters.prompts import Prompt
from tests.adapters.tiny import SPECS, tiny_bert, tiny_gpt2
ids = torch.randint(5, 40, (4, 12), generator=torch.Generator().manual_seed(1))
batches = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}]
for method in SPECS:
    base = tiny_gpt2(GPT2LMHeadModel) if isinstance(method, Prompt) else tiny_bert()
    model = method.attach(base, seed=0, batches=batches)
    state = {n: p for n, p in model.named_parameters() if p.requires_grad}
    method.save(model, Path(sys.argv[1]) / method.kind, state)
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of all kinds, saved under two hash seeds."""
    folders = [tmp_path_factory.mktemp(seed) for seed in ("1", "2")]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SAVE, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": folder.name[0]},
            cwd=ROOT,
        )
        for folder in folders
    ]
    assert [process.wait() for process in running] == [0, 0]
    return folders


@pytest.mark.parametrize("kind", [str(spec.kind) for spec in SPECS])  # type: ignore[attr-defined]
def test_adapter_saved_under_another_hash_seed_is_the_same_bytes(kind: str, saved: list[Path]) -> None:
    first, second = (
        {name: file_digest(path) for name, path in files_of(folder / kind).items()} for folder in saved
    )
    assert len(first) >= 2
    assert first == second


@pytest.mark.parametrize("kind", ["pissa", "olora", "corda"])
def test_what_moved_weights_out_of_the_base_is_saved_as_lora(kind: str, saved: list[Path]) -> None:
    with safe_open(saved[0] / kind / "adapter_model.safetensors", "pt") as file:
        shapes = {name.rsplit(".", 2)[-2]: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    assert shapes["lora_A"][0] == shapes["lora_B"][1] == 4
