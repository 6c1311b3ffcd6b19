import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from descant.adapters import Full, Lora
from descant.artifacts.models import TinyModel
from descant.core.errors import ConfigError, DataError, IntegrityError
from descant.models.classifier import ClassifierSpec
from descant.models.classify import Classifier, Row, load_classifier
from descant.models.images import ImageInput
from descant.models.trained import load_trained, save_trained

BERT = ClassifierSpec(model=TinyModel(), pooling="cls", max_tokens=16)
LLAMA = ClassifierSpec(model=TinyModel(architecture="llama"), pooling="last_token", max_tokens=16)
VIT = ClassifierSpec(
    model=TinyModel(architecture="vit"),
    pooling="cls",
    image=ImageInput(size=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.5)),
)
TEXTS: list[Row] = ["the sun", ("water is in the cells of plants", "why"), "heat and light from the sun", ""]


def png(seed: int, size: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(256, size=(size, size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


IMAGES: list[Row] = [png(seed) for seed in range(5)]
CASES: list[Any] = [
    pytest.param(BERT, TEXTS, id="bert"),
    pytest.param(BERT.model_copy(update={"pooling": "mean"}), TEXTS, id="bert-mean"),
    pytest.param(LLAMA, TEXTS, id="llama"),
    pytest.param(LLAMA.model_copy(update={"pooling": "eos"}), TEXTS, id="llama-eos"),
    pytest.param(VIT, IMAGES, id="vit"),
]


@pytest.mark.parametrize(("spec", "rows"), CASES)
def test_logits_do_not_depend_on_neighbours_or_batches(spec: ClassifierSpec, rows: list[Row]) -> None:
    classifier = load_classifier(spec, 3)
    together = classifier.logits(rows)
    alone = np.concatenate([classifier.logits([row], tokens_per_batch=1) for row in rows])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    assert together.dtype == np.float32
    assert np.ptp(together, axis=0).min() > 0


def test_logits_equal_the_head_on_the_first_state_by_hand() -> None:
    classifier = load_classifier(BERT, 2)
    encoded = classifier.reader("the sun", "why", return_tensors="pt", return_token_type_ids=True)
    with torch.inference_mode():
        state = classifier.backbone(**encoded).last_hidden_state[0, 0]
        expected = classifier.head.weight @ state + classifier.head.bias
    np.testing.assert_allclose(classifier.logits([("the sun", "why")])[0], expected.numpy(), atol=1e-6)


def test_order_of_a_pair_matters_and_each_text_has_its_type() -> None:
    classifier = load_classifier(BERT, 2)
    (row,) = classifier.inputs([("sun", "why")])
    assert getattr(row, "types", None) == (0, 0, 0, 1, 1)
    both = classifier.logits([("the sun", "why"), ("why", "the sun")])
    assert np.abs(both[0] - both[1]).max() > 1e-3


def test_long_pair_is_cut_at_its_longer_text() -> None:
    classifier = load_classifier(BERT, 2)
    (row,) = classifier.inputs([("sun " * 40, "why")])
    assert not isinstance(row, np.ndarray)
    assert row.is_cut
    assert len(row.ids) == 16
    assert classifier.reader.decode(row.ids).endswith("[SEP] why [SEP]")


def test_image_is_scaled_as_declared() -> None:
    classifier = load_classifier(VIT, 2)
    (found,) = classifier.inputs([IMAGES[0]])
    with Image.open(io.BytesIO(bytes(IMAGES[0]))) as opened:  # type: ignore[arg-type]
        raw = np.asarray(opened).transpose(2, 0, 1) / 255
    expected = (raw - 0.5) / np.array([0.5, 0.25, 0.5])[:, None, None]
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)
    (resized,) = classifier.inputs([png(1, size=40)])
    assert np.asarray(resized).shape == (3, 16, 16)


def test_bytes_that_are_no_image_are_refused() -> None:
    with pytest.raises(DataError, match="neither PNG nor JPEG"):
        load_classifier(VIT, 2).logits([b"GIF89a"])


def test_text_model_for_images_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected pixel_values"):
        load_classifier(VIT.model_copy(update={"model": TinyModel()}), 2)


def test_head_of_equal_seed_is_equal_and_small() -> None:
    first, same, other = (load_classifier(BERT, 3, seed=seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert float(first.detach().std()) == pytest.approx(0.02, rel=0.3)


def trained(spec: ClassifierSpec, method: Any, folder: Path) -> Classifier:
    classifier = load_classifier(spec, 3)
    classifier.backbone = method.attach(classifier.backbone, seed=1)
    state = {n: p.data.add_(0.2) for n, p in classifier.backbone.named_parameters() if p.requires_grad}
    classifier.head.weight.data.mul_(-3)
    method.save(classifier.backbone, folder / "draft", state)
    head = classifier.head.state_dict()
    save_trained(folder / "model", spec, adapter=folder / "draft", head=head, labels=["a", "b", "c"])
    return classifier


@pytest.mark.parametrize(("spec", "rows"), [CASES[0], CASES[2], CASES[4]])
@pytest.mark.parametrize("method", [Lora(r=2, lora_alpha=4), Full()], ids=["lora", "full"])
def test_trained_folder_reloads_to_the_same_logits(
    spec: ClassifierSpec, rows: list[Row], method: Any, tmp_path: Path
) -> None:
    expected = trained(spec, method, tmp_path).logits(rows)
    reloaded = load_trained(tmp_path / "model")
    assert isinstance(reloaded, Classifier)
    np.testing.assert_array_equal(reloaded.logits(rows), expected)
    assert not np.allclose(load_classifier(spec, 3).logits(rows), expected, atol=0.01)


def test_changed_head_and_another_number_of_labels_are_refused(tmp_path: Path) -> None:
    trained(BERT, Lora(r=2, lora_alpha=4), tmp_path)
    with pytest.raises(IntegrityError, match="labels"):
        load_classifier(BERT, 2, folder=tmp_path / "model")
    with (tmp_path / "model" / "head.safetensors").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(IntegrityError, match=r"head\.safetensors"):
        load_trained(tmp_path / "model")
