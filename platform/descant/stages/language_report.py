"""Write the report of a language adaptation: one HTML page and the same as Markdown."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from descant.artifacts.commit import publish
from descant.artifacts.provenance import made_by
from descant.artifacts.store import Artifact
from descant.artifacts.tables import read_table
from descant.core.measures import label_of
from descant.evaluators.statistics import Interval
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.corpora import CORPORA, LANGUAGE, bits_of
from descant.stages.language_report_content import (
    WRITING_SPEED,
    InitialisedRows,
    LanguageContent,
    System,
    TextScores,
)
from descant.stages.language_report_page import language_page
from descant.stages.language_report_table import language_markdown
from descant.stages.report import REPORT
from descant.stages.report_content import Fact, size_text
from descant.stages.train import STEPS

NUM_SAMPLES = 3
_TRAINING = {
    "trainable_parameters": "trainable parameters",
    "head_parameters": "rows of new tokens, parameters",
    "steps": "optimiser steps",
    "training_seconds": "training seconds",
    "tokens_per_second": "tokens per second, training",
}
_WRITING = {"bytes_per_second": WRITING_SPEED, "tokens_per_second": "tokens per second, writing"}


class LanguageReport(Stage):
    """Report a language adaptation.

    Inputs: ``vocabulary``; by system ``NAME | language`` and ``NAME | base language``, scores of texts, ``NAME |
    trained``, ``NAME | written`` and ``NAME | task: TASK``; by initialiser ``NAME | before`` and ``NAME | after``; the
    ``sequences`` these were compared on.
    """

    name: ClassVar[str] = "language_report"
    version: ClassVar[int] = 2

    title: str
    """What was adapted to what."""
    systems: tuple[str, ...]
    """Names, in the order of the page; the first is the one that others are compared with."""
    initialisers: tuple[str, ...] = ()
    """Names of what made the first rows."""
    seed: int
    """Draws the bootstrap samples."""

    def run(self, context: StageContext) -> Outcome:
        """Publish ``report``, a folder with both pages."""
        content = content_of(self, context.inputs)

        def write(path: Path) -> None:
            path.mkdir()
            (path / "report.html").write_text(language_page(content), "utf-8")
            (path / "report.md").write_text(language_markdown(content), "utf-8")

        publish(context.folder, REPORT, write, rows=0)
        return Outcome([REPORT], {"systems": len(content.systems)})


def content_of(stage: LanguageReport, inputs: Mapping[str, Artifact]) -> LanguageContent:
    """Everything the report shows, read from the results it is made of."""
    vocabulary = inputs.get("vocabulary")
    facts = vocabulary.manifest.facts if vocabulary is not None else {}
    shortly = inputs.get("sequences")
    first = inputs[f"{stage.systems[0]} | {LANGUAGE}"]
    return LanguageContent(
        title=stage.title,
        seed=stage.seed,
        side_effects={name: facts[name] for name in ("language", "base_language") if name in facts},
        new_tokens=facts.get("new_tokens", 0),
        systems=[_system(name, inputs) for name in stage.systems],
        initialised=[
            InitialisedRows(name, _scores(inputs[f"{name} | before"]), _scores(inputs[f"{name} | after"]))
            for name in stage.initialisers
        ],
        compare_bytes=_trained_bytes(shortly) if shortly is not None else 0,
        facts={"Made by": {**made_by(first.manifest.provenance)}},
        lineage={name: artifact.address for name, artifact in inputs.items()},
    )


def _system(name: str, inputs: Mapping[str, Artifact]) -> System:
    trained, written = inputs.get(f"{name} | trained"), inputs.get(f"{name} | written")
    facts: dict[str, Fact] = {}
    curve: list[tuple[int, Mapping[str, float]]] = []
    steps = 0
    if trained is not None:
        settings = trained.manifest.spec["settings"]
        facts |= {"method": settings["method"]["kind"], "learning rate": settings["learning_rate"]}
        facts |= {shown: trained.manifest.facts[one] for one, shown in _TRAINING.items()}
        facts["peak memory"] = size_text(trained.manifest.facts["peak_memory_bytes"])
        steps = trained.manifest.facts["steps"]
        curve = _curve(trained)
    if written is not None:
        found = written.manifest.facts
        facts |= {shown: round(found[one], 1) for one, shown in _WRITING.items()}
        if "new_token_share" in found:
            facts["share of new tokens, writing"] = f"{found['new_token_share']:.1%}"
    return System(
        name=name,
        scores={corpus: _scores(inputs[f"{name} | {corpus}"]) for corpus in CORPORA},
        tasks=_tasks(name, inputs),
        facts=facts,
        curve=curve,
        steps=steps,
        samples=_samples(written) if written is not None else (),
    )


def _scores(artifact: Artifact) -> TextScores:
    tables = [read_table(artifact.path(name)) for name in artifact.names("rows-")]
    columns = pa.concat_tables(tables).to_pydict()
    return TextScores(columns["nll"], columns["bytes"], artifact.manifest.facts["tokens"])


def _tasks(name: str, inputs: Mapping[str, Artifact]) -> dict[str, tuple[float, Interval]]:
    prefix, found = f"{name} | task: ", {}
    for role, artifact in inputs.items():
        if role.startswith(prefix):
            task, facts = role.removeprefix(prefix), artifact.manifest.facts
            for one in artifact.manifest.spec["measures"]:
                interval = Interval(facts[f"{one}_low"], facts[f"{one}_high"])
                found[f"{task}, {label_of(one)}"] = (facts[one], interval)
    return found


def _curve(trained: Artifact) -> list[tuple[int, Mapping[str, float]]]:
    steps = [json.loads(line) for line in trained.path(STEPS).read_text("utf-8").splitlines()]
    names = {bits_of(corpus): corpus for corpus in CORPORA}
    return [
        (
            step["step"],
            {names[key]: value for key, value in step["validation"].items()},
        )
        for step in steps
        if "validation" in step
    ]


def _samples(written: Artifact) -> list[tuple[str, str]]:
    rows: list[Any] = read_table(written.path("rows")).to_pylist()
    return [(row["prompt"], row["text"]) for row in rows[:NUM_SAMPLES]]


def _trained_bytes(sequences: Artifact) -> int:
    return sum(facts["bytes"] for facts in sequences.manifest.facts["train"].values())
