"""A new run that starts with another's weights: `railcar train --from RUN`.

Owns what is taken over (network, image size and fit, weights, output rows by class name) and what is not: optimizer,
order of the data and dropout start afresh.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from railcar.errors import RecipeError
from railcar.recipe.load import load_recipe
from railcar.recipe.schema import Recipe
from railcar.runs.checkpoint import Checkpoint, find_checkpoint
from railcar.runs.run_dir import RunDir
from railcar.workflows.inputs import Input, Overrides, resolve_input
from railcar.workflows.recorded import check_own_run, read_features, read_recipe

if TYPE_CHECKING:
    from railcar.data.types import Features

Arrays = list[tuple[str, NDArray[Any]]]


@dataclass(frozen=True)
class Origin:
    """The run whose weights a new one starts with, and which checkpoint of it."""

    run: RunDir
    recipe: Recipe
    features: Features
    checkpoint: Checkpoint
    warnings: list[str]

    def to_input(self, data: Any, overrides: Overrides) -> Input:
        """`data` as `train` takes it. Nothing: the origin's recipe and data. Data without a recipe: its network, image
        size, fit and scaling, so that the weights fit; what else a recipe has is chosen from the data."""
        if data is None:
            return Input(load_recipe(self.recipe, overrides), is_complete=True, overrides=overrides)
        given = resolve_input(data, overrides)
        if given.is_complete:
            return given
        if self.features.kind != "image":
            settings = {"kind": self.features.kind, "task": self.features.task}
            node = given.recipe.data.model_copy(update=settings)
            given = replace(given, recipe=given.recipe.model_copy(update={"data": node}))
            model = self.recipe.model.model_dump(mode="json")
            return replace(given, taken={"model": model, "data": settings}, taken_from=self.run.name)
        before, node = self.recipe.data, given.recipe.data
        how: dict[str, Any] = {"image_size": self.features.image_shape[:2], "fit": before.fit}
        node = node.model_copy(update={key: how[key] for key in how.keys() - node.model_fields_set})
        given = replace(given, recipe=given.recipe.model_copy(update={"data": node}))
        settings = {"image_size": list(how["image_size"]), "fit": before.fit, "scale": before.scale}
        taken = {"model": self.recipe.model.model_dump(mode="json"), "data": settings}
        return replace(given, taken=taken, taken_from=self.run.name)

    def note(self) -> dict[str, Any]:
        """As the new run's manifest has it."""
        checksums = json.loads((self.checkpoint.path / "checksums.json").read_bytes())
        path = str(self.run.path.absolute())
        sha256 = checksums["variables.npz"]
        return {"run": self.run.name, "path": path, "checkpoint": self.checkpoint.name, "sha256": sha256}

    def read_weights(self) -> Arrays:
        """(name, value) of the network's variables, in its order; what dropout draws from is left out."""
        group = "average" if self.recipe.training.average else "model"
        with np.load(self.checkpoint.path / "variables.npz", allow_pickle=False) as stored:
            keys = sorted(key for key in stored.files if key.startswith(f"{group}/"))
            arrays = [(key.split("/", 2)[2], stored[key]) for key in keys]
        return [(name, value) for name, value in arrays if value.dtype.kind == "f"]


def find_origin(run: RunDir, *, trust: bool = False) -> Origin:
    """The best checkpoint of `run`, else its last. Raises `CheckpointError`, and `RunError` for a run that is damaged
    or, without `trust`, somebody else's."""
    checkpoint, damaged = find_checkpoint(run, None)
    if not trust:
        check_own_run(run, "its weights and its recipe would be taken over")
    return Origin(run, read_recipe(run), read_features(run), checkpoint, damaged)


def carry_over(origin: Origin, model: Any, class_names: tuple[str, ...]) -> str:
    """Give `model` the origin's weights; returns the line that says so. The rows of the output layer are those of the
    classes of the same names; other classes keep their fresh ones. Raises `RecipeError` when the networks differ."""
    from railcar.models.build import list_layers

    variables = [one for one in model.variables if np.dtype(one.dtype).kind == "f"]
    weights = origin.read_weights()
    # What follows the last layer with weights only scales or shapes the logits.
    outputs = {id(one) for one in next(layer for layer in reversed(list_layers(model)) if layer.variables).variables}
    before = origin.features.class_names
    for index, variable in enumerate(variables):
        there = weights[index] if index < len(weights) else None
        shape = tuple(variable.shape)
        is_by_class = id(variable) in outputs and shape[-1] == len(class_names)
        last = (len(before),) if is_by_class else ()
        wanted = shape[: len(shape) - len(last)] + last
        if there is None or there[0] != variable.name or there[1].shape != wanted:
            raise _differ(origin, variable.path, shape, there)
        own = there[1]
        if last and before != class_names:
            own = _by_name(np.array(variable.numpy()), own, before, class_names)
        variable.assign(own)
    if len(weights) > len(variables):
        name, value = weights[len(variables)]
        raise _differ(origin, "its end", (), (name, value))
    return f"from {origin.run.name}, {origin.checkpoint.name}; {_say_classes(before, class_names)}"


def _by_name(fresh: NDArray[Any], own: NDArray[Any], before: tuple[str, ...], after: tuple[str, ...]) -> NDArray[Any]:
    """`fresh` [..., n classes after] with the entries of `own` [..., n classes before] where the names agree."""
    for index, name in enumerate(after):
        if name in before:
            fresh[..., index] = own[..., before.index(name)]
    return fresh


def _say_classes(before: tuple[str, ...], after: tuple[str, ...]) -> str:
    if before == after:
        return f"the {len(after)} classes are the same"
    fresh = [name for name in after if name not in before]
    if not fresh:
        return f"its classes are all known, {len(after)} of {len(before)}"
    names = ", ".join(fresh[:5]) + (", ..." if len(fresh) > 5 else "")
    return f"{len(after) - len(fresh)} of {len(after)} classes carried over by name, the others begin fresh: {names}"


def _differ(origin: Origin, path: str, shape: tuple[int, ...], there: tuple[str, NDArray[Any]] | None) -> RecipeError:
    here = f"{path} {shape}" if shape else path
    other = f"{there[0]} {there[1].shape}" if there else "nothing more"
    hint = f"take the model of {origin.run.recipe_path}, or leave the recipe out: railcar train DATA --from RUN"
    if there and len(shape) == 4 and there[0] == "kernel" and shape[2] != there[1].shape[2] and shape[2] in (1, 3):
        hint = f"{origin.run.name} was trained on {'gray' if shape[2] == 3 else 'colour'} images: convert yours"
    return RecipeError(f"model: the weights of {origin.run.name} do not fit: {other} where this has {here}", hint=hint)
