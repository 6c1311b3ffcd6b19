"""The trained adapter as a folder, read back before it counts."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from descant.adapters import Method
from descant.artifacts.commit import storage_errors
from descant.core.errors import IntegrityError, NumericsError


def save_adapter(
    method: Method,
    model: torch.nn.Module,
    state: dict[str, torch.Tensor],
    folder: Path,
    start: Mapping[str, str],
) -> None:
    """Write ``state`` as ``method`` saves it and check the files.

    ``start`` holds ``tensor_digests`` of the untrained state. Raises NumericsError when a tensor is not
    finite or nothing was learnt, IntegrityError when the files do not hold exactly the trained tensors.
    """
    _check_learnt(state, start)
    draft = folder.with_name(f".{folder.name}")
    with storage_errors(folder.parent):
        shutil.rmtree(draft, ignore_errors=True)
        method.save(model, draft, state)
        _check_files(draft, method.saved_state(model, state))
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)


def save_tensors(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors beside an adapter, as float32, and check the file; raises as ``save_adapter``."""
    _check_finite(state)
    whole = {name: tensor.float().contiguous() for name, tensor in state.items()}
    draft = path.with_name(f".{path.name}")
    with storage_errors(path.parent):
        save_file(whole, draft)
        found = load_file(draft)
        if found.keys() != whole.keys() or any(not torch.equal(found[n], whole[n]) for n in whole):
            raise IntegrityError(
                "E-TRN-ADAPTER", path.name, "was not read back as it was trained", "It was not published."
            )
        draft.rename(path)


def tensor_digests(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """The sha256 of each tensor's values as float32."""
    return {
        name: hashlib.sha256(tensor.detach().cpu().float().numpy().tobytes()).hexdigest()
        for name, tensor in state.items()
    }


def _check_learnt(state: Mapping[str, torch.Tensor], start: Mapping[str, str]) -> None:
    _check_finite(state)
    if tensor_digests(state) == dict(start):
        raise NumericsError(
            "E-TRN-ADAPTER",
            "the trained parameters",
            "are what they were before training",
            "Nothing was saved. Check learning_rate, warmup_ratio and the number of steps.",
        )


def _check_finite(state: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise NumericsError("E-TRN-ADAPTER", name, "is not finite", "Nothing was saved.")


def _check_files(folder: Path, expected: Mapping[str, torch.Tensor]) -> None:
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".bin", ".pt", ".pth", ".pkl"}:
            raise IntegrityError("E-TRN-ADAPTER", path.name, "is a pickle", "The adapter was not published.")
        if path.suffix == ".safetensors":
            found |= load_file(path)
    differing = sorted(
        name
        for name in set(found) ^ set(expected)
        | {n for n in set(found) & set(expected) if not torch.equal(found[n], expected[n])}
    )
    if differing:
        raise IntegrityError(
            "E-TRN-ADAPTER",
            f"{folder.name}: {differing[0]}",
            "was not read back as it was trained",
            "The adapter was not published, the checkpoint is whole. Check the disk, run the same command.",
        )
