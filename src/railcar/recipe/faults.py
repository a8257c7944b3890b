"""Faults of a recipe in plain words: what pydantic found, and keys that do not exist.

Owns the words and the nearest spellings. Where a fault stands (line, `--set`) is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

from railcar.recipe.document import Path, dotted, write_flow
from railcar.recipe.reference import describe_field, is_union, list_keys, nested_nodes
from railcar.recipe.schema import Node, Recipe

# What other tools call our keys, where no likeness of letters would lead there.
SYNONYMS = {"lr": "learning_rate", "n_epochs": "epochs", "max_steps": "steps", "opt": "optimizer"}


@dataclass(frozen=True)
class Finding:
    """`path` is at fault; `others` are paths that have a part in it (one of them may be what has a line)."""

    path: Path
    what: str
    hint: str = ""
    others: tuple[Path, ...] = ()


def find_schema_faults(errors: Iterable[ErrorDetails], values: dict[str, Any]) -> Iterator[Finding]:
    """One finding for each key that pydantic complains of, in pydantic's order. `values` are what was validated."""
    groups: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        groups.setdefault(_key_path(error), []).append(error)
    unknown_in = {path[:-1] for path, group in groups.items() if group[0]["type"] == "extra_forbidden"}
    for path, group in groups.items():
        is_explained_below = any(len(other) > len(path) and other[: len(path)] == path for other in groups)
        is_misspelled = _is_missing_key(path, group[0]) and path[:-1] in unknown_in
        if not is_explained_below and not is_misspelled:
            yield _explain(path, group[0], _value_at(values, path))


def find_unwritable(values: Any, path: Path = ()) -> Iterator[Finding]:
    """What no file could hold, and pydantic would stumble over: half characters, and numbers that fit no machine."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from (
                [unknown_key((*path, key))] if _has_half_characters(key) else find_unwritable(value, (*path, key))
            )
    elif isinstance(values, list):
        for value in values:
            yield from (Finding(path, finding.what, finding.hint) for finding in find_unwritable(value, path))
    elif isinstance(values, str) and _has_half_characters(values):
        yield Finding(path, f"must be text that UTF-8 can write, got {shown(values)}", "write the text anew")
    elif isinstance(values, int) and values.bit_length() > 64:
        yield Finding(path, "must be a smaller number: this one is beyond 64 bits", "write a smaller one")


def _has_half_characters(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _is_missing_key(path: Path, error: ErrorDetails) -> bool:
    """A key is missing in a mapping that is one of a field's kinds (not: an item in a list)."""
    return error["type"] == "missing" and find_field(path)[1] < len(path)


def unknown_key(path: Path, *, full: bool = False) -> Finding:
    """`path` names a key that does not exist: with the nearest one that does, spelled from the top where `full`."""
    *above, name = (str(part) for part in path)
    keys = list_keys()
    siblings = [info.path[-1] for info in keys.values() if list(info.path[:-1]) == above]
    if not siblings:
        field, depth = find_field(tuple(above))
        if field is not None and not nested_nodes(field):
            return Finding(path, "unknown key", f"{dotted(tuple(above[:depth]))} has no keys of its own")
        siblings = [key for node in (nested_nodes(field) if field else []) for key in node.model_fields]
    prefix = f"{dotted(tuple(above))}." if full and above else ""
    return Finding(path, "unknown key", _nearest_key(name, dotted(tuple(above)), siblings, list(keys), prefix))


def _nearest_key(name: str, above: str, siblings: list[str], keys: list[str], prefix: str) -> str:
    from difflib import get_close_matches

    name = SYNONYMS.get(name, name)
    elsewhere = [key for key in keys if key.rpartition(".")[2] == name and key.rpartition(".")[0] != above]
    if name not in siblings and elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    close = get_close_matches(name.replace("-", "_").lower(), siblings, n=1)
    if close or name in siblings:
        return f"did you mean {prefix}{close[0] if close else name}?"
    ends = {key.rpartition(".")[2]: key for key in reversed(keys)}
    far = get_close_matches(name.replace("-", "_").lower(), ends, n=1, cutoff=0.75)
    if far:
        return f"did you mean {ends[far[0]]}?"
    return f"keys here: {', '.join(siblings)}" if siblings else "`railcar recipe schema` lists all keys"


def find_field(path: Path) -> tuple[Any, int]:
    """The field that `path` leads to or ends in, and how many parts of `path` lead there; (None, 0) for no field."""
    node: type[Node] = Recipe
    field, depth = None, 0
    for depth, part in enumerate(path, start=1):
        field = node.model_fields.get(str(part))
        if field is None:
            return None, 0
        below = field.annotation
        if not (isinstance(below, type) and issubclass(below, Node)):
            return field, depth
        node = below
    return field, depth


def _key_path(error: ErrorDetails) -> Path:
    """The key at fault. pydantic adds the kind of a union's branch and the index in a list; a user wrote neither."""
    location = error["loc"]
    field, depth = find_field(location)
    if field is None:
        return location
    nodes = {node.__name__ for node in nested_nodes(field)}
    inside = is_union(field) and len(location) > depth + 1 and location[depth] in nodes
    return (*location[:depth], location[depth + 1]) if inside else location[:depth]


def _explain(path: Path, error: ErrorDetails, value: Any) -> Finding:
    kind = error["type"]
    if kind == "extra_forbidden":
        return unknown_key(path)
    if kind == "model_type":
        return Finding(path, f"must have keys of its own, got {shown(value)}", _keys_of(path))
    field, depth = find_field(path)
    if field is None or depth < len(path):
        # Inside a mapping that is one of a field's kinds: `data.validation.last`.
        if _is_missing_key(path, error):
            return Finding(path, "is missing", f"add {path[-1]}: ...")
        return Finding(path, f"{_words(error)}, got {shown(value)}")
    if is_union(field) or isinstance(value, list) or kind == "tuple_type":
        return Finding(path, f"must be {_plain(describe_field(field))}, got {shown(value)}", _mend(field, value))
    return Finding(path, f"{_words(error)}, got {shown(value)}", _mend(field, value))


def _words(error: ErrorDetails) -> str:
    bounds = error.get("ctx", {})
    kind = error["type"]
    if kind == "literal_error":
        return f"must be one of {bounds['expected'].replace(chr(39), '').replace(' or ', ', ')}"
    if kind == "string_pattern_mismatch":
        return "must be letters, digits, `.`, `_` or `-`, the first a letter or a digit"
    words = {
        "int_type": "must be a whole number",
        "int_parsing_size": "must be a smaller whole number",
        "float_type": "must be a number",
        "bool_type": "must be true or false",
        "string_type": "must be text",
        "finite_number": "must be a finite number",
        "greater_than_equal": "must be at least {ge}",
        "greater_than": "must be more than {gt}",
        "less_than_equal": "must be at most {le}",
        "less_than": "must be less than {lt}",
        "string_too_long": "must have at most {max_length} characters",
    }
    bounds = {name: f"{bound:g}" if isinstance(bound, float) else bound for name, bound in bounds.items()}
    return words[kind].format(**bounds) if kind in words else f"is not valid ({error['msg'].lower()})"


def _mend(field: Any, value: Any) -> str:
    """How to mend a value of the wrong type or range, as far as that can be said of it."""
    kind = _plain(describe_field(field))
    if isinstance(value, float) and value.is_integer() and "whole number" in kind:
        return f"write it without a fraction or an exponent: {int(value)}"
    if isinstance(value, str) and kind == "true or false":
        word = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower())
        return f"write {word}" if word else "write true or false"
    if isinstance(value, int | float) and kind.startswith("text"):
        return f'put it in quotes: "{write_flow(value)}"'
    if isinstance(value, str):
        from difflib import get_close_matches

        close = get_close_matches(value.lower(), _literals(field), n=1)
        if close:
            return f"did you mean {close[0]}?"
    default = field.get_default(call_default_factory=True)
    return f"the default is {write_flow(default)}"


def _literals(field: Any) -> list[str]:
    import re

    return re.findall(r"`([^`{]+)`", describe_field(field))


def _keys_of(path: Path) -> str:
    names = [info.path[-1] for info in list_keys().values() if info.path[:-1] == path]
    return f"keys of {dotted(path)}: {', '.join(names)}"


def _value_at(values: Any, path: Path) -> Any:
    for part in path:
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _plain(words: str) -> str:
    return words.replace("`", "")


def shown(value: Any) -> str:
    """`value` as a user would recognise it: text in quotes, the rest as YAML, cut to 40 characters."""
    text = repr(value) if isinstance(value, str) else write_flow(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
