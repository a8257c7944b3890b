"""Whether one model is better than another, or only luckier: paired tests on the same examples. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
"""Below it a difference is called one."""


def compare_answers(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, Any]:
    """McNemar's exact test (McNemar, 1947) of which answers are right, bool [n] each, to the same examples:
    `n_only_one`, `n_only_other`, and `p`, the probability of a difference as large or larger where both are equally
    good."""
    n_one, n_other = int((one & ~other).sum()), int((other & ~one).sum())
    return {"n": len(one), "n_only_one": n_one, "n_only_other": n_other, "p": sign_test(n_one, n_other)}


def compare_errors(one: NDArray[np.floating], other: NDArray[np.floating]) -> dict[str, Any]:
    """The same for errors [n] of a regression: on how many examples each is nearer (the sign test)."""
    nearer, farther = np.abs(one) < np.abs(other), np.abs(one) > np.abs(other)
    n_one, n_other = int(nearer.sum()), int(farther.sum())
    return {"n": len(one), "n_only_one": n_one, "n_only_other": n_other, "p": sign_test(n_one, n_other)}


def sign_test(n_one: int, n_other: int) -> float:
    """Two-sided, exact: of `n_one + n_other` throws of a coin, a split as uneven or more so."""
    n, least = n_one + n_other, min(n_one, n_other)
    if n_one == n_other:
        return 1.0
    whole = math.lgamma(n + 1) - n * math.log(2)
    tail = math.fsum(math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1)) for k in range(least + 1))
    return min(1.0, 2 * tail)


def correct_for_many(values: Sequence[float]) -> list[float]:
    """Holm's correction (Holm, 1979): of many comparisons some look like a difference by chance."""
    order = sorted(range(len(values)), key=lambda at: values[at])
    found, highest = [0.0] * len(values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, values[at] * (len(values) - rank)))
        found[at] = highest
    return found
