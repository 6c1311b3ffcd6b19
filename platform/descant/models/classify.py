"""A classifier: a backbone that a method may adapt, its pooled state, and one linear head.

Legend: n rows, t tokens, d dimensions, c labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from descant.core.fingerprint import file_digest
from descant.core.seeds import seed_for
from descant.models.classifier import ClassifierSpec
from descant.models.folders import HEAD, check_same, checked_adapter, read_trained, with_adapter
from descant.models.images import load_processor, pixel_values
from descant.models.load import check_text_settings, load_image_model, load_model
from descant.models.pooling import pooled_states
from descant.models.tokens import TokenRow, batches, padded

Row = str | tuple[str, str] | bytes
"""A text, a pair of texts, or an image file."""

TOKENS_PER_BATCH = 1024
HEAD_SCALE = 0.02
"""Standard deviation of the head's first weights, as BERT's classifiers have it."""


@dataclass(frozen=True, slots=True)
class TextInput(TokenRow):
    """A row as tokens; ``types`` tells a pair's texts apart, empty where the model does not ask."""

    types: tuple[int, ...] = ()


Input = TextInput | np.ndarray
"""A row as the backbone reads it: tokens, or the pixels of an image, float32 [3, height, width]."""


class Classifier(torch.nn.Module):
    """Logits from rows. ``backbone`` may be replaced by the module that a method made of it."""

    def __init__(
        self, spec: ClassifierSpec, backbone: Any, reader: Any, *, num_labels: int, seed: int
    ) -> None:
        """``reader`` is the backbone's tokenizer or image processor. The head's weights are drawn from ``seed``.

        Raises ConfigError where the model cannot do what ``spec`` asks: end-of-text token, length.
        """
        super().__init__()
        self.spec, self.backbone, self.reader = spec, backbone, reader
        self.dropout = torch.nn.Dropout(spec.dropout)
        self.head = new_head(int(backbone.config.hidden_size), num_labels, seed=seed)
        self.has_types = spec.image is None and getattr(backbone.config, "type_vocab_size", 0) > 1
        if spec.image is None:
            check_text_settings(
                backbone, reader, pooling=spec.pooling, longest=spec.max_tokens, fields="max_tokens"
            )

    @property
    def num_labels(self) -> int:
        """The number of logits."""
        return self.head.out_features

    def inputs(self, rows: Sequence[Row]) -> list[Input]:
        """The rows as the backbone reads them; texts are cut to ``max_tokens``."""
        if self.spec.image is not None:
            return list(pixel_values(self.reader, [row for row in rows if isinstance(row, bytes)]))
        if not rows:
            return []
        texts = [row if isinstance(row, tuple) else (row, None) for row in rows if not isinstance(row, bytes)]
        return [self._text_input(text, pair) for text, pair in texts]

    def batch(self, inputs: Sequence[Input]) -> dict[str, Tensor]:
        """A batch for ``forward``: padded tokens (int64 and bool [n, t]) or pixels (float32 [n, 3, h, w])."""
        pixels = [row for row in inputs if isinstance(row, np.ndarray)]
        if pixels:
            return {"pixel_values": torch.from_numpy(np.stack(pixels))}
        rows = [row for row in inputs if isinstance(row, TextInput)]
        batch = padded(rows, pad_id=self.reader.pad_token_id or 0)
        del batch["pool_mask"]
        if self.has_types:
            longest = batch["input_ids"].shape[1]
            types = [[*row.types, *[0] * (longest - len(row.types))] for row in rows]
            batch["token_type_ids"] = torch.tensor(types, dtype=torch.int64)
        return batch

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits, float32 [n, c], differentiable, on the device of the backbone."""
        weight = next(self.backbone.parameters())
        if "pixel_values" in batch:
            pixels = batch["pixel_values"].to(weight.device, weight.dtype)
            states_ntd = self.backbone(pixel_values=pixels).last_hidden_state
            attention_nt = torch.ones(states_ntd.shape[:2], dtype=torch.bool, device=weight.device)
        else:
            attention_nt = batch["attention_mask"].to(weight.device).bool()
            arguments = {n: v.to(weight.device) for n, v in batch.items() if n != "attention_mask"}
            mask = None if bool(attention_nt.all()) else attention_nt.long()
            states_ntd = self.backbone(**arguments, attention_mask=mask).last_hidden_state
        pooled_nd = pooled_states(states_ntd, attention_nt, attention_nt, pooling=self.spec.pooling)
        logits_nc: Tensor = self.head(self.dropout(pooled_nd))
        return logits_nc

    def logits(self, rows: Sequence[Row], *, tokens_per_batch: int = TOKENS_PER_BATCH) -> np.ndarray:
        """float32 [n, c] in the order given, in evaluation mode.

        The logits of a row depend neither on its neighbours nor on ``tokens_per_batch``, up to rounding.
        """
        found = np.empty((len(rows), self.num_labels), dtype=np.float32)
        inputs = self.inputs(rows)
        was_training = self.training
        self.eval()
        with torch.inference_mode():
            for chosen in self._batches(inputs, tokens_per_batch):
                found[chosen] = self(self.batch([inputs[i] for i in chosen])).cpu().numpy()
        self.train(was_training)
        return found

    def _text_input(self, text: str, pair: str | None) -> TextInput:
        has_end = self.spec.pooling == "eos"
        if pair is not None and self.reader.sep_token_id is None:  # a decoder knows no pairs
            text, pair = f"{text}\n{pair}", None
        encoded = self.reader(
            text,
            pair,
            truncation="longest_first" if pair is not None else True,
            max_length=self.spec.max_tokens - has_end,
            return_token_type_ids=self.has_types,
            verbose=False,
        )
        ids = list(encoded["input_ids"])
        is_cut = bool(encoded.encodings[0].overflowing)
        if has_end and ids[-1:] != [self.reader.eos_token_id]:
            ids.append(self.reader.eos_token_id)
        types = tuple(encoded["token_type_ids"]) if self.has_types else ()
        return TextInput(ids, 0, len(ids), is_cut, types + (0,) * (len(ids) - len(types)) if types else ())

    def _batches(self, inputs: Sequence[Input], tokens_per_batch: int) -> list[np.ndarray]:
        rows = [row for row in inputs if isinstance(row, TextInput)]
        if rows:
            return list(batches(rows, tokens_per_batch=tokens_per_batch))
        config = self.backbone.config
        patches = (config.image_size // config.patch_size) ** 2
        size = max(1, tokens_per_batch // (patches + 1))
        return [np.arange(len(inputs))[i : i + size] for i in range(0, len(inputs), size)]


class Head(torch.nn.Linear):
    """A linear layer that computes in float32, in whatever format an engine keeps its weights."""

    def forward(self, input: Tensor) -> Tensor:
        """float32 logits."""
        return torch.nn.functional.linear(input.float(), self.weight.float(), self.bias.float())


def new_head(dim: int, num_labels: int, *, seed: int) -> torch.nn.Linear:
    """A float32 linear layer with normal weights of ``HEAD_SCALE`` and zero bias, equal for equal seeds."""
    generator = torch.Generator().manual_seed(seed_for(seed, "head"))
    head = Head(dim, num_labels, dtype=torch.float32)
    with torch.no_grad():
        head.weight.copy_(torch.randn(num_labels, dim, generator=generator) * HEAD_SCALE)
        head.bias.zero_()
    return head


def load_classifier(
    spec: ClassifierSpec, num_labels: int, *, folder: Path | None = None, device: str = "cpu", seed: int = 0
) -> Classifier:
    """The classifier of ``spec`` on ``device``, in evaluation mode.

    With ``folder`` (see ``trained.save_trained``) adapter and head are those that were trained and frozen;
    without, the backbone is the base and the head is new, drawn from ``seed``. Raises ConfigError where the
    folder is none, IntegrityError where base, adapter or head is not what was saved.
    """
    if spec.image is None:
        backbone, reader = load_model(
            spec.model, precision=spec.precision, attention=spec.attention, device=device
        )
    else:
        backbone = load_image_model(spec.model, precision=spec.precision, device=device)
        reader = load_processor(spec.image, spec.model)
    classifier = Classifier(spec, backbone, reader, num_labels=num_labels, seed=seed)
    if folder is not None:
        settings = read_trained(folder, "classifier")
        adapter = checked_adapter(folder, settings, spec.model)
        check_same(f"{folder}: labels", len(settings["labels"]), num_labels)
        check_same(str(folder / HEAD), settings["head_sha256"], file_digest(folder / HEAD))
        classifier.backbone = with_adapter(backbone, adapter, device=device)
        classifier.head.load_state_dict(load_file(folder / HEAD))
        classifier.requires_grad_(False)
    classifier.head.to(device)
    return classifier.eval()
