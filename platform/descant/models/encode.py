"""Encoding: prompted texts to unit vectors, sorted by length and batched by tokens to save padding."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from descant.artifacts.weights import check_safetensors, weight_files
from descant.core.records import Example, Passage
from descant.data.fit import FittedPrompt, fit_prompts
from descant.data.prompts import PromptedText
from descant.models.encoder import EncoderSpec
from descant.models.folders import with_adapter
from descant.models.load import check_text_settings, load_model
from descant.models.pooling import pool
from descant.models.tokens import TokenRow, batches, padded, token_rows

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerFast

TOKENS_PER_BATCH = 1024
"""Padded tokens in one batch; about the fastest on a CPU core, where larger batches leave the cache."""


class Encoder:
    """A model with its tokenizer and settings, ready to encode; its vectors have ``dim`` numbers.

    ``model`` is a transformers model or one wrapped by PEFT; it may be trained in place.
    """

    def __init__(self, spec: EncoderSpec, model: Any, tokenizer: "PreTrainedTokenizerFast") -> None:
        """Raise ConfigError where the model cannot do what ``spec`` asks: end-of-text token, length."""
        check_text_settings(
            model,
            tokenizer,
            pooling=spec.pooling,
            longest=max(spec.max_query_tokens, spec.max_passage_tokens),
            fields="max_query_tokens and max_passage_tokens",
        )
        self.spec, self.model, self.tokenizer = spec, model, tokenizer
        self.dim = int(model.config.hidden_size)

    def encode(self, rows: Sequence[TokenRow], *, tokens_per_batch: int = TOKENS_PER_BATCH) -> np.ndarray:
        """float32 [rows, dim] in the order given, unit length; see ``vector_faults`` for those that are not.

        The vector of a row depends neither on its neighbours nor on ``tokens_per_batch``, up to rounding
        (1e-6).
        """
        import torch

        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            for chosen in batches(rows, tokens_per_batch=tokens_per_batch):
                batch = padded([rows[i] for i in chosen], pad_id=self._pad_id)
                vectors[chosen] = self.forward_pooled(batch).cpu().numpy()
        self.model.train(was_training)
        return vectors

    def encode_queries(
        self,
        queries: Sequence[str],
        examples: Sequence[Sequence[Example]] | None = None,
        *,
        tokens_per_batch: int = TOKENS_PER_BATCH,
    ) -> np.ndarray:
        """float32 [queries, dim]: each query in its prompt, after its own examples where they are given."""
        return self.encode(self.query_rows(queries, examples), tokens_per_batch=tokens_per_batch)

    def encode_passages(
        self, passages: Sequence[Passage], *, tokens_per_batch: int = TOKENS_PER_BATCH
    ) -> np.ndarray:
        """float32 [passages, dim]."""
        return self.encode(self.passage_rows(passages), tokens_per_batch=tokens_per_batch)

    def query_rows(
        self, queries: Sequence[str], examples: Sequence[Sequence[Example]] | None = None
    ) -> list[TokenRow]:
        """The tokens of ``encode_queries``; a row is cut where even the query alone was too long."""
        texts = [fitted.prompted for fitted in self.prompt_queries(queries, examples)]
        return self.token_rows(texts, max_tokens=self.spec.max_query_tokens)

    def passage_rows(self, passages: Sequence[Passage]) -> list[TokenRow]:
        """The tokens of ``encode_passages``."""
        texts = [self.spec.prompt.render_passage(passage) for passage in passages]
        return self.token_rows(texts, max_tokens=self.spec.max_passage_tokens)

    def prompt_queries(
        self, queries: Sequence[str], examples: Sequence[Sequence[Example]] | None = None
    ) -> list[FittedPrompt]:
        """The query prompts, each fitted into ``max_query_tokens``."""
        return fit_prompts(
            self.spec.prompt,
            self.tokenizer,
            queries,
            [()] * len(queries) if examples is None else examples,
            max_tokens=self.spec.max_query_tokens - (self.spec.pooling == "eos"),
        )

    def token_rows(self, texts: Sequence[PromptedText], *, max_tokens: int) -> list[TokenRow]:
        """The tokens of texts that are rendered already; see ``tokens.token_rows``."""
        return token_rows(self.tokenizer, texts, max_tokens=max_tokens, pooling=self.spec.pooling)

    def tokenise(self, texts: Sequence[PromptedText], *, max_tokens: int) -> "dict[str, Tensor]":
        """A padded batch for ``forward_pooled``; see ``tokens.padded``."""
        return padded(self.token_rows(texts, max_tokens=max_tokens), pad_id=self._pad_id)

    def forward_pooled(self, batch: "Mapping[str, Tensor]") -> "Tensor":
        """float32 [n, dim], unit length and differentiable, on the device of the model."""
        return forward_pooled(self.model, batch, self.spec)

    @property
    def _pad_id(self) -> int:
        return self.tokenizer.pad_token_id or 0


def load_encoder(spec: EncoderSpec, *, adapter: Path | None = None, device: str = "cpu") -> Encoder:
    """The encoder of ``spec`` on ``device``, with the weights of folder ``adapter`` where one is given.

    That folder is a PEFT adapter, or a whole model where all weights were trained.

    Raises PolicyError and IntegrityError
    for adapter files that are no safetensors, and whatever ``load_model`` raises.
    """
    if adapter is not None:
        for path in weight_files(adapter):
            check_safetensors(path)
    model, tokenizer = load_model(
        spec.model, precision=spec.precision, attention=spec.attention, device=device
    )
    return Encoder(spec, with_adapter(model, adapter, device=device), tokenizer)


def forward_pooled(model: "Module", batch: "Mapping[str, Tensor]", spec: EncoderSpec) -> "Tensor":
    """float32 [n, dim]: the unit vectors of a padded batch under ``model``, differentiable.

    Padding may stand on either side. Where there is none the mask is left out, which saves its cost in
    attention.
    """
    device = next(model.parameters()).device
    has_padding = not bool(batch["attention_mask"].all())
    ids_nt, attention_nt, target_nt = (
        batch[name].to(device) for name in ("input_ids", "attention_mask", "pool_mask")
    )
    output = model(input_ids=ids_nt, attention_mask=attention_nt.long() if has_padding else None)
    return pool(output.last_hidden_state, attention_nt.bool(), target_nt.bool(), pooling=spec.pooling)


def vector_faults(vectors: np.ndarray) -> dict[int, str]:
    """The rows of float32 [n, dim] that are no unit vectors: {row: ``nonfinite`` or ``zero_norm``}."""
    norms = np.linalg.norm(vectors, axis=1)
    faults = {int(i): "zero_norm" for i in np.flatnonzero(np.abs(norms - 1) > 0.01)}
    return faults | {int(i): "nonfinite" for i in np.flatnonzero(~np.isfinite(norms))}
