"""What a finished training took, as facts for its manifest."""

from pathlib import Path
from statistics import median
from typing import Any

from descant.models.folders import ADAPTER
from descant.stages.training.loop import Outcome
from descant.stages.training.settings import Optimisation
from descant.stages.training.step_log import read_steps
from descant.stages.training.workplace import STEPS


def measured(result: Outcome, settings: Optimisation, workplace: Path) -> dict[str, Any]:
    """Of the training whose logs and adapter lie in ``workplace``:

    ``steps`` and where they were ``resumed_at``; ``trainable_parameters`` of the method and ``head_parameters`` beside
    them; ``adapter_bytes``, its weights on disk; ``tokens_per_second``, the median over steps, padding not counted;
    ``rows_per_second`` likewise; ``training_seconds``, the sum over steps, so that loading, validation and saving do
    not count and a resumed training has every step once; ``peak_memory_bytes`` of the worker that needed most, model
    included, from its start to the last step, and what ``peak_memory_kind`` was read.
    """
    steps, rows = read_steps(workplace / STEPS), settings.global_batch
    return {
        "steps": result.num_steps,
        "resumed_at": result.resumed_at,
        "trainable_parameters": result.trainable_parameters - result.head_parameters,
        "head_parameters": result.head_parameters,
        "adapter_bytes": sum(path.stat().st_size for path in (workplace / ADAPTER).rglob("*.safetensors")),
        "tokens_per_second": round(median(s.tokens * s.rows_per_second / rows for s in steps), 1),
        "rows_per_second": round(median(s.rows_per_second for s in steps), 2),
        "training_seconds": round(sum(rows / s.rows_per_second for s in steps), 3),
        "peak_memory_bytes": result.peak_memory_bytes,
        "peak_memory_kind": result.peak_memory_kind,
    }
