"""Bodies of requests in JSON -> raw inputs: files, pixels, texts, rows. Nothing of HTTP, nothing of any one protocol.

simdjson reads where it is installed and the document is plain JSON; what it refuses is read again by Python's `json`,
which says where the fault is. Images as lists of pixels never become Python objects when all of one request are alike.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.serving.spec import MAX_BATCH, BadRequest, Spec

try:
    import simdjson
except ImportError:  # Slower, not less.
    simdjson = None

MAX_DEPTH = 64
MAX_VALUES = 2_000_000
"""Of a document whose values become objects of Python: each takes many times its size."""
MAX_PIXELS = 100_000_000
MAX_NUMBER = 3.4028234e38
"""The largest of float32."""
_MAX_SHOWN = 80
_MAX_KEPT = 10_000
_NO_SKELETON = b"0123456789 \t\r\n"
_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}


def read_json(body: bytes, *, takes_nan: bool = False) -> Any:
    """What the body says. Infinity, numbers beyond float64 and more than 64 levels are refused; so is NaN, unless
    `takes_nan`. Raises `BadRequest` that tells line and column."""
    n_values = body.count(b",") + 1
    if n_values > MAX_VALUES:
        raise BadRequest(f"{n_values:,} values are more than {MAX_VALUES:,}; images are better sent as files.", 413)
    try:
        found = simdjson.Parser().parse(body, True) if simdjson else _read_json_strictly(body, takes_nan)
    except (ValueError, RuntimeError):
        found = _read_json_strictly(body, takes_nan)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(found, MAX_DEPTH)
    return found


def read_object(body: bytes, *, takes_nan: bool = False) -> dict[str, Any]:
    """As `read_json`, and refuses all but an object."""
    found = read_json(body, takes_nan=takes_nan)
    if not isinstance(found, dict):
        raise BadRequest(f"Expected a JSON object, {{...}}. Received {name_kind(found)}.")
    return found


def _read_json_strictly(body: bytes, takes_nan: bool) -> Any:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8: byte {error.start} does not belong there.") from error
    if not text.strip():
        raise BadRequest("The body is empty. Expected JSON.")

    def read_constant(word: str) -> float:
        if word == "NaN" and takes_nan:
            return math.nan
        raise BadRequest(f"{word} is no JSON. Numbers must be finite; a gap in a table is null.")

    def read_float(word: str) -> float:
        if math.isinf(number := float(word)):
            raise BadRequest(f"{word} is too large a number.")
        return number

    try:
        found = json.loads(text, parse_constant=read_constant, parse_float=read_float)
        # Half of a pair, like \ud800, is no character: it could not be written again.
        json.dumps(found, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise BadRequest(f"The body is no JSON: {error.msg}, line {error.lineno}, column {error.colno}.") from error
    except UnicodeEncodeError as error:
        raise BadRequest("A string holds half of a surrogate pair, which is no character.") from error
    except RecursionError as error:
        raise BadRequest(f"The JSON is nested too deeply: more than {MAX_DEPTH} levels.") from error
    except ValueError as error:
        raise BadRequest(f"The body cannot be read as JSON: {error}.") from error
    return found


def _check_depth(value: Any, n_left: int) -> None:
    if n_left == 0:
        raise BadRequest(f"The JSON is nested too deeply: more than {MAX_DEPTH} levels.")
    for child in value.values() if type(value) is dict else value if type(value) is list else ():
        if type(child) is list or type(child) is dict:
            _check_depth(child, n_left - 1)


def name_kind(value: Any) -> str:
    """What a value of JSON is, in words."""
    return "null" if value is None else _KINDS.get(type(value), "something else")


def show(value: Any, limit: int = _MAX_SHOWN) -> str:
    """A value of JSON as text, cut after `limit` characters."""
    text = json.dumps(value, ensure_ascii=False, default=str) if _is_small(value) else name_kind(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _is_small(value: Any) -> bool:
    if isinstance(value, dict):
        return len(value) < 50 and all(_is_small(one) for one in value.values())
    return not isinstance(value, list) or (len(value) < 50 and all(_is_small(one) for one in value))


# Pixels


def find_pixels(body: bytes, keys: Sequence[str]) -> tuple[dict[str, Any], str, NDArray[np.uint8]] | None:
    """Of `{"KEY": nested list of whole numbers}` the other members, the key and uint8 of the lists' shape (2 to 4
    dimensions); without Python objects in between. `None` for all else, whether right or wrong: then `read_json` must
    tell.
    """
    if simdjson is None:
        return None
    try:
        document = simdjson.Parser().parse(body)
        if not isinstance(document, simdjson.Object):
            return None
        others, found = {}, None
        for name in document:
            value = document[name]
            if name in keys and found is None and isinstance(value, simdjson.Array):
                found = name, _take_pixels(value, body)
            elif isinstance(value, simdjson.Array | simdjson.Object):
                return None
            else:
                others[name] = value
    except (ValueError, RuntimeError, TypeError, KeyError):
        return None
    return None if found is None or found[1] is None else (others, found[0], found[1])


def _take_pixels(array: Any, body: bytes) -> NDArray[np.uint8] | None:
    """`array` is a simdjson.Array of `body`. Its `as_buffer` flattens whatever is nested, so that the shape of the
    first image proves nothing of the others. What is left of the body without digits does: it must be that of a full
    array of that shape, to the letter."""
    shape, part = [len(array)], array
    while shape[-1] and isinstance(part[0], type(array)):
        part = part[0]
        shape.append(len(part))
    if not 2 <= len(shape) <= 4 or 0 in shape or math.prod(shape) > len(body):
        return None
    numbers = np.frombuffer(array.as_buffer(of_type="u"), np.uint64)
    if len(numbers) != math.prod(shape) or numbers.max() > 255:
        return None
    skeleton = body.translate(None, _NO_SKELETON)
    # Strings cannot deceive: between the first bracket and the last one there is no quotation mark.
    if skeleton[skeleton.find(b"[") : skeleton.rfind(b"]") + 1] != _find_skeleton(tuple(shape)):
        return None
    return numbers.astype(np.uint8).reshape(shape)


def _find_skeleton(shape: tuple[int, ...]) -> bytes:
    # Those of small images are kept; large ones would fill the memory.
    return _build_kept_skeleton(shape) if math.prod(shape) < _MAX_KEPT else _build_skeleton(shape)


@lru_cache(64)
def _build_kept_skeleton(shape: tuple[int, ...]) -> bytes:
    return _build_skeleton(shape)


def _build_skeleton(shape: tuple[int, ...]) -> bytes:
    """An array of that shape in JSON, without its numbers: (2, 3) is [[,,],[,,]]."""
    made = b"[" + b"," * (shape[-1] - 1) + b"]"
    for size in reversed(shape[:-1]):
        made = b"[" + (made + b",") * (size - 1) + made + b"]"
    return made


def read_pixels(value: Any, spec: Spec) -> NDArray[np.uint8]:
    """[height][width], where the network takes gray, or [height][width][channels], whole numbers of 0 to 255 -> uint8
    [height, width, channels]."""
    n_channels = spec.image_shape[2]
    wanted = f"[height][width][{n_channels}]" if n_channels > 1 else "[height][width] or [height][width][1]"
    expected = f"Expected pixels as nested lists, {wanted}, of whole numbers from 0 to 255."
    leaves, shape = value, []
    while isinstance(leaves, list) and len(shape) < 4:
        shape.append(len(leaves))
        if not leaves or not isinstance(leaves[0], list):
            break
        leaves = leaves[0]
    if len(shape) not in (2, 3) or 0 in shape:
        raise BadRequest(f"{expected} Received {_name_shape(value, shape)}.")
    flat: Iterable[Any] = value
    for level, size in enumerate(shape[1:], start=1):
        rows = list(flat)
        for one in rows:
            if type(one) is not list or len(one) != size:
                other = f"one of {len(one)}" if type(one) is list else name_kind(one)
                raise BadRequest(f"{expected} Received a list of {size} and {other} at level {level + 1}.")
        flat = chain.from_iterable(rows)
    return fit_pixels(_to_bytes(list(flat), expected).reshape(shape)[None], spec)[0]


def _name_shape(value: Any, shape: list[int]) -> str:
    return "lists of shape " + str(shape) if shape else name_kind(value)


def _to_bytes(numbers: list[Any], expected: str) -> NDArray[np.uint8]:
    if set(map(type, numbers)) != {int}:
        wrong = next(one for one in numbers if type(one) is not int)
        raise BadRequest(f"{expected} Received {show(wrong)}.")
    try:
        # Five times as fast as np.array.
        return np.frombuffer(bytes(numbers), np.uint8)
    except ValueError as error:
        wrong = next(one for one in numbers if not 0 <= one <= 255)
        raise BadRequest(f"{expected} Received {wrong}.") from error


def fit_pixels(pixels: NDArray[np.uint8], spec: Spec) -> NDArray[np.uint8]:
    """uint8 [n, height, width] of gray, or [n, height, width, channels] -> the latter; refuses other numbers of
    channels, empty images and those above 100 megapixels."""
    n_channels = spec.image_shape[2]
    made = pixels[..., None] if pixels.ndim == 3 and n_channels == 1 else pixels
    if made.ndim != 4 or made.shape[3] != n_channels or 0 in made.shape:
        wanted = "[height][width][3]" if n_channels == 3 else "[height][width] or [height][width][1]"
        raise BadRequest(f"Expected pixels of shape {wanted}. Received {list(pixels.shape[1:])}.")
    if made.shape[1] * made.shape[2] > MAX_PIXELS:
        raise BadRequest(f"Expected at most 100 megapixels. Received {made.shape[1]} x {made.shape[2]}.")
    return made


# Inputs


def read_input(value: Any, spec: Spec) -> Any:
    """One raw input of JSON: bytes or uint8 [height, width, channels]; str; dict of cells."""
    if spec.kind == "image":
        return read_image(value, spec)
    return read_text(value) if spec.kind == "text" else read_row(value, spec)


def read_inputs(values: Any, spec: Spec, where: str) -> list[Any] | NDArray[np.uint8]:
    """All of a list, or a `BadRequest` that begins with `where[index]`; images of one size as one array."""
    check_count(len(values))
    made = []
    for index, value in enumerate(values):
        try:
            made.append(read_input(value, spec))
        except BadRequest as error:
            raise BadRequest(f"{where}[{index}]: {error.what}", error.status) from error
    return stack_alike(made)


def stack_alike(inputs: list[Any]) -> list[Any] | NDArray[np.uint8]:
    """Arrays of one shape as one array [n, ...]; all else as it is."""
    if all(isinstance(one, np.ndarray) for one in inputs) and len({one.shape for one in inputs}) == 1:
        return np.stack(inputs)
    return inputs


def check_count(n_inputs: int) -> None:
    """Raises `BadRequest` for none, and for more than a request may hold."""
    if n_inputs == 0:
        raise BadRequest("Expected at least one input. Received none.")
    if n_inputs > MAX_BATCH:
        raise BadRequest(f"Expected at most {MAX_BATCH:,} inputs in a request. Received {n_inputs:,}.")


def read_image(value: Any, spec: Spec) -> bytes | NDArray[np.uint8]:
    """{"b64": ...} is a file, lists are pixels."""
    if is_base64(value):
        return read_base64(value["b64"])
    if isinstance(value, list):
        return read_pixels(value, spec)
    raise BadRequest(
        f'Expected an image: {{"b64": "a file in base64"}} or nested lists of pixels. Received {name_kind(value)}.'
    )


def read_text(value: Any) -> str:
    """A string, or {"b64": ...} of UTF-8."""
    if isinstance(value, str):
        return value
    if is_base64(value):
        return decode_text(read_base64(value["b64"], can_be_empty=True))
    raise BadRequest(f"Expected a text as a string. Received {name_kind(value)}.")


def decode_text(data: bytes) -> str:
    """UTF-8, with a byte order mark or without."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"Expected text in UTF-8. Byte {error.start} does not belong there.") from error


def read_row(value: Any, spec: Spec) -> dict[str, Any]:
    """An object of cells by column; columns left out are gaps. Cells are numbers, strings, true, false or null."""
    if not isinstance(value, Mapping):
        raise BadRequest(f"Expected a row as an object, {{column: value}}. Received {name_kind(value)}.")
    known = {one.name for one in spec.features}
    if not known.issuperset(value):
        raise BadRequest(_name_unknown([name for name in value if name not in known], spec))
    return {name: _read_cell(name, cell) for name, cell in value.items()}


def _read_cell(name: str, cell: Any) -> Any:
    if isinstance(cell, list | dict):
        if is_base64(cell):
            return read_text(cell)
        raise BadRequest(f"Column {name!r}: expected a number, a string, true, false or null. Received {show(cell)}.")
    if isinstance(cell, float | int):
        if cell != cell:
            return None
        if abs(cell) > MAX_NUMBER:
            raise BadRequest(f"Column {name!r}: {show(cell)} is too large a number.")
    return cell


def _name_unknown(names: Sequence[str], spec: Spec) -> str:
    known = [one.name for one in spec.features]
    near = get_close_matches(names[0], known, n=1)
    if near:
        return f"Unknown column {names[0]!r}; did you mean {near[0]!r}?"
    listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"Unknown column {names[0]!r}; the columns are {listed}."


def is_base64(value: Any) -> bool:
    """Whether it is {"b64": "..."} and nothing else."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def read_base64(text: str, *, can_be_empty: bool = False) -> bytes:
    """The bytes; without padding, with line breaks, in the letters of URLs and as a data URL, too."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        if text.startswith("data:"):
            text = text.partition(",")[2]
        plain = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
        try:
            data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadRequest(f"Expected base64. Unable to base64 decode {show(text, 40)}.") from error
    if not data and not can_be_empty:
        raise BadRequest("The file is empty.")
    return data
