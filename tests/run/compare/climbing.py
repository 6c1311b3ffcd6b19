"""A comparison without models: a "training" whose score is a function of its setting, which can fail in every way."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from descant.artifacts.commit import publish
from descant.core.errors import DataError, NumericsError
from descant.run.compare.cells import Phase
from descant.run.compare.comparison import Comparison
from descant.run.compare.space import Axis, Setting
from descant.run.compare.trial import VALIDATION
from descant.stages.base import Outcome, Stage, StageContext, Step

METHODS = {"low": 0.2, "high": 0.6}


class Climb(Stage):
    """Reports ``height * step / steps`` at each of its steps, and fails if it is told to."""

    name: ClassVar[str] = "train"

    task: str
    height: float
    seed: int
    steps: int = 4
    fail: Literal["", "error", "bug", "nan", "die"] = ""
    seconds: float = 0.0
    log: str = ""

    def run(self, context: StageContext) -> Outcome:
        if self.log:
            with open(self.log, "a") as stream:
                stream.write(f"{self.height} {self.seed}\n")
        steps = range(1, self.steps + 1)
        for step in steps:
            time.sleep(self.seconds / self.steps)
            context.metrics({f"{VALIDATION}height": self.height * step / self.steps}, step)
        if self.fail == "error":
            raise DataError("E-TEST", "the rows", "are not there", "Nothing was trained.")
        if self.fail == "nan":
            raise NumericsError("E-TEST", "the loss", "is nan", "Nothing was saved.")
        if self.fail == "bug":
            raise ZeroDivisionError("division by zero")
        if self.fail == "die":
            os._exit(1)
        publish(context.folder, "height", lambda path: path.write_text(str(self.height)), rows=1)
        scores = [{"step": step, "validation": {"height": self.height * step / self.steps}} for step in steps]
        publish(
            context.folder, "steps", lambda path: path.write_text("\n".join(map(json.dumps, scores))), rows=1
        )
        return Outcome(["height", "steps"], {})


class Measure(Stage):
    """The height that was reached."""

    name: ClassVar[str] = "evaluate"

    measure: str = "height"
    offset: float = 0.0

    def run(self, context: StageContext) -> Outcome:
        height = float(context.inputs["model"].path("height").read_text()) + self.offset
        publish(context.folder, "rows", lambda path: path.write_text(json.dumps(height)), rows=1)
        return Outcome(["rows"], {self.measure: height})


class Climbing(Comparison):
    """Two methods on one task; ``fails`` says which setting of which method fails and how."""

    job: Literal["climbing"] = "climbing"
    fails: Mapping[str, str] = {}
    choices: tuple[float, ...] = ()
    task_names: tuple[str, ...] = ("hill",)
    seconds: float = 0.0
    log: str = ""
    reported: str = "height"
    fails_in: Phase = "tuning"
    methods_named: tuple[str, ...] = ("low", "high")

    def spaces(self) -> Mapping[str, Mapping[str, Axis]]:
        axis = Axis(choice=self.choices) if self.choices else Axis(uniform=(0.0, 0.4))
        return {method: {"boost": axis} for method in self.methods_named}

    def tasks(self) -> Sequence[str]:
        return self.task_names

    def measure(self, task: str) -> tuple[str, bool]:
        return "height", True

    def validated(self, task: str) -> Sequence[str]:
        return ("height",)

    def targets(
        self, task: str, method: str, setting: Setting, *, seed: int, phase: Phase
    ) -> Mapping[str, Step]:
        boost = setting["boost"]
        assert isinstance(boost, float)
        climb = Climb(
            task=task,
            height=METHODS[method] + boost,
            seed=seed,
            fail=self.fails.get(method, "") if phase == self.fails_in else "",
            seconds=self.seconds,
            log=self.log,
        )
        trained = Step(f"train {method} on {task}", climb)
        score = Measure(measure=self.reported, offset=float(phase == "final"))
        return {"trained": trained, "score": Step(f"measure {method}", score, {"model": trained})}
