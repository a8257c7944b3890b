"""How far answers to an artifact's samples are from what is stored, and how far they may be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-3
"""How much a probability may differ from the artifact's; of a regression, of the spread of its numbers."""


def measure_difference(answers: NDArray[np.float32], expected: NDArray[np.float32], *, is_number: bool) -> float:
    """The largest difference of a probability; of numbers, relative to their spread. Infinite for what is not finite.
    Both are float32 [n, n_outputs]."""
    if not len(expected):
        return 0.0
    scale = 1.0
    if is_number:
        # Where all answers are nearly alike, rounding is large beside their spread.
        scale = max(float(np.std(expected)), 1e-2 * float(np.abs(expected).max())) or 1.0
    difference = float(np.abs(answers.reshape(expected.shape) - expected).max()) / scale
    return difference if np.isfinite(difference) else float("inf")
