"""TensorFlow Serving's REST API: paths, requests, answers and errors, as its `http_rest_api_handler.cc` and
`json_tensor.cc` have them. Pure functions.

More lenient than it where that harms nothing: {"b64": ...} is taken as an image file under `serving_default`, too, and
columns of a table that are left out are gaps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from railcar.serving.requests import (
    check_count,
    find_pixels,
    fit_pixels,
    is_base64,
    name_kind,
    read_inputs,
    read_json,
    show,
)
from railcar.serving.spec import BadRequest, Spec

_PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d{1,18})|/labels/([^/:]+))?(?:/(metadata)|:(predict|classify|regress))?",
    re.IGNORECASE,
)
_STATES = {
    "loading": "LOADING",
    "ready": "AVAILABLE",
    "draining": "UNLOADING",
    "failed": "END",
    "stopped": "END",
}
_MAX_SHOWN = 200


class Path(NamedTuple):
    """`verb` is predict, classify, regress, metadata or status."""

    name: str
    version: int | None
    label: str | None
    verb: str


@dataclass(frozen=True)
class Question:
    """Raw inputs, and whether they came as rows (`instances`) or as columns (`inputs`): so the answer is written."""

    inputs: list[Any] | NDArray[np.uint8]
    is_row: bool


@lru_cache(1024)
def parse_path(path: str, method: str = "GET") -> Path:
    """Of a decoded path below /v1. Raises `BadRequest`: 400 for what is none, 405 for another method than it takes."""
    found = _PATH.fullmatch(path)
    if found is None:
        if path.lower().rstrip("/") == "/v1/models":
            raise BadRequest("Missing model name in request.")
        raise BadRequest(f"Malformed request: {method} {path}")
    name, version, label, about, verb = found.groups()
    allowed = ("POST",) if verb else ("GET", "HEAD")
    if method not in allowed:
        raise BadRequest(f"Method not allowed: {method} {path}; it takes {allowed[0]}", 405)
    return Path(name, int(version) if version else None, label, (verb or about or "status").lower())


def describe_missing(path: Path) -> BadRequest:
    """The error of a model, a version or a label that is not there, in TensorFlow Serving's words."""
    if path.label is not None:
        return BadRequest(f"Unrecognized servable version label: {path.label}")
    if path.verb == "status":
        which = "any versions" if path.version is None else f"version {path.version}"
        return BadRequest(f"Could not find {which} of model {path.name}", 404)
    which = f"Latest({path.name})" if path.version is None else f"Specific({path.name}, {path.version})"
    return BadRequest(f"Servable not found for request: {which}", 404)


def write_error(what: str) -> bytes:
    """{"error": what}"""
    return json.dumps({"error": what}, ensure_ascii=False).encode()


# Predict


def read_predict(body: bytes, spec: Spec) -> Question:
    """Of {"instances": [...]} or {"inputs": ...}, with "signature_name" or without."""
    if spec.kind == "image" and (quick := find_pixels(body, ("instances", "inputs"))):
        others, key, pixels = quick
        if set(others) <= {"signature_name"} and pixels.ndim > 2:
            _check_signature(others, spec)
            check_count(len(pixels))
            return Question(fit_pixels(pixels, spec), key == "instances")
    document = _read_document(body, spec)
    _check_signature(document, spec)
    if "instances" in document and "inputs" in document:
        words = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        raise _refuse(document, words)
    if "instances" in document:
        return Question(_read_instances(document, spec), True)
    if "inputs" in document:
        return Question(_read_columns(document["inputs"], spec), False)
    raise BadRequest("Missing 'inputs' or 'instances' key")


def _read_document(body: bytes, spec: Spec) -> dict[str, Any]:
    """NaN is a gap of a table there, as in its own clients."""
    document = read_json(body, takes_nan=spec.kind == "table")
    if not isinstance(document, dict):
        raise _refuse(document, "Is not object")
    return document


def _refuse(value: Any, words: str) -> BadRequest:
    return BadRequest(f"JSON Value: {show(value, _MAX_SHOWN)} {words}")


def _check_signature(document: Mapping[str, Any], spec: Spec, method: str = "") -> None:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _refuse(document, "not formatted correctly. 'signature_name' key must be a string value.")
    known = ("", "serving_default", *(("serving_bytes",) if spec.kind == "image" else ()), method)
    if name not in known:
        raise BadRequest(f'Serving signature name: "{name}" not found in signature def')


def _input_names(spec: Spec) -> list[str]:
    """Tensors by which an input can be named; each alone is a whole input, but of tables."""
    if spec.kind == "table":
        return [one.name for one in spec.features]
    return ["image", "image_bytes"] if spec.kind == "image" else ["text"]


def _read_instances(document: Mapping[str, Any], spec: Spec) -> Any:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise _refuse(document, "Excepting 'instances' to be an list/array")
    if not instances:
        raise _refuse(document, "No values in 'instances' array")
    names = _input_names(spec)
    if spec.kind == "table":
        if len(names) > 1 and not isinstance(instances[0], dict):
            raise BadRequest(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                f"tensorinfo_map: {', '.join(names)}"
            )
        values = [one if isinstance(one, dict) or len(names) > 1 else {names[0]: one} for one in instances]
    else:
        values = [_unname(one, index, names, "instances") for index, one in enumerate(instances)]
    return read_inputs(values, spec, "instances")


def _unname(value: Any, index: int, names: list[str], where: str) -> Any:
    """{"image": value} -> value"""
    if not isinstance(value, dict) or is_base64(value):
        return value
    if len(value) != 1 or (name := next(iter(value))) not in names:
        keys = " or ".join(names)
        raise BadRequest(
            f"Failed to process element: {index} of '{where}' list. JSON object: {show(value)} keys must be equal to: "
            f"{keys}"
        )
    return value[name]


def _read_columns(value: Any, spec: Spec) -> Any:
    names = _input_names(spec)
    if spec.kind == "table":
        return read_inputs(_turn_columns(value, names), spec, "inputs")
    if isinstance(value, dict) and not is_base64(value):
        given = [name for name in names if name in value]
        if len(given) != 1 or len(value) != 1:
            if not given:
                raise BadRequest(f"Missing named input: {names[0]} in 'inputs' object.")
            raise BadRequest(f"Expected one of {' or '.join(names)} in 'inputs' object. Received {', '.join(value)}.")
        value = value[given[0]]
    # A tensor without dimensions: one input.
    values = value if isinstance(value, list) else [value]
    return read_inputs(values, spec, "inputs")


def _turn_columns(value: Any, names: list[str]) -> list[dict[str, Any]]:
    """{column: cells} -> rows."""
    if not isinstance(value, dict):
        if len(names) > 1:
            raise BadRequest(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                f"tensorinfo_map: {', '.join(names)}"
            )
        value = {names[0]: value}
    columns = {name: cells if isinstance(cells, list) else [cells] for name, cells in value.items()}
    sizes = {len(cells) for cells in columns.values()}
    if len(sizes) > 1:
        listed = ", ".join(f"{name} has {len(cells)}" for name, cells in list(columns.items())[:5])
        raise BadRequest(f"Expected columns of one length in 'inputs'. Received: {listed}.")
    unwrapped = [[_unwrap(cell) for cell in cells] for cells in columns.values()]
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*unwrapped, strict=True)]


def _unwrap(cell: Any) -> Any:
    """[cell] -> cell: tensors of shape [n, 1] are columns, too. Nested lists (pixels) stay."""
    return cell[0] if isinstance(cell, list) and len(cell) == 1 and not isinstance(cell[0], list) else cell


def write_predict(answers: NDArray[np.float32], question: Question, spec: Spec) -> bytes:
    """`answers` float32 [n, outputs] -> {"predictions": [...]} or {"outputs": ...}."""
    key = "predictions" if question.is_row else "outputs"
    if spec.is_number:
        return f'{{\n    "{key}": [{join_numbers(answers[:, 0])}]\n}}'.encode()
    best = answers.argmax(axis=1).tolist()
    labels = [json.dumps(spec.labels[one], ensure_ascii=False) for one in best]
    every = [join_numbers(row) for row in answers]
    tops = [str(row[one]) for row, one in zip(answers, best, strict=True)]
    if question.is_row:
        rows = [
            f'        {{\n            "probabilities": [{all_of_it}],\n            "label": {label},\n'
            f'            "probability": {top}\n        }}'
            for all_of_it, label, top in zip(every, labels, tops, strict=True)
        ]
        return ('{\n    "predictions": [\n' + ",\n".join(rows) + "\n    ]\n}").encode()
    nested = ", ".join(f"[{one}]" for one in every)
    return (
        f'{{\n    "outputs": {{\n        "probabilities": [{nested}],\n        "label": [{", ".join(labels)}],\n'
        f'        "probability": [{", ".join(tops)}]\n    }}\n}}'
    ).encode()


def join_numbers(numbers: NDArray[np.float32]) -> str:
    """float32 [n] with commas between: the fewest digits, 9 at most, that are read as the same float32."""
    return ", ".join(map(str, numbers))


# Classify and regress


def read_examples(body: bytes, spec: Spec, verb: str) -> Any:
    """Raw inputs of {"examples": [...], "context": {...}}; `verb` classify or regress must be the model's."""
    document = _read_document(body, spec)
    _check_signature(document, spec, f"tensorflow/serving/{verb}")
    if (verb == "regress") != spec.is_number:
        kind, other = ("regression", "classify") if verb == "regress" else ("classification", "regress")
        raise BadRequest(
            f"Expected {kind} signature method_name to be tensorflow/serving/{verb}. Was: tensorflow/serving/{other}"
        )
    examples, context = document.get("examples"), document.get("context", {})
    if "examples" not in document:
        raise _refuse(document, f"When method is {verb}, key 'examples' is expected and was not found")
    if not isinstance(examples, list):
        raise _refuse(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise _refuse(document, "'examples' value is an empty array")
    names = _input_names(spec)
    made = []
    for index, one in enumerate(examples):
        features = {**_read_example(context), **_read_example(one)}
        if len(features) < len(context) + len(one):
            both = ", ".join(name for name in one if name in context)
            raise BadRequest(f"Features of 'context' must not appear in 'examples': {both}")
        made.append(features if spec.kind == "table" else _unname(features, index, names, "examples"))
    return read_inputs(made, spec, "examples")


def _read_example(value: Any) -> dict[str, Any]:
    """A feature is a value or a list of one."""
    if not isinstance(value, dict):
        raise BadRequest(f"Example must be JSON object but got JSON {name_kind(value).split()[-1].capitalize()}")
    return {name: _unwrap(cell) for name, cell in value.items()}


def write_classify(answers: NDArray[np.float32], spec: Spec) -> bytes:
    """`answers` float32 [n, labels] -> {"results": [[[label, score], ...], ...]}, in the model's order of labels."""
    labels = [json.dumps(label, ensure_ascii=False) for label in spec.labels]
    rows = [
        "[" + ", ".join(f"[{label}, {score}]" for label, score in zip(labels, map(str, row), strict=True)) + "]"
        for row in answers
    ]
    return ('{\n    "results": [' + ", ".join(rows) + "]\n}").encode()


def write_regress(answers: NDArray[np.float32]) -> bytes:
    """`answers` float32 [n, 1] -> {"results": [number, ...]}"""
    return f'{{\n    "results": [{join_numbers(answers[:, 0])}]\n}}'.encode()


# Status and metadata


def describe_status(version: int, state: str = "ready", message: str = "") -> dict[str, Any]:
    """`state` is ready, loading, draining, failed or stopped, or TensorFlow Serving's own word. `message` tells why a
    model failed."""
    code = "UNKNOWN" if message else "OK"
    status = {"error_code": code, "error_message": message}
    said = _STATES.get(state, state.upper())
    return {"model_version_status": [{"version": str(version), "state": said, "status": status}]}


def describe_metadata(name: str, version: int, spec: Spec) -> dict[str, Any]:
    """Model's name and version, and its signatures as the exported SavedModel has them."""
    outputs = {"value": ("DT_FLOAT", (-1,))}
    if not spec.is_number:
        outputs = {
            "label": ("DT_STRING", (-1,)),
            "probabilities": ("DT_FLOAT", (-1, len(spec.labels))),
            "probability": ("DT_FLOAT", (-1,)),
        }
    signatures = {"serving_default": _describe_signature("serving_default", _input_tensors(spec), outputs)}
    if spec.kind == "image":
        files = {"image_bytes": ("DT_STRING", (-1,))}
        signatures["serving_bytes"] = _describe_signature("serving_bytes", files, outputs)
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _input_tensors(spec: Spec) -> dict[str, tuple[str, tuple[int, ...]]]:
    if spec.kind == "image":
        return {"image": ("DT_UINT8", (-1, -1, -1, spec.image_shape[2]))}
    if spec.kind == "text":
        return {"text": ("DT_STRING", (-1,))}
    return {one.name: ("DT_STRING" if one.type == "category" else "DT_FLOAT", (-1,)) for one in spec.features}


def _describe_signature(
    signature: str, inputs: Mapping[str, tuple[str, tuple[int, ...]]], outputs: Mapping[str, Any]
) -> dict[str, Any]:
    call = "StatefulPartitionedCall" + ("_1" if signature == "serving_default" and "image" in inputs else "")
    return {
        "inputs": {name: _describe_tensor(f"{signature}_{name}:0", *one) for name, one in inputs.items()},
        "outputs": {
            name: _describe_tensor(f"{call}:{number}", *one) for number, (name, one) in enumerate(outputs.items())
        },
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }


def _describe_tensor(name: str, dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    sizes = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": sizes, "unknown_rank": False}, "name": name}
