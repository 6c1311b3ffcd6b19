"""Fine-tune an encoder on training rows, on Ray Train with DeepSpeed."""

import shutil
from pathlib import Path
from typing import ClassVar

from descant.artifacts.commit import publish
from descant.core.spec import Compute
from descant.models.encoder import EncoderSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.training.settings import TrainCompute, TrainSettings, plan_batches

RETRIEVER, STEPS = "retriever", "steps"


class Train(Stage):
    """Fine-tune an encoder. Input: ``rows`` of ``pair_examples``."""

    name: ClassVar[str] = "train"
    compute_class: ClassVar[type[Compute]] = TrainCompute

    encoder: EncoderSpec
    """The encoder to start from."""
    settings: TrainSettings
    """The optimisation."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is missing or the batches do not fit the workers."""
        self.encoder.model.check()
        assert isinstance(compute, TrainCompute)
        plan_batches(self.settings, compute)

    def run(self, context: StageContext) -> Outcome:
        """Publish ``retriever`` (settings and adapter in one folder) and ``steps`` (loss and rate of each step)."""
        from descant.models.retriever import save_retriever
        from descant.stages.training.ray_train import run_training

        compute = context.compute
        assert isinstance(compute, TrainCompute)
        workplace = context.folder / "training"
        result = run_training(
            rows=context.inputs["rows"].path("rows"),
            encoder=self.encoder,
            settings=self.settings,
            compute=compute,
            folder=workplace,
            progress=context.progress,
        )

        def write_retriever(path: Path) -> None:
            save_retriever(path, self.encoder, adapter=workplace / "adapter")

        publish(context.folder, RETRIEVER, write_retriever, rows=0)
        publish(
            context.folder,
            STEPS,
            lambda path: shutil.copyfile(workplace / "steps.jsonl", path),
            rows=result.num_steps,
            suffix=".jsonl",
        )
        return Outcome([RETRIEVER, STEPS], result.facts())
