"""Train an encoder further on plain text, in this process or on Ray Train: its tokens masked, to be filled in."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.artifacts.tables import write_table
from descant.artifacts.weights import check_model_folder
from descant.core.errors import ConfigError, DataError
from descant.core.spec import Compute, Spec
from descant.models.masked import MaskedSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.corpora import BASE_LANGUAGE, LANGUAGE, CorpusName
from descant.stages.held import Held
from descant.stages.initialise_embeddings import MODEL
from descant.stages.split_text import texts_up_to
from descant.stages.train import STEPS, WORKPLACE, run_shown
from descant.stages.training.settings import TextTrainSettings, TrainCompute, check_rows, plan_rows

TEXTS = pa.schema([("id", pa.string()), ("corpus", pa.string()), ("text", pa.string())])


class TextAmounts(Spec):
    """How much text of two languages a training reads, in bytes of UTF-8."""

    max_bytes: int = Field(ge=1)
    """What is trained on, in whole texts."""
    replay: float = Field(0.0, ge=0, lt=1)
    """Share of it that is text of the base's language."""
    validation_bytes: int = Field(20_000, ge=1)
    """About how much held-out text of each language is scored while training."""

    def of(self, split: Literal["train", "validation"]) -> Mapping[CorpusName, int]:
        """Bytes of each corpus in ``split``."""
        if split == "validation":
            return dict.fromkeys((LANGUAGE, BASE_LANGUAGE), self.validation_bytes)
        replayed = round(self.max_bytes * self.replay)
        return {LANGUAGE: self.max_bytes - replayed, BASE_LANGUAGE: replayed}


class TrainMasked(Stage):
    """Continue the pre-training of an encoder. Inputs, split: ``language``, and ``base language`` for replay."""

    name: ClassVar[str] = "train_masked"
    compute_class: ClassVar[type[Compute]] = TrainCompute

    model: MaskedSpec
    """The encoder to start from, and what it fills in."""
    text: TextAmounts
    """How much it reads."""
    settings: TextTrainSettings
    """The optimisation; ``global_batch`` counts texts, and the method is full."""
    seed: int
    """Orders the texts."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is missing or the method cannot be trained so."""
        self.model.model.check()
        assert isinstance(compute, TrainCompute)
        if self.settings.method.adapter_only:
            raise ConfigError(
                "E-TRN-METHOD",
                f"method {type(self.settings.method).__name__}",
                "the head that fills in tokens is new and has to train with all of the encoder",
                "Nothing was started. Use method: {kind: full}.",
            )
        check_rows(self.settings, compute, self.model.precision)

    def held(self, compute: Compute) -> Held:
        """The encoder with its head for tokens, and the windows of a micro-batch."""
        assert isinstance(compute, TrainCompute)
        rows = ((plan_rows(self.settings, compute).micro_batch, self.model.masking.max_tokens),)
        method = self.settings.method
        return Held(self.model.model, self.model.precision, rows, head="masked token", trains=method)

    def run(self, context: StageContext) -> Outcome:
        """Publish ``model``, an encoder without head in a folder that transformers loads, and ``steps``.

        Facts: those of ``training.measured``, and ``texts``, how many of each corpus. Raises DataError where a corpus
        is smaller than what is asked of it.
        """
        from descant.models.folders import ADAPTER
        from descant.models.masked import write_trained_encoder
        from descant.stages.training.masked_tokens import MaskedTraining
        from descant.stages.training.measured import measured

        assert isinstance(context.compute, TrainCompute)
        workplace = context.folder / WORKPLACE
        workplace.mkdir(exist_ok=True)
        rows, validation = workplace / "rows.parquet", workplace / "validation.parquet"
        counts = self._write_texts(rows, context.inputs, "train")
        self._write_texts(validation, context.inputs, "validation")
        training = MaskedTraining(
            rows=rows,
            validation=validation,
            masked=self.model,
            settings=self.settings,
            compute=context.compute,
            folder=workplace,
        )
        result = run_shown(training, training.num_steps, context)

        def write(path: Path) -> None:
            write_trained_encoder(self.model, workplace / ADAPTER, path)

        publish(context.folder, MODEL, write, rows=0, check=check_model_folder)
        return Outcome([MODEL, STEPS], {**measured(result, self.settings, workplace), "texts": counts})

    def _write_texts(
        self, path: Path, inputs: Mapping[str, Artifact], split: Literal["train", "validation"]
    ) -> dict[CorpusName, int]:
        """Write the texts of a split; how many of each corpus."""
        rows: list[dict[str, str]] = []
        counts: dict[CorpusName, int] = {}
        for corpus, num_bytes in self.text.of(split).items():
            texts = texts_up_to(inputs[corpus], split, max_bytes=num_bytes, seed=self.seed)
            if split == "train":
                _check_enough(corpus, texts, num_bytes)
            rows += (
                {"id": f"{corpus} {i:08d}", "corpus": corpus, "text": text} for i, text in enumerate(texts)
            )
            counts[corpus] = len(texts)
        write_table(pa.Table.from_pylist(rows, schema=TEXTS), path)
        return counts


def _check_enough(corpus: CorpusName, texts: list[str], wanted: int) -> None:
    held = sum(len(text.encode()) for text in texts)
    if held < wanted:
        raise DataError(
            "E-TEXT-BUDGET",
            f"{corpus}, train",
            f"holds {held:,} bytes, {wanted:,} are asked for",
            "Nothing was trained. Lower masked.text.max_bytes, add text, or train several epochs.",
        )
