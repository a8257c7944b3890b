"""Where in an image a network found what speaks for a label: Grad-CAM (Selvaraju et al., 2017, arXiv:1610.02391).

The values of a late map of the network, weighted by the gradients of the label's log-odds and added up over the map's
channels; what speaks against the label is left out. The gradient of each place weighs its own values, where Grad-CAM
takes the mean over all places: of a network that ends in an average both are the same, and of one that flattens its map
the mean tells less than chance does where it looked (Draelos and Carin, 2020, arXiv:2011.08891).

Owns which map is looked at, and the weights. One pass forward and a part of one backward for a batch of images;
`occlusion.py` is for networks that have no map, or whose layers cannot be seen. `benchmarks/gradcam.py` measures it.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.explanation.graph import run_through
from railcar.layers.answers import ToLogits

MAX_CELLS = 28
"""Rows and columns of what is found; of larger maps it is averaged."""
# A map has at least so many rows and columns, or this share of the image's. In images of 64 pixels, maps of 4 miss a
# part of 8 pixels that decides, and those of 16 do not; of digits of 28 pixels a map of 14 tells more than one of 7.
_LEAST_SIDE, _LEAST_SHARE = 12, 1 / 3
_TINY = 1e-37


class MapFinder:
    """Finds what speaks for a label in images uint8 [n, height, width, channels], which `network` takes.

    The map is the last that has 12 rows and columns, or a third of the image's, and where there is none the largest.
    Only what all the rest is computed from counts as one: what a convolution takes, or what is flattened or averaged,
    not what comes before its activation.
    """

    def __init__(self, network: keras.Model, image: NDArray[np.uint8]) -> None:
        """`image` [1, height, width, channels] is sent through once. Raises whatever the network raises."""
        self._network = network
        self._at = _choose_map(_list_maps(network, image), min(image.shape[1:3]))

    @property
    def has_map(self) -> bool:
        """False of a network of dense layers, and of one that is somebody's own class."""
        return self._at is not None

    def explain(self, images: NDArray[np.uint8], indices: NDArray[np.integer]) -> NDArray[np.float32]:
        """float32 [n, rows, columns], 0 to 1, that lie over the whole of the images: what speaks for the labels
        `indices` [n]. All of an image are 0 where nothing does, and where its gradients are no numbers."""
        kept: list[Any] = []
        n_done = 0
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def visit(operation: Any, compute: Any, given: tuple[Any, ...]) -> Any:
                nonlocal n_done
                if n_done == self._at:
                    kept.append(_find_tensors(given)[0])
                    tape.watch(kept[0])
                n_done += 1
                return _take_logarithms(operation, given[0]) if _is_clipped(operation) else compute()

            score = _add_log_odds(run_through(self._network, images, visit), indices)
        gradient = tape.gradient(score, kept[0], unconnected_gradients=tf.UnconnectedGradients.ZERO)
        heat = tf.nn.relu(tf.reduce_sum(gradient * kept[0], axis=-1, keepdims=True))
        rows, columns = (min(int(side or 1), MAX_CELLS) for side in heat.shape[1:3])
        heat = np.asarray(tf.image.resize(tf.cast(heat, tf.float32), (rows, columns), "area"))[..., 0]
        heat = np.nan_to_num(heat, posinf=0.0, neginf=0.0)
        largest = heat.max(axis=(1, 2), keepdims=True)
        return (heat / np.where(largest > 0, largest, 1.0)).astype(np.float32)


def _list_maps(network: keras.Model, image: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """(number of the first operation that takes it, its shorter side) of each map, in order."""
    first: dict[int, int] = {}
    edged: set[int] = set()
    alive: list[Any] = []  # else the next tensor may have the id of one that is gone
    found: list[tuple[int, int]] = []
    n_done, is_after_filters = 0, False

    def visit(operation: Any, compute: Any, given: tuple[Any, ...]) -> Any:
        nonlocal n_done, is_after_filters
        tensors = _find_tensors(given)
        alive.extend(tensors)
        for one in tensors:
            first.setdefault(id(one), n_done)
        result = compute()
        is_filter = any(len(weight.shape) == 4 for weight in getattr(operation, "weights", ()))
        if isinstance(operation, keras.layers.ZeroPadding2D):
            alive.append(result)
            edged.add(id(result))  # it does not lie over the image any more: what is given does
        if is_after_filters and tensors and _is_map(tensors[0]) and id(tensors[0]) not in edged:
            is_end = len(getattr(result, "shape", ())) not in (0, 4)
            if is_filter or is_end or isinstance(operation, keras.layers.ZeroPadding2D):
                found.append((first[id(tensors[0])], min(tensors[0].shape[1:3])))
        is_after_filters = is_after_filters or is_filter
        n_done += 1
        return result

    run_through(network, image, visit)
    return found


def _choose_map(maps: list[tuple[int, int]], side: int) -> int | None:
    """The number of the operation that takes the map to look at, in an image whose shorter side is `side` pixels."""
    least = min(_LEAST_SIDE, side * _LEAST_SHARE)
    large = [at for at, rows in maps if rows >= least]
    if large:
        return large[-1]
    return max(maps, key=lambda one: (one[1], one[0]))[0] if maps else None


def _is_map(tensor: Any) -> bool:
    shape = tensor.shape
    return len(shape) == 4 and tensor.dtype.is_floating and min(shape[1:3]) > 1


def _find_tensors(given: tuple[Any, ...]) -> list[Any]:
    return [one for one in tf.nest.flatten(given) if tf.is_tensor(one)]


def _is_clipped(operation: Any) -> bool:
    return isinstance(operation, ToLogits) and operation.meaning == "probabilities"


def _take_logarithms(operation: ToLogits, answers: Any) -> Any:
    """Logits of probabilities as `operation` gives them, but not clipped: that has no gradient, and networks are often
    that sure."""
    answers = tf.cast(answers, tf.float32)
    if operation.n_outputs == 2 and answers.shape[-1] == 1:
        answers = tf.concat([1.0 - answers, answers], axis=-1)
    return tf.math.log(tf.maximum(answers, _TINY))


def _add_log_odds(logits: Any, indices: NDArray[np.integer]) -> Any:
    """The log-odds of the labels `indices` [n], added up over the images."""
    is_label = tf.one_hot(indices, logits.shape[-1], on_value=True, off_value=False)
    others = tf.reduce_logsumexp(tf.where(is_label, tf.constant(-np.inf, logits.dtype), logits), axis=-1)
    return tf.reduce_sum(tf.boolean_mask(logits, is_label)) - tf.reduce_sum(others)
