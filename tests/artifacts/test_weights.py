import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from descant.artifacts.weights import check_model_folder, check_safetensors, model_digest
from descant.core.errors import ConfigError, DescantError, IntegrityError, PolicyError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 90868376\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file({"w": np.arange(6, dtype=np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def test_whole_model_folder_is_accepted(folder: Path) -> None:
    check_model_folder(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LFS, "looks like a Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "looks like an HTML page"),
        (b"\n <html lang=en>", "looks like an HTML page"),
        (b"", "no readable safetensors header"),
        (b"\x80\x02}q", "no readable safetensors header"),
        (struct.pack("<Q", 1 << 60) + b"{}", "no readable safetensors header"),
        (struct.pack("<Q", 2) + b"[]", "no readable safetensors header"),
    ],
)
def test_file_that_is_no_safetensors_is_refused(folder: Path, content: bytes, message: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(IntegrityError, match=message):
        check_model_folder(folder)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"], ids=["cut", "grown"])
def test_safetensors_of_another_length_are_refused(folder: Path, change: Callable[[bytes], bytes]) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(IntegrityError, match="its header promises 24"):
        check_safetensors(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", {"auto_map": {"AutoModel": "evil.Model"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": "evil.Tokenizer"}}),
        ("modules.json", [{"type": "evil.Pooling"}]),
    ],
)
def test_model_that_brings_code_is_refused_and_nothing_runs(
    folder: Path, name: str, content: object, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w')")
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(PolicyError, match="Python code"):
        check_model_folder(folder)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_model_with_pickled_weights_only_is_refused(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(PolicyError, match="pickle"):
        check_model_folder(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_model_without_a_needed_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ConfigError, match="there is no"):
        check_model_folder(folder)


def test_config_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("<html>")
    with pytest.raises(DescantError, match="is not JSON"):
        check_model_folder(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_digest_follows_every_file_that_is_loaded(folder: Path, name: str) -> None:
    before = model_digest(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + b" ")
    os.utime(folder / name, ns=(0, 0))
    assert model_digest(folder) != before
    (folder / name).write_bytes(content)
    assert model_digest(folder) == before


def test_digest_ignores_files_that_are_not_loaded(folder: Path) -> None:
    before = model_digest(folder)
    (folder / "README.md").write_text("about")
    assert model_digest(folder) == before
