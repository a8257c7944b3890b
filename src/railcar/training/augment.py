"""Carries out, as operations of the graph, what `data/augment.py` drew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from railcar.data.augment import Augmentation
from railcar.recipe.schema import Augment, Recipe


def read_augmentation(recipe: Recipe, image_shape: tuple[int, int, int]) -> Augmentation | None:
    """What the recipe says is done to images; None when nothing is."""
    node = recipe.data.augment
    return None if node == Augment() else Augmentation(image_shape, recipe.seed, **node.model_dump())


def build_augment(augmentation: Augmentation, mean: tuple[float, ...]) -> Callable[[Any, Any, Any], Any]:
    """A function (images uint8 [batch, height, width, channels], transforms float32 [batch, 8], boxes int32 [batch, 2])
    -> images of the same shape and type. Beyond its edge an image goes on as its mirror image; what is cut out becomes
    `mean` (one number a channel, 0 to 255)."""
    height, width, channels = augmentation.image_shape
    fill = tf.constant([round(one) for one in mean], tf.uint8)

    def augment(images: Any, transforms: Any, boxes: Any) -> Any:
        if augmentation.moves:
            images = _move(images, transforms, (height, width), smooth=augmentation.is_smooth)
        if augmentation.box_side:
            inside = _inside(boxes, augmentation.box_side, (height, width))
            images = tf.where(inside[..., None], fill, images)
        return tf.ensure_shape(images, (None, height, width, channels))

    return augment


def _move(images: Any, transforms: Any, size: tuple[int, int], *, smooth: bool) -> Any:
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        # The kernel cuts the fraction off when it interpolates whole numbers, which would darken the images.
        images=tf.cast(images, tf.float32) if smooth else images,
        transforms=transforms,
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR" if smooth else "NEAREST",
        fill_mode="REFLECT",
    )
    return tf.cast(tf.clip_by_value(tf.round(moved), 0.0, 255.0), tf.uint8) if smooth else moved


def _inside(boxes: Any, side: int, size: tuple[int, int]) -> Any:
    """bool [batch, height, width]: the pixels of each example's square."""
    height, width = size
    top, left = boxes[:, 0, None, None], boxes[:, 1, None, None]
    row, column = tf.range(height)[None, :, None], tf.range(width)[None, None, :]
    return (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
