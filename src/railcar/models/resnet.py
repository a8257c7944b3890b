"""A residual network for small images: uint8 [n, any height, any width, channels] -> float32 logits [n, n_classes].

Owns the architecture only, as `image.py` does for the plain one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from railcar.layers.activation import build_activation
from railcar.layers.images import ResizeImages, ScaleImages
from railcar.layers.norm import FusedBatchNormalization
from railcar.layers.tuned import TunedConv2D
from railcar.models.dense import add_logits, draw_seeds

layers = keras.layers


def build_resnet(
    *,
    image_shape: tuple[int, int, int],
    n_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    fit: str = "stretch",
    dtype: str = "float32",
    seed: int = 0,
    filters: Sequence[int] = (32, 64, 128),
    blocks: int = 2,
    activation: str = "relu",
    dropout: float = 0.0,
) -> keras.Model:
    """Stages of `blocks` residual blocks each, one stage a number of `filters`, each but the first at half the size of
    the one before; then the average over all places, dropout and logits (He et al., 2015, arXiv:1512.03385, section
    4.2: the form for CIFAR-10).

    The arguments are those of `image.build_cnn`. Each layer's weights have a seed of their own, derived from `seed` and
    the layer's place. Raises `ValueError` when the image is too small for the stages.
    """
    height, width, channels = image_shape
    if min(height, width) < 2 ** (len(filters) - 1):
        raise ValueError(f"{len(filters)} stages halve it {len(filters) - 1} times")
    seeds = draw_seeds(seed)
    images = keras.Input((None, None, channels), dtype="uint8", name="image")
    hidden = ResizeImages(height, width, fit, name="resize")(images)
    hidden = ScaleImages(tuple(mean), tuple(std), dtype=dtype, name="scale")(hidden)
    hidden = _convolve(hidden, filters[0], 3, 1, dtype=dtype, seeds=seeds, name="stem")
    hidden = build_activation(activation, dtype=dtype, name="stem_activation")(hidden)
    for stage, n_filters in enumerate(filters, start=1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            hidden = _add_block(
                hidden, n_filters, strides, activation, dtype=dtype, seeds=seeds, name=f"stage{stage}_block{block}"
            )
    hidden = layers.GlobalAveragePooling2D(dtype=dtype, name="global_pool")(hidden)
    if dropout:
        hidden = layers.Dropout(dropout, seed=next(seeds), dtype=dtype, name="dropout")(hidden)
    return keras.Model(images, add_logits(hidden, n_classes, seeds=seeds), name="resnet")


def _add_block(
    hidden: Any, n_filters: int, strides: int, activation: str, *, dtype: str, seeds: Iterator[int], name: str
) -> Any:
    """Two convolutions beside a way around them, which is a convolution of one pixel where size or width change."""
    around = hidden
    if strides > 1 or hidden.shape[-1] != n_filters:
        around = _convolve(hidden, n_filters, 1, strides, dtype=dtype, seeds=seeds, name=f"{name}_around")
    inner = _convolve(hidden, n_filters, 3, strides, dtype=dtype, seeds=seeds, name=f"{name}_conv1")
    inner = build_activation(activation, dtype=dtype, name=f"{name}_activation1")(inner)
    inner = _convolve(inner, n_filters, 3, 1, dtype=dtype, seeds=seeds, name=f"{name}_conv2", starts_at_zero=True)
    added = layers.Add(dtype=dtype, name=f"{name}_add")([around, inner])
    return build_activation(activation, dtype=dtype, name=f"{name}_activation2")(added)


def _convolve(
    hidden: Any,
    n_filters: int,
    size: int,
    strides: int,
    *,
    dtype: str,
    seeds: Iterator[int],
    name: str,
    starts_at_zero: bool = False,
) -> Any:
    """A convolution and its normalisation. What `starts_at_zero` lets a block begin as the way around it (Goyal et al.,
    2017, arXiv:1706.02677, section 5.1)."""
    start: Any = keras.initializers.HeNormal(seed=next(seeds))
    conv = TunedConv2D(
        n_filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=start,
        dtype=dtype,
        name=name,
    )
    gamma = "zeros" if starts_at_zero else "ones"
    norm = FusedBatchNormalization(momentum=0.9, gamma_initializer=gamma, dtype=dtype, name=f"{name}_norm")
    return norm(conv(hidden))
