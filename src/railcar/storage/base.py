"""What every kind of storage can do, and in which words it fails.

Owns the protocols `Reader` and `Writer` and the exceptions between them and `remote.py`, which tries again and turns
what is left into errors for users. Each call of a reader or writer is one attempt. `buckets.py`, `google.py` and
`folders.py` implement them; the same tests run over all.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Span = tuple[int, int]
"""From the first byte to one behind the last."""


@dataclass(frozen=True)
class Entry:
    """An object: its key, its size in bytes, and a tag that changes when its content does ("" when unknown)."""

    key: str
    size: int
    etag: str

    @property
    def md5(self) -> bytes | None:
        """The content's MD5 where the tag looks like one. It need not be: S3 also gives such tags to objects that are
        encrypted with a key of KMS."""
        return md5_of_etag(self.etag)


@dataclass(frozen=True)
class Content:
    """Bytes of an object, and of which object: `entry.size` is that of the whole, as its server says."""

    data: memoryview
    entry: Entry


class Missing(Exception):
    """No such object; from `list`, no such bucket."""


class Denied(Exception):
    """The service knows who asks, or that it does not know, and says no."""


class Refused(Exception):
    """The service says no for another reason, and would say so again."""


class Reader(Protocol):
    """Raises `Missing`, `Denied`, `Refused` and `retry.Transient`."""

    def stat(self, key: str) -> Entry | None: ...

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every object below `prefix`, which is empty or ends with a slash; in no order."""
        ...

    def list_names(self, prefix: str) -> list[str]:
        """The names right below `prefix`: of objects, and of what has objects below it."""
        ...

    def read(self, key: str, span: Span | None) -> Content: ...


class Writer(Protocol):
    """Raises `Missing` (no such bucket), `Denied`, `Refused` and `retry.Transient`. A write is whole or not there."""

    def write(self, key: str, content: bytes | Path) -> None: ...

    def write_if_absent(self, key: str, content: bytes) -> bool:
        """False when there is an object of that key already, which then stays."""
        ...

    def delete(self, key: str) -> None:
        """Already gone is success."""
        ...


@dataclass(frozen=True)
class Store:
    """One bucket, or the folders of this computer. `identity` says in whose name it is used: "" where nobody asks."""

    reader: Reader
    writer: Writer
    identity: str = ""
    is_anonymous: bool = False


def md5_of_etag(etag: str) -> bytes | None:
    """The 16 bytes of a tag that is an MD5 in hex or base64; None for any other."""
    text = etag.strip('"')
    if re.fullmatch(r"[0-9a-f]{32}", text):
        return bytes.fromhex(text)
    if re.fullmatch(r"[A-Za-z0-9+/]{22}==", text):
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            return None
    return None
