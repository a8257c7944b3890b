from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from railcar.serving.openapi import build_openapi

CARDS: list[dict[str, Any]] = [
    {
        "name": "digits",
        "version": 1,
        "state": "ready",
        "kind": "image",
        "task": "classification",
        "labels": ["0", "1"],
        "input": {"height": 28, "width": 28, "channels": 1},
        "examples": [],
    },
    {
        "name": "my spam",
        "version": 2,
        "state": "ready",
        "kind": "text",
        "task": "classification",
        "labels": ["ham", "spam"],
        "input": {},
        "examples": ["WIN a prize"],
    },
    {
        "name": "my_spam",
        "version": 1,
        "state": "ready",
        "kind": "table",
        "task": "regression",
        "labels": [],
        "input": {
            "columns": [
                {"name": "rooms", "type": "number", "example": 3},
                {"name": "city", "type": "category", "values": ["Oslo", "Bergen"], "example": "Oslo"},
                {"name": "built", "type": "date", "example": None},
                {"name": "has_garden", "type": "boolean", "example": True},
            ]
        },
        "examples": [{"rooms": 3, "city": "Oslo"}],
    },
    {"name": "late", "version": None, "state": "loading"},
]
CONTRACT = {
    "GET": [
        *("/", "/models", "/models/NAME", "/openapi.json", "/metrics", "/healthz", "/readyz"),
        *("/v1/models/NAME", "/v1/models/NAME/metadata"),
        *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/NAME", "/v2/models/NAME/ready"),
    ],
    "POST": [
        *("/predict", "/explain", "/v2/models/NAME/infer", "/v2/repository/index"),
        *("/v1/models/NAME:predict", "/v1/models/NAME:classify", "/v1/models/NAME:regress"),
    ],
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(json.dumps(build_openapi(CARDS, "1.2.3")))


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, one) for path, item in document["paths"].items() for method, one in item.items()]


def validator(document: dict[str, Any], schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema, "components": document["components"]})


def test_every_documented_path_is_one_that_exists_and_none_is_left_out(document: dict[str, Any]) -> None:
    names = "|".join(re.escape(one) for one in ("digits", "my%20spam", "my_spam", "{name}"))
    found = set()
    for path, method, _ in operations(document):
        path = re.sub(rf"(?<=/models/)({names})(/versions/{{version}})?", "NAME", path)
        found.add((method.upper(), path))

    assert found == {(method, path) for method, paths in CONTRACT.items() for path in paths}


def test_every_operation_is_whole(document: dict[str, Any]) -> None:
    ids = [one["operationId"] for _, _, one in operations(document)]

    assert len(ids) == len(set(ids))
    for path, method, one in operations(document):
        assert one["summary"]
        assert {"200", "400", "404"} <= set(one["responses"])
        assert all("description" in answer for answer in one["responses"].values())
        in_path = {given["name"] for given in one.get("parameters", []) if given["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert ("requestBody" in one) <= (method == "post")
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "railcar serve", "version": "1.2.3"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    references = re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(document))

    assert set(references) <= set(schemas)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in schemas)


def test_every_schema_is_json_schema(document: dict[str, Any]) -> None:
    contents = [
        content
        for _, _, one in operations(document)
        for part in (one.get("requestBody", {}), *one["responses"].values())
        for content in part.get("content", {}).values()
    ]

    for schema in [*document["components"]["schemas"].values(), *(one["schema"] for one in contents)]:
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("body", "is_right"),
    [
        ({"input": "a text"}, True),
        ({"inputs": ["a", "b"]}, True),
        ({"input": {"b64": "AA=="}}, True),
        ({"input": [[0, 255]]}, True),
        ({"input": [[[0], [255]]]}, True),
        ({"input": {"rooms": 3, "city": "Oslo", "built": "2024-01-31", "has_garden": False}}, True),
        ({"inputs": [{}, {"rooms": None}]}, True),
        ({"input": {"zimmer": 3}}, False),
        ({"input": [[0, 256]]}, False),
        ({"input": [[[0, 1, 2]]]}, False),
        ({"inputs": []}, False),
        ({"input": 3}, False),
        ({}, False),
    ],
)
def test_questions_fit_the_schema_of_some_model(document: dict[str, Any], body: Any, is_right: bool) -> None:
    schema = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]

    assert validator(document, schema).is_valid(body) is is_right


def test_examples_of_a_model_fit_its_own_schema(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", []):
            validator(document, schema).validate(example)
            assert name.endswith(".Input")


def test_answers_fit_their_schema(document: dict[str, Any]) -> None:
    schema = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    prediction = {"label": "ham", "probability": 0.9, "probabilities": {"ham": 0.9, "spam": 0.1}}
    for one in (prediction, {"value": 1.5}, {"error": "no image"}):
        answer = {"model": "m", "version": 1, "milliseconds": 0.5, "predictions": [one]}
        validator(document, schema).validate(answer)
    assert not validator(document, schema).is_valid(
        {"model": "m", "version": 1, "milliseconds": 1, "predictions": [{}]}
    )


def test_a_server_without_a_ready_model_has_a_document_too() -> None:
    document = build_openapi([CARDS[3]], "1")

    assert "/predict" in document["paths"]
    assert not any(path.startswith("/v1") for path in document["paths"])
