"""Images of other proportions than the model's: what is cut off, what is added, the same in training and prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from railcar.layers.images import FITS, ResizeImages, ScaleImages, average_views, resize_images

# Height and width of an image, then of what it comes to; the rows and columns that a crop keeps; the rows and columns
# that a canvas has more before and behind.
CASES = [
    pytest.param((20, 31), (8, 8), (0, 20), (5, 25), (5, 6), (0, 0), id="wider"),
    pytest.param((33, 10), (8, 8), (11, 21), (0, 10), (0, 0), (11, 12), id="taller"),
    pytest.param((30, 40), (6, 12), (5, 25), (0, 40), (0, 0), (10, 10), id="wide, but not wide enough"),
    pytest.param((7, 40), (6, 4), (0, 7), (17, 22), (26, 27), (0, 0), id="much wider, and no whole number"),
    pytest.param((5, 3), (20, 30), (1, 3), (0, 3), (0, 0), (2, 3), id="smaller"),
    pytest.param((1, 50), (4, 4), (0, 1), (24, 25), (24, 25), (0, 0), id="a line"),
    pytest.param((3, 1), (1, 10), (1, 2), (0, 1), (0, 0), (14, 15), id="less than a row is left"),
    pytest.param((12, 16), (6, 8), (0, 12), (0, 16), (0, 0), (0, 0), id="of these proportions"),
]


def make_noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (2, height, width, channels), dtype=np.uint8)


def resize_in_graph(images: NDArray[np.uint8], size: tuple[int, int], fit: str) -> NDArray[np.uint8]:
    """By the layer, in a graph that is built before height and width are known."""
    signature = [tf.TensorSpec([None, None, None, images.shape[-1]], tf.uint8)]  # pyright: ignore[reportCallIssue]
    layer: Any = ResizeImages(*size, fit=fit)
    return tf.function(layer, input_signature=signature)(images).numpy()


@pytest.mark.parametrize(("image", "size", "rows", "columns", "above", "beside"), CASES)
def test_a_crop_is_the_middle_part_and_a_pad_the_whole_on_black(
    image: tuple[int, int],
    size: tuple[int, int],
    rows: tuple[int, int],
    columns: tuple[int, int],
    above: tuple[int, int],
    beside: tuple[int, int],
) -> None:
    images = make_noise(*image)
    expected = {
        "stretch": resize_images(images, size).numpy(),
        "crop": resize_images(images[:, slice(*rows), slice(*columns)], size).numpy(),
        "pad": resize_images(np.pad(images, ((0, 0), above, beside, (0, 0))), size).numpy(),
    }
    assert tuple(expected) == FITS
    for fit, pixels in expected.items():
        found = resize_images(images, size, fit)
        assert found.dtype == tf.uint8 and found.shape == (2, *size, 3)
        np.testing.assert_array_equal(found.numpy(), pixels, err_msg=fit)
        layer: Any = ResizeImages(*size, fit=fit)
        np.testing.assert_array_equal(layer(tf.constant(images)).numpy(), pixels, err_msg=fit)
        np.testing.assert_array_equal(resize_in_graph(images, size, fit), pixels, err_msg=fit)


@pytest.mark.parametrize("fit", FITS)
def test_an_image_that_has_the_size_is_not_changed(fit: str) -> None:
    images = make_noise(9, 14)
    layer: Any = ResizeImages(9, 14, fit=fit)
    np.testing.assert_array_equal(layer(tf.constant(images)).numpy(), images)
    np.testing.assert_array_equal(resize_images(images, (9, 14), fit).numpy(), images)
    np.testing.assert_array_equal(resize_in_graph(images, (9, 14), fit), images)


def test_a_very_long_image_does_not_ask_for_the_square_of_its_length() -> None:
    line = np.full((1, 40, 300_000, 1), 255, np.uint8)
    for found in (resize_images(line, (4, 8), "pad").numpy(), resize_in_graph(line, (4, 8), "pad")):
        assert found.shape == (1, 4, 8, 1)
    # made smaller before, it looks as it would have looked
    ramp = np.broadcast_to(np.linspace(0, 255, 9000).astype(np.uint8)[None, None, :, None], (1, 3000, 9000, 1))
    expected = resize_images(np.pad(ramp, ((0, 0), (3000, 3000), (0, 0), (0, 0))), (9, 9)).numpy()
    found = resize_images(ramp, (9, 9), "pad").numpy()
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1)
    np.testing.assert_array_equal(resize_in_graph(ramp, (9, 9), "pad"), found)


def test_a_layer_that_was_saved_before_there_was_a_fit_stretches() -> None:
    config = ResizeImages(6, 8, name="resize").get_config()
    assert config.pop("fit") == "stretch"
    assert ResizeImages.from_config(config).fit == "stretch"
    assert ResizeImages.from_config({**config, "fit": "pad"}).fit == "pad"
    with pytest.raises(ValueError, match=r"fit: Expected one of .* Received: 'squeeze'"):
        ResizeImages(6, 8, fit="squeeze")


@pytest.mark.parametrize("fit", FITS)
def test_a_saved_model_and_the_average_of_its_views_resize_as_the_data_was_resized(tmp_path: Path, fit: str) -> None:
    inputs = keras.Input((None, None, 1), dtype="uint8", name="image")
    hidden = ScaleImages((0.0,), (255.0,))(ResizeImages(6, 8, fit)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(hidden)), name="tiny")
    whole = average_views(network, size=(6, 8), mirror=True, shift=True, fit=fit)
    whole.save(tmp_path / "model.keras")
    loaded: Any = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    for images in (make_noise(31, 20, 1), make_noise(9, 40, 1)):
        prepared = resize_images(images, (6, 8), fit).numpy()
        np.testing.assert_array_equal(loaded(images).numpy(), whole(prepared).numpy())
        np.testing.assert_array_equal(loaded.predict(images, verbose=0), loaded.predict(prepared, verbose=0))
