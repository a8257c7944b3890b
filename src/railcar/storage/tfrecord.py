"""Writing TFRecords of `tf.train.Example`, without TensorFlow. Reading them is `records.py`'s.

Owns the framing and the few kinds of protocol buffer fields that an Example has. Sources: tensorflow.org/tutorials/
load_data/tfrecord (framing), tensorflow/core/example/*.proto (messages), protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from railcar.errors import MissingExtra

Feature = bytes | int
HEADER_BYTES = 12
_MASK_DELTA = 0xA282EAD8
_LENGTH_DELIMITED = 2


def encode_record(payload: bytes) -> bytes:
    """One record: length, its checksum, the payload, its checksum. Raises `MissingExtra` without google-crc32c."""
    header = struct.pack("<Q", len(payload))
    return b"".join((header, _masked_crc(header), payload, _masked_crc(payload)))


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


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _masked_crc(data: bytes) -> bytes:
    try:
        import google_crc32c
    except ImportError as error:
        raise MissingExtra("google-crc32c", "buckets", needed_for="packing data into shards") from error
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFF_FFFF)
