"""From the records of a comparison, and the results they name, to the plain values of its study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from descant.artifacts.provenance import made_by, provenance
from descant.artifacts.store import Artifact, Store
from descant.core.errors import IntegrityError
from descant.evaluators import study as values
from descant.evaluators.study_statistics import seconds_to_quality
from descant.run.compare.cells import DATA, FORGETTING, SCORE, TRAINED, Record, validations_of
from descant.run.compare.comparison import Comparison
from descant.run.compare.study import Name, Phases
from descant.run.job import Results
from descant.stages.evaluate import evaluation_of
from descant.stages.evaluate_task import scores_by_id
from descant.stages.fetch import judgements_of


def gather(job: Comparison, phases: Phases, results: Results) -> values.Study:
    """The study of a comparison whose cells have ended. Raises IntegrityError for a result that is no longer there."""
    return values.Study(
        name=job.name,
        base=job.base_name(),
        seed=job.seed,
        tasks=tuple(_task(job, name, results) for name in job.tasks()),
        methods=tuple(job.spaces()),
        entries=tuple(_entry(job, name, phases, results.store) for name in phases.tuning),
        budget=values.Budget(job.budget.kind, job.budget.amount),
        scheduler=job.scheduler,
        search=job.search,
        provenance=made_by(provenance()),
    )


def _task(job: Comparison, name: str, results: Results) -> values.StudyTask:
    measure, higher_is_better = job.measure(name)
    score = results.artifacts.get(f"{SCORE}: {name}")
    data = results.artifacts[f"{DATA}: {name}"]
    return values.StudyTask(
        name=name,
        measure=measure,
        higher_is_better=higher_is_better,
        validation_rows=_num_rows(data, "validation"),
        test_rows=_num_rows(data, "test"),
        base_scores=None if score is None else scores_by_example(score, measure),
        forgetting_base=_bits_per_byte(results.artifacts.get(f"{FORGETTING}: {name}")),
        quality=job.quality(name),
    )


def _num_rows(data: Artifact, split: str) -> int:
    facts = data.manifest.facts
    if data.manifest.stage == "split_text":
        return int(facts["documents"][split])
    return int(facts[f"{split}_rows"]) if f"{split}_rows" in facts else len(judgements_of(data, split))


def _entry(job: Comparison, name: Name, phases: Phases, store: Store) -> values.Entry:
    task, method = name
    records = phases.finals.get(name, ())
    failed = [record for record in records if record.status != "finished"]
    runs = [record for record in records if record.status == "finished"]
    return values.Entry(
        task=task,
        method=method,
        trials=tuple(map(_trial, phases.tuning[name])),
        finals=tuple(_final(job, record, store) for record in runs),
        cause=f"seed {failed[0].seed}: {failed[0].cause}" if failed else "",
    )


def _trial(record: Record) -> values.Trial:
    return values.Trial(
        number=record.number,
        setting=_plain(record.setting),
        status=record.status,
        score=record.score,
        curve=tuple(values.CurvePoint(point.step, point.score) for point in record.curve),
        seconds=record.seconds,
        cause=record.cause,
    )


def _final(job: Comparison, record: Record, store: Store) -> values.FinalRun:
    made = {name: _found(address, store) for name, address in record.addresses.items()}
    trained, scored = made[TRAINED].manifest.facts, made[SCORE]
    measure, higher = job.measure(record.task)
    return values.FinalRun(
        seed=record.seed,
        setting=_plain(record.setting),
        score_by_measure=_means(scored),
        scores=scores_by_example(scored, measure),
        trainable_parameters=trained["trainable_parameters"],
        declared_parameters=job.declared_parameters(record.task, record.method, record.setting),
        adapter_bytes=trained["adapter_bytes"],
        peak_memory_bytes=trained["peak_memory_bytes"],
        tokens_per_second=trained["tokens_per_second"],
        training_seconds=trained["training_seconds"],
        seconds_to_quality=_seconds_to(job.quality(record.task), made[TRAINED], measure, higher),
        curve=tuple(values.CurvePoint(step, loss) for step, loss in _losses(made[TRAINED])),
        forgetting=_bits_per_byte(made.get(FORGETTING)),
        links=dict(record.addresses),
    )


def _seconds_to(
    target: float | None, training: Artifact, measure: str, higher_is_better: bool
) -> float | None:
    curve = [values.CurvePoint(point.step, point.score) for point in validations_of(training, measure)]
    if target is None or not curve:
        return None
    seconds = training.manifest.facts["training_seconds"]
    return seconds_to_quality(curve, target, training_seconds=seconds, higher_is_better=higher_is_better)


def scores_by_example(evaluation: Artifact, measure: str) -> dict[str, float]:
    """The measure of every example of an evaluation, by id."""
    if evaluation.manifest.stage == "evaluate":
        ranked = evaluation_of(evaluation, "")
        return dict(zip(ranked.query_ids, map(float, ranked.scores[measure]), strict=True))
    return scores_by_id(evaluation, measure)


def _means(evaluation: Artifact) -> dict[str, float]:
    """The means by measure; what stands beside them in the facts are intervals and counts."""
    facts = evaluation.manifest.facts
    return {name: float(facts[name]) for name in facts if f"{name}_low" in facts}


def _bits_per_byte(probe: Artifact | None) -> float | None:
    return None if probe is None else float(probe.manifest.facts["bits_per_byte"])


def _losses(training: Artifact) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in training.path("steps").read_text("utf-8").splitlines()]
    return [(int(line["step"]), float(line["loss"])) for line in lines]


def _found(address: str, store: Store) -> Artifact:
    artifact = store.find(*address.split("/"))
    if artifact is None:
        raise IntegrityError(
            "E-STORE-FIND",
            address,
            "is no longer in the store, and a record of the study names it",
            "Remove the study's folder to make it again, or restore the result.",
        )
    return artifact


def _plain(setting: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in setting.items()}
