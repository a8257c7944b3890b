"""What networks share: seeds for their layers, and dense layers on top of what they have made of their input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

layers = keras.layers


def draw_seeds(seed: int) -> Iterator[int]:
    """A seed for each layer with weights, in the order of the layers; those of two networks never meet."""
    return iter(range(seed * 1000 + 1, seed * 1000 + 1000))


def add_logits(
    hidden: keras.KerasTensor, n_outputs: int, *, seeds: Iterator[int], is_zero: bool = False
) -> keras.KerasTensor:
    """The last layer: float32 [n, n_outputs] in any precision; it starts with weights of zero if `is_zero`."""
    weights: Any = "zeros" if is_zero else keras.initializers.GlorotUniform(seed=next(seeds))
    return layers.Dense(n_outputs, kernel_initializer=weights, dtype="float32", name="logits")(hidden)


def add_dense(
    hidden: keras.KerasTensor,
    widths: Sequence[int],
    activation: str,
    dropout: float,
    *,
    dtype: str,
    seeds: Iterator[int],
) -> keras.KerasTensor:
    """Dense layers of these widths, each with `activation` and then dropout."""
    for number, width in enumerate(widths, start=1):
        weights: Any = keras.initializers.HeNormal(seed=next(seeds))
        layer = layers.Dense(
            width, activation=activation, kernel_initializer=weights, dtype=dtype, name=f"dense{number}"
        )
        hidden = layer(hidden)
        if dropout:
            hidden = layers.Dropout(dropout, seed=next(seeds), dtype=dtype, name=f"dropout{number}")(hidden)
    if dropout and not widths:
        hidden = layers.Dropout(dropout, seed=next(seeds), dtype=dtype, name="dropout")(hidden)
    return hidden
