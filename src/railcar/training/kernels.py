"""Which kernels compute a network's gradients on this CPU: found by trying, once for each shape, and remembered.

For each layer of `layers/tuned.py`, TensorFlow's own kernel for a gradient and a forward kernel that computes the same
are timed in turns, on the batch or on as much of it as the caches do not hold. What was found is kept in the cache by
processor, versions and shape, so that the same training on the same machine computes with the same kernels, and rounds
alike. Owns that file.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from railcar.errors import RailcarError
from railcar.layers.pooling import FusedMaxPooling2D
from railcar.layers.tuned import (
    INPUT,
    TunedConv2D,
    TunedDense,
    differentiate_by_input,
    differentiate_by_kernel,
    differentiate_product_by_input,
)
from railcar.storage.local import cache_dir, write_atomic
from railcar.storage.lock import LockHeld, hold_lock
from railcar.training import hardware
from railcar.training.runtime import Choice

Ways = dict[str, list[str]]
"""Name of a layer -> its gradients that forward kernels compute."""

# Less gain than that is within the noise of a shared machine.
_WORTH_IT = 0.9
# A trial of a fiftieth of a second: with fewer rows the caches hold what they will not hold in training.
_FLOP_OF_A_TRIAL = 2.5e9
_N_TRIALS = 2
# Of the user's, those that decide which kernels there are.
_SETTINGS_OF_ONEDNN = ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA")


def choose_kernels(
    model: keras.Model, asked: str, *, device: str, compile: str, n_rows: int, known: Ways | None = None
) -> Choice | None:
    """The ways of `model`'s layers as a value, and why; None where there is nothing to choose. `asked` is "auto" or
    "own"; `n_rows` of a batch are on this device; `known` are those of the run that goes on."""
    if asked != "auto" or device != "cpu" or compile != "graph":
        return None
    if known is not None:
        return Choice(known, "as the run began")
    found, times = {}, [0.0, 0.0]
    with _remembered() as remembered:
        for layer, gradients in _find_gradients(model):
            n_timed = _count_rows(layer, n_rows)
            for gradient in gradients:
                key = _describe(layer, gradient, n_timed)
                if key not in remembered:
                    remembered[key] = _time_gradient(layer, gradient, n_timed)
                own_ms, forward_ms = remembered[key]
                is_faster = forward_ms < _WORTH_IT * own_ms
                times[0] += own_ms
                times[1] += forward_ms if is_faster else own_ms
                if is_faster:
                    found.setdefault(layer.name, []).append(gradient)
    if not found:
        return Choice({}, "TensorFlow's kernels for gradients are the fastest here, as measured")
    ratio = f"{times[0] / times[1]:.1f} times as fast"
    return Choice(found, f"gradients by forward kernels, {ratio} as by TensorFlow's own, measured on this machine")


def set_kernels(model: keras.Model, ways: Ways) -> None:
    """Let the layers that `ways` names compute those gradients by forward kernels, all others as TensorFlow does; and
    pooling its gradient in one pass."""
    for layer in _flatten(model):
        if isinstance(layer, FusedMaxPooling2D):
            layer.is_fused = True
        elif _is_tuned(layer):
            layer.forward_gradients = frozenset(ways.get(layer.name, ()))


def _flatten(model: keras.Model) -> Iterator[Any]:
    """All layers, in the order of the network."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flatten(layer)
        else:
            yield layer


def _is_tuned(layer: Any) -> bool:
    return isinstance(layer, TunedConv2D | TunedDense)


def _find_gradients(model: keras.Model) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Layers with a choice, and for which gradients. Where nothing before is trained, the input's is not computed."""
    is_first = True
    for layer in _flatten(model):
        if _is_tuned(layer) and layer.trainable and None not in layer.input.shape[1:]:
            yield layer, tuple(one for one in layer.tunable_gradients if one != INPUT or not is_first)
        is_first = is_first and not layer.trainable_variables


def _count_rows(layer: Any, n_rows: int) -> int:
    """Of a batch, those that are timed: larger ones take longer and say the same."""
    flop_per_row = 2.0 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
    return max(1, min(n_rows, int(_FLOP_OF_A_TRIAL / flop_per_row)))


def _describe(layer: Any, gradient: str, n_rows: int) -> str:
    """What the times depend on."""
    kind = f"convolution {layer.padding}" if hasattr(layer, "padding") else "dense"
    shapes = ["x".join(map(str, shape)) for shape in (layer.input.shape[1:], layer.kernel.shape)]
    return f"{kind} {layer.compute_dtype} {n_rows}x{' '.join(shapes)} {gradient}"


def _time_gradient(layer: Any, gradient: str, n_rows: int) -> tuple[float, float]:
    """Milliseconds (TensorFlow's kernel, forward kernel), each the best of a few, taken in turns."""
    shape, outputs = layer.input.shape[1:], layer.output.shape[1:]
    arguments = [
        tf.cast(tf.random.stateless_normal(one, (1, 2)), layer.compute_dtype)
        for one in ((n_rows, *shape), layer.kernel.shape, (n_rows, *outputs))
    ]
    best_ms = [math.inf, math.inf]
    for trial in range(1 + _N_TRIALS):
        for is_forward in (False, True):
            start = time.perf_counter()
            _differentiate(layer, gradient, arguments, is_forward)
            if trial:  # not the first one, which prepares
                best_ms[is_forward] = min(best_ms[is_forward], (time.perf_counter() - start) * 1e3)
    return round(best_ms[0], 3), round(best_ms[1], 3)


def _differentiate(layer: Any, gradient: str, arguments: list[Any], is_forward: bool) -> Any:
    inputs, kernel, upstream = arguments
    if isinstance(layer, TunedDense):
        return differentiate_product_by_input(kernel, upstream, is_forward)
    differentiate = differentiate_by_input if gradient == INPUT else differentiate_by_kernel
    return differentiate(inputs, kernel, upstream, layer.padding.upper(), is_forward)


@contextlib.contextmanager
def _remembered() -> Iterator[dict[str, Any]]:
    """What was measured on this machine, from the cache; what is added is kept there. A cache that cannot be read or
    written is none."""
    path, machine = cache_dir() / "kernels.json", _describe_machine()
    here = _read(path).get(machine, {})
    before = len(here)
    yield here
    if len(here) == before:
        return
    with contextlib.suppress(RailcarError, OSError, LockHeld):
        path.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(path.with_suffix(".lock")):
            documents = _read(path)  # another process may have measured meanwhile
            documents[machine] = here | documents.get(machine, {})
            write_atomic(path, json.dumps(documents, indent=1).encode())


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        documents = json.loads(path.read_bytes())
        return {
            machine: {key: times for key, times in found.items() if _are_times(times)}
            for machine, found in documents.items()
        }
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _are_times(times: Any) -> bool:
    is_pair = isinstance(times, list) and len(times) == 2
    return is_pair and all(isinstance(one, float | int) and 0 < one < math.inf for one in times)


def _describe_machine() -> str:
    # The variable is TensorFlow's; it does not tell what it made of it.
    asked = tf.config.threading.get_intra_op_parallelism_threads() or os.environ.get("TF_NUM_INTRAOP_THREADS")
    n_threads = asked or f"{hardware.count_cores()[1]:g}"
    settings = [f"{name}={os.environ[name]}" for name in _SETTINGS_OF_ONEDNN if name in os.environ]
    return ", ".join([hardware.cpu_model(), f"{n_threads} threads", f"TensorFlow {tf.__version__}", *settings])
