"""Which learning rate? A short training in which the rate rises from far too small to far too large (Smith, 2015).

Owns the sweep's schedule and what is read off its losses; the steps are made by `compiled.py`, as in any training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_SMOOTHING = 0.9
_DIVERGED = 4.0
_WINDOW = 10  # steps over which a fall is measured: single ones are noise


class Sweep(keras.optimizers.schedules.LearningRateSchedule):
    """From `first` to `last` in `n_steps`, each step by the same factor. `peak` is the recipe's own rate."""

    def __init__(self, *, first: float, last: float, n_steps: int, peak: float) -> None:
        self.first = first
        self.last = last
        self.n_steps = n_steps
        self.peak = peak

    def __call__(self, step: Any) -> Any:
        share = tf.cast(step, tf.float32) / max(self.n_steps - 1, 1)
        return self.first * tf.exp(share * math.log(self.last / self.first))

    def value_at(self, step: int) -> float:
        """The same in plain Python."""
        return self.first * (self.last / self.first) ** (step / max(self.n_steps - 1, 1))

    def get_config(self) -> dict[str, Any]:
        return {"first": self.first, "last": self.last, "n_steps": self.n_steps, "peak": self.peak}


@dataclass(frozen=True)
class Found:
    """`rate` is the learning rate to take: halfway, in the logarithm, between the rate where the loss falls fastest and
    a tenth of the one where it is lowest, which are the two usual rules. `rates` and `smoothed` float64 [n] are the
    sweep as far as it went."""

    rate: float
    steepest: float
    lowest: float
    rates: NDArray[np.float64]
    smoothed: NDArray[np.float64]


def has_diverged(losses: NDArray[np.float64]) -> bool:
    """Whether a sweep has seen enough: a loss is no number, or far above the lowest."""
    if not np.isfinite(losses).all():
        return True
    smoothed = smooth(losses)
    return bool(smoothed[-1] > _DIVERGED * smoothed.min())


def smooth(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """An exponential moving average without the bias of its start; as long as `losses`."""
    smoothed, average = np.empty(len(losses)), 0.0
    for index, loss in enumerate(losses):
        average = _SMOOTHING * average + (1.0 - _SMOOTHING) * float(loss)
        smoothed[index] = average / (1.0 - _SMOOTHING ** (index + 1))
    return smoothed


def read_rate(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> Found | None:
    """What a sweep says; None when its loss never fell. `losses` [n] may end in numbers that are none."""
    n = int(np.isfinite(losses).cumprod().sum())
    if n <= 2 * _WINDOW:
        return None
    rates, smoothed = rates[:n], smooth(losses[:n])
    lowest = _WINDOW + int(smoothed[_WINDOW:].argmin())
    before = smoothed[_WINDOW : lowest + 1]  # the average settles first
    if len(before) <= _WINDOW or smoothed[lowest] > 0.98 * before[0]:
        return None
    drops = before[:-_WINDOW] - before[_WINDOW:]
    steepest = _WINDOW + int(drops.argmax()) + _WINDOW // 2
    rate = math.sqrt(rates[steepest] * rates[lowest] / 10.0)
    return Found(float(f"{rate:.2g}"), float(rates[steepest]), float(rates[lowest]), rates, smoothed)
