"""A study as a table of tab-separated values without anything that a clock measured: equal studies give equal bytes."""

import json

from descant.evaluators.study import Study
from descant.evaluators.study_statistics import task_result

COLUMNS = (
    "task",
    "method",
    "seed",
    "setting",
    "measure",
    "score",
    "trainable",
    "by formula",
    "adapter bytes",
    "validation",
    "mean over seeds",
    "low",
    "high",
    "standing",
)


def study_table(study: Study) -> str:
    """A row for each final run, in the order of tasks, methods and seeds, with what holds for its method.

    A method that failed, or of which a seed failed, has a line with its cause. ``validation`` is the chosen trial's
    score; mean, 95 % interval and standing are the method's on the task.
    """
    lines = ["\t".join(COLUMNS)]
    for task in study.tasks:
        result = task_result(study, task)
        for entry in study.of_task(task.name):
            row = result.row(entry.method)
            for run in entry.finals:
                assert row is not None
                chosen = next(
                    trial.score
                    for trial in entry.trials
                    if trial.setting == run.setting and trial.status == "finished"
                )
                values = (
                    task.name,
                    entry.method,
                    run.seed,
                    json.dumps(run.setting, sort_keys=True),
                    task.measure,
                    run.score_by_measure[task.measure],
                    run.trainable_parameters,
                    run.declared_parameters,
                    run.adapter_bytes,
                    chosen,
                    row.mean,
                    row.interval.low,
                    row.interval.high,
                    row.standing,
                )
                lines.append("\t".join(map(str, values)))
        lines += [f"{task.name}\t{failure.method}\tfailed: {failure.cause}" for failure in result.failures]
    return "\n".join(lines) + "\n"
