"""From a recipe's model node and plain facts of the data to a keras.Model, with faults in words of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from railcar.errors import RecipeError
from railcar.layers.raw import NETWORK, NUMBERS
from railcar.models.own import build_own
from railcar.registry import MODELS, is_own

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def choose_scale(scale: str, mean: Sequence[float], *, model: str = "cnn") -> tuple[str, str]:
    """(value, reason) for `data.scale`; `mean` is that of the training pixels, one a channel, 0 to 255."""
    if scale != "auto":
        return scale, "as the recipe says"
    if is_own(model):
        return "none", "your network gets pixels of 0 to 255"
    means = ", ".join(f"{one:.1f}" for one in mean)
    return "standard", f"to mean 0 and deviation 1; the training pixels have mean {means}"


def scale_numbers(
    scale: str, mean: Sequence[float], std: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What the scaling layer subtracts and divides by, one number a channel, in units of 0 to 255."""
    if scale == "none":
        return (0.0,) * len(mean), (1.0,) * len(mean)
    if scale == "unit":
        return (0.0,) * len(mean), (255.0,) * len(mean)
    return tuple(mean), tuple(max(one, 1.0) for one in std)


def build_model(
    settings: dict[str, Any], *, kind: str = "image", precision: str = "float32", seed: int = 0, **facts: Any
) -> keras.Model:
    """A network from what stands for examples of `kind` to float32 logits [n, n_classes] (of a regression [n, 1]).

    `settings` is the recipe's model node as a dict; `precision` is float32, bfloat16 or float16: of the computation,
    variables are float32. `facts` of the data are the builder's keywords: for images `image_shape`, `n_classes`, and
    `mean` and `std`, which are subtracted and divided by, and `fit`. Raises `RecipeError` for a network of another
    kind, and when an image is too small for it.
    """
    name = settings["name"]
    if is_own(name):
        return build_own(name, kind=kind, options=settings["options"], seed=seed, **facts)
    if MODELS[name].kind != kind:
        known = ", ".join(one for one in MODELS if MODELS[one].kind == kind)
        raise RecipeError(
            f"model.name: {name} is a network for {MODELS[name].kind} data, and this is {kind} data",
            hint=f"set model.name to one of: {known}",
        )
    options = {key: settings[key] for key in MODELS[name].keys if settings.get(key) is not None}
    try:
        return MODELS.load(name)(dtype=POLICIES[precision], seed=seed, **facts, **options)
    except ValueError as error:
        if kind != "image":
            raise
        height, width, _ = facts["image_shape"]
        smaller = "a smaller model.kernel_size, padding: same, " if "kernel_size" in MODELS[name].keys else ""
        raise RecipeError(
            f"model: {name} with these settings does not fit images of {height}x{width} pixels ({first_line(error)})",
            hint=f"use fewer model.filters, {smaller}or a larger data.image_size",
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a message of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def list_layers(model: keras.Model) -> list[Any]:
    """Those of a network, and where a network has its trained part in one layer those of that in its place."""
    found: list[Any] = []
    for layer in model.layers:
        is_opened = layer.name == NETWORK or (model.name == "own" and getattr(layer, "outputs", None))
        found += [one for one in layer.layers if one.name != NUMBERS] if is_opened else [layer]
    return found


def _output_of(layer: Any) -> Any:
    try:
        return layer.output
    except (AttributeError, ValueError):  # called inside a model of somebody's own class
        return None


def describe_model(model: keras.Model) -> list[dict[str, Any]]:
    """One row a layer: name, type, output shape without the batch, parameters."""
    rows = []
    for layer in list_layers(model):
        shape = getattr(_output_of(layer), "shape", ())
        rows.append(
            {
                "name": layer.name,
                "type": type(layer).__name__,
                "shape": list(shape[1:]),
                "parameters": int(layer.count_params()),
            }
        )
    return rows
