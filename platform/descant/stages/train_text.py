"""Train a language model further on plain text, in this process or on Ray Train."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from descant.artifacts.commit import publish
from descant.core.spec import Compute
from descant.models.causal import CausalSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.compute_bases import BASES, basis_files
from descant.stages.held import Held, held_for_task
from descant.stages.initialise_embeddings import MODEL
from descant.stages.pack_texts import TRAIN, VALIDATION
from descant.stages.train import STEPS, WORKPLACE, run_shown
from descant.stages.training.settings import TextTrainSettings, TrainCompute, check_rows, plan_rows

SEQUENCES, START = "sequences", "start"


class TrainText(Stage):
    """Continue the pre-training of a language model.

    Inputs: ``sequences``, a result of ``pack_texts``; ``start``, one of ``initialise_embeddings``, where the
    vocabulary was extended; ``bases`` for methods that use them.
    """

    name: ClassVar[str] = "train_text"
    compute_class: ClassVar[type[Compute]] = TrainCompute

    model: CausalSpec
    """The base; its ``max_tokens`` is at least the length of a sequence."""
    settings: TextTrainSettings
    """The optimisation."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is missing or the method cannot be trained so."""
        self.model.model.check()
        assert isinstance(compute, TrainCompute)
        check_rows(self.settings, compute, self.model.precision)

    def held(self, compute: Compute) -> Held:
        """The language model with the sequences of a micro-batch."""
        assert isinstance(compute, TrainCompute)
        rows = ((plan_rows(self.settings, compute).micro_batch, self.model.max_tokens),)
        return held_for_task(self.model, rows, trains=self.settings.method)

    def run(self, context: StageContext) -> Outcome:
        """Publish ``model`` (adapter, new tokens with their rows, see ``models.trained``) and ``steps``.

        Facts: those of ``training.measured``.
        """
        from descant.stages.training.measured import measured
        from descant.stages.training.plain_text import TextTraining

        assert isinstance(context.compute, TrainCompute)
        workplace = context.folder / WORKPLACE
        workplace.mkdir(exist_ok=True)
        data, start = context.inputs[SEQUENCES], context.inputs.get(START)
        start_folder = start.path(MODEL) if start is not None else None
        sizes = data.manifest.facts[VALIDATION]
        training = TextTraining(
            rows=data.path(TRAIN),
            validation=data.path(VALIDATION),
            validation_bytes={corpus: facts["bytes"] for corpus, facts in sizes.items()},
            causal=self.model,
            start=start_folder,
            settings=self.settings,
            compute=context.compute,
            folder=workplace,
            bases=basis_files(context.inputs[BASES]) if BASES in context.inputs else {},
        )
        result = run_shown(training, training.num_steps, context)
        publish(context.folder, MODEL, lambda path: self._save(path, workplace, start_folder), rows=0)
        return Outcome([MODEL, STEPS], measured(result, self.settings, workplace))

    def _save(self, path: Path, workplace: Path, start: Path | None) -> None:
        from safetensors.torch import load_file

        from descant.models.folders import ADAPTER, read_trained
        from descant.models.new_rows import ROWS, read_new_rows
        from descant.models.trained import save_trained

        new = read_new_rows(start, read_trained(start, "causal")) if start is not None else None
        if new is not None:
            trained: Any = load_file(workplace / ROWS)
            new = replace(new, rows=trained)
        save_trained(path, self.model, adapter=workplace / ADAPTER, new=new)
