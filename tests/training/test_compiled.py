from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from railcar.data.augment import Augmentation
from railcar.data.pipeline import Batches
from railcar.data.types import Split
from railcar.models.build import build_model
from railcar.training.augment import build_augment
from railcar.training.average import WeightAverage
from railcar.training.compiled import compile_steps, cross_entropy
from railcar.training.optimizer import Schedule, build_optimizer
from tests.synthetic import TINY_MODEL, make_images


def run_steps(
    compile: str,
    sizes: list[int],
    precision: str = "float32",
    dropout: float = 0.3,
    *,
    by_row: bool = False,
    **extras: Any,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    settings = {"name": "cnn", **TINY_MODEL, "dropout": dropout, "batch_norm": True}
    model = build_model(
        settings, image_shape=(12, 12, 1), n_classes=3, mean=(60.0,), std=(50.0,), precision=precision, seed=1
    )
    schedule = Schedule("cosine", peak=0.01, warmup_steps=2, n_steps=12)
    optimizer = build_optimizer("adam", schedule, model=model, scale_loss=precision == "float16")
    images, labels = make_images(8 * 12)
    split = Split("train", images, labels, np.arange(8 * 12), "train")
    batches = Batches(split, 8, seed=0, augmentation=extras.pop("augmentation", None), rows_only=by_row)
    if batches.augmentation:
        extras["augment"] = build_augment(batches.augmentation, (60.0,))
    if by_row:
        extras["source"] = tf.constant(images)
    average = WeightAverage(model, **extras.pop("average")) if "average" in extras else None
    steps = compile_steps(model, optimizer, batch_shape=(8, 12, 12, 1), compile=compile, average=average, **extras)
    parts, start = [], 0
    for size in sizes:
        parts.append(steps(batches.chunk(start, size)))
        start += size
    losses, hits = (np.concatenate(one) for one in zip(*parts, strict=True))
    variables = average.variables if average else model.trainable_variables
    return losses, hits, [one.numpy() for one in variables]


EVERYTHING = {
    "augmentation": Augmentation((12, 12, 1), seed=3, flip=True, shift=0.1, rotate=0.02, zoom=0.1, cutout=0.2),
    "label_smoothing": 0.1,
    "average": {"decay": 0.9, "every": 2, "lookahead": True, "n_steps": 12},
}


@pytest.mark.parametrize("extras", [{}, EVERYTHING], ids=["plain", "everything"])
def test_how_many_steps_a_call_has_changes_no_bit(extras: dict[str, Any]):
    one_by_one = run_steps("graph", [1] * 12, **extras)
    together = run_steps("graph", [1, 4, 7], **extras)
    np.testing.assert_array_equal(one_by_one[0], together[0])
    np.testing.assert_array_equal(one_by_one[1], together[1])
    for left, right in zip(one_by_one[2], together[2], strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("extras", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("compile", ["eager", "xla"])
def test_eager_and_xla_make_the_same_steps_as_the_graph(compile: str, extras: dict[str, Any]):
    # XLA draws other random numbers for the same seed, so dropout is off.
    graph = run_steps("graph", [12], dropout=0.0, **extras)
    other = run_steps(compile, [6, 6], dropout=0.0, **extras)
    np.testing.assert_allclose(other[0], graph[0], rtol=2e-2, atol=2e-2)
    assert other[0].shape == (12,) and graph[0][-3:].mean() < graph[0][0]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_sixteen_bits_learn_too(precision: str):
    losses, hits, variables = run_steps("graph", [12], precision)
    assert np.isfinite(losses).all() and losses[-3:].mean() < losses[:3].mean()
    assert all(one.dtype == np.float32 for one in variables)
    assert hits.max() <= 8


def test_images_on_the_device_are_trained_on_as_those_that_are_sent():
    sent, there = run_steps("graph", [5, 7]), run_steps("graph", [5, 7], by_row=True)
    np.testing.assert_array_equal(sent[0], there[0])


def test_smoothed_labels_are_the_cross_entropy_with_a_share_for_every_class():
    plain, smoothed = run_steps("graph", [1], dropout=0.0), run_steps("graph", [1], dropout=0.0, label_smoothing=0.3)
    assert smoothed[0][0] != plain[0][0] and smoothed[1][0] == plain[1][0]
    logits = np.array([[2.0, -1.0, 0.5]], np.float32)
    log_probabilities = logits - np.log(np.exp(logits).sum())
    expected = -(0.8 * log_probabilities[0, 0] + 0.1 * log_probabilities[0, 1] + 0.1 * log_probabilities[0, 2])
    np.testing.assert_allclose(cross_entropy(np.array([0]), tf.constant(logits), 0.3).numpy(), [expected], rtol=1e-6)
