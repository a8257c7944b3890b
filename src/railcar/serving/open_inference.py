"""The Open Inference Protocol v2 (KServe, Triton, MLServer) over HTTP: metadata, requests and answers, with the
extension for binary tensors. Pure functions.

    images   `image` UINT8 [-1, -1, -1, channels], or `image_bytes` BYTES [-1]: files (in JSON as base64)
    texts    `text` BYTES [-1]
    tables   a tensor for each column, [-1]: FP32 with NaN for a gap, categories BYTES with "" for a gap
    answers  `probabilities` FP32 [-1, labels], `label` BYTES [-1], `probability` FP32 [-1]; or `value` FP32 [-1]

Dates in FP32 are days since 1970-01-01; any column is also taken as BYTES, its cells written as in a file. Columns that
are left out are gaps. The number of values must be that of the shape.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.serving.requests import (
    check_count,
    decode_text,
    fit_pixels,
    name_kind,
    read_base64,
    read_object,
    read_row,
    show,
)
from railcar.serving.spec import BadRequest, Spec

HEADER = "Inference-Header-Content-Length"
EXTENSIONS = ("binary_tensor_data", "classification", "model_repository")
_INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_DTYPES = {
    "BOOL": "?",
    **{name: "<" + name[0].lower() + str(int(name.strip("UINT")) // 8) for name in _INTEGERS},
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


@dataclass(frozen=True)
class Output:
    """One output that is asked for; `n_classes` above 0 asks for the best classes instead of numbers."""

    name: str
    is_binary: bool = False
    n_classes: int = 0


@dataclass(frozen=True)
class Question:
    """Raw inputs, and how the answer is wanted."""

    inputs: list[Any] | NDArray[np.uint8]
    outputs: tuple[Output, ...]
    id: str | None = None


# Metadata


def describe_server(version: str) -> dict[str, Any]:
    """GET /v2"""
    return {"name": "railcar", "version": version, "extensions": list(EXTENSIONS)}


def describe_ready(name: str, is_ready: bool) -> dict[str, Any]:
    """GET /v2/models/NAME/ready"""
    return {"name": name, "ready": is_ready}


def describe_model(name: str, version: int, spec: Spec, platform: str = "railcar") -> dict[str, Any]:
    """GET /v2/models/NAME; `platform` is what computes."""
    if spec.kind == "image":
        shape = [-1, -1, -1, spec.image_shape[2]]
        inputs = [_describe("image", "UINT8", shape), _describe("image_bytes", "BYTES", [-1])]
    elif spec.kind == "text":
        inputs = [_describe("text", "BYTES", [-1])]
    else:
        types = {one.name: "BYTES" if one.type == "category" else "FP32" for one in spec.features}
        inputs = [_describe(column, datatype, [-1]) for column, datatype in types.items()]
    outputs = [_describe("value", "FP32", [-1])]
    if not spec.is_number:
        outputs = [
            _describe("probabilities", "FP32", [-1, len(spec.labels)]),
            _describe("label", "BYTES", [-1]),
            _describe("probability", "FP32", [-1]),
        ]
    return {"name": name, "versions": [str(version)], "platform": platform, "inputs": inputs, "outputs": outputs}


def _describe(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def describe_repository(cards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """POST /v2/repository/index; `cards` have name, version (None while none is loaded) and state."""
    return [
        {
            "name": card["name"],
            "version": str(card["version"] or ""),
            "state": "READY" if card["state"] == "ready" else "UNAVAILABLE",
            "reason": "" if card["state"] == "ready" else card["state"],
        }
        for card in cards
    ]


def output_names(spec: Spec) -> tuple[str, ...]:
    return ("value",) if spec.is_number else ("probabilities", "label", "probability")


# Requests


def read_infer(body: bytes, header_length: str | int | None, spec: Spec) -> Question:
    """`header_length` is the header `Inference-Header-Content-Length`, where there is one: so much of the body is JSON,
    the rest tensors. 0 says that all of it is one image file or one text."""
    if header_length is not None:
        header_length = _read_length(header_length, len(body))
        if header_length == 0:
            return Question(_read_raw(body, spec), _all_outputs(spec, True))
    head = body if header_length is None else body[:header_length]
    document = read_object(head, takes_nan=spec.kind == "table")
    rest = memoryview(b"" if header_length is None else body)[header_length or 0 :]
    given = document.get("inputs")
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise BadRequest("Expected 'inputs', a list of tensors {name, shape, datatype, data}.")
    tensors: dict[str, _Tensor] = {}
    for one in given:
        tensor, rest = _read_tensor(one, rest)
        if tensor.name in tensors:
            raise BadRequest(f"Input {tensor.name!r} is there twice.")
        tensors[tensor.name] = tensor
    if len(rest):
        raise BadRequest(f"The body holds {len(rest)} bytes more than the inputs' binary_data_size say.")
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise BadRequest(f"Expected 'id' as a string. Received {show(identity)}.")
    return Question(_to_inputs(tensors, spec), _read_outputs(document, spec), identity)


def _read_length(header: str | int, n_bytes: int) -> int:
    try:
        length = int(header)
    except ValueError:
        length = -1
    if not 0 <= length <= n_bytes:
        raise BadRequest(f"{HEADER}: expected a number from 0 to {n_bytes}, the body's length. Received {header}.")
    return length


def _read_raw(body: bytes, spec: Spec) -> list[Any]:
    if spec.kind == "table":
        raise BadRequest(f"{HEADER}: 0 takes models of one input; a table has a tensor for each column.")
    if not body:
        raise BadRequest("The body is empty.")
    return [decode_text(body) if spec.kind == "text" else body]


@dataclass(frozen=True)
class _Tensor:
    """`values` are flat: an array of numbers, or a list of strings (out of JSON) or bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any


def _read_tensor(given: dict[str, Any], rest: memoryview) -> tuple[_Tensor, memoryview]:
    """A tensor, and what of `rest` is not its own."""
    name, datatype, shape = given.get("name"), given.get("datatype"), given.get("shape")
    if not isinstance(name, str):
        raise BadRequest(f"Expected every input to have a 'name'. Received {show(name)}.")
    if not isinstance(datatype, str) or (datatype != "BYTES" and datatype not in _DTYPES):
        raise BadRequest(f"Input {name!r}: expected datatype BYTES, {', '.join(_DTYPES)}. Received {show(datatype)}.")
    if not isinstance(shape, list) or not shape or not all(type(size) is int and size >= 0 for size in shape):
        raise BadRequest(f"Input {name!r}: expected 'shape' as a list of sizes. Received {show(shape)}.")
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadRequest(f"Input {name!r}: expected 'parameters' as an object.")
    if "shared_memory_region" in parameters:
        raise BadRequest(f"Input {name!r}: shared memory is not supported; send the data.")
    n_values, size = math.prod(shape), parameters.get("binary_data_size")
    if size is None:
        values = _read_data(name, datatype, shape, given.get("data"))
    elif type(size) is not int or not 0 <= size <= len(rest) or "data" in given:
        why = "has 'data', too" if "data" in given else f"is {show(size)}, and {len(rest)} bytes are left"
        raise BadRequest(f"Input {name!r}: binary_data_size {why}.")
    else:
        values, rest = _read_binary(name, datatype, n_values, rest[:size]), rest[size:]
    return _Tensor(name, str(datatype), tuple(shape), values), rest


def _read_binary(name: str, datatype: str, n_values: int, data: memoryview) -> Any:
    if datatype == "BYTES":
        values = _split_elements(name, data)
        if len(values) != n_values:
            raise BadRequest(f"Input {name!r}: the shape has {n_values} elements. Received {len(values)}.")
        return values
    dtype = np.dtype(_DTYPES[datatype])
    if len(data) != n_values * dtype.itemsize:
        wanted = n_values * dtype.itemsize
        raise BadRequest(f"Input {name!r}: shape and datatype take {wanted} bytes. Received {len(data)}.")
    return np.frombuffer(data, dtype)


def _split_elements(name: str, data: memoryview) -> list[bytes]:
    """Each element is its length, 4 bytes little-endian, and its bytes."""
    values, at = [], 0
    while at < len(data):
        end = at + 4 + (struct.unpack_from("<I", data, at)[0] if at + 4 <= len(data) else len(data))
        if end > len(data):
            raise BadRequest(f"Input {name!r}: an element of BYTES goes beyond the tensor's end.")
        values.append(bytes(data[at + 4 : end]))
        at = end
    return values


def _read_data(name: str, datatype: str, shape: list[int], data: Any) -> Any:
    """`data` of JSON, flat or nested as the shape says."""
    if not isinstance(data, list):
        raise BadRequest(f"Input {name!r}: expected 'data' as a list. Received {name_kind(data)}.")
    flat, n_values = data, math.prod(shape)
    if data and isinstance(data[0], list):
        for size in shape[1:]:
            if len(flat) == 0 or not all(type(one) is list and len(one) == size for one in flat):
                raise BadRequest(f"Input {name!r}: 'data' is nested otherwise than its shape {shape}.")
            flat = [value for one in flat for value in one]
    if len(flat) != n_values:
        raise BadRequest(f"Input {name!r}: the shape {shape} has {n_values} values. Received {len(flat)}.")
    # null is a gap, though the protocol has no word for it.
    wanted = {"BYTES": {str, type(None)}, "BOOL": {bool}}.get(datatype, {int, float, type(None)})
    wanted = {int} if datatype in _INTEGERS else wanted
    if not set(map(type, flat)) <= wanted:
        wrong = next(one for one in flat if type(one) not in wanted)
        raise BadRequest(f"Input {name!r}: expected values of {datatype}. Received {show(wrong)}.")
    if datatype == "BYTES":
        return ["" if one is None else one for one in flat]
    try:
        # bytes() is five times as fast as np.array, and checks the range as well.
        return np.frombuffer(bytes(flat), np.uint8) if datatype == "UINT8" else np.array(flat, _DTYPES[datatype])
    except (OverflowError, ValueError) as error:
        raise BadRequest(f"Input {name!r}: a value is too large for {datatype}.") from error


# Tensors -> raw inputs


def _to_inputs(tensors: dict[str, _Tensor], spec: Spec) -> list[Any] | NDArray[np.uint8]:
    known = [one["name"] for one in describe_model("", 0, spec)["inputs"]]
    if unknown := next((name for name in tensors if name not in known), None):
        if spec.kind == "table":
            read_row(dict.fromkeys(tensors), spec)
        raise BadRequest(f"Unexpected input {unknown!r}; expected {' or '.join(known)}.")
    counts = {one.shape[0] for one in tensors.values()}
    if len(counts) > 1:
        listed = ", ".join(f"{one.name} {list(one.shape)}" for one in tensors.values())
        raise BadRequest(f"Expected inputs of one first size. Received {listed}.")
    check_count(counts.pop())
    if spec.kind == "table":
        columns = {one.name: one.type for one in spec.features}
        cells = {name: _to_cells(tensor, columns[name]) for name, tensor in tensors.items()}
        return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    if len(tensors) > 1:
        raise BadRequest("Expected image or image_bytes. Received both.")
    tensor = next(iter(tensors.values()))
    if tensor.name == "image":
        return fit_pixels(_to_pixels(tensor), spec)
    _check_vector(tensor)
    if tensor.datatype != "BYTES":
        raise BadRequest(f"Input {tensor.name!r}: expected datatype BYTES. Received {tensor.datatype}.")
    if spec.kind == "text":
        return [_to_text(one) for one in tensor.values]
    return [_to_file(one) for one in tensor.values]


def _to_pixels(tensor: _Tensor) -> NDArray[np.uint8]:
    """Whole numbers of 0 to 255, of any datatype of numbers."""
    if tensor.datatype in ("BYTES", "BOOL"):
        raise BadRequest(f"Input 'image': expected datatype UINT8. Received {tensor.datatype}; files are image_bytes.")
    made = tensor.values
    if made.dtype != np.uint8:
        with np.errstate(invalid="ignore"):
            made = tensor.values.astype(np.uint8)
        if not np.array_equal(made, tensor.values):
            raise BadRequest("Input 'image': expected whole numbers from 0 to 255. Received others.")
    return made.reshape(tensor.shape)


def _check_vector(tensor: _Tensor) -> None:
    if tensor.shape[1:] not in ((), (1,)):
        raise BadRequest(f"Input {tensor.name!r}: expected shape [n] or [n, 1]. Received {list(tensor.shape)}.")


def _to_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else decode_text(value)


def _to_file(value: str | bytes) -> bytes:
    if isinstance(value, str):
        return read_base64(value)
    if not value:
        raise BadRequest("The file is empty.")
    return value


def _to_cells(tensor: _Tensor, kind: str) -> list[Any]:
    """Cells of a column of that type: NaN and "" are gaps; numbers of a category must be whole, as its words are."""
    _check_vector(tensor)
    if tensor.datatype == "BYTES":
        return [_to_text(one) or None for one in tensor.values]
    if kind == "category" and tensor.datatype.startswith("FP"):
        raise BadRequest(f"Input {tensor.name!r}: expected datatype BYTES. Received {tensor.datatype}.")
    if tensor.datatype.startswith("FP"):
        with np.errstate(over="ignore"):
            if np.isinf(tensor.values.astype(np.float32)).any():
                raise BadRequest(f"Input {tensor.name!r}: expected finite numbers of float32, NaN for a gap.")
        return [None if one != one else one for one in tensor.values.tolist()]
    return tensor.values.tolist()


# Answers


def _all_outputs(spec: Spec, is_binary: bool) -> tuple[Output, ...]:
    return tuple(Output(name, is_binary) for name in output_names(spec))


def _read_outputs(document: Mapping[str, Any], spec: Spec) -> tuple[Output, ...]:
    """Which outputs in which order; all where none are named."""
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadRequest("Expected 'parameters' as an object.")
    is_binary = parameters.get("binary_data_output", False) is True
    wanted = document.get("outputs")
    if not wanted and wanted in (None, []):
        return _all_outputs(spec, is_binary)
    if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise BadRequest("Expected 'outputs' as a list of {name}.")
    found = []
    for one in wanted:
        name, parameters = one.get("name"), one.get("parameters") or {}
        if name not in output_names(spec):
            raise BadRequest(f"Unexpected output {show(name)}; expected {', '.join(output_names(spec))}.")
        if not isinstance(parameters, dict) or "shared_memory_region" in parameters:
            raise BadRequest(f"Output {name!r}: shared memory is not supported.")
        n_classes = parameters.get("classification", 0)
        if type(n_classes) is not int or n_classes < 0 or (n_classes and name != "probabilities"):
            raise BadRequest(f"Output {name!r}: 'classification' takes a number of classes, of 'probabilities' only.")
        found.append(Output(name, parameters.get("binary_data", is_binary) is True, n_classes))
    return tuple(found)


def write_infer(
    answers: NDArray[np.float32], question: Question, spec: Spec, name: str, version: int
) -> tuple[bytes, int | None]:
    """`answers` float32 [n, outputs] -> the body, and where it holds binary tensors the length of its JSON, which
    belongs into the header `Inference-Header-Content-Length`."""
    head = {"model_name": name, "model_version": str(version)}
    if question.id is not None:
        head["id"] = question.id
    described, binary = [], []
    for output in question.outputs:
        datatype, shape, values = _compute_output(answers, output, spec)
        text = f'{{"name": "{output.name}", "datatype": "{datatype}", "shape": {shape}'
        if output.is_binary:
            data = _join_elements(values) if datatype == "BYTES" else values.astype("<f4").tobytes()
            binary.append(data)
            described.append(f'{text}, "parameters": {{"binary_data_size": {len(data)}}}}}')
        else:
            data = json.dumps(values, ensure_ascii=False) if datatype == "BYTES" else f"[{', '.join(map(str, values))}]"
            described.append(f'{text}, "data": {data}}}')
    text = f'{json.dumps(head, ensure_ascii=False)[:-1]}, "outputs": [{", ".join(described)}]}}'.encode()
    if not any(output.is_binary for output in question.outputs):
        return text, None
    return b"".join([text, *binary]), len(text)


def _compute_output(answers: NDArray[np.float32], output: Output, spec: Spec) -> tuple[str, list[int], Any]:
    """Datatype, shape, and the values flat: an array of float32, or a list of strings."""
    n_inputs = len(answers)
    if output.n_classes:
        n_classes = min(output.n_classes, answers.shape[1])
        order = np.argsort(-answers, axis=1, kind="stable")[:, :n_classes].tolist()
        named = [
            f"{row[one]:f}:{one}:{spec.labels[one]}" for row, best in zip(answers, order, strict=True) for one in best
        ]
        return "BYTES", [n_inputs, n_classes], named
    if output.name == "label":
        return "BYTES", [n_inputs], [spec.labels[one] for one in answers.argmax(axis=1).tolist()]
    if output.name == "probabilities":
        return "FP32", list(answers.shape), answers.ravel()
    return "FP32", [n_inputs], answers[:, 0] if output.name == "value" else answers.max(axis=1)


def _join_elements(values: Sequence[str]) -> bytes:
    encoded = [value.encode() for value in values]
    return b"".join(part for one in encoded for part in (struct.pack("<I", len(one)), one))
