"""Dense layers on top of what a network has made of its input; shared by the networks for texts and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

layers = keras.layers


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
