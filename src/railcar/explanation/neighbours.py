"""Training examples that a network takes for nearly the same: nearest by the cosine of what its last layer gets.

Pure NumPy. Owns whom is looked among, a sample in which each class has its share, and who is nearest; what a network
makes of an example is `features.py`'s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw_balanced(labels: NDArray[np.integer] | None, n: int, seed: int) -> NDArray[np.int64]:
    """int64 [n]: all numbers from 0 to `n` - 1 in a random order, in which each beginning has as many examples of one
    class as of another while they last. Without `labels` (int [n], class numbers) any order."""
    order = np.random.default_rng(seed).permutation(n)
    if labels is None:
        return order
    shuffled = np.asarray(labels)[order]
    by_class = np.argsort(shuffled, kind="stable")
    sizes = np.bincount(shuffled)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(n, np.int64)
    rank[by_class] = np.arange(n) - np.repeat(starts, sizes)
    return order[np.argsort(rank, kind="stable")]


def find_nearest(
    queries: NDArray[np.float32],
    examples: NDArray[np.float32],
    *,
    k: int = 3,
    own: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of `queries` float32 [m, d] the `k` nearest among `examples` [n, d], nearest first: int64 [m, min(k, n)] their
    numbers, and float32 their distances, 1 - cosine: 0 to 2. What is zero everywhere is at distance 1 from all.

    `own` int64 [m] says which example a query is itself, -1 for none: it counts as infinitely far.
    """
    k = min(k, len(examples))
    (queries, lengths), (examples, others) = _measure(queries), _measure(examples)
    cosines = (queries @ examples.T) / (lengths[:, None] * others)
    distances = np.clip(1.0 - cosines, 0.0, 2.0).astype(np.float32)
    if own is not None:
        there = np.flatnonzero(own >= 0)
        distances[there, own[there]] = np.inf
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k].astype(np.int64)
    return nearest, np.take_along_axis(distances, nearest, axis=1)


def _measure(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`features` [n, d], with zeros for what is no number, and the length of each row, [n]; 1 of a row of zeros."""
    lengths = np.sqrt(np.einsum("nd,nd->n", features, features))
    if not np.isfinite(lengths).all():
        features = np.nan_to_num(features, posinf=0.0, neginf=0.0)
        largest = np.abs(features).max(axis=1, keepdims=True)  # squares of large numbers are too large for float32
        features = (features / np.where(largest > 0, largest, 1.0)).astype(np.float32)
        lengths = np.sqrt(np.einsum("nd,nd->n", features, features))
    return features, np.where(lengths > 0, lengths, 1.0).astype(np.float32)
