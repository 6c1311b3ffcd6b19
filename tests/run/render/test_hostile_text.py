"""Texts made to break out: they arrive as they were, or are refused before anything is written."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from descant.core.errors import ConfigError
from descant.run.clusters.render.fields import Cidr, Folder, Image, Label, NfsPath, Word
from descant.run.clusters.render.work import job_name
from descant.run.clusters.render.yaml_text import yaml_text
from tests.run.render.clusters import rendered_with

HOSTILE = [
    "a b",
    "a'b",
    'a"b',
    "a\nb",
    "a\n",
    "$(touch x)",
    "`touch x`",
    "a;b",
    "a&&b",
    "a|b",
    "a: b",
    "- a",
    "# a",
    "{a}",
    "&a",
    "*a",
    "!a",
    "%a",
    "@a",
    "~",
    "-rf",
    "..",
    "a/../b",
    "\x00",
    "\x85",
    "\u2028",
    "\u202ea",
    "é",
    "a" * 300,
]
PLACES = {"label": Label, "word": Word, "folder": Folder, "image": Image, "nfs": NfsPath, "cidr": Cidr}
WORDS_THAT_READERS_TURN_INTO_VALUES = [
    "yes",
    "No",
    "on",
    "off",
    "null",
    "~",
    "1e3",
    "0x1F",
    "1_000",
    "12:30:45",
    ".5",
    "y",
]

texts = st.one_of(
    st.text(max_size=200), st.sampled_from(HOSTILE), st.sampled_from(WORDS_THAT_READERS_TURN_INTO_VALUES)
)


@given(
    st.recursive(
        texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner)
    )
)
@example({"recipe.yaml": "a: 1\n  \n\tb: |\n"})
@example({"recipe.yaml": "# é \u2028 x\n"})
@example({"recipe.yaml": "\n\n a\n"})
@example({"recipe.yaml": "a \nb\n"})
@example({"recipe.yaml": "---\na\n...\n"})
def test_any_text_comes_back_from_yaml_as_it_was(value: Any) -> None:
    text = yaml_text("head", [{"value": value}, {"value": value}])
    assert list(yaml.safe_load_all(text)) == [{"value": value}] * 2


@given(st.sampled_from(WORDS_THAT_READERS_TURN_INTO_VALUES))
def test_words_that_some_reader_takes_for_a_value_are_quoted(word: str) -> None:
    assert f'"{word}"' in yaml_text("head", [{"value": word}])


@pytest.mark.parametrize("place", PLACES)
@given(text=texts)
def test_text_of_a_cluster_file_is_refused_or_needs_no_quotes(place: str, text: str) -> None:
    try:
        accepted: str = TypeAdapter(PLACES[place]).validate_python(text)
    except ValidationError:
        return
    assert shlex.quote(accepted) == accepted
    assert ".." not in accepted.split("/")
    assert not accepted.startswith("-")


@pytest.mark.parametrize(
    ("cluster", "field", "start"),
    [
        ("kuberay", "namespace", ""),
        ("kuberay", "claim", ""),
        ("kuberay", "image", "registry.example.com/"),
        ("slurm", "storage", "/shared/"),
        ("slurm", "checkout", "/shared/"),
        ("slurm", "partition", ""),
        ("slurm", "account", ""),
        ("aws", "subnet", ""),
        ("aws", "nfs", "host:/"),
        ("gcp", "project", ""),
    ],
)
def test_hostile_field_is_refused_with_file_and_line(
    cluster: str, field: str, start: str, tmp_path: Path
) -> None:
    for number, hostile in enumerate(HOSTILE):
        with pytest.raises(ConfigError, match=rf"{field}|not valid YAML"):
            rendered_with(cluster, tmp_path / str(number), **{field: start + hostile})


@given(texts, texts)
def test_job_names_are_names_whatever_the_recipe_is_called(stem: str, content: str) -> None:
    name = job_name(stem, content)
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
    assert 3 <= len(name) <= 47
    assert name == job_name(stem, content)
    assert name != job_name(stem, content + "x")
