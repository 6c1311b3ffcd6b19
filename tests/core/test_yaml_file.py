"""YAML that could be misunderstood is refused with its line."""

import contextlib
import resource
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.core.errors import ConfigError
from descant.core.yaml_file import parse_yaml, read_yaml

HERE = Path("recipe.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("10", 10),
        ("-3", -3),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("1.10", 1.1),
        ("'no'", "no"),
        ("'0123'", "0123"),
        ("plain text", "plain text"),
        ("2026-01-01", "2026-01-01"),
        ("=", "="),
    ],
)
def test_scalar_is_read_by_yaml_1_2_rules(text: str, value: object) -> None:
    found = parse_yaml(f"key: {text}", HERE).values["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["no", "Yes", "on", "OFF", "0123", "12:30:45", "1_000", "0x1F", "-012"])
def test_scalar_that_yaml_versions_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="quote it") as caught:
        parse_yaml(f"a: 1\nlang: {text}", HERE)
    assert caught.value.exit_code == 2
    assert "recipe.yaml:2" in caught.value.where
    assert "lang" in caught.value.where


def test_duplicate_key_names_both_lines() -> None:
    with pytest.raises(ConfigError, match="first on line 1 and again on line 3"):
        parse_yaml("a: 1\nb: 2\na: 3", HERE)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('x: !!python/object/apply:os.system ["touch C"]', "tag"),
        ("x: !custom 1", "tag"),
        ("a: &anchor [1]\nb: *anchor", "alias"),
        ("- 1\n- 2", "key: value"),
        ("a: [1, 2", "not valid YAML"),
        ("? [1, 2]\n: 3", "plain text"),
    ],
)
def test_unwanted_construct_is_refused_and_nothing_runs(
    text: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=what):
        parse_yaml(text, HERE)
    assert list(tmp_path.iterdir()) == []


def test_alias_bomb_is_refused_quickly_in_little_memory() -> None:
    bomb = "a: &a [x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
    )
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match="alias"):
        parse_yaml(bomb, HERE)
    assert time.monotonic() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_deep_nesting_is_refused(opening: str) -> None:
    with pytest.raises(ConfigError, match="nested deeper than the limit of 64"):
        parse_yaml("key: " + opening * 5000, HERE)


def test_large_file_and_utf_16_are_refused(tmp_path: Path) -> None:
    large, wide = tmp_path / "large.yaml", tmp_path / "wide.yaml"
    with large.open("wb") as stream:
        stream.truncate(200 << 20)
    wide.write_bytes("a: 1".encode("utf-16"))
    with pytest.raises(ConfigError, match="the limit is 1048576"):
        read_yaml(large)
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_yaml(wide)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_yaml(text, HERE)
