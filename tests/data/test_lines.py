"""Bytes to lines: every damage is named with its place, and nothing grows without bound."""

import gzip
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descant.core.errors import DataError, ResourceError
from descant.core.records import Rejected
from descant.data.lines import text_lines


def _written(tmp_path: Path, data: bytes, name: str = "rows.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_text_lines_keeps_terminators_and_numbers_from_one(tmp_path: Path) -> None:
    path = _written(tmp_path, b"a\nb\r\n\nc")
    assert list(text_lines(path)) == [(1, "a\n"), (2, "b\r\n"), (3, "\n"), (4, "c")]


def test_text_lines_drops_one_byte_order_mark_at_the_start_only(tmp_path: Path) -> None:
    path = _written(tmp_path, b"\xef\xbb\xbf\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    assert list(text_lines(path)) == [(1, "\ufeffa\n"), (2, "\ufeffb\n")]


def test_text_lines_does_not_split_at_other_line_separators(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\rg\x1ch\n"
    assert list(text_lines(_written(tmp_path, text.encode()))) == [(1, text)]


@pytest.mark.parametrize(
    ("line", "reason", "offset"),
    [
        (b"caf\xe9\n", "invalid_utf8", 3 + 3),
        (b"a\x00b\n", "nul_byte", 3 + 1),
        (b"\xed\xa0\x80\n", "invalid_utf8", 3),
        (b"\xc0\xaf\n", "invalid_utf8", 3),
        (b"cut \xe2\x82", "invalid_utf8", 3 + 4),
    ],
)
def test_text_lines_damaged_line_is_rejected_with_its_byte(
    tmp_path: Path, line: bytes, reason: str, offset: int
) -> None:
    path = _written(tmp_path, b"ok\n" + line)
    assert list(text_lines(path)) == [
        (1, "ok\n"),
        Rejected("rows.txt:2", f"rows.txt:2 (byte {offset})", reason),
    ]


def test_text_lines_after_a_damaged_line_continues(tmp_path: Path) -> None:
    path = _written(tmp_path, b"\xff\nok\n")
    assert list(text_lines(path))[1] == (2, "ok\n")


def test_text_lines_utf16_file_rejects_every_line(tmp_path: Path) -> None:
    path = _written(tmp_path, "a\nb\n".encode("utf-16"))
    assert all(isinstance(line, Rejected) for line in text_lines(path))


def test_text_lines_gzip_is_known_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    path = _written(tmp_path, gzip.compress(b"a\nb\n"), "rows.jsonl")
    assert list(text_lines(path)) == [(1, "a\n"), (2, "b\n")]


def test_text_lines_gzip_of_several_members_is_read_whole(tmp_path: Path) -> None:
    path = _written(tmp_path, gzip.compress(b"a\n") + gzip.compress(b"b\n"), "rows.gz")
    assert [line for line in text_lines(path)] == [(1, "a\n"), (2, "b\n")]


def test_text_lines_plain_file_named_gz_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not gzip"):
        list(text_lines(_written(tmp_path, b"<html>404</html>", "rows.jsonl.gz")))


def _flipped_checksum(packed: bytes) -> bytes:
    return packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]


@pytest.mark.parametrize(
    "damage",
    [
        _flipped_checksum,
        lambda packed: packed[:-9],
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:30] + b"\xff" * 8 + packed[38:],
        lambda packed: packed + b"garbage",
    ],
    ids=["crc", "no trailer", "half", "overwritten", "trailing bytes"],
)
def test_text_lines_damaged_gzip_raises_data_error(tmp_path: Path, damage: "object") -> None:
    packed = gzip.compress(bytes(str(list(range(3000))), "ascii").replace(b",", b"\n"))
    assert callable(damage)
    path = _written(tmp_path, damage(packed), "rows.gz")
    with pytest.raises(DataError) as raised:
        list(text_lines(path))
    assert raised.value.code == "E-DATA-GZIP"
    assert str(path) in str(raised.value)


def test_text_lines_missing_file_raises_resource_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be read"):
        list(text_lines(tmp_path / "absent"))


def _gzip_bomb(path: Path) -> None:
    """About 1 MB of gzip that inflates to 1 GB of zeros, as 16 members of 64 MiB."""
    packer = zlib.compressobj(9, wbits=31)
    member = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    path.write_bytes(member * 16)


_PEAK_GROWTH = """
import resource, sys
from pathlib import Path
from descant.data.rows import json_rows
from descant.core.errors import DataError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read = json_rows(Path(sys.argv[1]))
    rows = [len(row.values["text"]) if hasattr(row, "values") else row.reason for row in read]
except DataError as error:
    rows = [error.code]
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def _read_in_own_process(path: Path) -> tuple[str, int]:
    """What reading gave, and the MiB by which the peak memory of a fresh process grew."""
    command = [sys.executable, "-c", _PEAK_GROWTH, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    rows, _, mib = result.strip().rpartition(" ")
    return rows, int(mib)


def test_text_lines_gzip_bomb_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    _gzip_bomb(path)
    rows, mib = _read_in_own_process(path)
    assert rows == "['E-DATA-RATIO']"
    assert mib < 300


def test_text_lines_gzip_bomb_message_has_ratio_and_limit(tmp_path: Path) -> None:
    _gzip_bomb(tmp_path / "bomb.gz")
    with pytest.raises(DataError, match=r"inflates [0-9]+ to 1, the limit is 200 to 1"):
        list(text_lines(tmp_path / "bomb.gz"))


def test_text_lines_repetitive_but_small_gzip_is_accepted(tmp_path: Path) -> None:
    path = _written(tmp_path, gzip.compress(b"same\n" * 1_000_000), "rows.gz")
    assert sum(1 for _ in text_lines(path)) == 1_000_000


def test_json_rows_document_of_50_mb_on_one_line_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("w") as stream:
        stream.write('{"text": "')
        for _ in range(50):
            stream.write("x" * 1_000_000)
        stream.write('"}\n{"text": "next"}\n')
    rows, mib = _read_in_own_process(path)
    assert rows == "[50000000, 4]"
    assert mib < 400


def test_json_rows_line_beyond_the_limit_is_skipped_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("w") as stream:
        for _ in range(300):
            stream.write("x" * 1_000_000)
        stream.write('\n{"text": "next"}\n')
    rows, mib = _read_in_own_process(path)
    assert rows == "['line_too_long', 4]"
    assert mib < 300


@given(st.lists(st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"])), min_size=1))
def test_text_lines_any_texts_survive_plain_and_packed(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    data = "".join(f"|{text}\n" for text in texts).encode()
    plain, packed = _written(folder, data), _written(folder, gzip.compress(data), "rows.gz")
    expected = [(number, f"|{text}\n") for number, text in enumerate(texts, 1)]
    assert list(text_lines(plain)) == list(text_lines(packed)) == expected
