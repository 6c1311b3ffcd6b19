"""Retrievers for others to load: as a PEFT folder, merged for transformers, or for sentence-transformers.

An export is written beside its target, loaded again and compared with the retriever; only then does it get
its name. In-context examples belong to a query, not to a model: sentence-transformers has no place for them,
so its exports encode queries without examples.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from descant.artifacts.models import FolderModel
from descant.core.errors import ConfigError, DependencyError, IntegrityError
from descant.core.records import Passage
from descant.models.encode import load_encoder
from descant.models.encoder import EncoderSpec
from descant.models.folders import ADAPTER, BASE
from descant.models.retriever import SETTINGS, Retriever, load_retriever
from descant.run.export_causal import export_causal
from descant.run.export_target import drafted, unknown_form

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Encode = Callable[[Sequence[str]], np.ndarray]
"""float32 [texts, dim] of unit length."""

TEXTS = (
    "heat and light",
    "Why does the sky look blue at noon and red in the evening?",
    "Größe, 光 and plants: {braces} stay.",
    "water " * 600,
)
TOLERANCES = {"fp32": 1e-5, "bf16": 2e-2}
"""How far a vector's entries may lie from the retriever's: merged weights round otherwise than an adapter
beside them, and a bf16 weight keeps 8 bits."""
_POOLINGS = {"cls": "cls", "mean": "mean", "last_token": "lasttoken", "eos": "lasttoken"}
_MARK = "\ue000"


def export(folder: Path, target: Path, form: str) -> Path:
    """Write the retriever in ``folder`` to ``target`` and return that; ``form`` is one of ``FORMS``.

    A language model goes to ``export_causal``.

    Raises ConfigError for an unknown form, a target that is not empty or a retriever that it cannot
    express, DependencyError when sentence-transformers is not installed, IntegrityError when the export does
    not give the retriever's vectors; nothing is left at ``target`` then.
    """
    if not (folder / SETTINGS).is_file():
        return export_causal(folder, target, form)
    if form not in FORMS:
        raise unknown_form(form, list(FORMS))
    with drafted(target) as draft:
        retriever = load_retriever(folder)
        expected = _vectors(retriever.encode_queries, retriever.encode_documents)
        found = _vectors(*FORMS[form](folder, retriever, draft))
        _check_equal(expected, found, form, TOLERANCES[retriever.encoder.spec.precision])
    return target


def _write_peft(folder: Path, retriever: Retriever, draft: Path) -> tuple[Encode, Encode]:
    if not (folder / ADAPTER).is_dir() or (folder / BASE).is_dir():
        raise ConfigError(
            "E-EXP-PEFT",
            str(folder),
            "has no adapter of its own, or one to a base that nobody else has",
            "Nothing was written. Use the form merged.",
        )
    shutil.copytree(folder / ADAPTER, draft, dirs_exist_ok=True)
    again = Retriever(load_encoder(retriever.encoder.spec, adapter=draft))
    return again.encode_queries, again.encode_documents


def _write_merged(folder: Path, retriever: Retriever, draft: Path) -> tuple[Encode, Encode]:
    _save_merged(retriever, draft, retriever.encoder.tokenizer)
    changes = {"model": FolderModel(path=str(draft)), "attention": "native"}
    again = Retriever(load_encoder(retriever.encoder.spec.model_copy(update=changes)))
    return again.encode_queries, again.encode_documents


def _write_sentence_transformers(folder: Path, retriever: Retriever, draft: Path) -> tuple[Encode, Encode]:
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Normalize, Pooling, Transformer
    except ImportError:
        problem = "the package sentence-transformers is not installed"
        raise DependencyError(
            "E-EXP-PACKAGE", "export", problem, "Run: pip install 'descant[export]'"
        ) from None
    encoder, spec = retriever.encoder, retriever.encoder.spec
    query, passage = prefixes(spec)
    merged = draft / "merged"
    tokenizer = _ending_in_eos(encoder.tokenizer) if spec.pooling == "eos" else encoder.tokenizer
    _save_merged(retriever, merged, tokenizer)
    transformer = Transformer(
        str(merged),
        max_seq_length=max(spec.max_query_tokens, spec.max_passage_tokens),
        query_length=spec.max_query_tokens,
        document_length=spec.max_passage_tokens,
    )
    modules = [transformer, Pooling(encoder.dim, _POOLINGS[spec.pooling]), Normalize()]
    prompts = {"query": query, "document": passage, "passage": passage}
    model = SentenceTransformer(modules=modules, prompts=prompts, device="cpu")
    model.save(str(draft), create_model_card=False)
    shutil.rmtree(merged)
    again = SentenceTransformer(str(draft), device="cpu", local_files_only=True)
    return again.encode_query, again.encode_document


FORMS: dict[str, Callable[[Path, Retriever, Path], tuple[Encode, Encode]]] = {
    "peft": _write_peft,
    "merged": _write_merged,
    "sentence-transformers": _write_sentence_transformers,
}
"""By form: writes it and returns how it encodes queries and documents when loaded again."""


def prefixes(spec: EncoderSpec) -> tuple[str, str]:
    """What stands before a query and before a passage without a title.

    Raises ConfigError where that does not say it all: for text after the query or passage, and for a mean
    over the target behind an instruction.
    """
    query = spec.prompt.render_query(_MARK)
    passage = spec.prompt.render_passage(Passage("", "", _MARK))
    for what, prompted in (("query", query), ("passage", passage)):
        if not prompted.text.endswith(_MARK) or prompted.text.count(_MARK) != 1:
            raise _cannot_express(
                f"text after the {what} in the template {prompted.text.replace(_MARK, '{}')!r}"
            )
    if query.start and spec.pooling == "mean":
        raise _cannot_express("a mean over the query's tokens without those of the instruction before it")
    return query.text.removesuffix(_MARK), passage.text.removesuffix(_MARK)


def _cannot_express(what: str) -> ConfigError:
    return ConfigError(
        "E-EXP-PROMPT",
        "prompt",
        f"sentence-transformers has prompts that stand before a text and pools over all of it: no {what}",
        "Nothing was written. Use the form merged or peft.",
    )


def _save_merged(retriever: Retriever, target: Path, tokenizer: "PreTrainedTokenizerFast") -> None:
    """Fold the adapter into the base, in place, and save it as safetensors with its tokenizer."""
    model: Any = retriever.encoder.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload(safe_merge=True)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _ending_in_eos(tokenizer: "PreTrainedTokenizerFast") -> "PreTrainedTokenizerFast":
    """A copy that puts the end-of-text token behind every text, within its length."""
    from tokenizers import Tokenizer

    copy = deepcopy(tokenizer)
    state = json.loads(copy.backend_tokenizer.to_str())
    state["post_processor"] = _with_end(state["post_processor"], copy.eos_token, copy.eos_token_id)
    copy.backend_tokenizer.post_processor = Tokenizer.from_str(json.dumps(state)).post_processor
    return copy


def _with_end(processor: dict[str, Any] | None, token: str, token_id: int) -> dict[str, Any]:
    """A post-processor of the tokenizers library, as its JSON, with one more special token at the end."""
    if processor is not None and processor["type"] == "Sequence":
        *first, last = processor["processors"]
        return {**processor, "processors": [*first, _with_end(last, token, token_id)]}
    if processor is not None and processor["type"] == "TemplateProcessing":
        single = [*processor["single"], {"SpecialToken": {"id": token, "type_id": 0}}]
        known = processor["special_tokens"] | {token: {"id": token, "ids": [token_id], "tokens": [token]}}
        return {**processor, "single": single, "special_tokens": known}
    text, pair = ({"Sequence": {"id": letter, "type_id": 0}} for letter in "AB")
    plain = {"type": "TemplateProcessing", "single": [text], "pair": [text, pair], "special_tokens": {}}
    ended = _with_end(plain, token, token_id)
    return ended if processor is None else {"type": "Sequence", "processors": [processor, ended]}


def _vectors(encode_queries: Encode, encode_documents: Encode) -> np.ndarray:
    """float32 [n, dim]: all texts as queries and as documents, and one of each alone, without padding."""
    both = (encode_queries, encode_documents)
    return np.concatenate([encode(texts) for encode in both for texts in (TEXTS, TEXTS[:1])])


def _check_equal(expected: np.ndarray, found: np.ndarray, form: str, tolerance: float) -> None:
    difference = np.abs(expected - found).max() if expected.shape == found.shape else np.inf
    if not difference <= tolerance:
        raise IntegrityError(
            "E-EXP-VECTORS",
            form,
            f"loaded again gives vectors that differ by {difference:.2g}, rounding allows {tolerance:.0e}",
            "Nothing was written. This form cannot express the retriever; the form peft keeps it as it is.",
        )
