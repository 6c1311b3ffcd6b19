"""Fine-tune a retriever with retrieved in-context examples, against the base and against the same without (RARe).

    fetch ─┬─ mine_examples ── pair_examples ── train ─┬─ embed passages ── build_index ─┐
           │                                           └─ embed queries (with examples) ─┴─ evaluate ─┐
           ├─ pair_examples (no examples) ── train ── … same rows, same number of steps … ── evaluate ─┼─ report
           └─ embed with the base ── build_index ───────────────────────────────────────── evaluate ─┘

Paper: arXiv:2410.20088. Only the query side carries examples; document vectors are an ordinary index.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from descant.adapters import Spectral
from descant.core.measures import MeasureName
from descant.core.spec import Spec
from descant.data import AnyRetrievalSource
from descant.indexes import AnyIndex
from descant.indexes.exact import Exact
from descant.models.encoder import EncoderSpec
from descant.run.job import Job, RegisterModel, Results
from descant.selection import AnySelector
from descant.stages.base import Step
from descant.stages.compute_bases import BASES, ComputeBases
from descant.stages.fetch import Fetch
from descant.stages.mine_examples import MineExamples
from descant.stages.mined import mined
from descant.stages.pair_examples import PairExamples
from descant.stages.report import Report, content_of
from descant.stages.report_table import terminal_table
from descant.stages.retrieval_steps import RetrievalTest, TrainingTask
from descant.stages.train import Train
from descant.stages.training.settings import TrainSettings

BASE = "base"
PLAIN = "fine-tuned without examples"
RARE = "fine-tuned with examples"


class Examples(Spec):
    """Where in-context examples come from."""

    selector: AnySelector
    """How they are chosen among the training queries."""
    k: int = Field(5, ge=1, le=64)
    """Examples per query, in training and at test time (arXiv:2410.20088, section 4.1: 5)."""
    leak_filter: bool = True
    """Never show a passage that is judged relevant for the query itself."""
    also_unfiltered: bool = False
    """Evaluate a second time without the leak filter at test time, to see what it is worth."""


class FinetuneRetriever(Job):
    """Fine-tune a retriever with in-context examples and compare it with its base."""

    job: Literal["finetune_retriever"] = "finetune_retriever"
    """This job."""
    task: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """A short name of the task, shown in the report."""
    data: AnyRetrievalSource
    """The corpus, its queries and judgements."""
    encoder: EncoderSpec
    """The base encoder, with the prompt that training and evaluation share."""
    examples: Examples
    """In-context examples."""
    training: TrainSettings
    """Optimisation, method and loss."""
    train_on: tuple[TrainingTask, ...] = ()
    """What to train on; the training split of ``data`` if left out."""
    max_rows: int | None = Field(None, ge=1)
    """Of the training split of ``data``, train on at most this many queries."""
    compare_without_examples: bool = True
    """Also train without examples on the same rows and steps: what examples are worth beyond fine-tuning."""
    index: AnyIndex = Exact()
    """The index that answers the test queries."""
    measures: tuple[MeasureName, ...] = ("ndcg_at_10", "recall_at_100", "mrr_at_10")
    """What is reported; the first one decides about registration."""
    top_k: int = Field(100, ge=1)
    """Passages retrieved per query."""
    passages_per_part: int = Field(512, ge=1)
    """Passages encoded, and lost on a kill, at a time."""
    strict: bool = False
    """Refuse data with training queries in the test split, instead of reporting them."""
    register_as: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9-]{2,62}$")
    """Name in the model registry; not registered if left out."""

    @model_validator(mode="after")
    def _splits_are_there(self) -> Self:
        needed = ("test",) if self.train_on else ("train", "test")
        missing = [split for split in needed if split not in self.data.splits()]
        if missing:
            raise ValueError(f"data of kind {self.data.kind} has no {' and no '.join(missing)} split")
        return self

    def steps(self) -> Mapping[str, Step]:
        """One evaluation per system, and the report over them."""
        data = self._fetched(self.task, self.data)
        systems = {BASE: self._evaluated(data, "base")}
        trained: dict[str, Step] = {}
        if self.compare_without_examples:
            trained[PLAIN] = self._trained("without examples")
            systems[PLAIN] = self._evaluated(data, "without examples", trained[PLAIN])
        mined = self._mined(self.task, data, "test", leak_filter=self.examples.leak_filter)
        trained[RARE] = self._trained("with examples")
        systems[RARE] = self._evaluated(data, "with examples", trained[RARE], mined)
        if self.examples.also_unfiltered:
            unfiltered = self._mined(self.task, data, "test", leak_filter=False)
            name = f"{RARE}, leaks not filtered"
            systems[name] = self._evaluated(data, "leaks not filtered", trained[RARE], unfiltered)
        report = Step(
            "write the report",
            self._report(),
            {"data": data}
            | {f"trained: {name}": step for name, step in trained.items()}
            | {f"system: {name}": step for name, step in systems.items()},
        )
        return {**systems, **{f"trained: {name}": step for name, step in trained.items()}, "report": report}

    def summary(self, results: Results) -> Sequence[Any]:
        """The table of systems and where the report lies."""
        report = results.artifacts["report"]
        table = terminal_table(content_of(self._report(), results.inputs_of("report")))
        return [table, f"\nreport      {report.path('report') / 'report.html'}"]

    def registration(self) -> RegisterModel | None:
        """The model with examples, judged by its first measure against the base."""
        if self.register_as is None:
            return None
        return RegisterModel(self.register_as, f"trained: {RARE}", RARE, BASE, self.measures[0])

    def _report(self) -> Report:
        pairs = ((RARE, PLAIN),) if self.compare_without_examples else ()
        return Report(task=self.task, baseline=BASE, also_compare=pairs, seed=self.seed)

    def _fetched(self, task: str, source: AnyRetrievalSource) -> Step:
        stage = Fetch(source=source, passages_per_part=self.passages_per_part, strict=self.strict)
        return Step(f"fetch {task}", stage)

    def _mined(
        self, task: str, data: Step, split: Literal["train", "test"], *, leak_filter: bool = True
    ) -> Step:
        """The examples of the queries of ``split``, out of the training queries of the same data."""
        stage = MineExamples(
            selector=self.examples.selector,
            k=self.examples.k,
            splits=(split,),
            leak_filter=leak_filter,
            seed=self.seed,
        )
        unfiltered = "" if leak_filter else ", leaks not filtered"
        label = f"mine examples for {task} {split}{unfiltered}"
        return mined(label, stage, data, encoder=self.encoder, task=task)

    def _trained(self, label: Literal["with examples", "without examples"]) -> Step:
        """The training; without examples it sees the same rows in the same number of steps."""
        own = TrainingTask(task=self.task, data=self.data, max_rows=self.max_rows)
        tasks = self.train_on or (own,)
        rows = {f"rows: {task.task}": self._rows(task, label) for task in tasks}
        share = {} if label == "with examples" else {"share_with_examples": 0.0}
        settings = self.training.seeded(self.seed).model_copy(update=share)
        return Step(
            f"train {label}", Train(encoder=self.encoder, settings=settings), {**rows, **self._bases()}
        )

    def _bases(self) -> Mapping[str, Step]:
        """The singular vectors of the base's weights, where the method trains between them."""
        method = self.training.method
        if not isinstance(method, Spectral):
            return {}
        stage = ComputeBases(
            model=self.encoder.model, precision=self.encoder.precision, target_modules=method.target_modules
        )
        return {BASES: Step("decompose the weights", stage)}

    def _rows(self, task: TrainingTask, label: str) -> Step:
        data = self._fetched(task.task, task.data)
        mined = {"examples": self._mined(task.task, data, "train")} if label == "with examples" else {}
        stage = PairExamples(
            encoder=self.encoder.instructed(task.instruction),
            task=task.task,
            max_rows=task.max_rows,
            num_negatives=self.training.num_negatives,
            seed=self.seed,
        )
        return Step(f"{task.task} rows {label}", stage, {"data": data} | mined)

    def _evaluated(
        self, data: Step, label: str, trained: Step | None = None, mined: Step | None = None
    ) -> Step:
        model = {"model": trained, **self._bases()} if trained is not None else {}
        where = "base" if trained is None else trained.label.removeprefix("train ")
        test = RetrievalTest(index=self.index, measures=self.measures, top_k=self.top_k, seed=self.seed)
        return test.scored(self.encoder, data, label, model, where=where, examples=mined)
