"""What a recipe leaves open for `railcar tune`: `{search: [1e-4, 1e-2], log: true}`, or `{choose: [3, 5]}`, in the
place of a value.

Owns these nodes: finding them, what is wrong with them, and the values that a recipe has without them. Whether the
values fit their keys is `load.py`'s to find out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from railcar.recipe.document import dotted
from railcar.recipe.faults import Finding

Path = tuple[str, ...]
_FIXED = {("name",), ("seed",), ("data",), ("machine",)}


@dataclass(frozen=True)
class Parameter:
    """One open value: `values` are the ends of a range, or those to choose from; `is_log` searches the range by
    factors."""

    key: str
    values: tuple[Any, ...]
    is_range: bool
    is_log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether a range is one of whole numbers."""
        return self.is_range and all(isinstance(one, int) for one in self.values)


def is_open(value: Any) -> bool:
    """Whether a value of a recipe's document is a search."""
    return isinstance(value, dict) and not value.keys().isdisjoint({"search", "choose"})


def lift_search(values: dict[str, Any]) -> tuple[list[Parameter], list[Finding]]:
    """What is open in a document's `values`, and what is wrong with it. Each open value becomes the first that it may
    have."""
    parameters, findings = [], []
    for path, node in list(_find(values, ())):
        found = _read(path, node)
        if isinstance(found, Finding):
            findings.append(found)
        elif (path[:1] in _FIXED) or len(path) < 2:
            findings.append(Finding(path, "is not searched for", "search among the keys of model and training"))
        else:
            parameters.append(found)
        _replace(values, path, found.values[0] if isinstance(found, Parameter) else None)
    return parameters, findings


def _find(values: dict[str, Any], above: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for key, value in values.items():
        path = (*above, str(key))
        if is_open(value):
            yield path, value
        elif isinstance(value, dict):
            yield from _find(value, path)


def _replace(values: dict[str, Any], path: Path, value: Any) -> None:
    for part in path[:-1]:
        values = values[part]
    if value is None:
        del values[path[-1]]  # the default stands in for what is wrong
    else:
        values[path[-1]] = value


def _read(path: Path, node: dict[str, Any]) -> Parameter | Finding:
    if "choose" in node:
        choices = node["choose"]
        if set(node) != {"choose"} or not isinstance(choices, list) or len(choices) < 2:
            return Finding(path, "is no choice", "write {choose: [3, 5]}, two values or more")
        return Parameter(dotted(path), tuple(choices), is_range=False)
    ends, is_log = node["search"], node.get("log", False)
    is_number = isinstance(ends, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in ends
    )
    if set(node) - {"search", "log"} or not is_number or len(ends) != 2 or not isinstance(is_log, bool):
        return Finding(path, "is no search", "write {search: [1.0e-4, 1.0e-2], log: true}, from the least to the most")
    low, high = ends
    if not low < high:
        return Finding(path, f"searches from {low} to {high}", "write the smaller number first")
    if is_log and low <= 0:
        return Finding(path, f"searches by factors from {low} on", "begin above 0, or leave log out")
    return Parameter(dotted(path), (low, high), is_range=True, is_log=is_log)
