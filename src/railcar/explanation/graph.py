"""A network computed operation by operation, so that what is inside can be looked at.

Owns how layers inside layers are reached: networks in networks, of which Keras connects no inner layer with the outer
input, become one row of operations. Nothing is built or traced: a call more would be a second graph, and a layer of a
user's network that stands in two graphs has no `output` any more. A network whose `call` is somebody's own code is
one operation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from railcar.layers.images import ViewAverage

Visit = Callable[[Any, Callable[[], Any], tuple[Any, ...]], Any]
"""Called for each operation with it, what computes it, and what it is given; returns what counts as its output."""


def run_through(model: keras.Model, inputs: Any, visit: Visit) -> Any:
    """What `model` answers to `inputs` outside training, eagerly, with `visit` called for each operation, in an order
    that is the same each time. Of several views of an image that a network averages, the image itself is looked at.

    Raises whatever an operation raises.
    """
    inner = _open(model)
    if inner is None:
        return visit(model, partial(_call, model, (inputs,), {}), (inputs,))

    def follow(operation: Any) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if _open(operation) is not None:
                return run_through(operation, given[0], visit)
            return visit(operation, partial(_call, operation, given, named), given)

        return call

    return inner._run_through_graph(inner._standardize_inputs(inputs), operation_fn=follow)


def _open(operation: Any) -> Any:
    """The graph of connected layers that an operation is, or None."""
    if isinstance(operation, ViewAverage):
        return _open(operation.network)
    if isinstance(operation, keras.Sequential):
        return getattr(operation, "_functional", None)
    is_graph = hasattr(operation, "_run_through_graph")
    return operation if is_graph and type(operation).call.__module__.startswith("keras.") else None


def _call(operation: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    if getattr(operation, "_call_has_training_arg", False):
        named = {**named, "training": False}
    return operation(*given, **named)
