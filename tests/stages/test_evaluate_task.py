"""Evaluation of tasks, in the calling process: every row against the models' own functions, resume, and refusals."""

import io
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sentencepiece import SentencePieceProcessor

from descant.adapters import Lora
from descant.artifacts.commit import publish
from descant.artifacts.models import TinyModel
from descant.artifacts.store import Artifact, Store
from descant.artifacts.tables import read_table, write_table
from descant.core.errors import ConfigError, NumericsError
from descant.data.pieces import Pieces
from descant.evaluators.overlap import chrf_counts
from descant.models.causal import CausalSpec, load_causal
from descant.models.classifier import ClassifierSpec
from descant.models.classify import load_classifier
from descant.models.generate import Decoding, generate
from descant.models.images import ImageInput
from descant.models.likelihood import bits_per_byte, log_likelihoods
from descant.models.trained import save_trained
from descant.run.profile import Profile
from descant.stages.base import Outcome, Stage, StageContext, Step
from descant.stages.evaluate_task import EvaluateTask, ScoreCompute, TaskMeasure, scores_by_id
from descant.stages.probe_forgetting import ProbeForgetting, ProbeText
from descant.stages.score_overlap import overlap_counts
from descant.tasks.rows import ClassificationRow, Family, ImageRow, TaskRow, TextRow, rows_table
from tests.pipeline import made

HERE = ScoreCompute(workers=0, tokens_per_batch=256)
PROFILE = Profile(evaluate_task=HERE, probe_forgetting=HERE)
BERT = ClassifierSpec(model=TinyModel(), pooling="cls", max_tokens=32)
VIT = ClassifierSpec(
    model=TinyModel(architecture="vit"),
    pooling="mean",
    image=ImageInput(size=16, mean=(0.5,) * 3, std=(0.5,) * 3),
)
LLAMA = CausalSpec(model=TinyModel(architecture="llama"), max_tokens=64)
WORDS = (
    "the",
    "sun",
    "water",
    "cell",
    "energy",
    "light",
    "heat",
    "force",
    "earth",
    "plant",
    "animal",
    "body",
)


class Rows(Stage):
    """A prepared task of ``num`` rows drawn from a few words."""

    name: ClassVar[str] = "prepare_task"

    family: Family
    facts: dict[str, Any]
    num: int = 5

    def run(self, context: StageContext) -> Outcome:
        table = rows_table(self.family, [self.row(i) for i in range(self.num)])
        publish(context.folder, "test", lambda p: write_table(table, p), rows=self.num, suffix=".parquet")
        return Outcome(["test"], {"family": self.family, **self.facts})

    def row(self, i: int) -> TaskRow:
        generator = np.random.default_rng(i)
        one, two = (" ".join(generator.choice(WORDS, size=n)) for n in (3, 6))
        if self.family == "classification":
            return ClassificationRow(str(i), one, two if i % 2 else None, i % 3)
        if self.family == "image":
            stream = io.BytesIO()
            pixels = generator.integers(256, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(stream, "PNG")
            return ImageRow(str(i), stream.getvalue(), i % 3)
        choices = tuple(f" {word}" for word in generator.choice(WORDS, size=4, replace=False))
        return TextRow(str(i), f"{one}:", choices[i % 4], choices[i % 4].strip(), choices, i % 4, one)


CLASSES = Rows(family="classification", facts={"labels": ["a", "b", "c"]})
IMAGES = Rows(family="image", facts={"labels": ["a", "b", "c"]})
CHOICES = Rows(family="text", facts={"scored_by": "likelihood", "answer_form": "text"})
ANSWERS = Rows(family="text", facts={"scored_by": "generation", "answer_form": "text"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def evaluated(
    rows: Rows, model: Any, *measures: TaskMeasure, inputs: dict[str, Step] | None = None, **more: Any
) -> Step:
    stage = EvaluateTask(model=model, split="test", measures=measures, seed=1, **more)
    return Step("evaluate", stage, {"data": Step("data", rows), **(inputs or {})})


def scored(artifact: Artifact) -> list[dict[str, Any]]:
    return [row for name in artifact.names("rows-") for row in read_table(artifact.path(name)).to_pylist()]


@pytest.mark.parametrize(("rows", "spec"), [(CLASSES, BERT), (IMAGES, VIT)], ids=["text", "image"])
def test_class_of_each_row_is_its_highest_logit(rows: Rows, spec: ClassifierSpec, store: Store) -> None:
    result = made(evaluated(rows, spec, "accuracy", "macro_f1", "matthews"), store, PROFILE)["evaluate"]
    found = scored(result)
    inputs = []
    for row in map(rows.row, range(rows.num)):
        if isinstance(row, ImageRow):
            inputs.append(row.image)
        elif isinstance(row, ClassificationRow):
            inputs.append((row.text, row.pair) if row.pair else row.text)  # type: ignore[arg-type]
    logits = load_classifier(spec, 3, seed=1).logits(inputs)
    assert [one["prediction"] for one in found] == ["abc"[i] for i in logits.argmax(axis=1)]
    assert [one["gold"] for one in found] == ["a", "b", "c", "a", "b"]
    for one, row in zip(found, logits, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        assert np.exp(one["log_likelihoods"]) == pytest.approx(p, rel=1e-5)
        assert one["nll"] == pytest.approx(-math.log(p["abc".index(one["gold"])]), rel=1e-5)
    facts = result.manifest.facts
    assert facts["accuracy"] == np.mean([one["correct"] for one in found])
    assert facts["macro_f1_low"] <= facts["macro_f1"] <= facts["macro_f1_high"]
    assert scores_by_id(result, "matthews") == {one["id"]: float(one["correct"]) for one in found}


def test_choice_of_each_row_is_its_likeliest(store: Store) -> None:
    step = evaluated(CHOICES, LLAMA, "accuracy", "accuracy_per_byte", "bits_per_byte")
    result = made(step, store, PROFILE)["evaluate"]
    model = load_causal(LLAMA)
    bits, num_bytes = 0.0, 0
    for one, row in zip(scored(result), map(CHOICES.row, range(5)), strict=True):
        assert isinstance(row, TextRow)
        sums = [log_likelihoods(model, [(row.prompt, choice)])[0].log_likelihood for choice in row.choices]
        assert one["log_likelihoods"] == pytest.approx(sums, abs=1e-5)
        assert one["prediction"] == row.choices[int(np.argmax(sums))]
        per_byte = [value / len(choice.strip()) for value, choice in zip(sums, row.choices, strict=True)]
        assert one["correct_per_byte"] == (int(np.argmax(per_byte)) == row.gold)
        assert one["nll"] == pytest.approx(-sums[row.gold], abs=1e-5)
        bits += one["nll"] / math.log(2)
        num_bytes += len(row.response)
    facts = result.manifest.facts
    assert facts["bits_per_byte"] == pytest.approx(bits / num_bytes)
    assert (facts["rows"], facts["cut"]) == (5, 0)
    assert "generated_tokens" not in facts


def test_answer_of_each_row_is_what_was_generated_for_it(store: Store) -> None:
    decoding = Decoding(max_new_tokens=6, temperature=1.0, seed=4)
    step = evaluated(ANSWERS, LLAMA, "exact_match", decoding=decoding)
    result = made(step, store, PROFILE)["evaluate"]
    model = load_causal(LLAMA)
    for one, row in zip(scored(result), map(ANSWERS.row, range(5)), strict=True):
        assert isinstance(row, TextRow)
        (expected,) = generate(model, [row.prompt], decoding, keys=[row.id])
        assert one["text"] == expected.text
        assert one["correct"] == (
            " ".join(expected.text.casefold().split()).strip(" .,;:!?\"'") == row.answer
        )
    assert 5 <= result.manifest.facts["generated_tokens"] <= 30
    assert result.manifest.facts["tokens_per_second"] > 0


LINES = Rows(family="text", facts={"scored_by": "generation", "answer_form": "verbatim"})
ONE_LINE = Decoding(max_new_tokens=8, stop=("\n",))


def test_overlap_of_a_corpus_is_that_of_its_generated_lines(store: Store, pieces_path: Path) -> None:
    step = evaluated(LINES, LLAMA, "chrf", "spbleu", decoding=ONE_LINE, pieces=Pieces(path=str(pieces_path)))
    result = made(step, store, PROFILE)["evaluate"]
    rows = scored(result)
    assert [row["text"].strip() for row in rows] == [row["prediction"] or "" for row in rows]
    texts, references = ([row[name] or "" for row in rows] for name in ("prediction", "gold"))
    expected = CHRF(word_order=2).corpus_score(texts, [references]).score / 100
    facts = result.manifest.facts
    assert facts["chrf"] == pytest.approx(expected, abs=1e-12)
    processor = SentencePieceProcessor(model_file=str(pieces_path))
    cut = [[" ".join(processor.encode(one, out_type=str)) for one in side] for side in (texts, references)]
    bleu = BLEU(tokenize="none", force=True).corpus_score(cut[0], [cut[1]]).score / 100
    assert facts["spbleu"] == pytest.approx(bleu, abs=1e-12)
    assert facts["chrf_low"] <= facts["chrf"] <= facts["chrf_high"]
    assert set(scores_by_id(result, "chrf")) == {row["id"] for row in rows}
    ids, counts_nk = overlap_counts(result, "chrf")
    assert ids == [row["id"] for row in rows]
    assert counts_nk.tolist() == [chrf_counts(*pair).tolist() for pair in zip(texts, references, strict=True)]


def test_line_without_a_stop_string_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="names no string at which an answer ends"):
        made(evaluated(LINES, LLAMA, "chrf", decoding=Decoding(max_new_tokens=8)), store, PROFILE)


def test_measures_of_overlap_are_no_measures_of_final_answers(store: Store) -> None:
    with pytest.raises(ConfigError, match="measure chrf"):
        made(evaluated(ANSWERS, LLAMA, "chrf", decoding=ONE_LINE), store, PROFILE)


def test_pieces_go_with_spbleu_alone(pieces_path: Path) -> None:
    with pytest.raises(ValidationError, match="go together"):
        evaluated(LINES, LLAMA, "spbleu", decoding=ONE_LINE)
    with pytest.raises(ValidationError, match="go together"):
        evaluated(LINES, LLAMA, "chrf", decoding=ONE_LINE, pieces=Pieces(path=str(pieces_path)))


def test_generated_texts_are_counted_and_timed(store: Store) -> None:
    facts = made(evaluated(LINES, LLAMA, "chrf", decoding=ONE_LINE), store, PROFILE)[
        "evaluate"
    ].manifest.facts
    prompts = [row.prompt for row in map(LINES.row, range(5)) if isinstance(row, TextRow)]
    answers = generate(load_causal(LLAMA), prompts, ONE_LINE, keys=list("01234"))
    assert facts["generated_bytes"] == sum(len(one.text.encode()) for one in answers)
    assert facts["examples_per_second"] > 0
    assert facts["bytes_per_second"] > 0
    assert "new_token_share" not in facts


def test_pieces_that_are_not_set_leave_the_address() -> None:
    assert "pieces" not in evaluated(LINES, LLAMA, "chrf", decoding=ONE_LINE).stage.identity()


@pytest.mark.parametrize("by", ["likelihood", "generation"])
def test_bits_alone_choose_and_generate_nothing_and_are_the_same(store: Store, by: str) -> None:
    rows, decoding = (CHOICES, None) if by == "likelihood" else (ANSWERS, Decoding(max_new_tokens=2))
    other: TaskMeasure = "accuracy" if by == "likelihood" else "exact_match"
    both = made(evaluated(rows, LLAMA, "bits_per_byte", other, decoding=decoding), store, PROFILE)["evaluate"]
    alone = made(evaluated(rows, LLAMA, "bits_per_byte", decoding=decoding), store, PROFILE)["evaluate"]
    assert scores_by_id(alone, "bits_per_byte") == pytest.approx(scores_by_id(both, "bits_per_byte"))
    for one in scored(alone):
        assert one["prediction"] is one["text"] is one["log_likelihoods"] is one["correct"] is None
    assert "generated_tokens" not in alone.manifest.facts


def test_rows_of_many_parts_are_the_rows_of_the_data(store: Store) -> None:
    rows = CLASSES.model_copy(update={"num": 600})
    result = made(evaluated(rows, BERT, "accuracy"), store, PROFILE)["evaluate"]
    assert result.names() == ["rows-00000", "rows-00001", "rows-00002"]
    assert [one["id"] for one in scored(result)] == [str(i) for i in range(600)]


class Trained(Stage):
    """A model whose head says the opposite, or whose numbers are broken."""

    name: ClassVar[str] = "train_task"

    spec: ClassifierSpec
    factor: float

    def run(self, context: StageContext) -> Outcome:
        classifier = load_classifier(self.spec, 3, seed=1)
        classifier.backbone = Lora(r=2).attach(classifier.backbone, seed=1)
        draft = context.folder.parent / "draft"
        Lora(r=2).save(
            classifier.backbone,
            draft,
            {n: p for n, p in classifier.backbone.named_parameters() if p.requires_grad},
        )
        head = {n: v * self.factor for n, v in classifier.head.state_dict().items()}

        def write(path: Path) -> None:
            save_trained(path, self.spec, adapter=draft, head=head, labels=["a", "b", "c"])

        publish(context.folder, "model", write, rows=0)
        return Outcome(["model"], {})


def test_trained_model_is_the_one_that_is_scored(store: Store) -> None:
    base = made(evaluated(CLASSES, BERT, "accuracy"), store, PROFILE)["evaluate"]
    step = Step("model", Trained(spec=BERT, factor=-1))
    trained = made(evaluated(CLASSES, BERT, "accuracy", inputs={"model": step}), store, PROFILE)["evaluate"]
    for before, after in zip(scored(base), scored(trained), strict=True):
        one, other = np.array(before["log_likelihoods"]), np.array(after["log_likelihoods"])
        assert one - one.mean() == pytest.approx(-(other - other.mean()), abs=1e-5)


def test_likelihood_that_is_not_finite_stops_the_stage(store: Store) -> None:
    step = Step("model", Trained(spec=BERT, factor=1e39))
    with pytest.raises(NumericsError, match="not finite"):
        made(evaluated(CLASSES, BERT, "accuracy", inputs={"model": step}), store, PROFILE)


@pytest.mark.parametrize(
    ("rows", "model", "measure", "more", "match"),
    [
        (CHOICES, BERT, "accuracy", {}, "family text"),
        (CLASSES, LLAMA, "accuracy", {}, "family classification"),
        (CLASSES, BERT, "exact_match", {}, "exact_match"),
        (ANSWERS, LLAMA, "accuracy", {}, "scored by generation"),
        (CHOICES, LLAMA, "accuracy", {"decoding": Decoding(max_new_tokens=3)}, "scored by likelihood"),
        (CHOICES, LLAMA, "macro_f1", {}, "macro_f1"),
    ],
)
def test_model_measure_or_decoding_that_does_not_fit_the_task_is_refused(
    rows: Rows, model: Any, measure: TaskMeasure, more: dict[str, Any], match: str, store: Store
) -> None:
    with pytest.raises(ConfigError, match=match):
        made(evaluated(rows, model, measure, **more), store, PROFILE)


def test_probe_equals_bits_per_byte_of_its_texts(store: Store, tmp_path: Path) -> None:
    texts = ["the sun is a star", "water in the cells of plants and animals", "never reached"]
    path = tmp_path / "probe.jsonl"
    path.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    stage = ProbeForgetting(
        model=LLAMA.model_copy(update={"max_tokens": 8}),
        text=ProbeText(path=str(path), max_bytes=20),
        stride=4,
        seed=1,
    )
    facts = made(Step("probe", stage), store, PROFILE)["probe"].manifest.facts
    expected = bits_per_byte(load_causal(LLAMA), texts[:2], max_tokens=8, stride=4)
    assert facts["bits_per_byte"] == pytest.approx(expected, rel=1e-6)
    assert (facts["texts"], facts["bytes"]) == (2, len(texts[0]) + len(texts[1]))
    assert facts["bits_per_byte_low"] <= facts["bits_per_byte"] <= facts["bits_per_byte_high"]


def test_probe_without_context_is_refused() -> None:
    with pytest.raises(ValidationError, match="leaves no context"):
        ProbeForgetting(model=LLAMA, text=ProbeText(path="x"), stride=64, seed=1)
