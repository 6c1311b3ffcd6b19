"""Times, memory and storage: against what the quickstart took, a count by hand, and what must not change."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.run.scale.estimate import Estimate, estimate
from descant.run.scale.memory import activation_bytes, held, state_bytes
from descant.run.scale.question import load_question
from descant.run.scale.sizes import num_parts, num_shards
from descant.run.scale.storage import stored

ROOT = Path(__file__).parents[3]
SCALE = ROOT / "clusters" / "scale"
QUICKSTART, MS_MARCO, BILLION = (
    SCALE / f"{name}.yaml" for name in ("quickstart_2_cores", "ms_marco_7b", "one_billion")
)
WITHIN = 1.5
"""How far an estimate may be from what was measured, either way."""


def seconds_of(found: Estimate, name: str) -> float:
    return next(stage.seconds for stage in found.stages if stage.name == name)


def in_readme(step: str) -> float:
    """Seconds of a step of the quickstart as README.md shows them."""
    match = re.search(
        rf"^\[.*\] {re.escape(step)} +([\d.]+) s", (ROOT / "README.md").read_text("utf-8"), re.M
    )
    assert match, f"README.md has no step {step!r}"
    return float(match.group(1))


def ratio(estimated: float, measured: float) -> float:
    return max(estimated / measured, measured / estimated)


STEPS = [
    ("embed passages", "embed passages, with examples"),
    ("embed queries", "embed queries, with examples"),
    ("train", "train with examples"),
]


@pytest.mark.parametrize(("stage", "step"), STEPS)
def test_estimate_of_the_quickstart_is_near_what_it_took(stage: str, step: str) -> None:
    found = estimate(load_question(QUICKSTART))
    assert ratio(seconds_of(found, stage), in_readme(step)) < WITHIN


def test_estimate_of_the_quickstart_without_a_start_is_not_near() -> None:
    question = load_question(QUICKSTART, ["rates.model_start_seconds.value=0.1"])
    assert ratio(seconds_of(estimate(question), STEPS[0][0]), in_readme(STEPS[0][1])) > WITHIN


@settings(max_examples=20, deadline=None)
@given(times=st.integers(2, 50))
def test_more_documents_take_longer_in_proportion(times: int) -> None:
    one = load_question(MS_MARCO)
    more = load_question(MS_MARCO, [f"corpus.documents={times * one.corpus.documents}"])
    first, second = (
        next(stage for stage in estimate(q).stages if stage.name == "embed passages") for q in (one, more)
    )
    assert second.computing == pytest.approx(times * first.computing)
    assert second.moving == pytest.approx(times * first.moving)
    assert second.start == first.start


def test_twice_the_devices_compute_in_half_the_time_and_cost_the_same_but_for_starting() -> None:
    few, many = (estimate(load_question(MS_MARCO, [f"cluster.devices={devices}"])) for devices in (64, 128))
    for name in ("train", "embed passages"):
        one, two = (next(s for s in found.stages if s.name == name) for found in (few, many))
        assert two.computing == pytest.approx(one.computing / 2)
        assert many.cost(two.computing) == pytest.approx(few.cost(one.computing))
        assert two.start == one.start


def test_operations_of_embedding_are_two_for_each_weight_and_token() -> None:
    """8,841,823 texts of 80 tokens through 6.98 billion weights on 64 x 395.6 TFLOP/s, attention another 0.3 %."""
    stage = next(s for s in estimate(load_question(MS_MARCO)).stages if s.name == "embed passages")
    by_hand = 8_841_823 * 80 * (2 * 6_979_321_856 + 4 * 80 * 4096 * 32) / (64 * 0.4 * 989e12)
    assert stage.computing == pytest.approx(by_hand)


def test_failures_and_cost_follow_from_device_hours() -> None:
    found = estimate(load_question(BILLION))
    assert found.device_hours(3600) == 512
    assert found.cost(7200) == 512 * 2 * 2.5
    assert found.failures(3600) == pytest.approx(512 * 1.97e-5)
    assert found.seconds == pytest.approx(sum(stage.seconds for stage in found.stages))


def test_long_training_is_saved_at_the_best_interval_and_loses_what_the_formula_says() -> None:
    changed = ["training.epochs=100000", "training.contrast_batch=512", "cluster.devices=512"]
    saved = estimate(load_question(MS_MARCO, changed)).checkpointing
    assert saved.formula == pytest.approx(0.986, abs=0.001)
    assert saved.played.effective_share == pytest.approx(saved.formula, abs=0.02)
    assert saved.steps_between * saved.played.work / saved.steps == pytest.approx(saved.interval, rel=0.01)


def test_short_training_is_saved_at_its_end_alone() -> None:
    saved = estimate(load_question(MS_MARCO)).checkpointing
    assert saved.formula is None
    assert saved.steps_between == saved.steps == 983


FULL = ["training.trained=all", "training.adapter_parameters=0"]


@pytest.mark.parametrize(
    ("zero", "bytes_each"), [(0, 16), (1, 2 + 2 + 12 / 64), (2, 2 + 14 / 64), (3, 16 / 64)]
)
def test_state_of_a_full_training_is_sixteen_bytes_a_parameter_shared_out_by_zero(
    zero: int, bytes_each: float
) -> None:
    question = load_question(MS_MARCO, [*FULL, f"training.zero={zero}"])
    assert state_bytes(question) == pytest.approx(bytes_each * question.encoder.parameters)


def test_frozen_base_takes_its_own_bytes_and_an_adapter_sixteen() -> None:
    question = load_question(MS_MARCO, ["training.zero=0"])
    assert state_bytes(question) == 2 * question.encoder.parameters + 16 * 41_943_040


def test_full_training_of_seven_billion_does_not_fit_a_gpu_without_zero() -> None:
    def fits(zero: int) -> bool:
        question = load_question(MS_MARCO, [*FULL, f"training.zero={zero}"])
        return all(one.fits for one in held(question) if one.what.startswith("train"))

    assert [fits(zero) for zero in range(4)] == [False, True, True, True]


def test_recomputing_keeps_less() -> None:
    question = load_question(MS_MARCO)
    assert activation_bytes(question, True) < activation_bytes(question, False) / 5


def test_storage_counts_every_part_and_the_vectors_twice() -> None:
    question = load_question(BILLION)
    assert (num_parts(question), num_shards(question)) == (100_000, 1_000)
    by_name = {row.name: row for row in stored(question)}
    assert by_name["vectors"].num_bytes == 4 * 4096 * 10**9
    assert by_name["vectors"].manifest_bytes == pytest.approx(32.3e6, rel=0.01)
    centroids = 1_000 * 4 * 4096 * 16_384
    assert by_name["index shards and their ids"].num_bytes == 4 * 4096 * 10**9 + centroids


def test_driver_too_small_for_a_billion_ids_is_seen() -> None:
    question = load_question(BILLION, ["cluster.driver_gigabytes=128"])
    short = [one.what for one in held(question) if not one.fits]
    assert "fetch: the check of ids" in short
    assert all(one.where == "driver" for one in held(question) if not one.fits)


def test_centroids_take_as_long_whatever_the_workers_and_assigning_does_not() -> None:
    few, many = (
        estimate(load_question(BILLION, [f"cluster.cpu_workers={workers}"])) for workers in (100, 200)
    )
    # 20 rounds, 256 vectors a list, 16,384 lists, 4,096 dimensions, 318 GFLOP/s; a billion vectors at 500 MB/s
    by_hand = 2 * 20 * 256 * 16_384 * 16_384 * 4_096 / 318e9 + 4 * 4_096 * 1e9 / 500e6
    assert seconds_of(few, "train centroids") == seconds_of(many, "train centroids") == pytest.approx(by_hand)
    one, two = (next(s for s in found.stages if s.name == "build index") for found in (few, many))
    assert one.computing == pytest.approx(2 * two.computing)
    assert one.computing == pytest.approx(2e9 * 16_384 * 4_096 / (100 * 318e9))


def test_examples_that_are_not_wanted_are_not_mined() -> None:
    without = estimate(load_question(MS_MARCO, ["queries.k=0"]))
    assert "mine examples" not in [stage.name for stage in without.stages]
    assert seconds_of(without, "train") < seconds_of(estimate(load_question(MS_MARCO)), "train")
