"""A model with new tokens as one folder: trained, saved, loaded, merged and exported, it gives the same logits."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from descant.adapters import AnyMethod
from descant.artifacts.models import FolderModel
from descant.core.errors import IntegrityError, Interrupted
from descant.models.causal import CausalModel, CausalSpec, load_causal
from descant.models.folders import ADAPTER, read_trained
from descant.models.new_rows import ROWS, NewRows, read_new_rows, token_matrices
from descant.models.tiny import tiny_model, tiny_tokenizer
from descant.models.trained import load_trained, save_trained
from descant.run.export import export
from descant.stages.corpora import LANGUAGE, bits_of
from descant.stages.pack_texts import SEQUENCES
from descant.stages.training.plain_text import TextTraining
from descant.stages.training.settings import TextTrainSettings, TrainCompute
from descant.stages.training.step_log import StepReport
from descant.stages.training.train import run_training
from descant.stages.training.workplace import STOP
from descant.vocab.extend import add_tokens
from descant.vocab.words import description
from descant.vocab.write import write_extended

TEXT = "evlerimizden light of the plants, evlerimizden gelen"
WORDS = ("evler", "gelen", "imizden")
METHODS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "lora": {"kind": "lora", "r": 4, "lora_alpha": 8, "lora_dropout": 0.0},
    "svft": {"kind": "svft", "pattern": "banded", "off_diagonals": 2},
}


def base_folder(folder: Path, *, tied: bool, spare: int = 0) -> FolderModel:
    """A tiny llama on disk; with ``spare`` it has rows that no token has, as Phi-2."""
    tokenizer = tiny_tokenizer("llama")
    model: Any = tiny_model("llama", 1, vocab_size=len(tokenizer) + spare, factory="AutoModelForCausalLM")
    if tied:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return FolderModel(path=str(folder))


def start_folder(folder: Path, spec: CausalSpec) -> Path:
    """The base with three new words, their rows drawn at random."""
    tokenizer = tiny_tokenizer("llama")
    extended = folder / "tokenizer"
    extended.mkdir(parents=True)
    write_extended(tokenizer, add_tokens(description(tokenizer), WORDS, whole_words=False), extended)
    generator = torch.Generator().manual_seed(7)
    rows = {
        name: torch.randn(len(WORDS), matrix.shape[1], generator=generator)
        for name, matrix in token_matrices(load_causal(spec).model).items()
    }
    save_trained(folder / "start", spec, new=NewRows(len(tokenizer), rows, extended))
    return folder / "start"


def sequences(path: Path, spec: CausalSpec, start: Path) -> Path:
    """Eight sequences of two texts each, in the tokens of ``start``."""
    ids = tokens(load_causal(spec, folder=start))
    row = {"corpus": LANGUAGE, "ids": ids * 2, "lengths": [len(ids)] * 2}
    pq.write_table(pa.Table.from_pylist([row | {"id": str(i)} for i in range(8)], schema=SEQUENCES), path)
    return path


def tokens(causal: CausalModel) -> list[int]:
    """The text, with the padding token where no padding is: it is learned as any other."""
    ids = causal.encode_text(TEXT)
    return [*ids[:4], causal.pad_id, *ids[4:], causal.eos_id]


def training(
    folder: Path, *, tied: bool, method: str, zero: int = 0, spare: int = 0, **settings: Any
) -> TextTraining:
    """Four steps on eight sequences."""
    spec = CausalSpec(model=base_folder(folder / "base", tied=tied, spare=spare), max_tokens=128)
    start = start_folder(folder, spec)
    data = sequences(folder / "rows.parquet", spec, start)
    values = {
        "method": METHODS[method],
        "learning_rate": 1e-2,
        "global_batch": 4,
        "num_train_epochs": 2,
        "validate_every": 100,
    }
    return TextTraining(
        rows=data,
        validation=data,
        validation_bytes={LANGUAGE: 16 * len(TEXT.encode())},
        causal=spec,
        start=start,
        settings=TextTrainSettings.model_validate(values | settings),
        compute=TrainCompute(workers=0, zero=zero),
        folder=folder / "training",
    )


def trained(folder: Path, **values: Any) -> tuple[Path, float]:
    """The folder of a model that was trained, and the bits of its validation text as the training saw them."""
    task = training(folder, **values)
    outcome = run_training(task, lambda step: None)
    assert task.start is not None
    new = read_new_rows(task.start, read_trained(task.start, "causal"))
    assert new is not None
    assert outcome.head_parameters == sum(one.numel() for one in new.rows.values())
    rows: Any = load_file(task.folder / ROWS)
    save_trained(folder / "model", task.causal, adapter=task.folder / ADAPTER, new=replace(new, rows=rows))
    last = json.loads((task.folder / "steps.jsonl").read_text().splitlines()[-1])
    return folder / "model", last["validation"][bits_of(LANGUAGE)]


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double()
    return found


def bits(found: torch.Tensor, ids: list[int]) -> float:
    chosen = found[:-1].log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])
    return float(-chosen.sum() / torch.tensor(2.0).log() / len(TEXT.encode()))


@pytest.mark.parametrize("zero", [0, 3])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_live_loaded_merged_and_exported_models_give_the_same_logits(
    tmp_path: Path, tied: bool, method: str, zero: int
) -> None:
    if zero not in TypeAdapter(AnyMethod).validate_python(METHODS[method]).zero_stages:
        pytest.skip(f"{method} does not train under ZeRO {zero}")
    folder, live = trained(tmp_path, tied=tied, method=method, zero=zero)
    causal: Any = load_trained(folder)
    assert causal.tokenizer.tokenize(TEXT).count("evler") == 2
    ids = tokens(causal)
    expected = logits(causal.model, ids)
    assert bits(expected, ids) == pytest.approx(live, rel=1e-5)
    base = causal.model.get_base_model() if hasattr(causal.model, "get_base_model") else causal.model
    assert ("output" not in token_matrices(base)) == tied

    written = export(folder, tmp_path / "merged", "merged")
    plain = AutoModelForCausalLM.from_pretrained(written).eval()
    assert AutoTokenizer.from_pretrained(written)(TEXT).input_ids == causal.encode_text(TEXT)
    assert torch.allclose(logits(plain, ids), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert ("output" not in token_matrices(plain)) == tied


@pytest.mark.parametrize("method", ["full", "svft"])
def test_stopped_training_goes_on_to_the_same_model_to_the_last_bit(tmp_path: Path, method: str) -> None:
    values: dict[str, Any] = {"tied": True, "method": method, "embeddings_first": 0.75, "save_steps": 1}
    whole, broken = (training(tmp_path / name, **values) for name in ("whole", "broken"))
    run_training(whole, lambda step: None)

    def stop(figures: StepReport) -> None:
        if figures.step == 2:
            (broken.folder / STOP).touch()

    with pytest.raises(Interrupted):
        run_training(broken, stop)
    assert not (broken.folder / ROWS).exists()
    run_training(broken, lambda step: None)
    for name in (ROWS, f"{ADAPTER}/{'model' if method == 'full' else 'adapter_model'}.safetensors"):
        expected, found = (load_file(one.folder / name) for one in (whole, broken))
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_rows_that_no_token_had_are_used_first(tmp_path: Path) -> None:
    folder, live = trained(tmp_path, tied=False, method="lora", spare=2)
    causal = load_causal(
        CausalSpec(model=FolderModel(path=str(tmp_path / "base")), max_tokens=128), folder=folder
    )
    size = len(tiny_tokenizer("llama")) + len(WORDS)
    assert causal.model.get_base_model().get_input_embeddings().weight.shape[0] == size
    ids = tokens(causal)
    assert bits(logits(causal.model, ids), ids) == pytest.approx(live, rel=1e-5)


def test_another_tokenizer_or_other_rows_are_refused(tmp_path: Path) -> None:
    spec = CausalSpec(model=base_folder(tmp_path / "base", tied=True), max_tokens=64)
    folder = start_folder(tmp_path, spec)
    described = folder / "extension" / "tokenizer.json"
    described.write_text(described.read_text().replace("evler", "evlar"))
    with pytest.raises(IntegrityError, match="extension"):
        load_causal(spec, folder=folder)


def test_a_base_with_another_tie_is_refused(tmp_path: Path) -> None:
    spec = CausalSpec(model=base_folder(tmp_path / "tied", tied=True), max_tokens=64)
    folder = start_folder(tmp_path, spec)
    other = CausalSpec(model=base_folder(tmp_path / "untied", tied=False), max_tokens=64)
    with pytest.raises(IntegrityError, match="base model"):
        load_causal(other, folder=folder)
    new = NewRows(10, {"input": torch.zeros(1, 32)}, tmp_path)
    with pytest.raises(IntegrityError, match="has input, output, the new rows are for input"):
        new.apply(load_causal(other).model)
