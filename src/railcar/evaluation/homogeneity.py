"""Whether groups of examples differ by more than luck: permutation tests (Fisher, 1935; Good, 2005), drawn by a seed of
their own, so that the same answers always get the same verdict. Pure functions of NumPy arrays.

Were all groups alike, the examples could change places between them: `p` is the share of such shuffles in which the
groups differ as much as they do, or more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_SHUFFLES = 9_999
_N_SHUFFLES_OF_NUMBERS = 1_999
MAX_SHUFFLED = 20_000
"""More errors than these are not shuffled: what the shuffles come near to is computed."""
_SEED = 0
# A statistic that is the same but for rounding is as large.
_ROUNDING = 1 - 1e-9


@dataclass(frozen=True)
class Verdict:
    """`p` of all groups together, and `p_each` of each group against all others; neither is corrected."""

    p: float
    p_each: tuple[float, ...]


def compare_shares(n_right: NDArray[np.integer], n: NDArray[np.integer]) -> Verdict:
    """Of `n_right` among `n` examples of each group, both [k]. Right answers are dealt out anew, as a shuffle would
    (a multivariate hypergeometric draw); what is measured is Pearson's chi-square, and of one group its distance from
    what was to be expected."""
    total_right, total = int(n_right.sum()), int(n.sum())
    if len(n) < 2 or total_right in (0, total):
        return Verdict(1.0, (1.0,) * len(n))
    generator = np.random.default_rng(_SEED)
    draws = generator.multivariate_hypergeometric(n, total_right, N_SHUFFLES, method="marginals")
    expected = n * (total_right / total)
    return _judge(n_right - expected, draws - expected, n)


def compare_means(values: NDArray[np.floating], codes: NDArray[np.integer], n_groups: int) -> Verdict:
    """Of the means of `values` [n], such as sizes of errors, in the groups `codes` [n], 0 to `n_groups` - 1, none of
    them empty."""
    n = np.bincount(codes, minlength=n_groups)
    centred = values.astype(np.float64) - values.mean()
    spread = float((centred**2).sum())
    if n_groups < 2 or spread == 0:
        return Verdict(1.0, (1.0,) * n_groups)
    sums = np.bincount(codes, centred, n_groups).astype(np.float64)
    if len(values) > MAX_SHUFFLED:
        return _judge_by_limit(sums, n, spread)
    generator = np.random.default_rng(_SEED)
    draws = np.empty((_N_SHUFFLES_OF_NUMBERS, n_groups))
    for draw in draws:
        draw[:] = np.bincount(codes, generator.permutation(centred), n_groups)
    return _judge(sums, draws, n)


def _judge(sums: NDArray[np.floating], draws: NDArray[np.floating], n: NDArray[np.integer]) -> Verdict:
    """By the distances of each group's sum from the expected one: as found [k], and as drawn [n_shuffles, k]."""
    whole, whole_drawn = (sums**2 / n).sum(), (draws**2 / n).sum(axis=1)
    p = _count(whole_drawn >= whole * _ROUNDING)
    return Verdict(float(p), tuple(_count(np.abs(draws) >= np.abs(sums) * _ROUNDING).tolist()))


def _count(is_as_large: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The observed order counts as one of the shuffles (Phipson and Smyth, 2010), so that none has a p of 0."""
    return (1.0 + is_as_large.sum(axis=0)) / (1.0 + len(is_as_large))


def _judge_by_limit(sums: NDArray[np.floating], n: NDArray[np.integer], spread: float) -> Verdict:
    total = int(n.sum())
    variance = spread / (total - 1)
    whole = float((sums**2 / n).sum() / variance)
    each = sums**2 / (variance * n * (total - n) / total)
    return Verdict(chi_square_tail(whole, len(n) - 1), tuple(chi_square_tail(one, 1) for one in each.tolist()))


def chi_square_tail(value: float, n_degrees: int) -> float:
    """The probability of `value` or more under chi-square of `n_degrees`, one at the least (Abramowitz and Stegun,
    26.4.4 and 26.4.5)."""
    half = value / 2
    is_odd = n_degrees % 2
    tail = math.erfc(math.sqrt(half)) if is_odd else math.exp(-half)
    if half == 0:
        return 1.0
    powers = np.arange(n_degrees // 2) + 0.5 if is_odd else np.arange(1, n_degrees // 2)
    terms = (math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers.tolist())
    return min(1.0, tail + math.fsum(terms))
