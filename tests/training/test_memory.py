"""What does not fit into memory is refused before it is tried."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import railcar
from railcar.errors import TrainingError
from railcar.training.memory import LIMIT_VARIABLE, estimate_step, find_batch_size, find_memory_limit
from tests.synthetic import make_images, tiny_recipe


def test_a_step_holds_the_output_of_every_layer_and_three_copies_of_the_weights():
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Flatten()]
    )
    model = keras.Sequential([keras.Input((8, 8, 3)), inner, keras.layers.Dense(10)])
    weights, per_example = estimate_step(model)
    assert weights == 3 * 4 * (3 * 3 * 3 * 4 + 4 + 256 * 10 + 10)
    assert per_example == 4 * (8 * 8 * 4 + 256 + 10)


@pytest.mark.parametrize(("limit", "fitting"), [(2000, 100), (1100, 100), (1099, 64), (400, 16), (130, None)])
def test_the_largest_power_of_two_that_fits_is_named(limit: int, fitting: int | None):
    assert find_batch_size(100, weights=100, per_example=10, limit=limit) == fitting


def test_a_batch_that_cannot_fit_is_refused_with_one_that_does_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(LIMIT_VARIABLE, "2")
    assert find_memory_limit("cpu") == 2 << 20
    images, labels = make_images(300, side=48)
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    recipe = tiny_recipe(batch_size=128, steps=2, validate_every=2, checkpoint_every=2)
    recipe["data"] = {"source": str(tmp_path / "set.npz")}
    with pytest.raises(
        TrainingError, match=r"training\.batch_size: out of memory: a step on 128 images needs"
    ) as caught:
        railcar.train(recipe, runs_dir=tmp_path / "runs", quiet=True)
    size = int(caught.value.hint.removeprefix("set training.batch_size to "))
    assert 1 <= size < 128 and not (tmp_path / "runs").exists()
    recipe["training"] = {**recipe["training"], "batch_size": size}  # type: ignore[dict-item]
    assert railcar.train(recipe, runs_dir=tmp_path / "runs", quiet=True).recipe.training.batch_size == size
