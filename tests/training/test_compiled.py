from __future__ import annotations

import numpy as np
import pytest

from railcar.models.build import build_model
from railcar.training.compiled import compile_steps
from railcar.training.optimizer import Schedule, build_optimizer
from tests.synthetic import TINY_MODEL, make_images


def run_steps(
    compile: str, sizes: list[int], precision: str = "float32", dropout: float = 0.3
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    settings = {"name": "cnn", **TINY_MODEL, "dropout": dropout, "batch_norm": True}
    model = build_model(
        settings, image_shape=(12, 12, 1), n_classes=3, mean=(60.0,), std=(50.0,), precision=precision, seed=1
    )
    schedule = Schedule("cosine", peak=0.01, warmup_steps=2, n_steps=12)
    optimizer = build_optimizer("adam", schedule, model=model, scale_loss=precision == "float16")
    steps = compile_steps(model, optimizer, batch_shape=(8, 12, 12, 1), compile=compile)
    images, labels = make_images(8 * 12)
    images, labels = images.reshape(12, 8, 12, 12, 1), labels.reshape(12, 8)
    parts, start = [], 0
    for size in sizes:
        parts.append(steps(images[start : start + size], labels[start : start + size]))
        start += size
    losses, hits = (np.concatenate(one) for one in zip(*parts, strict=True))
    return losses, hits, [one.numpy() for one in model.trainable_variables]


def test_how_many_steps_a_call_has_changes_no_bit():
    one_by_one = run_steps("graph", [1] * 12)
    together = run_steps("graph", [1, 4, 7])
    np.testing.assert_array_equal(one_by_one[0], together[0])
    np.testing.assert_array_equal(one_by_one[1], together[1])
    for left, right in zip(one_by_one[2], together[2], strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("compile", ["eager", "xla"])
def test_eager_and_xla_make_the_same_steps_as_the_graph(compile: str):
    # XLA draws other random numbers for the same seed, so dropout is off.
    graph, other = run_steps("graph", [12], dropout=0.0), run_steps(compile, [6, 6], dropout=0.0)
    np.testing.assert_allclose(other[0], graph[0], rtol=2e-2, atol=2e-2)
    assert other[0].shape == (12,) and graph[0][-1] < graph[0][0]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_sixteen_bits_learn_too(precision: str):
    losses, hits, variables = run_steps("graph", [12], precision)
    assert np.isfinite(losses).all() and losses[-3:].mean() < losses[:3].mean()
    assert all(one.dtype == np.float32 for one in variables)
    assert hits.max() <= 8
