"""Layers around a network for images: resizing and scaling of decoded images, and averaging over mirror images, all
inside the model.

Training data is resized by the same `resize_images` when it is prepared, so training and prediction cannot drift apart.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def resize_images(images: Any, size: tuple[int, int]) -> Any:
    """Resize to `size` (height, width) by bilinear interpolation, antialiased when shrinking.

    `images` uint8 [n, height, width, channels], 0 to 255; the result is a uint8 tensor [n, *size, channels], rounded
    to whole values, so that an image resized before training and one resized inside the model are the same.
    """
    resized = tf.image.resize(images, size, method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


@keras.saving.register_keras_serializable("railcar")
class ResizeImages(keras.layers.Layer):
    """uint8 [n, any, any, channels] -> uint8 [n, height, width, channels]; images of that size pass unchanged."""

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height = height
        self.width = width

    def call(self, images: Any) -> Any:
        if tuple(images.shape[1:3]) == (self.height, self.width):
            return images
        return resize_images(images, (self.height, self.width))

    def compute_output_spec(self, images: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        shape = (images.shape[0], self.height, self.width, images.shape[-1])
        return keras.KerasTensor(shape, dtype="uint8")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


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
    up and left, and down and right (its edge mirrored), at `size`, the (height, width) that the network resizes to.
    With both these are airbench94's six views (Jordan, 2024, arXiv:2404.00498, section 3.5).
    """

    def __init__(
        self, network: keras.Model, *, size: tuple[int, int], mirror: bool, shift: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.size = tuple(size)
        self.mirror = mirror
        self.shift = shift

    def call(self, images: Any) -> Any:
        if not self.shift:
            return self._answer(images)
        height, width = self.size
        same = ResizeImages(height, width)(images)
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
        options = {"size": self.size, "mirror": self.mirror, "shift": self.shift}
        return {**super().get_config(), "network": network, **options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ViewAverage:
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)


def average_views(network: keras.Model, *, size: tuple[int, int], mirror: bool, shift: bool) -> keras.Model:
    """`network` as it answers with several views averaged: the same variables in the same order, no training."""
    images = keras.Input(network.input_shape[1:], dtype="uint8", name="image")
    average = ViewAverage(network, size=size, mirror=mirror, shift=shift, dtype="float32", name="view_average")
    return keras.Model(images, average(images), name=network.name)
