"""Layers around a network for images: resizing and scaling of decoded images, and averaging over mirror images, all
inside the model.

Training data is resized by the same `resize_images` when it is prepared, so training and prediction cannot drift apart.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

FITS = ("stretch", "crop", "pad")
# The longest side of a canvas: of an image of one row it would have the square of its pixels.
_MAX_CANVAS_SIDE = 8192
HALF_UP = 0.501


def resize_images(images: Any, size: tuple[int, int], fit: str = "stretch") -> Any:
    """Resize to `size` (height, width) by bilinear interpolation, antialiased when shrinking.

    `images` uint8 [n, height, width, channels], 0 to 255; the result is a uint8 tensor [n, *size, channels], rounded
    to whole values, so that an image resized before training and one resized inside the model are the same.

    `fit` is for images of other proportions than those of `size`: "stretch" changes them, "crop" takes the middle part
    that has those of `size`, "pad" puts the image on the middle of a black canvas that has them. Of an odd number of
    rows or columns one less is taken from, or added to, the upper and the left side.
    """
    if fit == "crop":
        images = _crop(images, size)
    elif fit == "pad":
        images = _pad(_bound_canvas(images, size), size)
    resized = tf.image.resize(images, size, method="bilinear", antialias=True)
    # A half goes up, and so does what is a half but for the last bits of float32: these differ from machine to machine.
    return tf.cast(tf.clip_by_value(tf.floor(resized + HALF_UP), 0.0, 255.0), tf.uint8)


def _crop(images: Any, size: tuple[int, int]) -> Any:
    height, width = _read_size(images)
    n_rows = _larger(_smaller(_divide(width * size[0], size[1]), height), 1)
    n_columns = _larger(_smaller(_divide(height * size[1], size[0]), width), 1)
    top, left = (height - n_rows) // 2, (width - n_columns) // 2
    return images[:, top : top + n_rows, left : left + n_columns]


def _pad(images: Any, size: tuple[int, int]) -> Any:
    height, width = _read_size(images)
    n_rows, n_columns = _find_canvas(height, width, size)
    top, left = (n_rows - height) // 2, (n_columns - width) // 2
    around = [[top, n_rows - height - top], [left, n_columns - width - left]]
    return tf.pad(images, [[0, 0], *around, [0, 0]])


def _bound_canvas(images: Any, size: tuple[int, int]) -> Any:
    """Made smaller by a whole factor where their canvas would be far too large, so that a few bytes of a file cannot
    ask for all memory."""
    height, width = _read_size(images)
    factor = 1 + (_larger(*_find_canvas(height, width, size)) - 1) // _MAX_CANVAS_SIDE
    small: Any = _larger(height // factor, 1), _larger(width // factor, 1)
    if isinstance(factor, int):
        return resize_images(images, small) if factor > 1 else images
    return tf.cond(factor > 1, lambda: resize_images(images, tf.cast(tf.stack(small), tf.int32)), lambda: images)


def _find_canvas(height: Any, width: Any, size: tuple[int, int]) -> tuple[Any, Any]:
    """The least (height, width) of the proportions of `size` that an image has room in."""
    return _larger(height, _divide(width * size[0], size[1])), _larger(width, _divide(height * size[1], size[0]))


def _read_size(images: Any) -> tuple[Any, Any]:
    """Height and width: whole numbers, or int64 scalars where a graph is built before they are known."""
    height, width = images.shape[1:3]
    if height is not None and width is not None:
        return int(height), int(width)
    shape = tf.shape(images, out_type=tf.int64)
    return shape[1], shape[2]


def _divide(one: Any, other: int) -> Any:
    """To the nearest whole number."""
    return (2 * one + other) // (2 * other)


def _smaller(one: Any, other: Any) -> Any:
    return min(one, other) if isinstance(one, int) else tf.minimum(one, other)


def _larger(one: Any, other: Any) -> Any:
    return max(one, other) if isinstance(one, int) else tf.maximum(one, other)


@keras.saving.register_keras_serializable("railcar")
class ResizeImages(keras.layers.Layer):
    """uint8 [n, any, any, channels] -> uint8 [n, height, width, channels], as `resize_images` does it with `fit`;
    images of that size pass unchanged."""

    def __init__(self, height: int, width: int, fit: str = "stretch", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if fit not in FITS:
            raise ValueError(f"fit: Expected one of {FITS}. Received: {fit!r}")
        self.height = height
        self.width = width
        self.fit = fit

    def call(self, images: Any) -> Any:
        if tuple(images.shape[1:3]) == (self.height, self.width):
            return images
        return resize_images(images, (self.height, self.width), self.fit)

    def compute_output_spec(self, images: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        shape = (images.shape[0], self.height, self.width, images.shape[-1])
        return keras.KerasTensor(shape, dtype="uint8")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width, "fit": self.fit}


@keras.saving.register_keras_serializable("railcar")
class AdaptChannels(keras.layers.Layer):
    """uint8 [n, height, width, 1 or 3] -> uint8 [n, height, width, 3]: gray three times, or colours, with blue first if
    `is_reversed`."""

    def __init__(self, *, is_reversed: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.is_reversed = is_reversed

    def call(self, images: Any) -> Any:
        if images.shape[-1] == 1:
            return tf.repeat(images, 3, axis=-1)
        return tf.reverse(images, axis=[-1]) if self.is_reversed else images

    def compute_output_spec(self, images: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((*images.shape[:-1], 3), dtype="uint8")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "is_reversed": self.is_reversed}


@keras.saving.register_keras_serializable("railcar")
class ScaleImages(keras.layers.Layer):
    """uint8 [n, height, width, channels] -> (image - mean) / std in the layer's compute dtype, the same shape.

    `mean` and `std` hold one number a channel, in units of 0 to 255. The arithmetic is float32: only the result is
    rounded to the compute dtype.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean = tuple(mean)
        self.std = tuple(std)

    def call(self, images: Any) -> Any:
        values = tf.cast(images, tf.float32)
        if any(self.mean):
            values = values - tf.constant(self.mean, tf.float32)
        if any(one != 1.0 for one in self.std):
            values = values * tf.constant([1.0 / one for one in self.std], tf.float32)
        return tf.cast(values, self.compute_dtype)

    def compute_output_spec(self, images: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": self.mean, "std": self.std}


@keras.saving.register_keras_serializable("railcar")
class ViewAverage(keras.layers.Layer):
    """`network`'s logits for images uint8 [n, any, any, channels], averaged over several views of each.

    `mirror`: the image and its mirror image. `shift`: the image, with half the weight, and the image moved by a pixel
    up and left, and down and right (its edge mirrored), at `size`, the (height, width) that the network resizes to,
    with the same `fit`. With both these are airbench94's six views (Jordan, 2024, arXiv:2404.00498, section 3.5).
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        size: tuple[int, int],
        mirror: bool,
        shift: bool,
        fit: str = "stretch",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.size = tuple(size)
        self.mirror = mirror
        self.shift = shift
        self.fit = fit

    def call(self, images: Any) -> Any:
        if not self.shift:
            return self._answer(images)
        height, width = self.size
        same = ResizeImages(height, width, self.fit)(images)
        wide = tf.pad(same, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
        moved = [self._answer(wide[:, at : at + height, at : at + width]) for at in (0, 2)]
        return self._answer(same) / 2.0 + (moved[0] + moved[1]) / 4.0

    def _answer(self, images: Any) -> Any:
        if not self.mirror:
            return self.network(images, training=False)
        both = tf.concat([images, tf.reverse(images, axis=[2])], axis=0)
        plain, mirrored = tf.split(self.network(both, training=False), 2)
        return (plain + mirrored) / 2.0

    def compute_output_spec(self, images: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        return self.network.compute_output_spec(images)

    def get_config(self) -> dict[str, Any]:
        network = keras.saving.serialize_keras_object(self.network)
        options = {"size": self.size, "mirror": self.mirror, "shift": self.shift, "fit": self.fit}
        return {**super().get_config(), "network": network, **options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ViewAverage:
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)


def average_views(
    network: keras.Model, *, size: tuple[int, int], mirror: bool, shift: bool, fit: str = "stretch"
) -> keras.Model:
    """`network` as it answers with several views averaged: the same variables in the same order, no training."""
    images = keras.Input(network.input_shape[1:], dtype="uint8", name="image")
    views: Any = {"size": size, "mirror": mirror, "shift": shift, "fit": fit}
    average = ViewAverage(network, **views, dtype="float32", name="view_average")
    return keras.Model(images, average(images), name=network.name)
