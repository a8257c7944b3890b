"""Classes of different sizes, made to count alike in training: by weights, or by showing the small ones more often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from railcar.data.types import Split


def weigh_classes(labels: NDArray[np.int32], n_classes: int) -> tuple[float, ...]:
    """What an example of each class counts in the loss, so that all classes count alike and the mean is 1."""
    counts = np.bincount(labels, minlength=n_classes)
    return tuple((len(labels) / (n_classes * np.maximum(counts, 1))).tolist())


def oversample(split: Split, n_classes: int, *, seed: int) -> Split:
    """`split` with examples of the smaller classes repeated until each class has as many as the largest: each as often
    as the others of its class, but for a rest that is drawn by the seed."""
    labels = split.label_array()
    counts = np.bincount(labels, minlength=n_classes)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, len(labels), 3])))
    rows = []
    for number in range(n_classes):
        own = split.rows[labels == number]
        if len(own):
            times, rest = divmod(int(counts.max()), len(own))
            rows += [np.tile(own, times), generator.permutation(own)[:rest]]
    return replace(split, rows=np.concatenate(rows))
