"""Specs refuse what they do not declare, and say where it stands."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from descant.core.errors import ConfigError
from descant.core.spec import Compute, Spec, build_spec, expand_variables, with_overrides
from descant.core.yaml_file import parse_yaml


class Small(Spec):
    kind: Literal["small"] = "small"
    rank: int = Field(4, ge=1, le=64)


class Large(Spec):
    kind: Literal["large"] = "large"
    width: float = 1.0


class Recipe(Spec):
    learning_rate: float = Field(gt=0)
    name: str = "x"
    method: Annotated[Small | Large, Field(discriminator="kind")] = Small()
    parts: tuple[Small, ...] = ()
    api_key: int = 0


def build(text: str, *overrides: str) -> Recipe:
    return build_spec(Recipe, with_overrides(parse_yaml(text, Path("r.yaml")), overrides))


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("learing_rate: 1\nlearning_rate: 1", "r.yaml:1", "did you mean 'learning_rate'"),
        ("learning_rate: 1\nmethod: {kind: small, rnk: 3}", "r.yaml:2", "'method.rnk'; did you mean 'rank'"),
        ("learning_rate: 1\nparts:\n  - {rank: 1}\n  - {rank: 100}", "r.yaml:4", "parts.1.rank = 100"),
        ("learning_rate: -1", "r.yaml:1", "greater than 0"),
        ("learning_rate: .nan", "r.yaml:1", "finite"),
        ("learning_rate: .inf", "r.yaml:1", "finite"),
        ("name: z", "r.yaml:1", "'learning_rate' is required"),
        ("learning_rate: 1\nname: 1.10", "r.yaml:2", r"1.1 \(float\).*quote it"),
        ("learning_rate: 1\nname: true", "r.yaml:2", "quote it"),
        ("learning_rate: 1\nmethod: {kind: medium}", "r.yaml:2", "'small', 'large'"),
        ("learning_rate: 1\nmethod: {rank: 2}", "r.yaml:2", "'method.kind' is required"),
    ],
)
def test_bad_value_names_file_line_key_and_remedy(text: str, where: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(text)
    assert caught.value.where == where
    assert caught.value.exit_code == 2


def test_secret_looking_value_is_never_echoed() -> None:
    with pytest.raises(ConfigError) as caught:
        build("learning_rate: 1\napi_key: hunter2")
    assert "hunter2" not in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        build("learning_rate: 0\nnmae: x\nmethod: {kind: small, rank: 0}")
    assert all(text in str(caught.value) for text in ("learning_rate", "nmae", "method.rank"))


def test_exponent_without_a_dot_becomes_a_float() -> None:
    assert build("learning_rate: 1e-5").learning_rate == 1e-5


@pytest.mark.parametrize(
    ("override", "expected"),
    [("method.rank=8", 8), ("method={kind: small, rank: 9}", 9), ("parts=[{rank: 2}]", 4)],
)
def test_override_is_parsed_as_yaml_and_validated(override: str, expected: int) -> None:
    assert build("learning_rate: 1\nmethod: {kind: small, rank: 4}", override).method == Small(rank=expected)


def test_override_of_an_unknown_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'rank'"):
        build("learning_rate: 1", "method.kind=small", "method.rnk=8")


def test_spec_is_frozen_and_compute_is_its_own_kind() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Small().rank = 3  # type: ignore[misc]
    assert not issubclass(Compute, Spec)


def test_environment_variable_outside_the_list_is_refused_without_reading_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(ConfigError) as caught:
        build("learning_rate: 1\nname: ${AWS_SECRET_ACCESS_KEY}")
    assert caught.value.where == "r.yaml:2"
    assert "hunter2" not in str(caught.value)


def test_allowed_variable_is_expanded_at_use_and_kept_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCANT_DATA", "/packs")
    assert build("learning_rate: 1\nname: '${DESCANT_DATA}/a'").name == "${DESCANT_DATA}/a"
    assert expand_variables("${DESCANT_DATA}/a") == "/packs/a"
