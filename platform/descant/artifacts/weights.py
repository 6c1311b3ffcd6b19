"""What a model folder may hold, checked from its bytes alone: whole safetensors and no code."""

import json
import struct
from pathlib import Path
from typing import Any

from descant.core.errors import ConfigError, IntegrityError, PolicyError
from descant.core.fingerprint import file_digest, folder_digest

PINNED_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "adapter_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
"""The files of a model folder that are loaded, as patterns of names: weights and settings of model and input."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"

_digests: dict[tuple[str, int, int], str] = {}


def pinned_files(folder: Path) -> list[Path]:
    """The files directly in ``folder`` that decide what the model computes, by name."""
    return sorted({path for pattern in PINNED_FILES for path in folder.glob(pattern) if path.is_file()})


def model_digest(folder: Path) -> str:
    """One sha256 over the pinned files of ``folder``; an unchanged file is read once per process."""
    return folder_digest({path.name: remembered_digest(path) for path in pinned_files(folder)})


def remembered_digest(path: Path) -> str:
    """The sha256 of a file; an unchanged one is read once per process."""
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    if key not in _digests:
        _digests[key] = file_digest(path)
    return _digests[key]


def check_model_folder(folder: Path) -> None:
    """Refuse a folder that cannot be loaded safely, without loading it.

    Raises PolicyError for weights in a pickle format only and for anything that names code of its own,
    IntegrityError for weights that are no safetensors, ConfigError where weights,
    configuration or tokenizer are missing.
    """
    for name in ("config.json", "tokenizer.json"):  # without the latter transformers makes an empty one
        if not (folder / name).is_file() and not (name == "tokenizer.json" and _reads_images(folder)):
            raise ConfigError(
                "E-MOD-FILE",
                str(folder),
                f"there is no {name}",
                "Give a folder with a model and its tokenizer.",
            )
    check_no_code(folder)
    for path in weight_files(folder):
        check_safetensors(path)


def _reads_images(folder: Path) -> bool:
    """Whether it is an image encoder, which has no tokenizer."""
    return "image_size" in _read_json(folder / "config.json")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of ``folder``; raises PolicyError for pickles only, ConfigError for none."""
    weights = sorted(folder.glob("*.safetensors"))
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if not weights and pickles:
        raise PolicyError(
            "E-MOD-PICKLE",
            str(folder / pickles[0]),
            "the weights are a pickle, which can run code when it is read; expected *.safetensors",
            "Nothing was loaded. Convert them where you trust them, or use a revision with safetensors.",
        )
    if not weights:
        raise ConfigError(
            "E-MOD-WEIGHTS", str(folder), "there is no *.safetensors", "Give a model with weights."
        )
    return weights


def check_no_code(folder: Path) -> None:
    """Raise PolicyError where a model's files name Python code to be imported with them."""
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and "auto_map" in _read_json(folder / name):
            raise _remote_code(folder / name, "auto_map")
    if (folder / "modules.json").is_file():
        for module in _read_json(folder / "modules.json"):
            if not str(module.get("type", "")).startswith("sentence_transformers."):
                raise _remote_code(folder / "modules.json", f"the module type {module.get('type')!r}")


def _remote_code(path: Path, what: str) -> PolicyError:
    return PolicyError(
        "E-MOD-CODE",
        str(path),
        f"{what} asks for Python code that comes with the model",
        "Nothing was imported. Use a model that transformers supports itself.",
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise IntegrityError(
            "E-MOD-JSON", str(path), f"is not JSON ({error})", "Nothing was loaded. Fetch the file again."
        ) from None


def check_safetensors(path: Path) -> None:
    """Raise IntegrityError where the header of ``path`` does not describe exactly the bytes there."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(64)
        problem = _impostor(start)
        if problem is None:
            (length,) = struct.unpack("<Q", start[:8]) if size >= 8 else (size,)
            stream.seek(8)
            header = stream.read(length) if length + 8 <= size else b""
            problem = _header_problem(header, size - 8 - length)
    if problem:
        raise IntegrityError("E-MOD-BYTES", str(path), problem, "Nothing was loaded. Fetch the file again.")


def _impostor(start: bytes) -> str | None:
    if start.startswith(_LFS_POINTER[: len(start)]) and start:
        return "looks like a Git LFS pointer, expected safetensors (run 'git lfs pull')"
    if start.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        return "looks like an HTML page, expected safetensors"
    return None


def _header_problem(header: bytes, num_data_bytes: int) -> str | None:
    try:
        tensors = json.loads(header)
        expected = max(
            (t["data_offsets"][1] for name, t in tensors.items() if name != "__metadata__"), default=0
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "has no readable safetensors header; the file is cut short or of another format"
    if expected != num_data_bytes:
        return f"holds {num_data_bytes} bytes of tensors where its header promises {expected}"
    return None
