"""Plots: every one is a picture, for usual data and for the least there can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from railcar.reporting import plots

DIGITS = [str(digit) for digit in range(10)]


def read_pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).reshape(-1, 3)


def has_color(path: Path, color: str) -> bool:
    wanted = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    return bool((np.abs(read_pixels(path).astype(int) - wanted).max(axis=1) < 8).any())


def test_curves_show_training_and_validation_and_mark_the_best(tmp_path: Path) -> None:
    path = tmp_path / "plots" / "curves.png"
    metrics = [{"step": step, "loss": 2.0 / step, "accuracy": 1 - 0.9 / step} for step in range(1, 200)]
    plots.plot_curves(metrics, path)
    assert has_color(path, plots.BLUE)
    assert not has_color(path, plots.ORANGE)

    plots.plot_curves([*metrics, {"step": 100, "val_loss": 0.5, "val_accuracy": 0.9}], path)
    assert has_color(path, plots.ORANGE)


@pytest.mark.parametrize("metrics", [[], [{"step": 1, "loss": None}], [{"step": 1, "loss": 1.0, "accuracy": 0.1}]])
def test_curves_of_next_to_nothing_are_still_a_picture(tmp_path: Path, metrics: list[dict[str, Any]]) -> None:
    path = tmp_path / "curves.png"
    plots.plot_curves(metrics, path)

    assert len(read_pixels(path)) > 10_000


def test_the_confusion_title_says_how_many_are_right_and_what_is_confused_most() -> None:
    confusion = np.diag([200] * 10)
    confusion[4, 9] = 7
    confusion[2, 7] = 3
    wrong = confusion - np.diag([200] * 10)

    title = plots._confusion_title(confusion, wrong, DIGITS, "test")
    assert title == "99.50% of 2,010 test images right;\nmost confused: 4 as 9 (7 times)"


@pytest.mark.parametrize("n_classes", [1, 2, 10, 60])
def test_a_confusion_matrix_of_any_size_is_a_picture(tmp_path: Path, n_classes: int) -> None:
    path = tmp_path / "confusion.png"
    confusion = np.random.default_rng(0).integers(0, 3, (n_classes, n_classes)) + np.diag([50] * n_classes)
    plots.plot_confusion(confusion, [f"class {index}" for index in range(n_classes)], path)
    assert len(read_pixels(path)) > 10_000

    plots.plot_confusion(np.zeros((n_classes, n_classes), int), ["nothing"] * n_classes, path)
    assert len(read_pixels(path)) > 10_000


@pytest.mark.parametrize("n_images", [0, 1, 24, 30])
def test_mistakes_are_shown_up_to_as_many_as_are_asked_for(tmp_path: Path, n_images: int) -> None:
    path = tmp_path / "mistakes.png"
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n_images, 28, 28, 1), dtype=np.uint8)
    probabilities = random.dirichlet(np.ones(10), n_images)
    labels = np.zeros(n_images, np.int64)
    plots.plot_mistakes(images, labels, probabilities.argmax(axis=1), probabilities, DIGITS, path, n=24)

    with Image.open(path) as image:
        assert image.height < 100 if n_images == 0 else image.height > 120
        assert image.width < 1100


@pytest.mark.parametrize("shape", [(28, 28, 1), (20, 40, 3), (64, 16, 3)])
def test_a_batch_of_any_shape_is_shown_with_its_colors(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    path = tmp_path / "batch.png"
    images = np.zeros((40, *shape), np.uint8)
    images[..., 0] = 200
    plots.plot_batch(images, np.arange(40) % 10, DIGITS, path)

    assert has_color(path, "#c8c8c8" if shape[2] == 1 else "#c80000")
