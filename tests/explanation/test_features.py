"""What the last layer of a network gets."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from railcar.explanation.features import MAX_WIDTH, penultimate
from railcar.explanation.neighbours import find_nearest
from railcar.layers.temperature import divide_logits
from railcar.models.build import build_model
from tests.own_models import build_for_strings, build_for_words, build_single_sigmoid, build_subclassed

IMAGES: Any = {"kind": "image", "image_shape": (12, 12, 1), "n_classes": 3, "mean": (9.0,), "std": (5.0,)}
ROWS: Any = {"kind": "table", "n_numbers": 3, "cardinalities": (4,), "n_outputs": 2}
TEXTS: Any = {"kind": "text", "length": 6, "n_words": 20, "n_outputs": 2}
LAYERS = keras.layers


def make_inputs(facts: dict[str, Any], n: int = 5) -> Any:
    generator = np.random.default_rng(0)
    if facts["kind"] == "image":
        return generator.integers(0, 255, (n, 12, 12, 1)).astype(np.uint8)
    if facts["kind"] == "text":
        return generator.integers(0, 20, (n, 6)).astype(np.int32)
    return np.concatenate([generator.normal(size=(n, 3)), generator.integers(0, 4, (n, 1))], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("settings", "facts", "width"),
    [
        ({"name": "cnn", "filters": [4], "dense": [7]}, IMAGES, 7),
        ({"name": "cnn", "filters": [4], "dense": []}, IMAGES, 6 * 6 * 4),
        ({"name": "resnet", "filters": [4, 8], "blocks": 1}, IMAGES, 8),
        ({"name": "mlp", "dense": [9, 5], "embedding": 2}, ROWS, 5),
        ({"name": "linear"}, ROWS, 3 + 2),
        ({"name": "tabm", "dense": [8], "members": 4, "embedding": 2}, ROWS, 4 * 8),
        ({"name": "bag_of_words", "embedding": 4, "dense": []}, TEXTS, 4),
        ({"name": "rnn", "embedding": 4, "units": 3, "cell": "gru"}, TEXTS, 3),
        ({"name": "transformer", "embedding": 4, "heads": 2, "blocks": 1}, TEXTS, 4),
    ],
)
def test_it_is_what_the_output_layer_is_computed_from(settings: Any, facts: Any, width: int) -> None:
    network = build_model({"options": {}, **settings}, **facts)
    inputs = make_inputs(facts)
    found = penultimate(network, inputs)

    assert found is not None and found.shape == (5, width) and found.dtype == np.float32
    if settings["name"] not in ("tabm", "transformer"):
        kernel, bias = network.get_layer("logits").get_weights()
        expected = np.asarray(network(tf.constant(inputs), training=False))
        np.testing.assert_allclose(found @ kernel + bias, expected, rtol=1e-4, atol=1e-4)
        again = penultimate(divide_logits(network, 3.0), inputs)  # calibrated
        assert again is not None
        np.testing.assert_array_equal(again, found)


def test_networks_of_users_are_looked_into_and_classes_of_their_own_are_not() -> None:
    images = make_inputs(IMAGES)
    flat = penultimate(build_single_sigmoid((12, 12, 1)), images)
    assert flat is not None
    np.testing.assert_allclose(flat, images.reshape(5, -1) / 255, rtol=1e-5)
    words = penultimate(build_for_words(6, 20, 2), make_inputs(TEXTS))
    assert words is not None and words.shape == (5, 8)
    texts = np.array(["a red fox", "a dog"], object)
    strings = penultimate(build_for_strings(texts, 2), tf.constant(texts))
    assert strings is not None and strings.shape == (2, 8)
    assert penultimate(build_subclassed(3), images.astype(np.float32)) is None


def test_a_network_that_ends_in_an_average_of_maps_gives_the_mean_of_what_its_last_filters_get() -> None:
    network = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            LAYERS.Conv2D(4, 3, activation="relu"),
            LAYERS.Conv2D(3, 1),
            LAYERS.GlobalAveragePooling2D(),
        ]
    )
    images = make_inputs(IMAGES)
    expected = np.asarray(network.layers[0](tf.constant(images, tf.float32))).mean(axis=(1, 2))
    found = penultimate(network, images)
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_what_is_wider_than_allowed_keeps_its_neighbours() -> None:
    wide = keras.Sequential([keras.Input((90, 90, 1)), LAYERS.Flatten(), LAYERS.Dense(2)])
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 255, (4, 90, 90, 1))
    images = np.clip(kinds[np.arange(20) % 4] + generator.normal(size=(20, 90, 90, 1)) * 40, 0, 255).astype(np.uint8)
    found = penultimate(wide, images)

    assert found is not None and found.shape == (20, MAX_WIDTH)
    nearest, _ = find_nearest(found, found, own=np.arange(20))
    assert (nearest % 4 == np.arange(20)[:, None] % 4).all()


def test_texts_are_near_that_say_the_same_for_the_same_reason() -> None:
    network = build_model(
        {"name": "bag_of_ngrams", "options": {}}, kind="text", length=5, n_ngrams=30, n_words=20, n_outputs=2
    )
    common, telling = [1, 2, 3], {0: [4, 25], 1: [5, 26]}
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    numbers = np.array(
        [[*generator.permutation([*common, *range(6, 20)])[:3], *telling[int(label)]] for label in labels], np.int32
    )
    network.get_layer("logits").adapt([(numbers, labels)])
    found = penultimate(network, numbers)

    assert found is not None and np.isfinite(found).all()
    nearest, _ = find_nearest(found, found, own=np.arange(60))
    assert (labels[nearest] == labels[:, None]).mean() > 0.95
    empty = penultimate(network, np.zeros((2, 5), np.int32))
    assert empty is not None and not empty.any()
