"""Networks for images: uint8 [n, any height, any width, channels] -> float32 logits [n, n_classes].

Owns the architecture only. What the pixels are scaled by is decided in `build.py`; loss, optimizer and precision come
from the training room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from railcar.layers.activation import FUSED, build_activation
from railcar.layers.images import ResizeImages, ScaleImages
from railcar.layers.norm import FusedBatchNormalization
from railcar.layers.pooling import FusedMaxPooling2D
from railcar.layers.tuned import TunedConv2D, TunedDense
from railcar.models.dense import draw_seeds

layers = keras.layers


def build_initializer(name: str, *, std: float, seed: int) -> keras.Initializer:
    """A seeded Keras initializer; `std` counts for `truncated_normal` only."""
    if name == "truncated_normal":
        return keras.initializers.TruncatedNormal(stddev=std, seed=seed)
    if name == "he_normal":
        return keras.initializers.HeNormal(seed=seed)
    return keras.initializers.GlorotUniform(seed=seed)


def build_cnn(
    *,
    image_shape: tuple[int, int, int],
    n_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    fit: str = "stretch",
    dtype: str = "float32",
    seed: int = 0,
    filters: Sequence[int] = (32, 64),
    kernel_size: int = 3,
    strides: int = 1,
    padding: str = "same",
    pool: str = "max",
    pool_first: bool = False,
    batch_norm: bool = False,
    activation: str = "relu",
    global_pool: str = "none",
    dense: Sequence[int] = (),
    dropout: float = 0.0,
    initializer: str = "glorot_uniform",
    initializer_std: float = 0.1,
    bias: float = 0.0,
) -> keras.Model:
    """Blocks of convolution, (batch normalisation,) activation and 2x2 pooling; then dense layers, dropout and logits.
    With `pool_first` pooling follows the convolution: a quarter of the values is normalised and activated.

    `image_shape` is (height, width, channels) inside the network, `fit` how images come to that size, `dtype` a Keras
    dtype policy ("float32", "mixed_bfloat16", "mixed_float16"); logits are float32 whatever it is. Each layer's weights
    have a seed of their own, derived from `seed` and the layer's place. Raises `ValueError` when the image is
    too small for the blocks.
    """
    seeds = draw_seeds(seed)
    start: dict[str, Any] = {"bias_initializer": keras.initializers.Constant(bias)}

    def weights() -> dict[str, Any]:
        return start | {"kernel_initializer": build_initializer(initializer, std=initializer_std, seed=next(seeds))}

    height, width, channels = image_shape
    images = keras.Input((None, None, channels), dtype="uint8", name="image")
    hidden = ResizeImages(height, width, fit, name="resize")(images)
    hidden = ScaleImages(tuple(mean), tuple(std), dtype=dtype, name="scale")(hidden)
    for number, n_filters in enumerate(filters, start=1):
        conv: dict[str, Any] = {"kernel_size": kernel_size, "strides": strides, "padding": padding, "dtype": dtype}
        is_plain = not (batch_norm or pool_first or activation in FUSED)
        if is_plain:
            conv["activation"] = activation
        conv["use_bias"] = not batch_norm
        hidden = TunedConv2D(n_filters, **conv, **weights(), name=f"conv{number}")(hidden)
        pooling = _build_pooling(pool, padding, dtype, name=f"pool{number}")
        hidden = pooling(hidden) if pool_first else hidden
        if batch_norm:
            hidden = FusedBatchNormalization(momentum=0.9, dtype=dtype, name=f"norm{number}")(hidden)
        if not is_plain:
            hidden = build_activation(activation, dtype=dtype, name=f"activation{number}")(hidden)
        hidden = hidden if pool_first else pooling(hidden)
    hidden = _flatten(hidden, global_pool, dtype)
    for number, width_ in enumerate(dense, start=1):
        hidden = TunedDense(width_, activation=activation, dtype=dtype, **weights(), name=f"dense{number}")(hidden)
    if dropout:
        hidden = layers.Dropout(dropout, seed=next(seeds), dtype=dtype, name="dropout")(hidden)
    logits = layers.Dense(n_classes, dtype="float32", **weights(), name="logits")(hidden)
    return keras.Model(images, logits, name="cnn")


def _build_pooling(pool: str, padding: str, dtype: str, *, name: str) -> Callable[[Any], Any]:
    if pool == "none":
        return lambda hidden: hidden
    pooling: Any = FusedMaxPooling2D if pool == "max" else layers.AveragePooling2D
    return pooling(2, padding=padding, dtype=dtype, name=name)


def _flatten(hidden: Any, global_pool: str, dtype: str) -> Any:
    if global_pool == "none":
        return layers.Flatten(dtype=dtype, name="flatten")(hidden)
    pooling = layers.GlobalMaxPooling2D if global_pool == "max" else layers.GlobalAveragePooling2D
    return pooling(dtype=dtype, name="global_pool")(hidden)
