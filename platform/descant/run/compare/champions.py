"""The champion of each task: the best method's model goes into the registry, and behind its alias if a test says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from descant.artifacts.manifest import address_of
from descant.artifacts.store import Artifact, Store
from descant.evaluators.statistics import bootstrap_interval, paired_test
from descant.evaluators.study import FinalRun, Study, StudyTask
from descant.evaluators.study_statistics import task_result
from descant.run.compare.cells import DATA, SCORE, TRAINED
from descant.run.gate import Evidence
from descant.run.job import Recipe, Results
from descant.run.lineage import study_lineage, task_model_name
from descant.run.registry import register
from descant.run.runs import JobRun
from descant.stages.prepare_task import task_rows

STAGE, VERSION = "register", 1
MODELS = ("model", "retriever")
"""Names of the parts of trainings that hold a model."""


@dataclass(frozen=True)
class Champion:
    """The best method of a task, and the run of it that is registered: that of the first seed."""

    name: str
    """In the registry."""
    task: StudyTask
    method: str
    run: FinalRun

    @property
    def inputs(self) -> dict[str, str]:
        """Addresses of what is registered."""
        return {role: self.run.links[role] for role in (TRAINED, SCORE)}

    @property
    def fingerprint(self) -> str:
        """The address of the record that it was registered."""
        return address_of(STAGE, VERSION, {"name": self.name, "measure": self.task.measure}, self.inputs)


def unregistered(study: Study, store: Store) -> list[Champion]:
    """The champions of a study's tasks that were not registered yet; tasks where every method failed have none."""
    found = []
    for task in study.tasks:
        best = task_result(study, task).best
        if best is None:
            continue
        entry = next(entry for entry in study.of_task(task.name) if entry.method == best.method)
        champion = Champion(task_model_name(study.name, task.name), task, best.method, entry.finals[0])
        if store.find(STAGE, champion.fingerprint) is None:
            found.append(champion)
    return found


def register_champions(
    champions: Sequence[Champion],
    recipe: Recipe,
    study: Artifact,
    results: Results,
    tracked: JobRun,
) -> None:
    """Register each and keep a record of it in the store. Raises what ``register`` raises; records of others stay."""
    store = results.store
    for champion in champions:
        trained = _result(champion.run.links[TRAINED], store)
        part = next(name for name in MODELS if name in trained.names())
        data = results.artifacts[f"{DATA}: {champion.task.name}"]
        version = register(
            tracked,
            trained.path(part),
            champion.name,
            lineage=_lineage(champion, recipe, study, data),
            evidence=_evidence(champion, data),
            paired_test=paired_test,
        )
        spec = {"name": champion.name, "measure": champion.task.measure}
        with store.draft(
            STAGE, VERSION, champion.fingerprint, f"register {champion.name}", spec, champion.inputs
        ) as draft:
            draft.finish([], {"uri": version.uri, "promotion": version.tags.get("promotion", "")})


def _lineage(champion: Champion, recipe: Recipe, study: Artifact, data: Artifact) -> dict[str, str]:
    made_of = study_lineage(
        study.address,
        champion.task.name,
        champion.method,
        champion.run.setting,
        [champion.run.seed],
        {part.name: part.sha256 for part in data.manifest.parts},
    )
    return {
        **made_of,
        "recipe": str(recipe.path),
        "recipe_sha256": recipe.digest,
        "job": recipe.job_name,
        "data": data.address,
        "evaluation": champion.run.links[SCORE],
        "split": "test",
    }


def _evidence(champion: Champion, data: Artifact) -> Evidence:
    scores, task = champion.run.scores, champion.task
    mean = champion.run.score_by_measure[task.measure]
    interval = bootstrap_interval(list(scores.values()), seed=0)
    return Evidence(
        task=data.address,
        measure=task.measure,
        scores=scores,
        base_scores=task.base_scores if task.base_scores is not None else _commonest_class(data),
        intervals={task.measure: (mean, interval.low, interval.high)},
        higher_is_better=task.higher_is_better,
    )


def _commonest_class(data: Artifact) -> dict[str, float]:
    """What a classifier scores that always says the commonest class of training: the base has no head to compare."""
    counts = Counter(row["label"] for row in task_rows(data, "train"))
    common = min(counts, key=lambda label: (-counts[label], label))
    return {row["id"]: float(row["label"] == common) for row in task_rows(data, "test")}


def _result(address: str, store: Store) -> Artifact:
    found = store.find(*address.split("/"))
    assert found is not None, f"{address} was read a moment ago"
    return found
