"""No name leads out of its folder."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descant.artifacts.paths import inside
from descant.core.errors import PolicyError

HOSTILE = [
    "../e",
    "/abs",
    "a\nb",
    "a\0b",
    "a\u202eb",
    "x" * 300,
    "-rf",
    "",
    ".",
    "..",
    "a/../b",
    ".git",
    "a b",
    "a;b",
    "$(x)",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        inside(tmp_path, name)
    assert caught.value.exit_code == 6


@given(st.text(max_size=40))
def test_any_name_stays_inside_or_is_refused(name: str) -> None:
    root = Path("/nonexistent/root")
    with contextlib.suppress(PolicyError):
        assert inside(root, name).resolve().is_relative_to(root)


def test_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with pytest.raises(PolicyError, match="leads out"):
        inside(tmp_path / "root", "link", "file")
