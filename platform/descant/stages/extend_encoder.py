"""Give an encoder the tokens of an extended tokenizer, with first rows for them, as a plain model folder."""

from pathlib import Path
from typing import ClassVar

from descant.artifacts.commit import publish
from descant.artifacts.models import AnyModel
from descant.artifacts.weights import check_model_folder
from descant.core.spec import Compute
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.initialise_embeddings import MODEL, first_rows
from descant.stages.learn_vocabulary import TOKENIZER
from descant.vocab.initialise import AnyInitialiser


class ExtendEncoder(Stage):
    """Extend an encoder. Inputs: ``tokenizer``, and the ``texts`` it was learned on."""

    name: ClassVar[str] = "extend_encoder"

    model: AnyModel
    """The base."""
    initialiser: AnyInitialiser
    """How a row is found."""
    seed: int
    """Draws what an initialiser draws."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is not there or unsafe."""
        self.model.check()

    def run(self, context: StageContext) -> Outcome:
        """Publish ``model``, a folder that transformers loads; raise DataError where nothing is new."""
        from descant.models.load import load_model, load_tokenizer, read_tokenizer
        from descant.models.masked import write_encoder

        model, _ = load_model(self.model)
        new, facts = first_rows(
            model,
            load_tokenizer(self.model),
            context.inputs[TOKENIZER],
            context.inputs["texts"],
            self.initialiser,
            seed=self.seed,
        )
        new.apply(model)

        def write(path: Path) -> None:
            write_encoder(model, read_tokenizer(new.tokenizer), path)

        publish(context.folder, MODEL, write, rows=new.num_rows, check=check_model_folder)
        return Outcome([MODEL], facts)
