"""Write the report of a comparison: one HTML page, the same as Markdown, and beside them what it was computed from."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from descant.artifacts.commit import publish
from descant.artifacts.provenance import made_by
from descant.artifacts.store import Artifact
from descant.core.measures import measure
from descant.data.trec import read_run, write_scores
from descant.evaluators.evaluation import Evaluation, largest_changes
from descant.evaluators.ranking import first_relevant_ranks
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.evaluate import RUN, evaluation_of
from descant.stages.fetch import judgements_of, queries_of
from descant.stages.report_content import Content, Fact, QueryChange
from descant.stages.report_page import html_report
from descant.stages.report_table import markdown_report
from descant.stages.train import losses_of

REPORT = "report"
SYSTEM, TRAINED = "system: ", "trained: "
NUM_CHANGES = 5


class Report(Stage):
    """Compare systems on one task. Inputs: ``data``, ``system: NAME`` evaluations, ``trained: NAME`` trainings."""

    name: ClassVar[str] = "report"

    task: str
    """What was asked, in a word."""
    baseline: str
    """The system that the others are compared with."""
    also_compare: tuple[tuple[str, str], ...] = ()
    """More pairs of a system and what it is compared with."""
    seed: int
    """Draws the bootstrap samples and sign flips."""

    def run(self, context: StageContext) -> Outcome:
        """Publish ``report``: the pages, and for each system a TREC run and a table of its scores by query."""
        content = content_of(self, context.inputs)
        systems = _named(context.inputs, SYSTEM)

        def write(path: Path) -> None:
            path.mkdir()
            (path / "report.html").write_text(html_report(content), "utf-8")
            (path / "report.md").write_text(markdown_report(content), "utf-8")
            for evaluation in content.evaluations:
                name = _file_name(evaluation.system)
                (path / f"{name}.trec").write_bytes(systems[evaluation.system].path(RUN).read_bytes())
                write_scores(path / f"{name}.tsv", evaluation.by_query())

        publish(context.folder, REPORT, write, rows=0)
        return Outcome([REPORT], {"systems": len(content.evaluations), "queries": content.num_queries})


def content_of(stage: Report, inputs: Mapping[str, Artifact]) -> Content:
    """Everything the report shows, read from the results it is made of."""
    systems, trained = _named(inputs, SYSTEM), _named(inputs, TRAINED)
    data = inputs["data"]
    evaluations = [evaluation_of(artifact, name) for name, artifact in systems.items()]
    return Content(
        title=f"Retrieval on {stage.task}",
        baseline=stage.baseline,
        evaluations=evaluations,
        seed=stage.seed,
        also_compare=stage.also_compare,
        warnings=_warnings(data, systems),
        changes=_changes(stage.baseline, evaluations, systems, data),
        training={name: _training_facts(artifact) for name, artifact in trained.items()},
        losses={name: losses_of(artifact) for name, artifact in trained.items()},
        facts=_facts(data, systems[stage.baseline]),
        lineage={name: artifact.address for name, artifact in inputs.items()},
    )


def _file_name(system: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", system.lower()).strip("-")


def _named(inputs: Mapping[str, Artifact], prefix: str) -> dict[str, Artifact]:
    return {name.removeprefix(prefix): a for name, a in inputs.items() if name.startswith(prefix)}


def _warnings(data: Artifact, systems: Mapping[str, Artifact]) -> list[str]:
    facts, warnings = data.manifest.facts, []
    if shared := facts["train_queries_in_test"]:
        first = ", ".join(facts["train_queries_in_test_first"][:5])
        warnings.append(f"{shared} training queries are also test queries, by id or by text: {first}.")
    for split in facts["splits"]:
        if missing := facts[f"judged_passages_missing_{split}"]:
            first = ", ".join(facts[f"judged_passages_missing_{split}_first"][:5])
            warnings.append(f"{missing} judged passages of the {split} split are not in the corpus: {first}.")
    if rejected := data.manifest.rejected:
        reasons = sorted({row.reason for row in rejected})
        warnings.append(f"{len(rejected)} rows of the data were left out: {', '.join(reasons)}.")
    for name, artifact in systems.items():
        if without := artifact.manifest.facts["queries_without_ranking"]:
            warnings.append(f"{without} judged queries have no ranking in “{name}” and count as 0.")
    return warnings


def _changes(
    baseline: str, evaluations: list[Evaluation], systems: Mapping[str, Artifact], data: Artifact
) -> dict[str, list[QueryChange]]:
    """By system: the largest gains and losses by the first measure."""
    judged = judgements_of(data, systems[baseline].manifest.spec["split"])
    texts = queries_of(data)
    ranks = {name: first_relevant_ranks(_rankings(artifact), judged) for name, artifact in systems.items()}
    base = next(e for e in evaluations if e.system == baseline)
    first = next(iter(base.scores))
    changes = {}
    for evaluation in evaluations:
        if evaluation.system == baseline:
            continue
        gains, losses = largest_changes(evaluation, base, first, num=NUM_CHANGES)
        row_of = {query_id: row for row, query_id in enumerate(base.query_ids)}
        difference = evaluation.scores[first] - base.scores[first]
        changes[evaluation.system] = [
            QueryChange(
                query_id=i,
                text=texts[i].text if i in texts else "",
                rank_before=ranks[baseline][i],
                rank_after=ranks[evaluation.system][i],
                difference=float(difference[row_of[i]]),
            )
            for i in [*gains, *losses]
        ]
    return changes


def _rankings(artifact: Artifact) -> dict[str, list[tuple[str, float]]]:
    rankings: dict[str, list[tuple[str, float]]] = {}
    for hit in read_run(artifact.path(RUN)):
        rankings.setdefault(hit.query_id, []).append((hit.passage_id, hit.score))
    return rankings


def _training_facts(artifact: Artifact) -> dict[str, Fact]:
    facts, settings = artifact.manifest.facts, artifact.manifest.spec["settings"]
    return {
        "method": settings["method"]["kind"],
        "trainable parameters": facts["trainable_parameters"],
        "optimiser steps": facts["steps"],
        "rows per step": settings["global_batch"],
        "learning rate": settings["learning_rate"],
        "examples per row": facts["examples_per_row"],
        "rows per second": facts["rows_per_second"],
        "seconds": facts["training_seconds"],
    }


def _facts(data: Artifact, baseline: Artifact) -> dict[str, dict[str, Fact]]:
    facts, spec = data.manifest.facts, baseline.manifest.spec
    return {
        "Data": {
            "passages": facts["passages"],
            "queries": facts["queries"],
            "judged test queries": baseline.manifest.facts["judged_queries"],
            "training rows": facts["triples"],
            "duplicates dropped": facts["duplicates_dropped"],
        },
        "Evaluation": {
            "measures": [measure(name).label for name in spec["measures"]],
            "passages retrieved per query": spec["top_k"],
            "engine": "trec_eval (pytrec-eval-terrier)",
        },
        "Made by": {**made_by(baseline.manifest.provenance)},
    }
