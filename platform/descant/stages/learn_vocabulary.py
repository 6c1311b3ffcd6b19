"""Extend the base's tokenizer for a language, and say what that does to both languages before anything is trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from descant.artifacts.commit import publish
from descant.artifacts.models import AnyModel, StoredModel
from descant.artifacts.store import Artifact
from descant.core.errors import DataError
from descant.core.spec import Compute, Spec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.split_text import TextSplit, texts_of
from descant.vocab.extension import AnyExtension, Corpora
from descant.vocab.extension.base import WordExtension
from descant.vocab.marks import share_cut_at_marks
from descant.vocab.side_effects import SideEffects, side_effects

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENIZER = "tokenizer"


class SideEffectLimits(Spec):
    """What a new vocabulary may do, at most; a stage that finds more fails, and nothing is trained on it."""

    min_saving: float = Field(0.0, ge=0, lt=1)
    """Share of the language's tokens that has to be saved: 0.25 is a quarter."""
    max_base_growth: float = Field(0.01, ge=0)
    """Relative growth of the number of tokens in the base's language."""
    max_base_changed: float = Field(1.0, ge=0, le=1)
    """Share of the base language's texts that may be cut into other tokens."""


WORTH_TELLING = 0.05
"""Share of words cut at marks from which on a reader is told."""


class LearnVocabulary(Stage):
    """Learn new tokens. Inputs: ``texts`` of the language and ``base_texts`` of the base's language, both split."""

    name: ClassVar[str] = "learn_vocabulary"

    model: AnyModel
    """The base, for its tokenizer."""
    extension: AnyExtension
    """How it is extended."""
    limits: SideEffectLimits = SideEffectLimits()
    """What is refused."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is not there or unsafe."""
        self.model.check()

    def run(self, context: StageContext) -> Outcome:
        """Publish ``tokenizer``, a folder; its facts are the side effects on validation texts of both languages.

        Pieces are learned on the tokenizer split, chosen by the training split and measured on validation. Raises
        DataError where a limit is passed.
        """
        from descant.models.load import load_tokenizer
        from descant.vocab.extend import from_description

        texts, base_texts = context.inputs["texts"], context.inputs["base_texts"]
        base = load_tokenizer(self.model)
        corpora = Corpora(
            language=_Texts(texts, ["tokenizer"]),
            held_out=_Texts(texts, ["train"]),
            base_language=_Texts(base_texts, ["tokenizer", "train"]),
        )
        described = self.extension.extend(base, corpora)
        extended = from_description(described)
        num_new = len(extended) - len(base)
        found = side_effects(base, extended, texts_of(texts, ["validation"]))
        base_found = side_effects(base, extended, texts_of(base_texts, ["validation"]))
        context.progress(num_new, num_new, "new tokens")
        self._refuse(found, base_found)
        publish(
            context.folder,
            TOKENIZER,
            lambda path: _write(self.model, base, described, path),
            rows=len(extended),
        )
        facts = {
            "new_tokens": num_new,
            "share_cut_at_marks": share_cut_at_marks(described, texts_of(texts, ["validation"])),
            "language": effect_facts(found),
            "base_language": effect_facts(base_found),
        }
        return Outcome([TOKENIZER], facts)

    def finding(self, facts: Mapping[str, Any]) -> str:
        """The side effects, on one line, and what was not reached."""
        language, base = facts["language"], facts["base_language"]
        found = [
            f"{language['change']:+.1%} tokens in the language, {base['change']:+.2%} in the base's, "
            f"where {base['share_changed']:.1%} of the texts are cut differently"
        ]
        if facts["new_tokens"] < self.extension.num_new:
            asked = f"{self.extension.num_new:,} new tokens asked for"
            found.append(f"only {facts['new_tokens']:,} of the {asked} are worth one in these texts")
        cuts = isinstance(self.extension, WordExtension) and not self.extension.keep_marks
        if cuts and (share := facts["share_cut_at_marks"]) > WORTH_TELLING:
            found.append(
                f"vowel signs part words: with keep_marks: true there are {share:.0%} fewer pieces to begin with"
            )
        return "; ".join(found)

    def _refuse(self, found: SideEffects, base_found: SideEffects) -> None:
        limits = self.limits
        for name, value, limit in (
            ("tokens saved in the language", -found.change, limits.min_saving),
            ("growth of the base language's tokens", -base_found.change, -limits.max_base_growth),
            ("base language's texts changed", -base_found.share_changed, -limits.max_base_changed),
        ):
            if value < limit:
                raise DataError(
                    "E-VOC-LIMIT",
                    name,
                    f"{abs(value):.2%}, the limit is {abs(limit):.2%}",
                    "Nothing was trained. Ask for other new tokens, or change the limit.",
                )


def effect_facts(found: SideEffects) -> dict[str, Any]:
    """What a manifest keeps of side effects."""
    return {
        "base": asdict(found.base),
        "extended": asdict(found.extended),
        "change": found.change,
        "share_changed": found.share_changed,
        "lost": found.lost,
    }


class _Texts:
    """Splits of a corpus that can be read again."""

    def __init__(self, artifact: Artifact, splits: Sequence[TextSplit]) -> None:
        self._artifact, self._splits = artifact, splits

    def __iter__(self) -> Iterator[str]:
        return texts_of(self._artifact, self._splits)


def _write(
    reference: AnyModel, base: "PreTrainedTokenizerFast", described: dict[str, Any], folder: Path
) -> None:
    from descant.vocab.write import MODEL, write_extended

    file = reference.locate() / MODEL if isinstance(reference, StoredModel) else None
    base_model = file.read_bytes() if file is not None and file.is_file() else None
    folder.mkdir()
    write_extended(base, described, folder, base_model=base_model)
