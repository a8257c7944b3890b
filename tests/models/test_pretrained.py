"""Backbones: what they are given, where they are cut, and weights that do not come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from railcar.errors import RecipeError, WeightsMissing
from railcar.models.pretrained import (
    adapt_standardization,
    build_pretrained,
    list_tuned,
    split_frozen,
)
from railcar.recipe.load import load_recipe
from railcar.registry import BACKBONES

ONE_OF_EACH = {
    "MobileNetV2": "mobilenet_v2",
    "DenseNet121": "densenet",
    "VGG16": "vgg16",
    "EfficientNetV2B0": "efficientnet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "InceptionV3": "inception_v3",
}


def build(side: int = 32, *, channels: int = 3, **options: Any) -> keras.Model:
    facts: Any = {"image_shape": (side, side, channels), "n_classes": 3, "mean": (1.0,), "std": (9.0,)}
    return build_pretrained(**facts, is_fresh=True, **options)


def save_weights(name: str, path: Path, *, side: int = 32) -> keras.Model:
    """Weights of a backbone that nobody trained, all of them moved from where they start, written to `path`."""
    model = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(side, side, 3))
    generator = np.random.default_rng(0)
    for variable in model.variables:
        if "seed" not in variable.path:
            variable.assign(variable.numpy() + generator.uniform(0.0, 0.02, variable.shape).astype(np.float32))
    model.save_weights(path)
    return model


@pytest.fixture(scope="module")
def mobile_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "mobile.weights.h5"
    save_weights("MobileNetV2", path)
    return str(path)


def make_images(n: int = 2, *, side: int = 32, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def test_every_backbone_of_keras_has_an_entry_and_none_is_invented():
    there = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(BACKBONES) == there


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_pixels_reach_a_backbone_as_keras_own_preprocessing_makes_them(name: str, tmp_path: Path):
    side = max(BACKBONES[name].smallest, 32)
    reference = save_weights(name, tmp_path / "some.weights.h5", side=side)
    images = make_images(side=side)
    preprocess = getattr(keras.applications, ONE_OF_EACH[name]).preprocess_input
    expected = np.asarray(reference(preprocess(images.astype(np.float32)), training=False)).mean(axis=(1, 2))
    parts = split_frozen(build(side, backbone=name, weights=str(tmp_path / "some.weights.h5")))
    assert parts is not None
    found = np.asarray(parts[0](images, training=False))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_gray_images_are_seen_as_colours_that_are_gray(mobile_weights: str):
    colour, gray = (build(weights=mobile_weights, channels=channels) for channels in (3, 1))
    images = make_images(channels=1)
    answers = []
    for model, given in ((colour, images.repeat(3, axis=-1)), (gray, images)):
        parts = split_frozen(model)
        assert parts is not None
        answers.append(np.asarray(parts[0](given)))
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("fine_tune", [None, {"share": 0.3}, {"share": 1.0}])
def test_the_frozen_and_the_trained_part_are_the_whole(mobile_weights: str, fine_tune: Any):
    model = build(weights=mobile_weights, fine_tune=fine_tune, dense=(5,))
    images = make_images()
    adapt_standardization(model, lambda: images)
    parts = split_frozen(model)
    whole = np.asarray(model(images, training=False))
    assert np.ptp(whole) > 0
    if fine_tune == {"share": 1.0}:
        assert parts is None
        return
    assert parts is not None
    encoder, network = parts
    np.testing.assert_allclose(network(encoder(images), training=False), whole, rtol=1e-5, atol=1e-6)
    assert not encoder.trainable_variables
    assert [id(one) for one in network.trainable_variables] == [id(one) for one in model.trainable_variables]


def test_about_the_asked_share_of_a_backbone_is_tuned_without_its_normalisation(mobile_weights: str):
    model = build(weights=mobile_weights, fine_tune={"share": 0.3})
    parts = split_frozen(model)
    assert parts is not None
    tuned, frozen = parts[1].get_layer("tuned"), model.get_layer("frozen")
    n_tuned, n_frozen = len(tuned.layers) - 1, len(frozen.layers)
    assert 0.25 <= n_tuned / (n_tuned + n_frozen) <= 0.4
    variables = list_tuned(model)
    assert variables and all("kernel" in one.path for one in variables)
    before = [one.numpy() for one in tuned.non_trainable_variables]
    model(make_images(8), training=True)
    for one, value in zip(tuned.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(one.numpy(), value)


def test_without_weights_all_is_trained_and_a_seed_decides_how_it_starts():
    first, again, other = (build(weights="none", seed=seed) for seed in (1, 1, 2))
    assert split_frozen(first) is None
    assert len(first.trainable_variables) > 100
    one, two, three = (model.trainable_variables[0].numpy() for model in (first, again, other))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, three)


@pytest.mark.parametrize("name", ["MobileNetV2", "ConvNeXtTiny"])
def test_a_saved_network_is_loaded_without_foreign_code(name: str, tmp_path: Path):
    model = build(backbone=name, weights="none")
    model.save(tmp_path / "model.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    images = make_images()
    np.testing.assert_allclose(loaded(images), model(images), rtol=1e-5, atol=1e-6)


def test_images_too_small_for_a_backbone_are_refused_with_the_key_that_mends_it():
    with pytest.raises(RecipeError, match=r"InceptionV3 takes images of 75x75 pixels and more, got 32x32") as caught:
        build(backbone="InceptionV3", weights="none")
    assert "model.input_size to 96" in caught.value.hint
    build(backbone="Xception", weights="none", input_size=71)


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_a_file_that_has_no_weights_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "some.weights.h5"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"model\.weights: .*some\.weights\.h5 are not weights of MobileNetV2"):
        build(weights=str(path))


def test_weights_of_another_backbone_are_refused(mobile_weights: str, tmp_path: Path):
    with pytest.raises(RecipeError, match="are not weights of MobileNetV3Small"):
        build(backbone="MobileNetV3Small", weights=mobile_weights)
    with pytest.raises(RecipeError, match="there is no such file"):
        build(weights=str(tmp_path / "gone.h5"))


def test_weights_that_cannot_be_downloaded_are_named_with_what_to_do(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(WeightsMissing, match=r"weights of ResNet101V2 cannot be downloaded \(.+\)") as caught:
        build(backbone="ResNet101V2")
    assert "model.weights: FILE" in caught.value.hint
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model.backbone": "MobilNetV2"}, "keras.applications has no 'MobilNetV2'"),
        ({"model.weights": "none", "model.fine_tune": {"share": 0.2}}, "without weights all of it is trained"),
        ({"data.scale": "unit"}, "has a scaling of its own"),
        ({"model.filters": [8]}, "has no effect with the model pretrained"),
    ],
)
def test_what_a_recipe_cannot_mean_is_refused(settings: dict[str, Any], said: str):
    with pytest.raises(RecipeError, match=said):
        load_recipe({"model": {"name": "pretrained"}}, settings)
