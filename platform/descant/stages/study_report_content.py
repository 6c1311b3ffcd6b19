"""What the report of a study tells, in words and rows: the same for the page, Markdown and the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from descant.evaluators.setting_importance import SettingImportance, setting_importances
from descant.evaluators.statistics import ALPHA, NUM_RESAMPLES, p_text
from descant.evaluators.study import Entry, FinalRun, Setting, Study, StudyTask, Trial
from descant.evaluators.study_statistics import BASE, Failure, MethodResult, TaskResult, task_result
from descant.stages.report_content import shown, signed, size_text


@dataclass(frozen=True)
class Tuning:
    """How one method was tuned on one task."""

    task: StudyTask
    entry: Entry

    @property
    def chosen(self) -> Trial | None:
        """The trial whose setting the final runs used; None where there is none."""
        if not self.entry.finals:
            return None
        setting = dict(self.entry.finals[0].setting)
        sign = 1.0 if self.task.higher_is_better else -1.0
        same = [t for t in self.entry.trials if dict(t.setting) == setting and t.score is not None]
        return max(same, key=lambda t: sign * (t.score or 0.0), default=None)

    @property
    def counts(self) -> str:
        """How the trials ended: ``6 finished, 1 stopped, 1 non-finite``."""
        ends = ("finished", "stopped", "non-finite", "failed")
        counted = {end: sum(t.status == end for t in self.entry.trials) for end in ends}
        return ", ".join(f"{n} {end}" for end, n in counted.items() if n) or "none"

    @property
    def setting(self) -> Setting:
        """What the final runs used; empty where there is none."""
        return self.entry.finals[0].setting if self.entry.finals else {}


@dataclass(frozen=True)
class StudyContent:
    """A study with its statistics, each computed once."""

    study: Study

    @cached_property
    def results(self) -> tuple[TaskResult, ...]:
        """By task."""
        return tuple(task_result(self.study, task) for task in self.study.tasks)

    @cached_property
    def tunings(self) -> dict[str, tuple[Tuning, ...]]:
        """By task: all entries in the order of the methods."""
        return {t.name: tuple(Tuning(t, e) for e in self.study.of_task(t.name)) for t in self.study.tasks}

    @cached_property
    def importances(self) -> dict[tuple[str, str], tuple[SettingImportance, ...] | str]:
        """By task and method."""
        return {
            (t.name, e.method): setting_importances(
                e.trials, higher_is_better=t.higher_is_better, seed=self.study.seed
            )
            for t in self.study.tasks
            for e in self.study.of_task(t.name)
        }

    @property
    def failures(self) -> list[Failure]:
        """Of all tasks."""
        return [failure for result in self.results for failure in result.failures]

    @property
    def finals(self) -> list[tuple[Entry, FinalRun]]:
        """Every final run with its entry."""
        return [(e, f) for t in self.study.tasks for e in self.study.of_task(t.name) for f in e.finals]

    @property
    def num_seeds(self) -> list[int]:
        """The numbers of seeds that methods have, smallest first."""
        return sorted({row.num_seeds for r in self.results for row in r.rows if row.method != BASE})

    @property
    def question(self) -> str:
        """What was compared with what, and what each got."""
        study, seeds = self.study, self.num_seeds
        search = study.search.replace("_", "-")
        stopping = f"stopped early by {study.scheduler}"
        if study.scheduler == "none":
            stopping = "none of them stopped early"
        amount, unit = study.budget.amount, study.budget.kind.removesuffix("s")
        budget = f"{shown(amount)} {unit if amount == 1 else f'{unit}s'}"
        trained = f"trained with {_count(seeds[-1], 'seed')} and " if seeds else ""
        return (
            f"{_count(len(study.methods), 'method')} adapt one base, {study.base}, to "
            f"{_count(len(study.tasks), 'task')}. Each method on each task got the same budget for tuning, "
            f"{budget}, chosen by {search} search and {stopping}, "
            f"scored on validation data. Its best setting was then {trained}scored on test data that tuning never saw."
        )

    def headline(self, result: TaskResult) -> str:
        """The answer for a task, after the name of the best method."""
        best, name = result.best, result.task.name
        if best is None:
            return f"no method finished on {name}"
        rest = [row for row in result.rows if row.method not in (BASE, best.method)]
        sentence = f"scores best on {name}: {interval_text(best)} {result.task.label}"
        if result.untold:
            sentence += f". {_joined([row.method for row in result.untold])} cannot be told from it"
        elif rest:
            sentence += ", and every other method is shown to be worse"
        base = result.row(BASE)
        if base is not None and base.to_best is not None:
            verdict = {
                "worse": "is shown to be worse",
                "better": "is shown to be better",
            }.get(base.standing, "cannot be told from it either")
            sentence += f". The untrained base ({base.mean:.3f}) {verdict}"
        return sentence

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing a number."""
        failed: dict[tuple[str, str], list[str]] = {}
        for f in self.failures:
            if not f.num_finals:
                failed.setdefault((f.method, f.cause), []).append(f.task)
        found = [
            f"{method} failed on {_joined(tasks)}: {cause.rstrip('.')}."
            for (method, cause), tasks in failed.items()
        ]
        found += [
            f"{f.method} on {f.task} has only {_count(f.num_finals, 'final run')}: {f.cause}."
            for f in self.failures
            if f.num_finals
        ]
        single = [
            f"{row.method} on {r.task.name}" for r in self.results for row in r.rows if row.num_seeds == 1
        ]
        if single:
            found.append(
                f"One seed only: {_joined(single)}. Intervals and p-values there speak of other test examples, and "
                "nothing is said about other seeds."
            )
        if drawn := self._drawn_apart():
            found.append(
                f"One trial each: no setting was chosen, and methods differ in {_joined(drawn)} too, so that a "
                "difference between them may come from what was drawn."
            )
        found += [
            f"{row.method} on {r.task.name} declares {row.cost.declared_parameters:,} trainable parameters and "
            f"has {row.cost.trainable_parameters:,}."
            for r in self.results
            for row in r.rows
            if row.cost and row.cost.declared_parameters != row.cost.trainable_parameters
        ]
        return found

    def _drawn_apart(self) -> list[str]:
        """Settings that differ between methods with a single trial on a task."""
        found: set[str] = set()
        for tunings in self.tunings.values():
            single = [tuning.setting for tuning in tunings if len(tuning.entry.trials) == 1]
            names = {name for setting in single for name in setting}
            found |= {n for n in names if len({repr(setting[n]) for setting in single if n in setting}) > 1}
        return sorted(found)

    @property
    def forgetting(self) -> list[tuple[TaskResult, list[tuple[str, float, float | None]]]]:
        """By task with a probe: method, mean bits per byte after training, and change from the base."""
        found = []
        for result in self.results:
            rows = []
            for tuning in self.tunings[result.task.name]:
                after = [f.forgetting for f in tuning.entry.finals if f.forgetting is not None]
                if after:
                    mean, before = sum(after) / len(after), result.task.forgetting_base
                    rows.append((tuning.entry.method, mean, None if before is None else mean - before))
            if rows:
                found.append((result, sorted(rows, key=lambda row: row[1])))
        return found

    @property
    def method(self) -> str:
        """How the numbers were made and what they do not say."""
        return (
            "Scores are means of the deciding measure over all test examples and seeds. Intervals are 95 %, "
            f"over other examples ({NUM_RESAMPLES:,} bootstrap resamples) and other training seeds (a t "
            "distribution, since three seeds are too few to resample); one seed has an interval over examples "
            "only. The run of the first seed is the chosen trial itself. Differences "
            "from the best are paired by example. Each p-value is the larger of a paired "
            "randomisation test over examples and of the test that the interval makes, so it holds for other "
            "seeds too; it is Holm-corrected over all that is compared with the best of a task. A method "
            f"“cannot be told from the best” unless p is below {ALPHA} and the interval leaves out 0: that "
            "means that these data cannot tell the two apart, not that they are equal. Seconds to quality are "
            "training seconds until the target score of the study. Setting importance is exploratory: the "
            "share of the variance of score ranks that one setting explains by itself, beside what chance "
            "gives, its p-value Holm-corrected over all settings of the method; where the search stayed among "
            "good settings, little is left to show."
        )


def interval_text(row: MethodResult) -> str:
    """``0.735 [0.702, 0.768]``."""
    return f"{row.mean:.3f} [{row.interval.low:.3f}, {row.interval.high:.3f}]"


def difference_text(row: MethodResult) -> str:
    """The mean with its interval, ``+0.012 [+0.001, +0.023]``; empty for the best."""
    if row.to_best is None:
        return ""
    low, high = row.to_best.interval
    return f"{signed(row.to_best.mean)} [{signed(low)}, {signed(high)}]"


def p_of(row: MethodResult) -> str:
    """The corrected p-value; empty for the best."""
    return p_text(row.to_best.p_value) if row.to_best else ""


def parameters_text(row: MethodResult) -> str:
    """The count; with the formula's where that differs."""
    if row.cost is None:
        return ""
    counted, declared = row.cost.trainable_parameters, row.cost.declared_parameters
    return f"{counted:,}" if counted == declared else f"{counted:,} (formula {declared:,})"


def quality_text(row: MethodResult) -> str:
    """Seconds to quality, and how many seeds got there where not all did; nothing where no quality was asked for."""
    if row.cost is None or not row.cost.has_target:
        return ""
    if row.cost.seconds_to_quality is None:
        return "not reached"
    some = (
        "" if row.cost.num_reached == row.num_seeds else f" ({row.cost.num_reached} of {row.num_seeds} seeds)"
    )
    return f"{seconds_text(row.cost.seconds_to_quality)}{some}"


def seconds_text(seconds: float) -> str:
    """``8.2 s``, ``135 s`` or ``5,120 s``."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:,.0f} s"


def setting_text(setting: Setting) -> str:
    """``epochs 2 · learning_rate 0.00031``."""
    return " · ".join(f"{name} {value_text(value)}" for name, value in sorted(setting.items()))


def value_text(value: object) -> str:
    """One value of a setting; small numbers with two digits."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)


def cost_names(result: TaskResult) -> list[str]:
    """What is told of every method's cost; seconds to quality where a quality was asked for."""
    has_target = any(row.cost is not None and row.cost.has_target for row in result.rows)
    always = ["trainable parameters", "adapter size", "peak memory", "tokens/s"]
    return [*always, "to quality"] if has_target else always


def costs(row: MethodResult, result: TaskResult) -> Iterator[tuple[str, str]]:
    """Name and text of everything a row of ``result`` cost."""
    cost = row.cost
    texts = {
        "trainable parameters": parameters_text(row),
        "adapter size": size_text(cost.adapter_bytes) if cost else "",
        "peak memory": size_text(cost.peak_memory_bytes) if cost else "",
        "tokens/s": f"{cost.tokens_per_second:,.0f}" if cost else "",
        "to quality": quality_text(row),
    }
    yield from ((name, texts[name]) for name in cost_names(result))


def direction_mark(found: SettingImportance) -> str:
    """An arrow where scores rise or fall with a number; empty for a choice and for no clear direction."""
    if found.direction is None or abs(found.direction) < 0.3:
        return ""
    return "↗ " if found.direction > 0 else "↘ "


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
