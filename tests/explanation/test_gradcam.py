"""Where Grad-CAM looks, and that what it finds is where the network found it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from railcar.explanation.gradcam import MAX_CELLS, MapFinder
from railcar.explanation.graph import run_through
from railcar.layers.answers import ToLogits
from railcar.layers.images import average_views
from railcar.models.airbench import adapt_whitening
from railcar.models.build import build_model
from railcar.models.pretrained import build_pretrained
from tests.own_models import build_plain, build_subclassed

layers = keras.layers


def build(name: str, side: int, **settings: Any) -> keras.Model:
    options = {"name": name, "options": {}, **settings}
    shapes: Any = {"image_shape": (side, side, 3), "n_classes": 3, "mean": (100.0,) * 3, "std": (50.0,) * 3}
    network = build_model(options, **shapes)
    adapt_whitening(network, lambda: make(20, side))
    return network


def make(n: int, side: int, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (n, side, side, channels)).astype(np.uint8)


def build_light_finder(side: int = 24, *, answers: str = "logits") -> keras.Model:
    """Says "light" of an image with a light spot, by filters that are set by hand; "dark" of any other."""
    pixels = keras.Input((side, side, 1), dtype="uint8")
    hidden = layers.Rescaling(1 / 255)(pixels)
    filters = layers.Conv2D(2, 3, padding="same", activation="relu", use_bias=False, name="filters")
    hidden = layers.MaxPooling2D(2)(filters(hidden))
    last = layers.Dense(1 if answers == "sigmoid" else 2, use_bias=False, name="last")
    hidden = last(layers.Flatten()(hidden))
    filters.set_weights([np.stack([np.full((3, 3, 1), 1 / 9), np.full((3, 3, 1), -1.0)], axis=-1)])
    kernel = np.zeros((side * side // 4 * 2, last.units), np.float32)
    kernel[::2, -1] = 10.0
    last.set_weights([kernel])
    if answers == "softmax":
        hidden = layers.Softmax()(hidden)
    if answers == "sigmoid":
        hidden = layers.Activation("sigmoid")(hidden - 10.0)
    if answers != "logits":
        hidden = ToLogits(2, "probabilities")(hidden)
    return keras.Model(pixels, hidden)


def make_spots(places: list[tuple[int, int]], side: int = 24) -> NDArray[np.uint8]:
    images = np.zeros((len(places), side, side, 1), np.uint8)
    for image, (row, column) in zip(images, places, strict=True):
        image[row : row + 4, column : column + 4] = 250
    return images


PLACES = [(0, 0), (4, 16), (16, 2), (20, 20), (10, 10)]


@pytest.mark.parametrize("answers", ["logits", "softmax"])
def test_the_highest_place_is_the_spot_though_the_network_is_certain(answers: str) -> None:
    network, images = build_light_finder(answers=answers), make_spots(PLACES)
    heats = MapFinder(network, images[:1]).explain(images, np.ones(len(images), np.int64))

    assert heats.shape == (5, 12, 12) and heats.dtype == np.float32
    assert heats.max() == pytest.approx(1) and heats.min() == 0
    for heat, (row, column) in zip(heats, PLACES, strict=True):
        top, left = np.unravel_index(heat.argmax(), heat.shape)
        assert row <= 2 * top < row + 4 and column <= 2 * left < column + 4
        assert heat[row // 2 : row // 2 + 3, column // 2 : column // 2 + 3].sum() > 0.7 * heat.sum()


def test_what_speaks_against_a_label_is_not_shown() -> None:
    network, images = build_light_finder(), make_spots(PLACES)
    assert not MapFinder(network, images[:1]).explain(images, np.zeros(len(images), np.int64)).any()


def test_the_less_likely_of_two_classes_that_one_number_stands_for_is_explained_too() -> None:
    network, images = build_light_finder(answers="sigmoid"), make_spots(PLACES) // 25
    heats = MapFinder(network, images[:1]).explain(images, np.ones(len(images), np.int64))
    assert heats.any(axis=(1, 2)).all()


def test_an_answer_without_gradients_has_a_map_of_zeros() -> None:
    network, images = build_light_finder(answers="sigmoid"), make_spots(PLACES)  # so sure that float32 says 1
    assert not MapFinder(network, images[:1]).explain(images, np.ones(len(images), np.int64)).any()


@pytest.mark.parametrize(
    ("network", "side", "expected"),
    [
        (lambda: build("cnn", 28, filters=[4, 8], pool_first=True, batch_norm=True), 28, 14),
        (lambda: build("cnn", 64, filters=[4, 8, 8, 8]), 64, 16),
        (lambda: build("cnn", 8, filters=[4]), 8, 4),
        (lambda: build("cnn", 64, filters=[4, 8, 8, 8, 8], pool_first=True), 64, 16),
        (lambda: build("resnet", 32, filters=[4, 8, 8], blocks=1), 32, 16),
        (lambda: build("airbench", 32, filters=[4, 8, 8]), 32, 15),
        (lambda: average_views(build("cnn", 16, filters=[4]), size=(16, 16), mirror=True, shift=True), 16, 8),
    ],
)
def test_the_map_of_a_network_is_late_but_not_too_coarse(network: Any, side: int, expected: int) -> None:
    images = make(3, side)
    heats = MapFinder(network(), images[:1]).explain(images, np.array([0, 1, 2]))

    assert heats.shape == (3, expected, expected)
    assert heats.any() and np.isfinite(heats).all() and heats.min() >= 0 and heats.max() <= 1


def test_maps_inside_a_backbone_that_is_cut_in_two_are_found() -> None:
    shapes: Any = {"image_shape": (64, 64, 3), "n_classes": 3, "mean": (), "std": ()}
    network = build_pretrained(**shapes, fine_tune={"share": 0.3})
    network.get_layer("network").get_layer("logits").kernel.assign(np.random.default_rng(0).normal(size=(1280, 3)))
    images = make(2, 64)
    heats = MapFinder(network, images[:1]).explain(images, np.array([0, 2]))
    assert heats.shape == (2, 16, 16) and heats.any()


def test_networks_of_users_are_looked_into_where_their_layers_are_connected() -> None:
    images = make(2, 12, 1)
    assert MapFinder(build_plain((12, 12, 1), 3), images[:1]).has_map
    nested = keras.Sequential([keras.Input((12, 12, 1)), build_plain((12, 12, 1), 3), layers.Softmax()])
    assert MapFinder(nested, images[:1]).has_map
    assert not MapFinder(build_subclassed(3), images[:1].astype(np.float32)).has_map


def test_a_network_of_dense_layers_has_no_map() -> None:
    dense = keras.Sequential([keras.Input((12, 12, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)])
    assert not MapFinder(dense, make(1, 12, 1)).has_map


def test_large_maps_are_averaged() -> None:
    shallow = keras.Sequential(
        [keras.Input((70, 90, 3)), layers.Conv2D(4, 3, padding="same"), layers.GlobalMaxPooling2D(), layers.Dense(3)]
    )
    images = np.zeros((1, 70, 90, 3), np.uint8)
    images[0, 30:35, 40:45] = 255
    finder = MapFinder(shallow, images)
    assert finder.has_map and finder.explain(images, np.array([1])).shape == (1, MAX_CELLS, MAX_CELLS)


def test_operation_by_operation_the_answers_are_the_networks_own_and_its_layers_stay_as_they_were() -> None:
    network, images = build("resnet", 16, filters=[4, 8], blocks=1), make(3, 16)
    seen: list[str] = []

    def visit(operation: Any, compute: Any, given: tuple[Any, ...]) -> Any:
        seen.append(operation.name)
        return compute()

    found = np.asarray(run_through(network, images, visit))
    np.testing.assert_allclose(found, np.asarray(network(images, training=False)), rtol=1e-5, atol=1e-5)
    assert seen[0] == "resize" and seen[-1] == "logits" and "stage2_block1_add" in seen
    assert network.get_layer("logits").output.shape == (None, 3)  # Keras refuses it of layers in two graphs


def test_the_planted_patch_is_found_in_images_of_a_network_trained_here(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`benchmarks/gradcam.py` in its short form."""
    monkeypatch.syspath_prepend(project / "benchmarks")
    spec = importlib.util.spec_from_file_location("benchmark_gradcam", project / "benchmarks" / "gradcam.py")
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, benchmark)
    spec.loader.exec_module(benchmark)

    found = benchmark.measure(benchmark.QUICK, 800, tmp_path)

    assert found["accuracy"] >= benchmark.LEAST_ACCURACY
    assert found["area"] >= benchmark.BAR and found["point"] > 3 * found["chance"] and found["chance"] < 0.25
