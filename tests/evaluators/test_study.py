import dataclasses
import json

import pytest

from descant.core.errors import DataError, NumericsError
from descant.evaluators.study import Budget, Study, from_json, to_json
from tests.synthetic_study import synthetic_study


def small() -> Study:
    return synthetic_study(num_rows=5, num_seeds=1, num_trials=2)


def test_study_survives_its_json_form() -> None:
    assert from_json(to_json(small())) == small()


def test_equal_studies_give_equal_bytes() -> None:
    assert to_json(from_json(to_json(small()))) == to_json(small())
    whole, decimal = (dataclasses.replace(small(), budget=Budget("trials", n)) for n in (8, 8.0))
    assert to_json(whole) == to_json(decimal)


def test_json_has_sorted_keys() -> None:
    content = json.loads(to_json(small()))
    assert list(content["study"]) == sorted(content["study"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_of_a_number_that_is_not_finite_is_refused(value: float) -> None:
    study = small()
    trial = dataclasses.replace(study.entries[0].trials[0], setting={"learning_rate": value})
    entry = dataclasses.replace(study.entries[0], trials=(trial,))
    with pytest.raises(NumericsError):
        to_json(dataclasses.replace(study, entries=(entry,)))


@pytest.mark.parametrize(
    ("old", "new"), [(b'"format": 1', b'"format": 2'), (b'"seed": 17', b'"sed": 17'), (b'"asha"', b"3")]
)
def test_json_of_another_shape_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(DataError, match="E-STUDY-JSON"):
        from_json(to_json(small()).replace(old, new))
