"""Networks for tables: float32 [n, numbers and codes] -> float32 outputs [n, n_outputs].

Owns the architecture only. The numbers come from `layers/tables.py`: standardised ones first, then a code a category.
In all of them `n_numbers` are the leading columns, `cardinalities` says how many codes each of the others has, `dtype`
is a Keras dtype policy (outputs are float32 whatever it is), and weights start from `seed`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from railcar.layers.members import MemberAnswers, MemberDense
from railcar.layers.tables import SplitColumns
from railcar.models.dense import add_dense, add_logits, draw_seeds

layers = keras.layers


def build_linear(
    *, n_numbers: int, cardinalities: Sequence[int], n_outputs: int, dtype: str = "float32", seed: int = 0
) -> keras.Model:
    """Each number times a weight, a weight for each category, and a bias: logistic or linear regression."""
    seeds = draw_seeds(seed)
    rows, columns = _open_columns(n_numbers, cardinalities, max(n_outputs, 1), dtype, seeds)
    return keras.Model(rows, add_logits(columns, n_outputs, seeds=seeds), name="linear")


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
    """Numbers as they are and a vector for each category, side by side, through dense layers to the outputs."""
    seeds = draw_seeds(seed)
    rows, hidden = _open_columns(n_numbers, cardinalities, embedding, dtype, seeds)
    hidden = add_dense(hidden, dense, activation, dropout, dtype=dtype, seeds=seeds)
    return keras.Model(rows, add_logits(hidden, n_outputs, seeds=seeds), name="mlp")


def build_tabm(
    *,
    n_numbers: int,
    cardinalities: Sequence[int],
    n_outputs: int,
    dtype: str = "float32",
    seed: int = 0,
    embedding: int = 8,
    dense: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.0,
    members: int = 32,
) -> keras.Model:
    """`members` networks that share most of their weights and answer together (TabM: Gorishniy et al., 2024,
    arXiv:2410.24210). Numbers are as they are, categories a vector each; `dense` (128, 128) when empty."""
    seeds = draw_seeds(seed)
    rows, hidden = _open_columns(n_numbers, cardinalities, embedding, dtype, seeds)
    for number, units in enumerate(dense or (128, 128), start=1):
        layer = MemberDense(
            units,
            members,
            activation=activation,
            differ=number == 1,
            seed=next(seeds) * 2,
            dtype=dtype,
            name=f"dense{number}",
        )
        hidden = layer(hidden)
        if dropout:
            hidden = layers.Dropout(dropout, seed=next(seeds), dtype=dtype, name=f"dropout{number}")(hidden)
    return keras.Model(rows, MemberAnswers(n_outputs, seed=next(seeds), name="logits")(hidden), name="tabm")


def _open_columns(
    n_numbers: int, cardinalities: Sequence[int], embedding: int, dtype: str, seeds: Iterator[int]
) -> tuple[Any, Any]:
    """Rows float32 [n, numbers and codes], and what stands for them: the numbers, then a vector for each category."""
    rows = keras.Input((n_numbers + len(cardinalities),), dtype="float32", name="row")
    numbers, codes = SplitColumns(n_numbers, cardinalities, name="split")(rows)
    parts = [layers.Identity(dtype=dtype, name="numbers")(numbers)] if n_numbers else []
    if cardinalities:
        start: Any = keras.initializers.RandomNormal(stddev=0.1, seed=next(seeds))
        embed = layers.Embedding(
            sum(cardinalities), embedding, embeddings_initializer=start, dtype=dtype, name="embedding"
        )
        parts.append(layers.Flatten(dtype=dtype, name="categories")(embed(codes)))
    return rows, layers.Concatenate(dtype=dtype, name="columns")(parts) if len(parts) > 1 else parts[0]
