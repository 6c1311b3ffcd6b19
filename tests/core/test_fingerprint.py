"""Fingerprints are the same everywhere and refuse what has no stable form."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descant.core.fingerprint import canonical, file_digest, fingerprint, folder_digest
from descant.core.seeds import seed_for
from descant.core.spec import Compute, Spec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Inner(Spec):
    a: int = 1
    b: float = 0.5


class Outer(Spec):
    inner: Inner = Inner()
    names: tuple[str, ...] = ("x",)


@pytest.mark.parametrize(
    "value",
    [{1, 2}, frozenset("ab"), b"x", Path("x"), float("nan"), float("inf"), {1: 2}, Compute(), object()],
)
def test_value_without_a_stable_form_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical({"value": value})


@given(JSON)
def test_key_order_and_tuples_do_not_matter(value: object) -> None:
    def shuffled(item: object) -> object:
        if isinstance(item, dict):
            return {key: shuffled(item[key]) for key in reversed(list(item))}
        return tuple(shuffled(x) for x in item) if isinstance(item, list) else item

    assert fingerprint(value) == fingerprint(shuffled(value))


def test_spec_equals_its_fields_and_every_field_counts() -> None:
    assert fingerprint(Outer()) == fingerprint({"inner": {"a": 1, "b": 0.5}, "names": ["x"]})
    assert fingerprint(Outer()) != fingerprint(Outer(inner=Inner(b=0.25)))
    assert fingerprint(True) != fingerprint(1)


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_fingerprint_does_not_depend_on_the_hash_seed(hash_seed: str) -> None:
    code = "from descant.core.fingerprint import fingerprint; print(fingerprint({'b': [1, 2.5], 'a': 'é'}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    assert done.stdout.strip() == fingerprint({"a": "é", "b": [1, 2.5]})


def test_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(tmp_path / "x") == expected
    assert folder_digest({"a": "1", "b": "2"}) == folder_digest({"b": "2", "a": "1"})
    assert folder_digest({"a": "1"}) != folder_digest({"b": "1"})


def test_seed_streams_differ_by_label_and_stay_fixed() -> None:
    assert seed_for(17, "shuffle", 0) == seed_for(17, "shuffle", 0)
    assert len({seed_for(17, "shuffle", i) for i in range(100)} | {seed_for(18, "shuffle", 0)}) == 101
    assert seed_for(1, "a", "b") != seed_for(1, "ab")
