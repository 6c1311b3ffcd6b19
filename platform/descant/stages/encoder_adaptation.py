"""The steps from texts in two languages to an encoder that was trained further on them, with or without new tokens."""

from dataclasses import dataclass

from descant.artifacts.models import MadeModel
from descant.core.spec import Spec
from descant.models.encoder import EncoderSpec
from descant.models.masked import MaskedSpec, Masking
from descant.stages.adaptation import LanguageData
from descant.stages.base import Step
from descant.stages.corpora import CORPORA, LANGUAGE
from descant.stages.extend_encoder import ExtendEncoder
from descant.stages.learn_vocabulary import TOKENIZER
from descant.stages.train_masked import TextAmounts, TrainMasked
from descant.stages.training.settings import TextTrainSettings

BASE_MODEL = "base model"
"""The input that a step's encoder is made by, where a step makes it: for order and lineage, nobody reads it there."""


class MaskedPretraining(Spec):
    """How an encoder is trained on plain text."""

    masking: Masking = Masking()
    """What it fills in."""
    text: TextAmounts
    """How much it reads."""
    training: TextTrainSettings
    """The optimisation."""


@dataclass(frozen=True, kw_only=True)
class EncoderAdaptation(LanguageData):
    """One way from an encoder to a language."""

    model: EncoderSpec

    def pretrained(self, masked: MaskedPretraining) -> Step:
        """The encoder, extended where there is a vocabulary, after masked tokens of the texts were filled in."""
        inputs: dict[str, Step] = {corpus: self.texts(corpus) for corpus in CORPORA}
        base = self.model.model
        if self.vocabulary is not None:
            inputs[BASE_MODEL] = self._extended()
            base = model_of(inputs[BASE_MODEL])
        stage = TrainMasked(
            model=MaskedSpec(model=base, masking=masked.masking, precision=self.model.precision),
            text=masked.text,
            settings=masked.training.seeded(self.seed),
            seed=self.seed,
        )
        return Step(f"fill in masked text, {self.tokens}{self.place}", stage, inputs)

    def _extended(self) -> Step:
        assert self.vocabulary is not None
        initialiser = self.vocabulary.initialiser
        stage = ExtendEncoder(model=self.model.model, initialiser=initialiser, seed=self.seed)
        inputs = {TOKENIZER: self.learned(), "texts": self.texts(LANGUAGE)}
        return Step(f"first rows of {self.tokens}{self.place} by {initialiser.kind}", stage, inputs)


def model_of(step: Step) -> MadeModel:
    """The model that a step makes."""
    return MadeModel(address=f"{step.stage.name}/{step.fingerprint}")
