"""A network for small images that reaches its accuracy in few steps, after airbench94 (Jordan, 2024, arXiv:2404.00498).

Owns the architecture only. What makes it fast to train: whitened patches, filters that begin by handing their input on,
no scale in batch normalisation, statistics that follow quickly, pooling before it, and small logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from railcar.layers.activation import build_activation
from railcar.layers.identity import PartialIdentity
from railcar.layers.images import ResizeImages, ScaleImages
from railcar.layers.norm import FusedBatchNormalization
from railcar.layers.pooling import FusedMaxPooling2D
from railcar.layers.tuned import TunedConv2D
from railcar.layers.whiten import WhitenPatches
from railcar.models.dense import draw_seeds

layers = keras.layers


def build_airbench(
    *,
    image_shape: tuple[int, int, int],
    n_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    fit: str = "stretch",
    dtype: str = "float32",
    seed: int = 0,
    filters: Sequence[int] = (64, 256, 256),
    activation: str = "gelu",
) -> keras.Model:
    """Whitening, then a group of two 3x3 convolutions for each of `filters`, then the maximum of each channel and a
    linear layer. Each group halves the image.

    `image_shape` is (height, width, channels) inside the network, `fit` how images come to that size, `dtype` a Keras
    dtype policy; logits are float32. Call `adapt_whitening` before the first step. Raises `ValueError` when the
    image is too small for the groups.
    """
    seeds = draw_seeds(seed)
    height, width, channels = image_shape
    images = keras.Input((None, None, channels), dtype="uint8", name="image")
    hidden = ResizeImages(height, width, fit, name="resize")(images)
    hidden = ScaleImages(tuple(mean), tuple(std), dtype=dtype, name="scale")(hidden)
    hidden = WhitenPatches(2, dtype=dtype, name="whiten")(hidden)
    hidden = build_activation(activation, dtype=dtype, name="activation0")(hidden)
    for group, n_filters in enumerate(filters, start=1):
        for part in (1, 2):
            name = f"{group}_{part}"
            start: Any = PartialIdentity(next(seeds))
            hidden = TunedConv2D(
                n_filters, 3, padding="same", use_bias=False, kernel_initializer=start, dtype=dtype, name=f"conv{name}"
            )(hidden)
            if part == 1:
                hidden = FusedMaxPooling2D(2, dtype=dtype, name=f"pool{group}")(hidden)
            # A fast average: the weights move far in few steps, and the statistics must be those of the last ones.
            norm = FusedBatchNormalization(momentum=0.6, scale=False, dtype=dtype, name=f"norm{name}")
            hidden = build_activation(activation, dtype=dtype, name=f"activation{name}")(norm(hidden))
    hidden = layers.GlobalMaxPooling2D(dtype=dtype, name="global_pool")(hidden)
    small: Any = keras.initializers.RandomNormal(stddev=1.0 / filters[-1], seed=next(seeds))
    logits = layers.Dense(n_classes, use_bias=False, kernel_initializer=small, dtype="float32", name="logits")(hidden)
    return keras.Model(images, logits, name="airbench")


def adapt_whitening(model: keras.Model, read_images: Callable[[], NDArray[np.uint8]]) -> None:
    """Set the whitening of `model`, if it has any, by the training images that `read_images` gives: uint8 [n, height,
    width, channels]."""
    by_name = {layer.name: layer for layer in model.layers}
    whiten: Any = by_name.get("whiten")
    if isinstance(whiten, WhitenPatches):
        scale: Any = by_name["scale"]
        shift, factor = np.array(scale.mean, np.float32), np.array(scale.std, np.float32)
        whiten.adapt((read_images().astype(np.float32) - shift) / factor)
