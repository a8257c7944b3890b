"""Right requests and files with something changed: what a server must take without falling over."""

from __future__ import annotations

import copy
import json
import math
import random
import struct
import zlib
from typing import Any

_ODD: list[Any] = [
    None, True, False, 0, -1, 1, 255, 256, 2**31, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e308, 1e-320, math.nan,
    math.inf, -math.inf, "", " ", "0", "null", "\x00", "\ud800", "é" * 50, "x" * 5000, "../../etc/passwd",
    "http://127.0.0.1/", [], [[]], [[[[[[[[]]]]]]]], {}, {"": {}}, {"b64": ""}, {"b64": "!!!"}, {"b64": 5},
    [None], [1, "a"],
]  # fmt: skip
_KEYS = ("input", "inputs", "instances", "signature_name", "b64", "shape", "datatype", "data", "name", "parameters", "")
_BYTES = (
    b"\x00",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b"e99999",
    b"\\ud800",
    b"\xed\xa0\x80",
    b",",
    b"-",
    b"NaN",
)


def change_json(chance: random.Random, body: Any) -> bytes:
    """One to three changes: a value, a key, a depth, a length; now and then as bytes that are no JSON."""
    changed = json.loads(json.dumps(body))
    for _ in range(chance.randint(1, 3)):
        changed = _change_value(chance, changed)
    text = json.dumps(changed, ensure_ascii=chance.random() < 0.7)
    content = text.encode("utf-8", "surrogatepass")
    return change_bytes(chance, content, content) if chance.random() < 0.1 else content


def _change_value(chance: random.Random, value: Any) -> Any:
    if chance.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return _choose_odd(chance) if chance.random() < 0.9 else _nest(value, chance.choice((1, 5, 40, 200)))
    if isinstance(value, dict):
        key = chance.choice(list(value))
        how = chance.random()
        if how < 0.1:
            value.pop(key)
        elif how < 0.2:
            value[chance.choice(_KEYS)] = value.pop(key)
        elif how < 0.3:
            value[chance.choice(_KEYS)] = _choose_odd(chance)
        else:
            value[key] = _change_value(chance, value[key])
        return value
    index, how = chance.randrange(len(value)), chance.random()
    if how < 0.1:
        value.pop(index)
    elif how < 0.2:
        value.insert(index, _choose_odd(chance))
    elif how < 0.25:
        value = value * chance.choice((2, 20, 200))
    else:
        value[index] = _change_value(chance, value[index])
    return value


def _choose_odd(chance: random.Random) -> Any:
    """A copy: what it is put into may be changed again."""
    return copy.deepcopy(chance.choice(_ODD))


def _nest(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def change_bytes(chance: random.Random, content: bytes, other: bytes) -> bytes:
    """Bytes changed, cut, doubled, put in, or the head of one with the tail of the other."""
    made = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        if not made:
            break
        at, how = chance.randrange(len(made)), chance.random()
        if how < 0.4:
            made[at] = chance.randrange(256)
        elif how < 0.55:
            made[at] ^= 1 << chance.randrange(8)
        elif how < 0.65:
            del made[at : at + chance.choice((1, 2, 8, 64))]
        elif how < 0.75:
            made[at:at] = chance.choice(_BYTES)
        elif how < 0.85:
            made[at:at] = made[at : at + chance.choice((4, 32, 256))]
        elif how < 0.92:
            del made[at:]
        elif how < 0.97:
            made[at : at + 4] = chance.choice((b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff", b"\x00\x00\x00\x01"))
        else:
            made[at:] = other[min(at, len(other)) :]
    return bytes(made)


def change_png(chance: random.Random, content: bytes, other: bytes) -> bytes:
    """Changes within the chunks of a PNG, whose sums are right again: they get as far as the decoder."""
    made, at = bytearray(content[:8]), 8
    chunks = []
    while at + 12 <= len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    target = chance.randrange(len(chunks))
    for index, (name, data) in enumerate(chunks):
        if index == target:
            how = chance.random()
            if name == b"IDAT" and how < 0.4:
                data = zlib.compress(change_bytes(chance, zlib.decompress(data), other))
            elif how < 0.9:
                data = change_bytes(chance, data, other)
            else:
                name = chance.choice((b"PLTE", b"tRNS", b"IDAT", b"iCCP", b"zTXt", b"eXIf", b"acTL", b"fcTL", b"XXXX"))
        made += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return bytes(made)
