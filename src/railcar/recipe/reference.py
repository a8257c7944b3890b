"""What the keys of a recipe are, told in words: from the schema's types and docstrings.

Made into `docs/reference/recipe.md`, the JSON Schema and the words of faults. The docstrings of fields are read from
the source only when they are asked for, so that reading a recipe does not wait for them.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from railcar.recipe.document import dotted, write_flow
from railcar.recipe.schema import Node, Recipe

Key = tuple[str, ...]


@dataclass(frozen=True)
class KeyInfo:
    """`node` is the class that a key leads to when it has keys of its own; `default` is plain (lists, not tuples)."""

    path: Key
    type: str
    default: Any
    node: type[Node] | None


@functools.cache
def list_keys(node: type[Node] = Recipe, above: Key = ()) -> dict[str, KeyInfo]:
    """Every key of the recipe, in order, by its dotted path: `training`, `training.steps`, ..."""
    keys: dict[str, KeyInfo] = {}
    for name, field in node.model_fields.items():
        path = (*above, name)
        below: Any = field.annotation if _is_node(field.annotation) else None
        keys[dotted(path)] = KeyInfo(path, describe_field(field), plain_default(field), below)
        if below is not None:
            keys |= list_keys(below, path)
    return keys


def plain_default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True)
    return list(default) if isinstance(default, tuple) else default


def describe_field(field: FieldInfo) -> str:
    """The values that a field takes: "a whole number (at least 1)", "one of `adam`, `sgd`", ..."""
    return _describe(field.annotation, tuple(field.metadata))


def is_union(field: FieldInfo) -> bool:
    """Whether a field takes values of several kinds (besides null)."""
    return len([member for member in _members(field.annotation) if member is not type(None)]) > 1


def nested_nodes(field: FieldInfo) -> list[type[Node]]:
    """The nodes among the kinds of value that a field takes: `Last` for `data.validation`."""
    return [member for member in _members(field.annotation) if _is_node(member)]


def field_docs(node: type[Node]) -> dict[str, str]:
    """Field name -> its docstring on one line, from the source of `node`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(node)))
    docs: dict[str, str] = {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    for statement, after in pairwise(body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            docs[statement.target.id] = " ".join(after.value.value.split())
    return docs


def build_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a recipe, each key with its docstring."""
    schema = Recipe.model_json_schema()
    for node in list_nodes():
        _add_descriptions(schema if node is Recipe else schema["$defs"][node.__name__], node)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def list_nodes(node: type[Node] = Recipe) -> list[type[Node]]:
    """`node` and every node below it, those among a field's kinds of value too, each once, from the top."""
    below = [member for field in node.model_fields.values() for member in nested_nodes(field)]
    return list(dict.fromkeys([node, *(found for member in below for found in list_nodes(member))]))


def _add_descriptions(schema: dict[str, Any], node: type[Node]) -> None:
    docs = field_docs(node)
    for name, part in schema["properties"].items():
        if name in docs:
            part["description"] = docs[name]


def _is_node(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Node)


def _members(annotation: Any) -> list[Any]:
    """The kinds of a union, nested ones too, as they are written (with their bounds)."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [annotation]


def _describe(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    members = _members(annotation)
    if len(members) > 1:
        words = [_describe(member, metadata) for member in members]
        return ", ".join(words[:-1]) + f" or {words[-1]}"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe(arguments[0], (*arguments[1:], *metadata))
    if origin is Literal:
        words = ", ".join(f"`{write_flow(value)}`" for value in arguments)
        return f"one of {words}" if len(arguments) > 1 else words
    if origin is tuple:
        return _describe_tuple(arguments)
    if origin is dict:
        return f"names, and for each {_describe(arguments[1])}"
    if _is_node(annotation):
        fields = annotation.model_fields.items()
        return "`{" + ", ".join(f"{name}: {_example(field)}" for name, field in fields) + "}`"
    return _describe_scalar(annotation, metadata)


def _example(field: FieldInfo) -> str:
    """What stands in a node's short form: its default where it has one."""
    if field.is_required():
        return "N"
    return "..." if _is_node(field.annotation) else write_flow(plain_default(field))


def _describe_tuple(arguments: tuple[Any, ...]) -> str:
    item = _describe(arguments[0]).removeprefix("a ").replace("number", "numbers", 1).replace("text", "texts")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return f"a list of {item}"
    return f"a list of {len(arguments)} {item}"


_SCALARS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


def _describe_scalar(annotation: Any, metadata: tuple[Any, ...]) -> str:
    bounds: dict[str, Any] = {}
    for constraint in metadata:
        if isinstance(constraint, FieldInfo):
            if constraint.description:
                return constraint.description
            metadata_of_field = constraint.metadata
        else:
            metadata_of_field = [constraint]
        for one in metadata_of_field:
            bounds |= {name: getattr(one, name) for name in ("ge", "gt", "le", "lt") if hasattr(one, name)}
    words = _SCALARS[annotation]
    if "gt" in bounds and "lt" in bounds:
        return f"{words} between {write_flow(bounds['gt'])} and {write_flow(bounds['lt'])}"
    phrases = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    limits = [f"{phrase} {write_flow(bounds[name])}" for name, phrase in phrases.items() if name in bounds]
    return f"{words} ({', '.join(limits)})" if limits and annotation in (int, float) else words
