"""What a served model says of itself: the card at /models and on the page."""

from __future__ import annotations

from typing import Any

from railcar.serving.models import Model, Version
from railcar.serving.spec import spell_cell

_N_EXAMPLES = 3


def describe_model(model: Model) -> dict[str, Any]:
    version = model.current
    if version is None:
        return {"name": model.name, "version": None, "state": "loading"}
    spec, about = version.spec, version.spec.about
    return {
        "name": model.name,
        "version": version.number,
        "state": "ready",
        "kind": spec.kind,
        "task": spec.task,
        "labels": list(spec.labels),
        "engine": version.engine.name,
        "input": _describe_input(version),
        "run": about.get("run"),
        "checkpoint": about.get("checkpoint"),
        "metrics": about.get("metrics"),
        "data_fingerprint": about.get("data_fingerprint"),
        "examples": _list_examples(version),
    }


def _describe_input(version: Version) -> dict[str, Any]:
    spec = version.spec
    if spec.kind == "image":
        height, width, channels = spec.image_shape
        return {"height": height, "width": width, "channels": channels}
    if spec.kind == "text":
        return {}
    rows = _list_examples(version)
    columns = []
    for one in spec.features:
        column: dict[str, Any] = {"name": one.name, "type": one.type}
        if one.type == "category":
            column["values"] = list(one.values)
        column["example"] = next((row[one.name] for row in rows if row.get(one.name) is not None), None)
        columns.append(column)
    return {"columns": columns}


def _list_examples(version: Version) -> list[Any]:
    """The first samples, as a user would write them."""
    if version.spec.kind == "image":
        return []
    inputs, _ = version.engine.samples()
    if version.spec.kind == "text":
        return inputs[:_N_EXAMPLES]
    by_name = {one.name: one for one in version.spec.features}
    return [
        {name: spell_cell(cell, by_name[name]) for name, cell in row.items() if name in by_name}
        for row in inputs[:_N_EXAMPLES]
    ]
