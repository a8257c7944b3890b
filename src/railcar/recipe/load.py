"""A recipe from where the user has it: a file, a bundled name, Python values; with `--set` on top.

Owns reading, overriding and writing; all faults of one recipe are raised together. What keys mean is in `schema.py`,
where files are in `bundled.py`, rules across them in `checks.py`, the words of faults in `faults.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from railcar.errors import Fault, RecipeError
from railcar.recipe.bundled import bundled_recipes, find_recipe, is_recipe_file
from railcar.recipe.checks import find_conflicts
from railcar.recipe.document import MAX_BYTES, MAX_DEPTH, Document, decode, dotted, read_document
from railcar.recipe.document import Path as KeyPath
from railcar.recipe.faults import Finding, find_field, find_schema_faults, find_unwritable, unknown_key
from railcar.recipe.reference import list_keys, nested_nodes
from railcar.recipe.schema import Node, Recipe
from railcar.recipe.search import Parameter, lift_search

__all__ = [
    "bundled_recipes",
    "find_given",
    "find_recipe",
    "is_recipe_file",
    "load_recipe",
    "load_search",
    "read_recipe_text",
]

# Setting one on top of a recipe unsets the other: they are two ways to say one thing.
ALTERNATIVES = {("training", "steps"): ("training", "epochs"), ("training", "epochs"): ("training", "steps")}

# What the rest of such a node says was chosen for the thing that is named; these keys alone are not.
NAMED = {("model",): {"mirror_average", "shift_average"}, ("training", "optimizer"): {"schedule", "warmup_steps"}}

Overrides = Sequence[str] | Mapping[str, Any]


def load_recipe(
    source: str | Path | Mapping[str, Any] | Recipe | None, overrides: Overrides = (), *, is_partial: bool = False
) -> Recipe:
    """The recipe of `source` with `overrides` on top, whole and checked.

    `source` is the path of a `.yaml`, `.yml` or `.py` file, a bundled recipe's name, a mapping, a `Recipe`, or None
    for the defaults. `overrides` are `"training.batch_size=256"` (values read as YAML) or a mapping from dotted keys to
    values; they never invent keys. Of `training.steps` and `training.epochs`, overriding one unsets the other; naming
    another model or optimizer unsets what `source` says of the one it has. Of what `is_partial`, to be completed by
    what suits the data, keys that are not there yet contradict nothing.

    Raises `RecipeError` with all faults: each with its line, its key, what is wrong and the nearest valid spelling.
    """
    recipe, open_ones = _load(source, overrides, is_partial=is_partial)
    if open_ones:
        faults = tuple(Fault("", one.key, "is left open", "railcar tune searches for it") for one in open_ones)
        raise RecipeError(f"{len(faults)} values of the recipe are left open", faults=faults)
    return recipe


def load_search(
    source: str | Path | Mapping[str, Any] | Recipe | None, overrides: Overrides = (), *, is_partial: bool = False
) -> tuple[Recipe, list[Parameter]]:
    """The recipe of `source`, and what it leaves open (`search.py`), which has its first value in the recipe. All that
    may be chosen is checked. Takes and raises what `load_recipe` does."""
    return _load(source, overrides, is_partial=is_partial)


def find_given(overrides: Overrides) -> set[str]:
    """The dotted keys that `overrides` set; of `training.steps` and `training.epochs` one speaks for both."""
    return {key for path, value in _read_overrides(overrides).values.items() for key in _list_set(path, value)}


def _list_set(path: KeyPath, value: Any) -> Iterator[str]:
    yield dotted(path)
    for key, below in value.items() if isinstance(value, dict) else ():
        yield from _list_set((*path, str(key)), below)


def _load(source: Any, overrides: Overrides, *, is_partial: bool) -> tuple[Recipe, list[Parameter]]:
    document = _open(source)
    changes = _read_overrides(overrides)
    found = list(document.faults) + changes.faults
    values = document.values if isinstance(document.values, dict) else {}
    values = _fill_empty_nodes(values, Recipe)
    _forget_settings(values, changes)
    for path, value in changes.values.items():
        _set(values, path, value)
    open_ones, findings = lift_search(values)
    before = deepcopy(values)
    recipe, more = _validate(values, is_partial=is_partial)
    findings += more
    for one in open_ones:
        for value in one.values[1:]:
            other, path = deepcopy(before), tuple(one.key.split("."))
            _set(other, path, value)
            findings += [finding for finding in _validate(other, is_partial=is_partial)[1] if finding not in findings]
    found += [_place(finding, document, changes) for finding in findings]
    if found:
        found.sort(key=_line)
        listed = "; ".join(str(fault) for fault in found)
        raise RecipeError(f"{len(found)} faults in the recipe: {listed}", faults=tuple(found))
    return recipe, open_ones


def _line(fault: Fault) -> float:
    """Where a fault comes in a report: in the order of the file, then what was said on the command line."""
    line = fault.where.rpartition(":")[2]
    return int(line) if line.isdecimal() and not fault.where.startswith("--set") else float("inf")


def read_recipe_text(path: Path) -> str:
    """The text of a recipe's file, with its comments. Raises `RecipeError` for what is no text or far too long."""
    return decode(_read_bytes(path), str(path))


# ---- sources


def _open(source: str | Path | Mapping[str, Any] | Recipe | None) -> Document:
    if source is None:
        return Document("", {})
    if isinstance(source, Recipe):
        return Document("", _dump(source))
    if isinstance(source, Mapping):
        return Document("", _plain_copy(source))
    path = find_recipe(source)
    document = _read_python(path) if path.suffix == ".py" else _read_yaml(path)
    if not isinstance(document.values, dict):
        problem = "is empty" if document.values is None else "is not a recipe: it has no `key: value` lines"
        hint = "`railcar recipe show mnist` prints a recipe to start from"
        raise RecipeError(faults=(Fault(document.where, "", problem, hint),))
    return document


def _read_yaml(path: Path) -> Document:
    return read_document(_read_bytes(path), str(path))


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}", hint="make the file readable") from error


def _read_python(path: Path) -> Document:
    """Runs the file, because the user named it, and takes its `recipe`."""
    import runpy
    import sys
    from contextlib import redirect_stdout

    try:
        with redirect_stdout(sys.stderr):  # stdout is for results, with --json a single document
            namespace = runpy.run_path(str(path), run_name="railcar_recipe")
    except RecipeError:
        raise
    except SystemExit as error:
        raise _python_fault(path, None, "ends the program instead of defining `recipe`") from error
    except SyntaxError as error:
        raise _python_fault(path, error.lineno, f"not Python: {error.msg}") from error
    except Exception as error:
        import traceback

        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = frames[-1].lineno if frames else None
        raise _python_fault(path, line, f"{type(error).__name__}: {error}") from error
    recipe = namespace.get("recipe")
    if isinstance(recipe, Recipe):
        return Document(str(path), _dump(recipe))
    if isinstance(recipe, Mapping):
        return Document(str(path), _plain_copy(recipe, str(path)))
    problem = "does not define `recipe`" if recipe is None else f"`recipe` is a {type(recipe).__name__}"
    raise _python_fault(path, None, problem, hint="define `recipe` as a dict or as a railcar.Recipe")


def _python_fault(path: Path, line: int | None, what: str, hint: str = "run it with Python to see more") -> RecipeError:
    where = f"{path}:{line}" if line else str(path)
    return RecipeError(faults=(Fault(where, "", what, hint),))


def _plain_copy(value: Any, where: str = "", path: KeyPath = ()) -> Any:
    """Dicts, lists and scalars, as YAML would give them. Raises `RecipeError` for what YAML could not."""
    if isinstance(value, Node):
        return _dump(value)
    if len(path) > MAX_DEPTH:
        what = f"nested more than {MAX_DEPTH} levels deep"
        raise RecipeError(faults=(Fault(where, str(path[0]), what, "no recipe needs that"),))
    if isinstance(value, Mapping):
        return {str(key): _plain_copy(item, where, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_copy(item, where, (*path, index)) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return _plain_copy(value.tolist(), where, path)
    what = f"must be text, a number, a list or a mapping, got a {type(value).__name__}"
    raise RecipeError(faults=(Fault(where, dotted(path), what, "use plain values"),))


def _dump(node: Node) -> dict[str, Any]:
    # Without warnings: a copy that was updated with faulty values is validated afterwards, with better words.
    return node.model_dump(mode="json", warnings=False)


# ---- overrides


@dataclass
class _Changes:
    """Dotted overrides, read: `words` are what the user wrote for each path."""

    values: dict[KeyPath, Any]
    words: dict[KeyPath, str]
    faults: list[Fault]


def _read_overrides(overrides: Overrides) -> _Changes:
    changes = _Changes({}, {}, [])
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            path = tuple(key.split("."))
            changes.values[path] = _plain_copy(value, "", path)
    else:
        for word in [overrides] if isinstance(overrides, str) else overrides:
            _read_word(word, changes)
    for path in list(changes.values):
        if not _leads_somewhere(path):
            del changes.values[path]
            finding = unknown_key(path, full=True)
            changes.faults.append(_fault_at(finding, changes.words.pop(path, "")))
    for path, other in ALTERNATIVES.items():
        if path in changes.values and other not in changes.values:
            changes.values[other] = None
    return changes


def _read_word(word: str, changes: _Changes) -> None:
    where = f"--set {word if len(word) <= 60 else f'{word[:57]}...'}"
    key, equals, text = word.partition("=")
    if not equals or not key:
        changes.faults.append(Fault(where, "", "is not KEY=VALUE", "write it as in training.batch_size=256"))
        return
    path = tuple(key.strip().split("."))
    try:
        document = read_document(text, where)
    except RecipeError as error:
        changes.faults += [Fault(where, "", _without_place(fault), fault.hint) for fault in error.faults]
        return
    changes.faults += [Fault(where, "", _without_place(fault), fault.hint) for fault in document.faults]
    changes.values[path] = document.values
    changes.words[path] = where


def _without_place(fault: Fault) -> str:
    return f"{fault.key}: {fault.what}" if fault.key else fault.what


def _leads_somewhere(path: KeyPath) -> bool:
    if dotted(path) in list_keys():
        return True
    field, depth = find_field(path[:-1])
    nodes = nested_nodes(field) if field is not None and depth == len(path) - 1 else []
    return any(path[-1] in node.model_fields for node in nodes)


def _set(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    for part in path[:-1]:
        below = values.get(str(part))
        if not isinstance(below, dict):
            below = values[str(part)] = {}
        values = below
    values[str(path[-1])] = value


def _is_there(values: dict[str, Any], path: KeyPath) -> bool:
    node: Any = values
    for part in path:
        if not isinstance(node, dict) or str(part) not in node:
            return False
        node = node[str(part)]
    return True


def _forget_settings(values: dict[str, Any], changes: _Changes) -> None:
    """Drop the settings of a model or an optimizer in whose place another is named."""
    for path, kept in NAMED.items():
        node: Any = values
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        named = changes.values.get((*path, "name"))
        if isinstance(node, dict) and named is not None and named != node.get("name", _default_name(path)):
            for key in node.keys() - kept:
                del node[key]


def _default_name(path: KeyPath) -> Any:
    return list_keys()[dotted((*path, "name"))].default


# ---- validation


def _fill_empty_nodes(values: dict[str, Any], node: type[Node]) -> dict[str, Any]:
    """A copy in which `training:` with nothing below it (all of it commented out) is an empty mapping."""
    filled = dict(values)
    for name, field in node.model_fields.items():
        below = field.annotation
        if isinstance(below, type) and issubclass(below, Node) and name in filled:
            value = filled[name]
            if value is None or isinstance(value, dict):
                filled[name] = _fill_empty_nodes(value or {}, below)
    return filled


def _validate(values: dict[str, Any], *, is_partial: bool) -> tuple[Recipe, list[Finding]]:
    """The recipe and all findings; where there are some, the recipe has defaults in place of what is at fault."""
    findings = list(find_unwritable(values))
    _drop(values, findings)
    try:
        recipe = _to_recipe(values)
    except ValidationError as error:
        invalid = list(find_schema_faults(error.errors(include_url=False), values))
        _drop(values, invalid)
        findings += invalid
        recipe = _to_recipe(values)
    wrong = {finding.path for finding in findings}
    # A rule is not asked about keys that are wrong already: what it would say is about a default.
    conflicts = [found for found in find_conflicts(recipe) if wrong.isdisjoint((found.path, *found.others))]
    if is_partial:
        conflicts = [one for one in conflicts if all(_is_there(values, path) for path in (one.path, *one.others))]
    return recipe, findings + conflicts


def _to_recipe(values: dict[str, Any]) -> Recipe:
    # By way of JSON, because strict Python validation refuses lists for tuples and mappings for nodes, while without
    # strictness "yes" is true, true is 1 and 3.0 is 3.
    return Recipe.model_validate_json(json.dumps(values), strict=True)


def _drop(values: dict[str, Any], findings: list[Finding]) -> None:
    """Takes out what is at fault; of a field that holds a mapping, such as `{last: 0}`, all of it."""
    for path in (finding.path for finding in findings):
        depth = find_field(path)[1] or len(path)
        node: Any = values
        for part in path[: depth - 1]:
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(path[depth - 1], None)


def _place(finding: Finding, document: Document, changes: _Changes) -> Fault:
    """Where a finding comes from: the words on the command line before the file that they change."""
    for path in (finding.path, *finding.others):
        for length in range(len(path), 0, -1):
            if path[:length] in changes.words:
                return _fault_at(finding, changes.words[path[:length]], key=path[:length])
    place = next((path for path in (finding.path, *finding.others) if path in document.lines), finding.path)
    return Fault(document.place(place), dotted(finding.path), finding.what, finding.hint)


def _fault_at(finding: Finding, word: str, key: KeyPath | None = None) -> Fault:
    """A fault of `--set`: the word names the key, so that it is not said twice."""
    same = bool(word) and (key is None or key == finding.path)
    return Fault(word, "" if same else dotted(finding.path), finding.what, finding.hint)
