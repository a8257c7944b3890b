"""Does a step of training fit into memory? Found out before the first one, from the shapes of the network's layers.

Owns a lower bound, so that nothing is refused that would fit. What a kernel needs besides is not in it.
"""

from __future__ import annotations

import math
import os
from typing import Any

from railcar.training import hardware

LIMIT_VARIABLE = "TF_CPU_BFC_MEM_LIMIT_IN_MB"
# Weights, their gradients, and what an optimizer keeps of each (Adam: two).
_COPIES_OF_WEIGHTS = 3


def estimate_step(model: Any) -> tuple[int, int]:
    """(bytes for the weights, bytes for each example of a batch) that a step holds at the least: of every layer its
    output, for the backward pass."""
    per_example = 0
    for layer in _flatten(model):
        try:
            output = layer.output
        except (AttributeError, ValueError):  # called inside a model of somebody's own class: nothing is known of it
            continue
        outputs = output if isinstance(output, list | tuple) else [output]
        for output in outputs:
            shape = getattr(output, "shape", None)
            if shape is not None and None not in shape[1:]:
                per_example += math.prod(shape[1:]) * (2 if "16" in str(output.dtype) else 4)
    weights = sum(math.prod(one.shape) for one in model.trainable_variables)
    return weights * 4 * _COPIES_OF_WEIGHTS, per_example


def find_memory_limit(device: str) -> int | None:
    """Bytes that training may use on "cpu" or "gpu"; None where that is unknown."""
    if device == "gpu":
        return hardware.gpu_memory_bytes()
    if (limit_mb := os.environ.get(LIMIT_VARIABLE, "")).isdecimal():
        return int(limit_mb) << 20
    return hardware.memory_bytes()


def find_batch_size(batch_size: int, *, weights: int, per_example: int, limit: int) -> int | None:
    """`batch_size` when a step of it fits into `limit` bytes, else the largest power of two that does with a quarter
    to spare; None when not even one example fits."""
    if weights + batch_size * per_example <= limit:
        return batch_size
    n_fitting = int((limit * 0.75 - weights) / max(per_example, 1))
    return 1 << (n_fitting.bit_length() - 1) if n_fitting >= 1 else None


def _flatten(model: Any) -> Any:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _flatten(layer)
        elif type(layer).__name__ != "InputLayer":
            yield layer
