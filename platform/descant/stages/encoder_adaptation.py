"""The steps from texts in two languages to an encoder that was trained further on them, with or without new tokens."""

from dataclasses import dataclass

from pydantic import Field

from descant.artifacts.models import AnyModel, MadeModel
from descant.core.spec import Spec
from descant.models.encoder import EncoderSpec
from descant.models.masked import MaskedSpec
from descant.stages.adaptation import LanguageData
from descant.stages.base import Step
from descant.stages.corpora import CORPORA, LANGUAGE
from descant.stages.extend_encoder import ExtendEncoder
from descant.stages.learn_vocabulary import TOKENIZER
from descant.stages.train_masked import TrainMasked
from descant.stages.training.settings import TextTrainSettings

BASE_MODEL = "base model"
"""The input that a step's encoder is made by, where a step makes it: for order and lineage, nobody reads it there."""


class MaskedPretraining(Spec):
    """How an encoder is trained on plain text."""

    max_tokens: int = Field(256, ge=8)
    """Longest window of a text."""
    mask_share: float = Field(0.15, gt=0, lt=1)
    """Share of its tokens that are predicted."""
    max_bytes: int = Field(ge=1)
    """How much text is trained on."""
    replay: float = Field(0.0, ge=0, lt=1)
    """Share of it that is text of the base's language."""
    validation_bytes: int = Field(20_000, ge=1)
    """About how much held-out text of each language is scored while training."""
    training: TextTrainSettings
    """The optimisation."""


@dataclass(frozen=True, kw_only=True)
class EncoderAdaptation(LanguageData):
    """One way from an encoder to a language."""

    encoder: EncoderSpec

    @property
    def base(self) -> AnyModel:
        """That of the encoder."""
        return self.encoder.model

    def pretrained(self, masked: MaskedPretraining) -> Step:
        """The encoder, extended where there is a vocabulary, after masked tokens of the texts were filled in."""
        inputs: dict[str, Step] = {corpus: self.texts(corpus) for corpus in CORPORA}
        model = self.base
        if self.vocabulary is not None:
            inputs[BASE_MODEL] = self._extended()
            model = model_of(inputs[BASE_MODEL])
        seed = {} if "seed" in masked.training.model_fields_set else {"seed": self.seed}
        stage = TrainMasked(
            model=MaskedSpec(
                model=model,
                max_tokens=masked.max_tokens,
                mask_share=masked.mask_share,
                precision=self.encoder.precision,
            ),
            settings=masked.training.model_copy(update=seed),
            max_bytes=masked.max_bytes,
            replay=masked.replay,
            validation_bytes=masked.validation_bytes,
            seed=self.seed,
        )
        return Step(f"fill in masked text, {self.tokens}{self.place}", stage, inputs)

    def _extended(self) -> Step:
        assert self.vocabulary is not None
        initialiser = self.vocabulary.initialiser
        stage = ExtendEncoder(model=self.base, initialiser=initialiser, seed=self.seed)
        inputs = {TOKENIZER: self.learned(), "texts": self.texts(LANGUAGE)}
        return Step(f"first rows of {self.tokens}{self.place} by {initialiser.kind}", stage, inputs)


def model_of(step: Step) -> MadeModel:
    """The model that a step makes."""
    return MadeModel(address=f"{step.stage.name}/{step.fingerprint}")
