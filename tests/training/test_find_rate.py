from __future__ import annotations

import numpy as np
import pytest

from railcar.training.find_rate import Sweep, has_diverged, read_rate, smooth


def test_a_sweep_rises_by_the_same_factor_each_step():
    sweep = Sweep(first=1e-6, last=10.0, n_steps=8, peak=0.1)
    np.testing.assert_allclose([sweep.value_at(step) for step in range(8)], np.geomspace(1e-6, 10.0, 8))
    np.testing.assert_allclose([float(sweep(step)) for step in range(8)], np.geomspace(1e-6, 10.0, 8), rtol=1e-4)


@pytest.mark.parametrize("best", [1e-3, 1e-1])
def test_the_rate_lies_where_the_loss_falls_and_well_below_where_it_rises_again(best: float):
    rates = np.geomspace(1e-6, 10.0, 140)
    falling = 2.0 - 1.5 / (1.0 + (best / rates) ** 2)
    losses = falling + np.maximum(0.0, np.log(rates / (10 * best))) * 3.0
    noise = np.random.default_rng(0).normal(0.0, 0.02, 140)
    found = read_rate(rates, losses + noise)
    assert found is not None and best / 3 < found.rate < 3 * best
    assert found.steepest < found.lowest < 30 * best


def test_a_sweep_ends_when_the_loss_explodes_and_what_came_before_counts():
    losses = np.concatenate([np.linspace(2.0, 0.5, 60), [9.0] * 5])
    assert not has_diverged(losses[:60]) and has_diverged(losses)
    assert has_diverged(np.array([1.0, np.nan]))
    rates = np.geomspace(1e-6, 10.0, 65)
    losses[-1] = np.nan
    found = read_rate(rates, losses)
    assert found is not None and len(found.rates) == 64


def test_a_loss_that_never_falls_gives_no_rate():
    rates = np.geomspace(1e-6, 10.0, 140)
    assert read_rate(rates, np.linspace(2.0, 3.0, 140)) is None
    assert read_rate(rates[:3], np.array([1.0, np.nan, 1.0])) is None


def test_a_smoothed_constant_is_that_constant():
    np.testing.assert_allclose(smooth(np.full(20, 3.0)), 3.0)
