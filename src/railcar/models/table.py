"""Networks for tables: float32 [n, numbers and codes] -> float32 outputs [n, n_outputs].

Owns the architecture only. The numbers come from `layers/tables.py`: standardised ones first, then a code a category.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from railcar.layers.tables import SplitColumns
from railcar.models.dense import add_dense

layers = keras.layers


def build_mlp(
    *,
    n_numbers: int,
    cardinalities: Sequence[int],
    n_outputs: int,
    dtype: str = "float32",
    seed: int = 0,
    embedding: int = 8,
    dense: Sequence[int] = (128, 64),
    activation: str = "relu",
    dropout: float = 0.0,
) -> keras.Model:
    """Numbers as they are and a vector for each category, side by side, through dense layers to the outputs.

    `n_numbers` are the leading columns; `cardinalities` says how many codes each of the others has; `dtype` is a Keras
    dtype policy; outputs are float32 whatever it is.
    """
    seeds = iter(range(seed * 1000 + 1, seed * 1000 + 1000))
    rows = keras.Input((n_numbers + len(cardinalities),), dtype="float32", name="row")
    numbers, codes = SplitColumns(n_numbers, cardinalities, name="split")(rows)
    parts = [layers.Identity(dtype=dtype, name="numbers")(numbers)] if n_numbers else []
    if cardinalities:
        start: Any = keras.initializers.RandomNormal(stddev=0.1, seed=next(seeds))
        embed = layers.Embedding(
            sum(cardinalities), embedding, embeddings_initializer=start, dtype=dtype, name="embedding"
        )
        parts.append(layers.Flatten(dtype=dtype, name="categories")(embed(codes)))
    hidden = layers.Concatenate(dtype=dtype, name="columns")(parts) if len(parts) > 1 else parts[0]
    hidden = add_dense(hidden, dense, activation, dropout, dtype=dtype, seeds=seeds)
    weights: Any = keras.initializers.GlorotUniform(seed=next(seeds))
    outputs = layers.Dense(n_outputs, kernel_initializer=weights, dtype="float32", name="logits")(hidden)
    return keras.Model(rows, outputs, name="mlp")
