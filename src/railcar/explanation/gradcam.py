"""Where in an image a network found what speaks for a label: Grad-CAM (Selvaraju et al., 2017, arXiv:1610.02391), in
the form of LayerCAM (Jiang et al., 2021, doi:10.1109/TIP.2021.3089943).

The values of late maps of the network, weighted by the gradients of the label's log-odds and added up over a map's
channels; what speaks against the label is left out. The gradient of each place weighs its own value, where Grad-CAM
takes the mean over all places: that holds only for the last map of a network that ends in an average. Of one that
flattens its map the mean tells less than chance does where it looked, and of other maps than the last it finds nothing.

Owns which maps are looked at, and the weights. One pass forward and a part of one backward for a batch of images;
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
# The last map with so many rows and columns is looked at. In images of 64 pixels, maps of 4 miss a part of 8 pixels
# that decides; of 8 they show it, but coarsely: to what has fewer than 14 rows, the last of a finer size is added.
_LEAST_SIDE, _FINE_SIDE = 6, 14
_TINY = 1e-37


class MapFinder:
    """Finds what speaks for a label in images uint8 [n, height, width, channels], which `network` takes.

    Looked at is the last map of 6 rows and columns or more, and where there is none the largest; if it is coarse, the
    last one of the next finer size, too. Only what all the rest is computed from counts as a map: what a convolution
    takes, or what is flattened or averaged, not what comes before its activation.
    """

    def __init__(self, network: keras.Model, image: NDArray[Any]) -> None:
        """`image` [1, height, width, channels] is sent through once. Raises whatever the network raises."""
        self._network = network
        self._places = _choose_maps(_list_maps(network, image))

    @property
    def has_map(self) -> bool:
        """False of a network of dense layers, and of one that is somebody's own class."""
        return bool(self._places)

    def explain(self, images: NDArray[np.uint8], indices: NDArray[np.integer]) -> NDArray[np.float32]:
        """float32 [n, rows, columns], 0 to 1, that lie over the whole of the images: what speaks for the labels
        `indices` [n]. All of an image are 0 where nothing does, and where its gradients are no numbers."""
        maps: list[Any] = []
        n_done = 0
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def visit(operation: Any, compute: Any, given: tuple[Any, ...]) -> Any:
                nonlocal n_done
                if n_done in self._places:
                    maps.append(_find_tensors(given)[0])
                    tape.watch(maps[-1])
                n_done += 1
                return _take_logarithms(operation, given[0]) if _is_clipped(operation) else compute()

            score = _add_log_odds(run_through(self._network, images, visit), indices)
        gradients = tape.gradient(score, maps, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        heats = [_weigh(*both) for both in zip(maps, gradients, strict=True)]
        size = max(heat.shape[1:3] for heat in heats)
        return _scale_to_one(np.sum([_enlarge(heat, size) for heat in heats], axis=0))


def _weigh(values: Any, gradients: Any) -> NDArray[np.float32]:
    """[n, rows, columns], 0 to 1, at most `MAX_CELLS` of them, of a map [n, height, width, channels]."""
    heat = tf.reduce_sum(tf.nn.relu(gradients) * tf.nn.relu(values), axis=-1, keepdims=True)
    size = [min(int(side or 1), MAX_CELLS) for side in heat.shape[1:3]]
    return _scale_to_one(np.asarray(tf.image.resize(tf.cast(heat, tf.float32), size, "area"))[..., 0])


def _enlarge(heat: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    return np.asarray(tf.image.resize(heat[..., None], size))[..., 0]


def _scale_to_one(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest of each image becomes 1; what is no number, 0."""
    heat = np.nan_to_num(heat, posinf=0.0, neginf=0.0)
    largest = heat.max(axis=(1, 2), keepdims=True)
    return (heat / np.where(largest > 0, largest, 1.0)).astype(np.float32)


def _list_maps(network: keras.Model, image: NDArray[Any]) -> list[tuple[int, int]]:
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


def _choose_maps(maps: list[tuple[int, int]]) -> list[int]:
    """The numbers of the operations that take the maps to look at."""
    if not maps:
        return []
    at, side = next(
        (one for one in reversed(maps) if one[1] >= _LEAST_SIDE), max(maps, key=lambda one: (one[1], one[0]))
    )
    finer = [one for one in maps if one[1] > side] if side < _FINE_SIDE else []
    nearest = min((one[1] for one in finer), default=0)
    return [at, *[one[0] for one in finer if one[1] == nearest][-1:]]


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
