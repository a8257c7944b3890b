"""What a run shows in TensorBoard: scalars, the network's graph, a batch, mistakes, histograms of activations and
weights.

Owns the event files; those of the projector are `projector.py`'s. When something is written, and of which batch, is the
training loop's decision.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata

_N_BUCKETS = 30
_MAX_IMAGES = 64
# To write a picture of more, the first step would wait for seconds.
_MAX_PIXELS = 1 << 19
# Who watches a run sees a new point after so long; TensorFlow itself would wait for two minutes.
_FLUSH_EVERY_S = 1.0
_SCALAR = scalar_metadata.create_summary_metadata(display_name=None, description=None).SerializeToString()
# Their output holds the values of the layer before them (dropout does nothing outside training).
_SAME_VALUES = (keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout)


class Summaries:
    """Writes one folder of event files. `close` when done, or use it in a `with`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = tf.summary.create_file_writer(str(folder))
        self._flushed_s = time.monotonic()
        self._seen_model: keras.Model | None = None
        self._watched: tuple[list[str], Any] = ([], None)

    def __enter__(self) -> Summaries:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """`values` by tag ("train/loss"); those that are None are left out. One write for all: tf.summary.scalar takes
        a millisecond each."""
        summary = tf.compat.v1.Summary()
        for tag, value in values.items():
            if value is not None:
                entry = summary.value.add(tag=tag)
                entry.metadata.ParseFromString(_SCALAR)
                entry.tensor.CopyFrom(tf.make_tensor_proto(value, tf.float32))
        with self._writer.as_default(step=step):
            tf.summary.experimental.write_raw_pb(summary.SerializeToString())
        if time.monotonic() - self._flushed_s >= _FLUSH_EVERY_S:
            self.flush()

    def activations(self, model: keras.Model, inputs: NDArray[Any], step: int) -> None:
        """Of each layer's output for `inputs` ([n, ...] as the model takes them, the first 64 of them): a histogram and
        the share of values that are zero. Layers inside a model inside the model are left out."""
        names, compute = self._watch(model, inputs)
        if not names:
            return
        with self._writer.as_default(step=step):
            for name, values in zip(names, compute(tf.constant(inputs[:_MAX_IMAGES])), strict=True):
                flat = np.asarray(values).ravel()
                _write_histogram(f"activations/{name}", flat)
                tf.summary.scalar(f"sparsity/{name}", 1.0 - np.count_nonzero(flat) / max(flat.size, 1))

    def weights(self, model: keras.Model, step: int) -> None:
        """A histogram of each of the model's variables."""
        with self._writer.as_default(step=step):
            for variable in model.weights:
                values = np.asarray(tf.convert_to_tensor(variable)).ravel()
                _write_histogram(f"weights/{variable.path}", values)

    def graph(self, model: keras.Model) -> None:
        """The operations of one forward pass, grouped by layer."""
        signature = [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in model.inputs]

        def forward(*inputs: Any) -> Any:
            return model(inputs[0] if len(inputs) == 1 else inputs, training=False)

        compiled: Any = tf.function(forward, input_signature=signature, autograph=False)

        graph_def = compiled.get_concrete_function().graph.as_graph_def()
        with self._writer.as_default(step=0):
            tf.summary.graph(_name_by_layer(graph_def, model))

    def images(self, images: NDArray[np.uint8], labels: NDArray[np.integer], class_names: Sequence[str]) -> None:
        """The first images (uint8 [n, height, width, channels]) of a batch, 64 or as many as have half a million
        pixels, as one grid; the labels are in its description."""
        captions = [class_names[int(label)] for label in labels]
        self._show_grid("batch", "Labels, row by row", images, captions, step=0)

    def mistakes(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer],
        predicted: NDArray[np.integer],
        class_names: Sequence[str],
        *,
        step: int,
    ) -> None:
        """Images that got a wrong answer after `step` steps, the worst first, in the same way; none is nothing."""
        pairs = zip(labels, predicted, strict=True)
        captions = [f"{class_names[int(wrong)]} (is {class_names[int(label)]})" for label, wrong in pairs]
        if captions:
            self._show_grid("mistakes", "Answers, row by row, the worst first", images, captions, step=step)

    def flush(self) -> None:
        self._writer.flush()
        self._flushed_s = time.monotonic()

    def close(self) -> None:
        self._writer.close()

    def _show_grid(
        self, tag: str, heading: str, images: NDArray[np.uint8], captions: Sequence[str], *, step: int
    ) -> None:
        n_shown = count_shown(*images.shape[1:3])
        grid, n_columns = draw_grid(images[:n_shown])
        captions = captions[:n_shown]
        rows = [", ".join(captions[start : start + n_columns]) for start in range(0, len(captions), n_columns)]
        description = f"{heading}:\n\n" + "\n".join(f"1. {row}" for row in rows)
        with self._writer.as_default(step=step):
            tf.summary.image(tag, grid[None], description=description)

    def _watch(self, model: keras.Model, like: NDArray[Any]) -> tuple[list[str], Any]:
        """Names of layers, and a compiled function from inputs to their outputs in float32, compiled once a model."""
        if model is not self._seen_model:
            outputs = _float_outputs(model)
            compute = None
            if outputs:
                inner = keras.Model(model.input, list(outputs.values()))

                def call(inputs: Any) -> list[Any]:
                    # a model with a single output gives no list
                    values = inner(inputs, training=False)
                    return [tf.cast(one, tf.float32) for one in (values if isinstance(values, list) else [values])]

                signature = [tf.TensorSpec((None, *like.shape[1:]), like.dtype)]
                traced: Any = tf.function(call, input_signature=signature, autograph=False)
                compute = traced.get_concrete_function()
            self._watched = (list(outputs), compute)
            self._seen_model = model
        return self._watched


def _float_outputs(model: keras.Model) -> dict[str, Any]:
    """The symbolic output of each layer that computes floating-point values of its own; none for a model that is not
    made of connected layers (a subclass)."""
    outputs: dict[str, Any] = {}
    if not getattr(model, "inputs", None):
        return outputs
    for layer in model.layers:
        if isinstance(layer, (keras.Model, *_SAME_VALUES)):
            continue
        output = layer.output
        if isinstance(output, keras.KerasTensor) and keras.backend.is_float_dtype(output.dtype):
            outputs[layer.name] = output
    return outputs


def _name_by_layer(graph_def: Any, model: keras.Model) -> Any:
    """Operations' names without the model's own scope and without the numbers that tracing adds to layers' names:
    TensorBoard then opens on the layers, called as in the recipe, instead of one closed box."""
    layers = {layer.name for layer in model.layers}

    def rename(name: str) -> str:
        scope, _, rest = name.partition("/")
        if not rest or re.sub(r"_\d+$", "", scope) != re.sub(r"_\d+$", "", model.name):
            return name
        layer, slash, rest = rest.partition("/")
        plain = layer if layer in layers else re.sub(r"_\d+$", "", layer)
        return (plain if plain in layers else layer) + slash + rest

    for node in graph_def.node:
        node.name = rename(node.name)
        node.input[:] = ["^" + rename(edge[1:]) if edge.startswith("^") else rename(edge) for edge in node.input]
    return graph_def


def _write_histogram(tag: str, values: NDArray[np.floating]) -> None:
    """Counts in 30 equal buckets in the form that TensorBoard keeps: float64 [30, 3] of left edge, right edge, count.

    Counted by numpy: tf.summary.histogram takes ten times as long for a million values. Values that are not finite are
    left out.
    """
    if values.size and not np.isfinite(values.sum(dtype=np.float64)):
        values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, _N_BUCKETS, range=_find_range(values))
    metadata = histogram_metadata.create_summary_metadata(display_name=None, description=None)
    tf.summary.write(tag, tf.constant(np.stack([edges[:-1], edges[1:], counts], axis=1)), metadata=metadata)


def _find_range(values: NDArray[np.floating]) -> tuple[float, float] | None:
    """From the least to the largest; wider where they are so near to each other that float32 has no steps between."""
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    nearest = 4 * _N_BUCKETS * float(np.finfo(np.float32).eps) * max(abs(low), abs(high))
    return (low, high) if high - low > nearest or low == high else (low - nearest, high + nearest)


def count_shown(height: int, width: int) -> int:
    """How many images of this size are shown together."""
    return max(1, min(_MAX_IMAGES, _MAX_PIXELS // (height * width)))


def draw_grid(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """One picture uint8 [rows * height, columns * width, channels] of all images, and its number of columns."""
    n_images, height, width, channels = images.shape
    n_columns = int(np.ceil(np.sqrt(n_images)))
    n_rows = -(-n_images // n_columns)
    padded = np.zeros((n_rows * n_columns, height, width, channels), np.uint8)
    padded[:n_images] = images
    rows = padded.reshape(n_rows, n_columns, height, width, channels).swapaxes(1, 2)
    return rows.reshape(n_rows * height, n_columns * width, channels), n_columns
