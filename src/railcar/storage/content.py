"""The bytes of a text file: unpacked, as UTF-8 without a byte-order mark, and refused when they are no text.

Owns what is told from the bytes alone: gzip, encodings, web pages, binary files. Knows nothing of fields and lines but
how to count them for a message.
"""

from __future__ import annotations

import gzip
import io
import mmap
import zlib
from pathlib import Path

from railcar.errors import DataError, NotFound

GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"
HEAD_BYTES = 1 << 16
MAX_UNPACKED_BYTES = 100_000_000
MAX_UNPACKED_RATIO = 200
"""What a gzip file may unpack to: this many bytes, or this many times its size where that is more."""
MAX_RECORD = 1 << 23
UTF8_HINT = "save the file as UTF-8"

Content = bytes | mmap.mmap

_BINARY = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"%PDF": "a PDF",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"SQLite format 3": "an SQLite database",
}


def read_content(path: Path, *, form: str = "CSV", hint: str = "") -> tuple[Content, list[str]]:
    """The bytes of a text file, unpacked and without a byte-order mark, and notes. Refuses what is no text at all.

    `form` is what the file should be, for messages; `hint` says what an empty file should hold. Bytes that are not
    UTF-8 stay as they are: `decode_content` sees to them. Raises `DataError`.
    """
    notes: list[str] = []
    content = _read_bytes(path)
    if content[:2] == GZIP_MAGIC:
        content = _unpack(path, content)
        if not path.name.lower().endswith(".gz"):
            notes.append(f"{path.name}: packed with gzip, though its name does not say so")
    if encoding := _find_utf16(content[:HEAD_BYTES]):
        try:
            content = bytes(content).decode(encoding).encode()
        except UnicodeError as error:
            raise DataError(f"{path}: neither UTF-8 nor whole UTF-16", hint=UTF8_HINT) from error
        notes.append(f"{path.name}: decoded from UTF-16")
    if content[: len(BOM)] == BOM:
        content = content[len(BOM) :]
    check_head(path, content[:HEAD_BYTES], form=form, hint=hint)
    return content, notes


def decode_content(path: Path, content: Content) -> tuple[bytes, list[str]]:
    """`content` as UTF-8 without NUL bytes, and notes; what is not UTF-8 is taken as Windows-1252.

    Raises `DataError` with the line of a NUL byte, and for a file that is UTF-8 in parts only.
    """
    content = bytes(content)
    if (nul := content.find(b"\0")) >= 0:
        raise DataError(
            f"{path}: line {count_lines(content, nul)}: a NUL byte",
            hint="the file is binary or damaged; export it again",
        )
    try:
        content.decode()  # as quick as any other check
        return content, []
    except UnicodeDecodeError as error:
        line = count_lines(content, error.start)
    lenient = content.decode("utf-8", "surrogateescape")
    n_wrong = sum("\udc80" <= character <= "\udcff" for character in lenient)
    n_right = sum(character > "\x7f" for character in lenient) - n_wrong
    if n_right > n_wrong:
        raise DataError(f"{path}: line {line}: a byte that is not UTF-8, as the rest of the file is", hint=UTF8_HINT)
    try:
        text, encoding = content.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        text, encoding = content.decode("latin-1"), "Latin-1"
    return text.encode(), [f"{path.name}: decoded from {encoding} (line {line} is not UTF-8)"]


def check_head(path: Path, head: bytes, *, form: str, hint: str = "") -> None:
    """Raise `DataError` for a file that is empty, a web page, a git-LFS pointer or of a binary form, by its `head`."""
    start = head.lstrip().lower()
    if not start:
        raise DataError(f"{path}: the file is empty", hint=hint or "fetch or export it again")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(
            f"{path}: an HTML page, not a {form}", hint="the download was a web page; fetch the file itself"
        )
    if start.startswith(b"version https://git-lfs"):
        raise DataError(f"{path}: a git-LFS pointer, not the data", hint="run `git lfs pull` where it came from")
    for magic, what in _BINARY.items():
        if head.startswith(magic) and form not in what:
            raise DataError(f"{path}: {what}, not a {form}", hint=f"export a {form}, or give it its right name")


def check_record_length(path: Path, line: int, n: int) -> None:
    """Raise `DataError` for a record of more than `MAX_RECORD` bytes or characters: no table has such rows."""
    if n > MAX_RECORD:
        raise DataError(
            f"{path}: line {line}: a row of {n:,} characters, more than the limit of {MAX_RECORD:,}",
            hint="each row of the table is a line of its own; look for a quote that is not closed",
        )


def count_lines(content: Content, position: int) -> int:
    """The line, counted from 1, on which the byte at `position` stands."""
    return bytes(content[:position]).count(b"\n") + 1


def _read_bytes(path: Path) -> Content:
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: not a file", hint="give the path of a file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if len(head) == HEAD_BYTES else head
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file", hint="check the path") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: {reason}", hint="check the path and its permissions") from error


def _unpack(path: Path, content: Content) -> bytes:
    limit = max(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * len(content))
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(limit + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: truncated or damaged: {error}", hint="fetch the file again") from error
    if len(unpacked) > limit:
        raise DataError(
            f"{path}: unpacks to more than {limit / 1e6:,.0f} MB, the limit for {len(content) / 1e6:.1f} MB",
            hint="unpack it yourself if it is what it should be",
        )
    return unpacked


def _find_utf16(head: bytes) -> str | None:
    """The name of the UTF-16 that `head` is in: by its mark, or by every other byte being NUL; None when it is not."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[first::2], head[1 - first :: 2]
        if len(zeros) >= 4 and zeros.count(0) > 0.7 * len(zeros) and not others.count(0):
            return encoding
    return None
