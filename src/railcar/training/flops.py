"""How much arithmetic a network takes: multiplications and additions of its layers, for one training step.

Counts what convolutions and dense layers must do by their shapes, not what a kernel happens to do; all else
(activations, pooling, normalisation, the optimizer) counts for nothing, so a rate made of it is one of useful
arithmetic. Importing this costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any


def count_step_flop(model: Any) -> float | None:
    """Floating-point operations of a training step for one image: forward, and backward to weights and to inputs.

    A multiplication and an addition count as two. A layer costs its forward pass, as much again when its kernel is
    trained, and as much again when a layer before it is, since then the gradient passes through it. None for a model
    with a kernel that this cannot count.
    """
    total, is_trained_before = 0.0, False
    for layer in _walk(model):
        forward = _count_forward(layer)
        if forward is None:
            return None
        trained = [one for one in layer._trainable_variables if one.trainable]
        is_kernel_trained = any(len(one.shape) > 1 for one in trained)
        total += forward * (1 + is_kernel_trained + is_trained_before)
        is_trained_before = is_trained_before or bool(trained)
    return total


def count_forward_flop(layer: Any) -> float | None:
    """Of one example through one layer of a model, and all that is in it, without gradients; None where that cannot be
    counted."""
    counts = [_count_forward(one) for one in (layer, *_walk(layer))]
    return None if None in counts else sum(one for one in counts if one is not None)


def _walk(layer: Any) -> Iterator[Any]:
    """The layers below one, in the order in which an image passes them; those of a model inside a model, too."""
    for below in layer._layers:
        yield below
        yield from _walk(below)


def _count_forward(layer: Any) -> float | None:
    """Of one image through one layer; 0 for a layer without kernels, None for what cannot be counted."""
    kernels = [one.shape for one in layer._trainable_variables + layer._non_trainable_variables if len(one.shape) > 1]
    if not kernels or type(layer).__name__ == "Embedding":  # which is looked up
        return 0.0
    places = _count_places(layer)
    name = type(layer).__name__
    is_plain = hasattr(layer, "kernel") and len(kernels) == 1 and "Transpose" not in name
    if places is None or not (is_plain or name.startswith(("Depthwise", "Separable"))):
        return None
    return 2.0 * places * sum(prod(shape) for shape in kernels)


def _count_places(layer: Any) -> int | None:
    """At how many positions of an image the layer's kernel is applied."""
    try:
        shape = layer.output.shape[1:]
    except (AttributeError, ValueError):  # called inside another layer: Keras keeps no record of it
        return None
    is_first = getattr(layer, "data_format", "channels_last") == "channels_first"
    places = shape[1:] if is_first else shape[:-1]
    return None if None in places else prod(places)
