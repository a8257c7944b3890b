"""Networks for texts: int32 [n, words] -> float32 outputs [n, n_outputs].

Owns the architecture only. Word numbers come from `layers/texts.py`: 0 is no word, 1 an unknown one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from railcar.layers.words import AverageWords
from railcar.models.dense import add_dense

layers = keras.layers


def build_bag_of_words(
    *,
    length: int,
    n_words: int,
    n_outputs: int,
    dtype: str = "float32",
    seed: int = 0,
    embedding: int = 64,
    dense: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.0,
) -> keras.Model:
    """The average of the words' vectors, then dense layers, dropout and outputs: fast, and hard to beat on short texts
    (Joulin et al., 2016, arXiv:1607.01759).

    `length` is the number of words of a text, `n_words` that of word numbers; `dtype` a Keras dtype policy; outputs are
    float32 whatever it is. Each layer's weights have a seed of their own, derived from `seed` and the layer's place.
    """
    seeds = iter(range(seed * 1000 + 1, seed * 1000 + 1000))
    words = keras.Input((length,), dtype="int32", name="words")
    start: Any = keras.initializers.RandomUniform(-0.05, 0.05, seed=next(seeds))
    vectors = layers.Embedding(n_words, embedding, embeddings_initializer=start, dtype=dtype, name="embedding")(words)
    hidden = AverageWords(dtype=dtype, name="average")([vectors, words])
    hidden = add_dense(hidden, dense, activation, dropout, dtype=dtype, seeds=seeds)
    weights: Any = keras.initializers.GlorotUniform(seed=next(seeds))
    outputs = layers.Dense(n_outputs, kernel_initializer=weights, dtype="float32", name="logits")(hidden)
    return keras.Model(words, outputs, name="bag_of_words")
