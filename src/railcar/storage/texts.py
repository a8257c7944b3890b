"""Bytes of a text file -> a string. The one decoder of training and of prediction."""

from __future__ import annotations

from pathlib import Path

from railcar.errors import DataError

MAX_BYTES = 10_000_000


def read_text(path: Path) -> str:
    """The file's text: UTF-8 (with or without a mark), UTF-16 with a mark, else Latin-1. Raises `DataError`."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: {path.stat().st_size:,} bytes, more than the limit of {MAX_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        reason = "a link that leads nowhere" if path.is_symlink() else str(error.strerror).lower()
        raise DataError(f"{path}: {reason}", hint="check the path and its permissions") from error
    if b"\0" in content and content[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path}: a NUL byte: not a text", hint="replace or remove the file")
    encodings = ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "latin-1")
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path}: neither UTF-8 nor whole UTF-16", hint="save the file as UTF-8")
