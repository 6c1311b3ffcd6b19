"""Train an encoder further on plain text, in this process or on Ray Train: its tokens masked, to be filled in."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.artifacts.tables import write_table
from descant.artifacts.weights import check_model_folder
from descant.core.errors import ConfigError, DataError
from descant.core.spec import Compute
from descant.models.masked import MaskedSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.corpora import BASE_LANGUAGE, LANGUAGE, CorpusName
from descant.stages.initialise_embeddings import MODEL
from descant.stages.score_text import texts_up_to
from descant.stages.split_text import TextSplit
from descant.stages.train import STEPS, WORKPLACE, run_shown
from descant.stages.training.settings import TextTrainSettings, TrainCompute, check_rows

TEXTS = pa.schema([("id", pa.string()), ("corpus", pa.string()), ("text", pa.string())])


class TrainMasked(Stage):
    """Continue the pre-training of an encoder. Inputs, split: ``language``, and ``base language`` for replay."""

    name: ClassVar[str] = "train_masked"
    compute_class: ClassVar[type[Compute]] = TrainCompute

    model: MaskedSpec
    """The encoder to start from."""
    settings: TextTrainSettings
    """The optimisation; ``global_batch`` counts texts, and the method is full."""
    max_bytes: int = Field(ge=1)
    """How much is trained on: whole texts, in UTF-8."""
    replay: float = Field(0.0, ge=0, lt=1)
    """Share of it that is text of the base's language."""
    validation_bytes: int = Field(ge=1)
    """About how much of each corpus' validation split is scored while training."""
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

    def run(self, context: StageContext) -> Outcome:
        """Publish ``model``, an encoder without head in a folder that transformers loads, and ``steps``.

        Facts: those of ``training.measured``, and ``texts`` of each corpus. Raises DataError where a corpus is smaller
        than what is asked of it.
        """
        from descant.models.folders import ADAPTER
        from descant.models.masked import write_trained_encoder
        from descant.stages.training.masked_tokens import MaskedTraining
        from descant.stages.training.measured import measured

        assert isinstance(context.compute, TrainCompute)
        workplace = context.folder / WORKPLACE
        workplace.mkdir(exist_ok=True)
        rows, validation = workplace / "rows.parquet", workplace / "validation.parquet"
        counts = self._write(rows, context.inputs, "train")
        self._write(validation, context.inputs, "validation")
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

    def _write(self, path: Path, inputs: Mapping[str, Artifact], split: TextSplit) -> dict[str, int]:
        """The texts of a split; how many of each corpus."""
        shares: dict[CorpusName, float] = {LANGUAGE: 1 - self.replay, BASE_LANGUAGE: self.replay}
        columns: dict[str, list[str]] = {name: [] for name in TEXTS.names}
        for corpus, share in shares.items():
            wanted = self.validation_bytes if split == "validation" else round(self.max_bytes * share)
            texts = self._texts(inputs[corpus], split, wanted) if wanted else []
            if split == "train" and (held := sum(len(text.encode()) for text in texts)) < wanted:
                raise DataError(
                    "E-TEXT-BUDGET",
                    f"{corpus}, {split}",
                    f"holds {held:,} bytes, {wanted:,} are asked for",
                    "Nothing was started. Lower max_bytes, add text, or train several epochs.",
                )
            columns["id"] += [f"{corpus} {number:08d}" for number in range(len(texts))]
            columns["corpus"] += [corpus] * len(texts)
            columns["text"] += texts
        write_table(pa.table(columns, schema=TEXTS), path)
        return {corpus: columns["corpus"].count(corpus) for corpus in shares}

    def _texts(self, corpus: Artifact, split: TextSplit, max_bytes: int) -> list[str]:
        paths = tuple(corpus.path(name) for name in corpus.names("texts-"))
        return texts_up_to(paths, split=split, max_bytes=max_bytes, seed=self.seed)
