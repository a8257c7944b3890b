"""What the last layer of a network gets of an example: what the network has made of it, before it decides.

Owns where in a network that is, and how it becomes a row of a bounded number of numbers. A linear model of n-grams has
no such place: its n-grams are taken, as it weighs them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.explanation.graph import run_through
from railcar.layers.members import MemberAnswers
from railcar.layers.ngrams import WeighNgrams

MAX_WIDTH = 4096
"""Numbers of a row; of more, several are added up with random signs (Weinberger et al., 2009, arXiv:0902.2206), which
changes a cosine by about 0.016; by 0.022 with those of n-grams."""
_NGRAMS_WIDTH = 2048
_LAST = (keras.layers.Dense, MemberAnswers, WeighNgrams)
_SEED = 20


def penultimate(network: keras.Model, inputs: Any) -> NDArray[np.float32] | None:
    """float32 [n, d], d at most `MAX_WIDTH`: what the last dense layer of `network` gets of `inputs` [n, ...], an array
    or a tensor as the network takes it; of a network without one, what the last layer with weights gets. Of words or
    places the mean. None where the network is somebody's own class, whose layers cannot be seen at work. Raises
    whatever the network raises."""
    dense: list[Any] = []
    others: list[Any] = []

    def visit(operation: Any, compute: Any, given: tuple[Any, ...]) -> Any:
        if isinstance(operation, WeighNgrams):
            dense[:] = [operation, given[0]]
            return tf.zeros((len(given[0]), operation.n_outputs))  # nobody asks for the answer
        if isinstance(operation, _LAST):
            dense[:] = [operation, given[0]]
        elif getattr(operation, "weights", ()):
            others[:] = [operation, given[0]]
        return compute()

    run_through(network, inputs, visit)
    layer, values = dense or others or (None, None)
    if layer is None or isinstance(layer, keras.Model):
        return None
    if isinstance(layer, WeighNgrams):
        return _weigh_ngrams(layer, np.asarray(values))
    found = np.asarray(values, np.float32)
    if found.ndim > 2 and not isinstance(layer, MemberAnswers):
        found = found.mean(axis=tuple(range(1, found.ndim - 1)))
    return _narrow(found.reshape(len(found), -1))


def _weigh_ngrams(layer: WeighNgrams, numbers: NDArray[np.integer]) -> NDArray[np.float32]:
    """float32 [n, 2048] of n-grams [n, length]: each counts by its rarity, words and characters scaled to length 1
    apart, and by how strongly it votes for one class against others, as in `layer`. Texts are near that say the same
    for the same reason."""
    rarity = np.asarray(layer.rarity, np.float32)[numbers]
    is_word = (numbers > 0) & (numbers <= layer.n_words)
    weights = np.zeros_like(rarity)
    for there in (is_word, numbers > layer.n_words):
        part = np.where(there, rarity, 0.0)
        lengths = np.sqrt((part**2).sum(axis=1, keepdims=True))
        weights += part / np.maximum(lengths, 1e-6)
    votes = np.asarray(layer.ratio, np.float32) * np.asarray(layer.kernel, np.float32)
    if votes.shape[1] > 1:
        votes -= votes.mean(axis=1, keepdims=True)
    weights *= np.sqrt((votes**2).mean(axis=1))[numbers]
    places, signs = _draw_places(layer.n_ngrams + 1, _NGRAMS_WIDTH)
    at = places[numbers] + np.arange(len(numbers))[:, None] * _NGRAMS_WIDTH
    found = np.bincount(at.ravel(), (weights * signs[numbers]).ravel(), minlength=len(numbers) * _NGRAMS_WIDTH)
    return found.reshape(len(numbers), _NGRAMS_WIDTH).astype(np.float32)


def _narrow(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, d] -> [n, at most MAX_WIDTH]."""
    n, width = values.shape
    if width <= MAX_WIDTH:
        return values
    signs = _draw_places(width, MAX_WIDTH)[1]
    n_folds = -(-width // MAX_WIDTH)
    padded = np.zeros((n, n_folds * MAX_WIDTH), np.float32)
    padded[:, :width] = values * signs
    return padded.reshape(n, n_folds, MAX_WIDTH).sum(axis=1)


@lru_cache(maxsize=4)
def _draw_places(n: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each of `n` numbers where it is added, int64 below `width`, and with which sign: the same every time."""
    generator = np.random.default_rng(_SEED)
    places = generator.integers(0, width, n)
    return places, generator.choice(np.array([-1.0, 1.0], np.float32), n)
