"""The words and the JSON Schema that are made from the recipe's schema."""

from __future__ import annotations

import json

from railcar.recipe.reference import build_json_schema, field_docs, list_keys, list_nodes
from railcar.recipe.schema import Recipe


def test_every_key_has_a_docstring() -> None:
    undocumented = [
        f"{node.__name__}.{name}" for node in list_nodes() for name in node.model_fields if name not in field_docs(node)
    ]

    assert undocumented == []


def test_every_key_but_a_section_takes_its_own_default() -> None:
    defaults = {key: info.default for key, info in list_keys().items() if info.node is None}

    for key, default in defaults.items():
        value = Recipe()
        for part in key.split("."):
            value = getattr(value, part)
        assert (list(value) if isinstance(value, tuple) else value) == default, key


def test_the_json_schema_describes_every_key_and_refuses_unknown_ones() -> None:
    schema = build_json_schema()

    for node in [schema, *schema["$defs"].values()]:
        assert node["additionalProperties"] is False
        assert all(part.get("description") for part in node["properties"].values())
    assert set(schema["$defs"]) == {node.__name__ for node in list_nodes()} - {"Recipe"}
    assert json.loads(json.dumps(schema)) == schema
