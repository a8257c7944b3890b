"""TFRecord files and the `tf.train.Example` messages in them, as places in the file: no pixel is copied.

Owns the framing (length, checksum, content, checksum) and the few kinds of protobuf fields that an Example has. The
checksums of contents are checked by TensorFlow, in one pass. Source: tensorflow.org/tutorials/load_data/tfrecord
"""

from __future__ import annotations

import gzip
import hashlib
import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from railcar.errors import DataError
from railcar.storage.archives import Limits
from railcar.storage.content import GZIP_MAGIC
from railcar.storage.local import build_folder, cache_dir, explain_output_errors, remove_folder

_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4
_CASTAGNOLI = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_DAMAGED = "the file is damaged or was not fetched completely; fetch it again"
_BLOCK_BYTES = 1 << 20
_VARINT, _FIXED64, _RANGE, _FIXED32 = 0, 1, 2, 5
Buffer = mmap.mmap | bytes


class Place(NamedTuple):
    """Bytes `start` to `stop` of a file."""

    start: int
    stop: int


class Values(NamedTuple):
    """The values of one feature: places of its bytes, or its integers. Both empty for floats."""

    places: tuple[Place, ...] = ()
    integers: tuple[int, ...] = ()


def open_records(path: Path) -> Buffer:
    """The content of a file that is not packed, mapped. Raises `DataError` for an empty one."""
    with path.open("rb") as file:
        if not file.read(1):
            raise DataError(f"{path}: an empty file", hint=_DAMAGED)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def unpack_records(path: Path, limits: Limits | None = None) -> Path:
    """`path` itself; of a file that is packed by gzip, whatever its name, its plain copy in the cache, made when it is
    not there yet, or when the file has another size or time now.

    Raises `DataError` for one that is damaged or unpacks to more than `limits` allow, and `OutputError` when the disk
    has no space for it.
    """
    with path.open("rb") as file:
        if file.read(2) != GZIP_MAGIC:
            return path
    found, name = path.stat(), path.name.removesuffix(".gz")
    key = repr(["records", str(path.resolve()), found.st_size, found.st_mtime_ns]).encode(errors="surrogateescape")
    target = cache_dir() / "unpacked" / hashlib.blake2b(key, digest_size=12).hexdigest()
    if not (target / name).is_file():
        if target.exists():  # someone has tidied up in it
            remove_folder(target)
        limits = limits or Limits()
        most = min(limits.n_bytes, max(limits.small_bytes, limits.ratio * found.st_size))
        with (
            build_folder(target) as folder,
            explain_output_errors(target, hint="set RAILCAR_CACHE to a folder with space that you may write to"),
        ):
            _unpack(path, folder / name, most)
    return target / name


def _unpack(path: Path, plain: Path, most: int) -> None:
    n_bytes = 0
    with path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as source, plain.open("wb") as copy:
        while True:
            try:
                block = source.read(_BLOCK_BYTES)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(f"{path}: packed by gzip, and truncated or damaged: {error}", hint=_DAMAGED) from error
            if not block:
                return
            n_bytes += len(block)
            if n_bytes > most:
                raise DataError(
                    f"{path}: unpacks to more than {most / 1e6:,.0f} MB, the limit for {path.stat().st_size:,} bytes",
                    hint="unpack it yourself if it is what it should be",
                )
            copy.write(block)


def list_records(path: Path, content: Buffer) -> Iterator[Place]:
    """Where each record's content is. Raises `DataError` that says where the file is damaged."""
    at, number = 0, 0
    while at < len(content):
        if at + _HEADER.size > len(content):
            raise DataError(f"{path}: cut off in the header of record {number}", hint=_DAMAGED)
        length, checksum = _HEADER.unpack_from(content, at)
        if mask_checksum(compute_crc32c(content[at : at + 8])) != checksum:
            what = "not a TFRecord file" if number == 0 else f"the length of record {number} is damaged"
            raise DataError(f"{path}: {what}", hint=_DAMAGED)
        start = at + _HEADER.size
        at = start + length + _FOOTER_BYTES
        if at > len(content):
            raise DataError(f"{path}: cut off inside record {number}", hint=_DAMAGED)
        yield Place(start, start + length)
        number += 1


def check_contents(path: Path, plain: Path) -> None:
    """Raise `DataError` unless the checksum of every record's content is right. `plain` is `path` or its plain copy."""
    import tensorflow as tf

    try:
        tf.data.TFRecordDataset(str(plain), buffer_size=1 << 20).reduce(0, lambda n, _: n + 1)
    except tf.errors.DataLossError as error:
        found = re.search(r"\w+ record at \d+", str(error.message))
        raise DataError(f"{path}: {found[0] if found else 'damaged'}", hint=_DAMAGED) from error


def parse_example(content: Buffer, place: Place) -> dict[bytes, Values]:
    """The features of a `tf.train.Example` by name. Raises `ValueError` for something else."""
    features: dict[bytes, Values] = {}
    for number, _, body in _parse(content, place):
        if number != 1 or not isinstance(body, Place):
            continue
        for entry_number, _, entry in _parse(content, body):
            if entry_number == 1 and isinstance(entry, Place):
                key, value = b"", None
                for part_number, _, part in _parse(content, entry):
                    if part_number == 1 and isinstance(part, Place):
                        key = bytes(content[part.start : part.stop])
                    elif part_number == 2 and isinstance(part, Place):
                        value = part
                features[key] = _parse_values(content, value) if value else Values()
    return features


def _parse_values(content: Buffer, place: Place) -> Values:
    for number, _, body in _parse(content, place):
        if isinstance(body, Place) and number == 1:
            return Values(places=tuple(part for _, _, part in _parse(content, body) if isinstance(part, Place)))
        if isinstance(body, Place) and number == 3:
            return Values(integers=tuple(_parse_integers(content, body)))
    return Values()


def _parse_integers(content: Buffer, place: Place) -> Iterator[int]:
    for _, kind, body in _parse(content, place):
        if kind == _VARINT and isinstance(body, int):
            yield _signed(body)
        elif isinstance(body, Place):
            at = body.start
            while at < body.stop:
                value, at = _read_varint(content, at, body.stop)
                yield _signed(value)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _parse(content: Buffer, place: Place) -> Iterator[tuple[int, int, Place | int]]:
    """(number, kind, place or integer) of each field of a message."""
    at, stop = place
    while at < stop:
        tag, at = _read_varint(content, at, stop)
        kind = tag & 7
        if kind == _RANGE:
            length, at = _read_varint(content, at, stop)
            body: Place | int = Place(at, at + length)
            at += length
        elif kind == _VARINT:
            body, at = _read_varint(content, at, stop)
        elif kind in (_FIXED32, _FIXED64):
            body = 0
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("not a tf.train.Example")
        if at > stop:
            raise ValueError("not a tf.train.Example")
        yield tag >> 3, kind, body


def _read_varint(content: Buffer, at: int, stop: int) -> tuple[int, int]:
    """(value, what comes after it)"""
    value, shift = 0, 0
    while at < stop and shift < 64:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("not a tf.train.Example")


def _build_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_CASTAGNOLI if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _build_table()


def compute_crc32c(content: bytes) -> int:
    """Of few bytes: a loop in Python."""
    value = 0xFFFFFFFF
    for byte in content:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def mask_checksum(value: int) -> int:
    """As TFRecord keeps it, so that a checksum of what holds checksums is none of those."""
    return ((value >> 15 | value << 17) + _MASK_DELTA) & 0xFFFFFFFF
