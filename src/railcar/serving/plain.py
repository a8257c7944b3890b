"""POST /predict and POST /explain: files, form data and JSON in, a list of dicts out. Pure functions.

What cannot be read fails alone: a `BadRequest` stands in its place among the inputs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from railcar.serving.requests import check_count, decode_text, find_pixels, fit_pixels, read_input, read_object
from railcar.serving.spec import BadRequest, Spec

MAX_PARTS = 1024
_MAX_HEADERS, _MAX_HEADER_BYTES = 8, 4096
_DIGITS = 6
# It warns of every broken form; whoever sent it is told already.
logging.getLogger("python_multipart").addHandler(logging.NullHandler())


def read_question(body: bytes, content_type: str | None, spec: Spec) -> list[Any]:
    """Raw inputs, one at least; a `BadRequest` in the place of each that cannot be read. Raises `BadRequest` for what
    is wrong as a whole: 400, or 415 for a type that the model does not take."""
    kind, options = parse_options_header(content_type)
    kind = kind.decode("latin-1").lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return _read_document(body, spec)
    if kind == "multipart/form-data":
        return _read_form(body, options.get(b"boundary", b""), spec)
    if kind == "text/plain" and spec.kind == "text":
        charset = options.get(b"charset", b"utf-8").lower()
        if charset not in (b"utf-8", b"utf8", b"us-ascii"):
            raise BadRequest(f"Expected text in UTF-8. Received charset {charset.decode('latin-1')!r}.", 415)
        return [decode_text(body)]
    is_file = kind == "application/octet-stream" or (kind.startswith("image/") and spec.kind == "image")
    if is_file and spec.kind != "table":
        return [_read_alone(_read_file, body, spec)]
    raise BadRequest(_name_types(kind, spec), 415)


def _name_types(kind: str, spec: Spec) -> str:
    other = {"image": "image/*, multipart/form-data or ", "text": "text/plain, multipart/form-data or ", "table": ""}
    received = f"Received {kind[:80]}." if kind else "Received none."
    hint = "; curl takes -H 'Content-Type: application/json'" if kind == "application/x-www-form-urlencoded" else ""
    return f"Expected Content-Type {other[spec.kind]}application/json. {received[:-1]}{hint}."


def _read_alone(read: Callable[[Any, Spec], Any], value: Any, spec: Spec) -> Any:
    try:
        return read(value, spec)
    except BadRequest as error:
        return error


def _read_file(data: bytes, spec: Spec) -> Any:
    """A file of its own: an image, or a text in UTF-8."""
    if not data:
        raise BadRequest("The file is empty.")
    return decode_text(data) if spec.kind == "text" else data


# JSON


def _read_document(body: bytes, spec: Spec) -> list[Any]:
    """{"inputs": [...]} or {"input": ...}"""
    if spec.kind == "image" and (quick := find_pixels(body, ("inputs", "input"))):
        others, key, pixels = quick
        pixels = pixels if key == "inputs" else pixels[None]
        if not others and pixels.ndim > 2:
            check_count(len(pixels))
            return list(fit_pixels(pixels, spec))
    document = read_object(body)
    if len(document) != 1 or not document.keys() <= {"inputs", "input"}:
        given = ", ".join(list(document)[:5]) or "an empty object"
        raise BadRequest(f'Expected {{"inputs": [...]}} or {{"input": ...}}. Received {given}.')
    if "input" in document:
        return [_read_alone(read_input, document["input"], spec)]
    inputs = document["inputs"]
    if not isinstance(inputs, list):
        raise BadRequest("Expected 'inputs' as a list. One input alone is 'input'.")
    check_count(len(inputs))
    return [_read_alone(read_input, one, spec) for one in inputs]


# Form data


@dataclass
class _Part:
    name: str = ""
    filename: str | None = None
    pieces: list[bytes] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)


class _Form:
    """What the parser calls; `parts` in their order, `is_whole` once the last boundary was seen."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.is_whole = False
        self._name, self._value = b"", b""

    def begin_part(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise BadRequest(f"Expected at most {MAX_PARTS:,} parts in a form.", 413)
        self.parts.append(_Part())

    def add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            part = self.parts[-1]
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            if (filename := options.get(b"filename")) is not None:
                part.filename = filename.decode("utf-8", "replace")
        self._name, self._value = b"", b""

    def add_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].pieces.append(data[start:end])

    def end(self) -> None:
        self.is_whole = True


def _read_form(body: bytes, boundary: bytes, spec: Spec) -> list[Any]:
    if spec.kind == "table":
        raise BadRequest("Expected Content-Type application/json for rows. Received multipart/form-data.", 415)
    inputs = []
    for part in parse_form(body, boundary):
        if part.name not in ("file", "text"):
            raise BadRequest(f"Expected fields 'file' or 'text'. Received {part.name[:80]!r}.")
        if part.name == "text" and spec.kind == "image":
            raise BadRequest("Expected images in fields 'file'. Received 'text'.")
        if part.name == "text":
            inputs.append(_read_alone(lambda data, _: decode_text(data), part.data, spec))
        else:
            inputs.append(_read_alone(_read_file, part.data, spec))
    if not inputs:
        raise BadRequest("Expected fields 'file' or 'text'. Received an empty form.")
    check_count(len(inputs))
    return inputs


def parse_form(body: bytes, boundary: bytes) -> list[_Part]:
    """The parts of a whole multipart/form-data body. Raises `BadRequest` for a broken one."""
    form = _Form()
    if not boundary:
        raise BadRequest("Expected a boundary in the Content-Type of multipart/form-data.")
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin_part,
                "on_part_data": form.add_data,
                "on_header_field": form.add_name,
                "on_header_value": form.add_value,
                "on_header_end": form.end_header,
                "on_end": form.end,
            },
            max_header_count=_MAX_HEADERS,
            max_header_size=_MAX_HEADER_BYTES,
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise BadRequest(f"The form data is broken: {error}.") from error
    if not form.is_whole:
        raise BadRequest("The form data is broken: it ends before its last boundary.")
    return form.parts


# Answers


def write_predictions(answers: NDArray[np.float32], spec: Spec, top: int | None = None) -> list[dict[str, Any]]:
    """`answers` float32 [n, outputs] -> for each {"label", "probability", "probabilities"}, best first and the `top`
    best only, rounded to 6 places; or {"value"}."""
    if spec.is_number:
        return [{"value": float(str(value))} for value in answers[:, 0]]
    order = np.argsort(-answers, axis=1, kind="stable")[:, : top or None].tolist()
    rounded = answers.astype(np.float64).round(_DIGITS).tolist()
    return [
        {
            "label": spec.labels[best[0]],
            "probability": row[best[0]],
            "probabilities": {spec.labels[one]: row[one] for one in best},
        }
        for best, row in zip(order, rounded, strict=True)
    ]
