"""Give the tokens of an extended vocabulary their first rows, before anything is trained."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.core.chunks import chunks
from descant.core.errors import DataError
from descant.core.spec import Compute
from descant.models.causal import CausalSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.learn_vocabulary import TOKENIZER
from descant.stages.split_text import texts_of
from descant.vocab.initialise import AnyInitialiser

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from descant.models.new_rows import NewRows
    from descant.vocab.initialise.base import NewTokens

MODEL = "model"
TEXTS_AT_ONCE = 1000
TEXTS_SHOWN = 20_000
"""Texts of the tokenizer split that an initialiser may learn from, the first ones."""


class InitialiseEmbeddings(Stage):
    """Initialise the rows of new tokens. Inputs: ``tokenizer``, and the ``texts`` it was learned on."""

    name: ClassVar[str] = "initialise_embeddings"

    model: CausalSpec
    """The base."""
    initialiser: AnyInitialiser
    """How a row is found."""
    seed: int
    """Draws what an initialiser draws."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is not there or unsafe."""
        self.model.model.check()

    def run(self, context: StageContext) -> Outcome:
        """Publish ``model``, a folder that is loaded like a trained model; raise DataError where nothing is new."""
        from descant.models.load import load_causal_model, load_tokenizer
        from descant.models.trained import save_trained

        model, _ = load_causal_model(self.model.model, precision=self.model.precision)
        new, facts = first_rows(
            model,
            load_tokenizer(self.model.model),
            context.inputs[TOKENIZER],
            context.inputs["texts"],
            self.initialiser,
            seed=self.seed,
        )
        publish(
            context.folder,
            MODEL,
            lambda path: save_trained(path, self.model, new=new),
            rows=new.num_rows,
        )
        return Outcome([MODEL], facts)


def first_rows(
    model: "PreTrainedModel",
    base: "PreTrainedTokenizerFast",
    vocabulary: Artifact,
    texts: Artifact,
    initialiser: AnyInitialiser,
    *,
    seed: int,
) -> "tuple[NewRows, dict[str, Any]]":
    """Rows for the new tokens of a ``learn_vocabulary`` result in every matrix of ``model``, and facts about them.

    ``base`` is the tokenizer of ``model``, ``texts`` are those that the vocabulary was learned on. Raises DataError
    where it has no new token.
    """
    from descant.models.load import read_tokenizer
    from descant.models.new_rows import NewRows, token_matrices

    folder = vocabulary.path(TOKENIZER)
    extended = read_tokenizer(folder)
    if len(extended) == len(base):
        raise DataError(
            "E-VOC-NONE",
            vocabulary.manifest.fingerprint,
            "the extended tokenizer has no new token",
            "Ask for more new tokens, or leave the vocabulary out.",
        )
    tokens = _new_tokens(base, extended, texts)
    first, rows = min(tokens.ids), {}
    for name, matrix in token_matrices(model).items():
        old = matrix.detach()
        filled = initialiser.fill(old if old.ndim == 2 else old[:, None], tokens, seed=seed)
        rows[name] = filled[first : max(tokens.ids) + 1].reshape(-1, *old.shape[1:])
    facts = {
        "new_tokens": len(tokens.ids),
        "first": first,
        "parts_per_token": round(sum(map(len, tokens.parts)) / len(tokens.parts), 2),
    }
    return NewRows(first, rows, folder), facts


def _new_tokens(
    base: "PreTrainedTokenizerFast", extended: "PreTrainedTokenizerFast", texts: Artifact
) -> "NewTokens":
    from descant.vocab.initialise.base import new_tokens

    shown = list(islice(texts_of(texts, ["tokenizer"]), TEXTS_SHOWN))
    counts: Counter[int] = Counter()
    for ids in _tokenised(base, shown):
        counts.update(ids)
    total = counts.total()
    frequencies = {number: count / total for number, count in counts.items()}
    return new_tokens(base, extended, frequencies=frequencies, texts=list(_tokenised(extended, shown)))


def _tokenised(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str]) -> Iterator[list[int]]:
    for some in chunks(texts, TEXTS_AT_ONCE):
        yield from tokenizer(some, add_special_tokens=False, verbose=False)["input_ids"]
