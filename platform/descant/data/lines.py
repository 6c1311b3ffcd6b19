"""Text lines of plain or gzip files, streamed in bounded memory; nothing damaged is passed on in silence.

Bytes are split at ``\\n`` alone, so that every other character of a text (``\\x85``, ``\\u2028``) survives. A
UTF-8 byte order mark at the start of a file is dropped; a line that is not UTF-8, holds a NUL or is too long
comes out as ``Rejected``.
"""

import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from descant.core.errors import DataError, ResourceError
from descant.core.records import Rejected

MAX_LINE_BYTES = 64 << 20
"""A longer line is left out; its bytes are skipped, never held."""
MAX_GZIP_RATIO = 200
"""Inflated bytes per compressed byte; JSON lines and judgements stay far below 50."""
FREE_GZIP_BYTES = 64 << 20
"""The ratio counts only past so many inflated bytes: small files may be as repetitive as they like."""

_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20


def text_lines(path: Path) -> Iterator[tuple[int, str] | Rejected]:
    """Each line's number (from 1) and text, its terminator kept; damaged lines as ``Rejected``.

    Reasons: ``invalid_utf8``, ``nul_byte``, ``line_too_long``. Their place has the offset in (inflated)
    bytes. Raises DataError for a damaged or cut gzip stream and for one that inflates beyond the ratio,
    ResourceError for an unreadable file.
    """
    offset = 0
    with opened(path) as stream:
        for number in itertools.count(1):
            raw = stream.readline(MAX_LINE_BYTES + 1)
            if not raw:
                return
            if len(raw) > MAX_LINE_BYTES:
                yield rejected_line(path, number, "line_too_long", offset)
                offset += len(raw) + (0 if raw.endswith(b"\n") else _skip_line(stream))
                continue
            yield _decoded(path, number, offset, raw)
            offset += len(raw)


def rejected_line(path: Path, number: int, reason: str, offset: int | None = None) -> Rejected:
    """A line left out. Only the file's name enters: what is kept of it must not differ between machines."""
    place = f"{path.name}:{number}"
    return Rejected(place, place if offset is None else f"{place} (byte {offset})", reason)


def _decoded(path: Path, number: int, offset: int, raw: bytes) -> tuple[int, str] | Rejected:
    if b"\0" in raw:
        return rejected_line(path, number, "nul_byte", offset + raw.index(b"\0"))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return rejected_line(path, number, "invalid_utf8", offset + error.start)
    return number, text.removeprefix("\ufeff") if number == 1 else text


def _skip_line(stream: BinaryIO) -> int:
    """Read to the end of the line and return how many bytes that took."""
    skipped = 0
    while chunk := stream.readline(_CHUNK_BYTES):
        skipped += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return skipped


def opened(path: Path) -> BinaryIO:
    """The file's bytes, inflated if they are gzip; their first two bytes decide, not the name."""
    try:
        source = path.open("rb")
    except OSError as error:
        raise ResourceError(
            "E-DATA-READ",
            str(path),
            f"the file cannot be read ({error.strerror})",
            "Check the path and its permissions.",
        ) from None
    if source.peek(2)[:2] == _GZIP_MAGIC:
        return io.BufferedReader(_Inflated(path, source), _CHUNK_BYTES)
    if path.suffix == ".gz" and source.peek(1):
        source.close()
        raise DataError(
            "E-DATA-GZIP",
            str(path),
            "named .gz, but its bytes are not gzip",
            "Fetch the file again, or rename it.",
        )
    return source


class _Inflated(io.RawIOBase):
    """A gzip stream that refuses to inflate without bound."""

    def __init__(self, path: Path, source: BinaryIO) -> None:
        self._path, self._source = path, source
        self._stream = gzip.GzipFile(fileobj=source, mode="rb")
        self._num_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        try:
            count = self._stream.readinto(buffer)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                "E-DATA-GZIP",
                str(self._path),
                f"the gzip stream is damaged after {self._num_bytes} inflated bytes ({error})",
                "Nothing of it was kept. Fetch the file again.",
            ) from None
        self._num_bytes += count
        self._check_ratio()
        return count

    def _check_ratio(self) -> None:
        ratio = self._num_bytes / max(self._source.tell(), 1)
        if self._num_bytes > FREE_GZIP_BYTES and ratio > MAX_GZIP_RATIO:
            raise DataError(
                "E-DATA-RATIO",
                str(self._path),
                f"inflates {ratio:.0f} to 1, the limit is {MAX_GZIP_RATIO} to 1",
                "Reading stopped, nothing was kept. If the file is what it should be, inflate it yourself.",
            )

    def close(self) -> None:
        self._stream.close()
        self._source.close()
        super().close()
