"""A recipe as YAML, with every key that means something to it, and comments behind them. Owns the text's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from railcar.recipe.document import dotted, write_flow
from railcar.recipe.reference import list_keys
from railcar.recipe.schema import Node, Recipe
from railcar.registry import MODELS, OWN, is_own


def recipe_to_yaml(recipe: Recipe, comments: Mapping[str, str] | None = None) -> str:
    """`recipe` as YAML that loads back to an equal one; always the same text for the same recipe. Every key is there
    that means something to its model and to data of the model's kind.

    `comments` are put behind their keys ("training.precision": "this CPU multiplies bfloat16 fastest").
    """
    return "\n".join(_yaml_lines(recipe, (), dict(comments or {}), idle_keys(recipe))) + "\n"


def idle_keys(recipe: Recipe) -> set[str]:
    """Dotted keys at their defaults which mean nothing to `recipe`: settings of other networks and other kinds of
    data."""
    name = recipe.model.name
    if name not in MODELS and not is_own(name):
        return set()
    entry = OWN if is_own(name) else MODELS[name]
    for_images = {"model.mirror_average", "model.shift_average"}
    for_images |= {"data.image_size", "data.fit", "data.scale", "data.augment"}
    for_rows = {"data.task", "data.drop", "data.columns", "data.group"}
    others = {f"model.{key}" for key in type(recipe.model).model_fields if key not in (*entry.keys, "name")}
    idle = others - for_images
    if entry is not OWN:  # which may be for data of any kind
        idle |= for_rows if entry.kind == "image" else for_images
    standard = Recipe()
    return {key for key in idle if _look_up(recipe, key) == _look_up(standard, key)}


def _look_up(recipe: Recipe, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(recipe, section), name)


def _yaml_lines(node: Node, above: tuple[str, ...], comments: dict[str, str], idle: set[str]) -> list[str]:
    lines: list[str] = []
    for name in type(node).model_fields:
        value = getattr(node, name)
        path = (*above, name)
        if dotted(path) in idle:
            continue
        is_section = dotted(path) in list_keys() and list_keys()[dotted(path)].node is not None
        plain = value.model_dump() if isinstance(value, Node) and not is_section else value
        line = f"{'  ' * len(above)}{name}:" + ("" if is_section else f" {write_flow(plain)}")
        comment = " ".join(comments.get(dotted(path), "").split())
        lines.append(f"{line}  # {comment}" if comment else line)
        if is_section:
            lines += _yaml_lines(value, path, comments, idle)
    return lines
