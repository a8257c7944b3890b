"""The OpenAPI 3.1 document of a server: every path of it, with schemas made of what each model takes and gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

Schema = dict[str, Any]
_ERRORS = {
    "400": "The question does not fit the model",
    "401": "The token is missing or wrong",
    "403": "Host or Origin is not allowed",
    "404": "No such model or version",
    "408": "The request came too slowly",
    "413": "The body is too large",
    "415": "The type of the body is not taken",
    "429": "Too many questions wait; Retry-After says when to ask again",
    "503": "Not ready, or about to end",
    "504": "No answer in time",
}
_FILE: Schema = {
    "type": "object",
    "description": "A file in base64",
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "required": ["b64"],
    "additionalProperties": False,
}
_CELLS: dict[str, list[str]] = {
    "number": ["number", "string", "null"],
    "boolean": ["boolean", "number", "string", "null"],
    "date": ["string", "number", "null"],
    "category": ["string", "number", "boolean", "null"],
}
_NUMBER: Schema = {"type": "number"}
_STRING: Schema = {"type": "string"}


def build_openapi(cards: Sequence[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """`cards` as GET /models has them (of a model that is loading no more than its name); `version` is railcar's."""
    keys = _name_schemas(cards)
    schemas: dict[str, Schema] = {
        "Error": _object({"error": _STRING}),
        "File": _FILE,
        "Card": {"type": "object", "properties": {"name": _STRING, "state": _STRING}, "required": ["name", "state"]},
    }
    paths = _list_server_paths(cards, keys)
    for card in cards:
        if "kind" in card:
            schemas |= _build_schemas(card, keys[card["name"]])
            paths |= _list_model_paths(card, keys[card["name"]])
    return {
        "openapi": "3.1.0",
        "info": {"title": "railcar serve", "version": version},
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _name_schemas(cards: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Model -> its name as a part of a schema's name; different for different models."""
    found: dict[str, str] = {}
    for card in cards:
        key = re.sub(r"[^A-Za-z0-9._-]", "_", card["name"])
        found[card["name"]] = key if key not in found.values() else f"{key}.{len(found)}"
    return found


def _object(properties: Mapping[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(properties), **more}


def _list_of(schema: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": schema, **more}


def _refer(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


# Schemas of a model


def _build_schemas(card: Mapping[str, Any], key: str) -> dict[str, Schema]:
    """`KEY.Input` is one raw input in JSON, `KEY.Prediction` one answer of POST /predict."""
    return {f"{key}.Input": _build_input(card), f"{key}.Prediction": _build_prediction(card)}


def _build_input(card: Mapping[str, Any]) -> Schema:
    if card["kind"] == "text":
        return {"type": "string", "examples": list(card.get("examples") or [])}
    if card["kind"] == "image":
        channels = card["input"]["channels"]
        value: Schema = {"type": "integer", "minimum": 0, "maximum": 255}
        pixel = _list_of(value, minItems=channels, maxItems=channels)
        pixels = [_list_of(_list_of(pixel, minItems=1), minItems=1, description="[height][width][channels]")]
        if channels == 1:
            pixels.append(_list_of(_list_of(value, minItems=1), minItems=1, description="[height][width]"))
        return {"anyOf": [_refer("File"), *pixels]}
    columns = {one["name"]: _build_column(one) for one in card["input"]["columns"]}
    examples = [one for one in card.get("examples") or [] if isinstance(one, Mapping)]
    return {"type": "object", "properties": columns, "additionalProperties": False, "examples": examples}


def _build_column(column: Mapping[str, Any]) -> Schema:
    found: Schema = {"type": _CELLS.get(column["type"], _CELLS["category"]), "description": column["type"]}
    examples = list(column.get("values") or [])[:50]
    if not examples and column.get("example") is not None:
        examples = [column["example"]]
    return {**found, "examples": examples} if examples else found


def _build_prediction(card: Mapping[str, Any]) -> Schema:
    if card["task"] == "regression":
        return _object({"value": _NUMBER})
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    return _object(
        {
            "label": {"enum": list(card["labels"])},
            "probability": probability,
            "probabilities": {"type": "object", "additionalProperties": probability, "description": "Best first"},
        }
    )


# Operations


def _operate(
    name: str, summary: str, answer: Schema, *, asks: Mapping[str, Schema] | None = None, **more: Any
) -> dict[str, Any]:
    """`asks` content type -> schema of the body."""
    errors = {code: _describe_answer(what, _refer("Error")) for code, what in _ERRORS.items()}
    made = {
        "operationId": name,
        "summary": summary,
        "responses": {"200": _describe_answer("The answer", answer), **errors},
        **more,
    }
    if asks is not None:
        made["requestBody"] = {"required": True, "content": {kind: {"schema": one} for kind, one in asks.items()}}
    return made


def _describe_answer(what: str, schema: Schema, kind: str = "application/json") -> dict[str, Any]:
    return {"description": what, "content": {kind: {"schema": schema}}}


def _list_server_paths(cards: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> dict[str, Any]:
    free: dict[str, Any] = {"security": [{}]}
    anything: Schema = {"type": "object"}
    paths = {
        "/predict": {"post": _ask("predict", "Predict", "predictions", cards, keys)},
        "/explain": {"post": _ask("explain", "Predict one input, and tell why", "explanation", cards, keys)},
        "/models": {"get": _operate("list_models", "The models", _object({"models": _list_of(_refer("Card"))}))},
        "/models/{name}": {
            "get": _operate("show_model", "A model", _refer("Card"), parameters=[_name_parameter(cards)])
        },
        "/openapi.json": {"get": _operate("describe", "This document", anything)},
        "/metrics": {"get": _operate("measure", "Metrics of Prometheus", {})},
        "/healthz": {"get": _operate("is_alive", "Whether the server runs", anything, **free)},
        "/readyz": {"get": _operate("is_ready", "Whether every model is ready", anything, **free)},
        "/v2": {"get": _operate("v2_server", "Open Inference: the server", anything)},
        "/v2/health/live": {"get": _operate("v2_live", "Open Inference: liveness", anything, **free)},
        "/v2/health/ready": {"get": _operate("v2_ready", "Open Inference: readiness", anything, **free)},
        "/v2/repository/index": {"post": _operate("v2_index", "Open Inference: the models", _list_of(anything))},
        "/": {"get": _operate("page", "The page", {}, **free)},
    }
    plain = _describe_answer("The answer", _STRING, "text/plain; version=0.0.4")
    paths["/metrics"]["get"]["responses"]["200"] = plain
    paths["/"]["get"]["responses"]["200"] = _describe_answer("The answer", _STRING, "text/html")
    return paths


def _name_parameter(cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"name": "name", "in": "path", "required": True, "schema": {"enum": [card["name"] for card in cards]}}


def _ask(
    name: str, summary: str, answers: str, cards: Sequence[Mapping[str, Any]], keys: Mapping[str, str]
) -> dict[str, Any]:
    """POST /predict or /explain: the first model's, unless `model` says another."""
    ready = [card for card in cards if "kind" in card]
    several = answers == "predictions"
    asks: dict[str, Schema] = {"application/json": _any_of([_plain_body(keys[one["name"]], several) for one in ready])}
    kinds = {card["kind"] for card in ready}
    if "image" in kinds:
        asks["image/*"] = {}
    if "text" in kinds:
        asks["text/plain"] = _STRING
    if kinds & {"image", "text"}:
        asks["application/octet-stream"] = {}
        asks["multipart/form-data"] = {
            "type": "object",
            "properties": {"file": _list_of({}, description="Images or .txt"), "text": _STRING},
        }
    prediction = _any_of([_refer(f"{keys[card['name']]}.Prediction") for card in ready])
    head = {"model": _STRING, "version": {"type": "integer"}, "milliseconds": _NUMBER}
    found = {"predictions": _list_of(_any_of([prediction, _refer("Error")]))}
    if not several:
        found = {"prediction": prediction, "explanation": {"type": "object", "required": ["kind", "method"]}}
    parameters = [
        {"name": "model", "in": "query", "schema": {"enum": [card["name"] for card in cards]}},
        {"name": "top", "in": "query", "schema": {"type": "integer", "minimum": 1}, "description": "The best N only"},
    ]
    return _operate(name, summary, _object({**head, **found}), asks=asks, parameters=parameters)


def _plain_body(key: str, several: bool) -> Schema:
    one = _refer(f"{key}.Input")
    bodies = [_object({"input": one}, additionalProperties=False)]
    most = 1024 if several else 1
    bodies.append(_object({"inputs": _list_of(one, minItems=1, maxItems=most)}, additionalProperties=False))
    return {"anyOf": bodies}


def _any_of(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas} if schemas else {}


def _list_model_paths(card: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What TensorFlow Serving and Open Inference have for a model, with a version and without."""
    verb = "regress" if card["task"] == "regression" else "classify"
    one, examples = _refer(f"{key}.Input"), _list_of({"type": "object"}, minItems=1)
    rows = _object({"instances": _list_of({"anyOf": [one, {"type": "object"}]}, minItems=1)})
    columns = _object({"inputs": {}})
    results = _object({"results": _list_of(_NUMBER if verb == "regress" else _list_of({"type": "array"}))})
    tensors = _object({"inputs": _list_of(_tensor(), minItems=1), "id": _STRING, "outputs": _list_of({})})
    tensors["required"] = ["inputs"]
    infer_asks = {"application/json": tensors, "application/octet-stream": {}}
    infer_answer = _object({"model_name": _STRING, "model_version": _STRING, "outputs": _list_of(_tensor())})
    anything: Schema = {"type": "object"}
    operations = {
        "/v1/models/{}": ("get", "tf_status", "TensorFlow Serving: status", anything, None),
        "/v1/models/{}/metadata": ("get", "tf_metadata", "TensorFlow Serving: signatures", anything, None),
        "/v1/models/{}:predict": (
            "post",
            "tf_predict",
            "TensorFlow Serving: predict",
            {"anyOf": [_object({"predictions": _list_of({})}), _object({"outputs": {}})]},
            {"application/json": {"anyOf": [rows, columns]}},
        ),
        f"/v1/models/{{}}:{verb}": (
            "post",
            f"tf_{verb}",
            f"TensorFlow Serving: {verb}",
            results,
            {"application/json": _object({"examples": examples})},
        ),
        "/v2/models/{}": ("get", "v2_model", "Open Inference: inputs and outputs", anything, None),
        "/v2/models/{}/ready": ("get", "v2_model_ready", "Open Inference: readiness of the model", anything, None),
        "/v2/models/{}/infer": ("post", "v2_infer", "Open Inference: infer", infer_answer, infer_asks),
    }
    paths, quoted = {}, quote(card["name"], safe="")
    number = {"name": "version", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
    for path, (method, name, summary, answer, asks) in operations.items():
        paths[path.format(quoted)] = {method: _operate(f"{name}.{key}", summary, answer, asks=asks)}
        versioned = path.format(quoted + "/versions/{version}")
        more = {"parameters": [number]}
        paths[versioned] = {method: _operate(f"{name}_version.{key}", summary, answer, asks=asks, **more)}
    return paths


def _tensor() -> Schema:
    return {
        "type": "object",
        "properties": {
            "name": _STRING,
            "shape": _list_of({"type": "integer"}),
            "datatype": _STRING,
            "parameters": {"type": "object"},
            "data": {"type": "array"},
        },
        "required": ["name", "shape", "datatype"],
    }
