"""TFRecord files of `tf.train.Example`, without TensorFlow: bytes in, bytes out.

Owns the framing and the few kinds of protocol buffer fields that an Example has. Sources: tensorflow.org/tutorials/
load_data/tfrecord (framing), tensorflow/core/example/*.proto (messages), protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from railcar.errors import DataError, MissingExtra

Feature = bytes | int
HEADER_BYTES = 12
FOOTER_BYTES = 4
_MASK_DELTA = 0xA282EAD8
_VARINT, _LENGTH_DELIMITED = 0, 2


def encode_record(payload: bytes) -> bytes:
    """One record: length, its checksum, the payload, its checksum. Raises `MissingExtra` without google-crc32c."""
    header = struct.pack("<Q", len(payload))
    return b"".join((header, _masked_crc(header), payload, _masked_crc(payload)))


def split_records(data: bytes | memoryview, *, where: str) -> Iterator[memoryview]:
    """The payload of each record. Checksums are not looked at: the caller knows that `data` is whole."""
    view = memoryview(data)
    start = 0
    while start < len(view):
        if start + HEADER_BYTES > len(view):
            raise DataError(f"{where}: ends within a record", hint="make the file anew")
        (n_bytes,) = struct.unpack_from("<Q", view, start)
        stop = start + HEADER_BYTES + n_bytes
        if stop + FOOTER_BYTES > len(view):
            raise DataError(f"{where}: ends within a record", hint="make the file anew")
        yield view[start + HEADER_BYTES : stop]
        start = stop + FOOTER_BYTES


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """A `tf.train.Example` with one value a feature: bytes_list or int64_list. In the order given, so that the bytes of
    the last one are the end of the message."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, int):
            feature = _field(3, _field(1, _varint(value & 0xFFFF_FFFF_FFFF_FFFF)))
        else:
            feature = _field(1, _field(1, value))
        entries += _field(1, _field(1, name.encode()) + _field(2, feature))
    return _field(1, entries)


def decode_example(payload: bytes | memoryview, *, where: str) -> dict[str, Feature]:
    """The first value of each bytes_list and int64_list of a `tf.train.Example`. Raises `DataError`."""
    found: dict[str, Feature] = {}
    try:
        for _, features in _fields(memoryview(payload), 1):
            for _, entry in _fields(features, 1):
                parts = dict(_fields(entry))
                for kind, values in _fields(parts[2]):
                    found[bytes(parts[1]).decode()] = _first(kind, values)
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{where}: holds what is no tf.train.Example", hint="make the file anew") from error
    return found


def _first(kind: int, values: memoryview) -> Feature:
    _, value = next(_fields(values, 1))
    if kind == 1:
        return bytes(value)
    if kind != 3:
        raise ValueError(kind)
    number = value if isinstance(value, int) else _read_varint(value, 0)[0]
    return number - (1 << 64) if number >= 1 << 63 else number


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _read_varint(view: memoryview, start: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7
        if shift > 63:
            raise ValueError("varint")


def _fields(view: memoryview, only: int | None = None) -> Iterator[tuple[int, memoryview]]:
    start = 0
    while start < len(view):
        tag, start = _read_varint(view, start)
        number, kind = tag >> 3, tag & 7
        if kind == _LENGTH_DELIMITED:
            length, start = _read_varint(view, start)
            if start + length > len(view):
                raise ValueError("length")
            content = view[start : start + length]
            start += length
        elif kind == _VARINT:
            begin = start
            _, start = _read_varint(view, start)
            content = view[begin:start]
        else:
            raise ValueError(kind)
        if only is None or number == only:
            yield number, content


def _masked_crc(data: bytes) -> bytes:
    try:
        import google_crc32c
    except ImportError as error:
        raise MissingExtra("google-crc32c", "buckets", needed_for="packing data into shards") from error
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFF_FFFF)
