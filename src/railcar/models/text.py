"""Networks for texts: int32 [n, words] -> float32 outputs [n, n_outputs].

Owns the architecture only. Word numbers come from `layers/texts.py`: 0 is no word, 1 an unknown one; numbers of n-grams
from `layers/ngrams.py`. In all of them `length` is how many numbers a text has, `dtype` a Keras dtype policy (outputs
are float32 whatever it is), and each layer's weights have a seed of their own, derived from `seed` and its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from railcar.errors import RecipeError
from railcar.layers.ngrams import WeighNgrams
from railcar.layers.words import AddPositions, AverageWords
from railcar.models.dense import add_dense, add_logits, draw_seeds

layers = keras.layers
CELLS = {"simple": layers.SimpleRNN, "gru": layers.GRU, "lstm": layers.LSTM}


def build_bag_of_ngrams(
    *, length: int, n_ngrams: int, n_words: int, n_outputs: int, dtype: str = "float32", seed: int = 0
) -> keras.Model:
    """A linear model of words, pairs of words and runs of characters, which begins as naive Bayes (Wang and Manning,
    2012, https://aclanthology.org/P12-2018): hard to beat on short texts, and learnt in seconds. In float32 always.

    `n_ngrams` are known, the first `n_words` of them words and pairs.
    """
    del dtype, seed  # nothing is drawn, and nothing is multiplied that a shorter type would make faster
    numbers = keras.Input((length,), dtype="int32", name="ngrams")
    return keras.Model(numbers, WeighNgrams(n_ngrams, n_words, n_outputs, name="logits")(numbers), name="bag_of_ngrams")


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

    `n_words` is the number of word numbers.
    """
    seeds = draw_seeds(seed)
    words, vectors = _embed(length, n_words, embedding, dtype, seeds)
    hidden = AverageWords(dtype=dtype, name="average")([vectors, words])
    hidden = add_dense(hidden, dense, activation, dropout, dtype=dtype, seeds=seeds)
    return keras.Model(words, add_logits(hidden, n_outputs, seeds=seeds), name="bag_of_words")


def build_rnn(
    *,
    length: int,
    n_words: int,
    n_outputs: int,
    dtype: str = "float32",
    seed: int = 0,
    embedding: int = 64,
    cell: str = "gru",
    units: int = 64,
    bidirectional: bool = False,
    dense: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.0,
) -> keras.Model:
    """Words read one after the other by a recurrent layer, whose last state is what the answer is made of; padding is
    not read. `cell` is "simple" (Elman, 1990), "gru" (Cho et al., 2014) or "lstm" (Hochreiter and Schmidhuber, 1997);
    `bidirectional` reads from the end, too. In float32: rounding adds up over many words."""
    del dtype
    seeds = draw_seeds(seed)
    words, vectors = _embed(length, n_words, embedding, "float32", seeds)

    def read(name: str, *, backwards: bool = False) -> keras.KerasTensor:
        starts: dict[str, Any] = {
            "kernel_initializer": keras.initializers.GlorotUniform(seed=next(seeds)),
            "recurrent_initializer": keras.initializers.Orthogonal(seed=next(seeds)),
        }
        layer = CELLS[cell](units, go_backwards=backwards, dtype="float32", name=name, **starts)
        return layer(vectors, mask=keras.ops.not_equal(words, 0))

    hidden = read("forwards")
    if bidirectional:
        hidden = layers.Concatenate(name="both")([hidden, read("backwards", backwards=True)])
    hidden = add_dense(hidden, dense, activation, dropout, dtype="float32", seeds=seeds)
    return keras.Model(words, add_logits(hidden, n_outputs, seeds=seeds), name="rnn")


def build_textcnn(
    *,
    length: int,
    n_words: int,
    n_outputs: int,
    dtype: str = "float32",
    seed: int = 0,
    embedding: int = 64,
    filters: Sequence[int] = (64, 64, 64),
    kernel_size: int = 3,
    dense: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.0,
) -> keras.Model:
    """Convolutions over several widths, each reduced to its largest answer anywhere in the text (Kim, 2014,
    arXiv:1408.5882). `filters` has one number a width: the first sees `kernel_size` words in a row, each next one a
    word more. Raises `RecipeError` when the narrowest is wider than the texts."""
    if kernel_size > length:
        raise RecipeError(
            f"model.kernel_size: convolutions over {kernel_size:,} words in a row do not fit texts of {length:,} words",
            hint=f"set model.kernel_size to {length} or less",
        )
    seeds = draw_seeds(seed)
    words, vectors = _embed(length, n_words, embedding, dtype, seeds)
    found = []
    for width, n_filters in enumerate(filters, start=kernel_size):
        weights: Any = keras.initializers.HeNormal(seed=next(seeds))
        convolve = layers.Conv1D(
            n_filters,
            width,
            padding="same",
            activation=activation,
            kernel_initializer=weights,
            dtype=dtype,
            name=f"words{width}",
        )
        found.append(layers.GlobalMaxPooling1D(dtype=dtype, name=f"largest{width}")(convolve(vectors)))
    hidden = layers.Concatenate(dtype=dtype, name="all")(found) if len(found) > 1 else found[0]
    hidden = add_dense(hidden, dense, activation, dropout, dtype=dtype, seeds=seeds)
    return keras.Model(words, add_logits(hidden, n_outputs, seeds=seeds), name="textcnn")


def build_transformer(
    *,
    length: int,
    n_words: int,
    n_outputs: int,
    dtype: str = "float32",
    seed: int = 0,
    embedding: int = 64,
    heads: int = 4,
    blocks: int = 2,
    dense: Sequence[int] = (),
    activation: str = "gelu",
    dropout: float = 0.0,
) -> keras.Model:
    """An encoder (Vaswani et al., 2017, arXiv:1706.03762), normalised before each part, with learnt places for `length`
    words; the average of the words' last vectors is what the answer is made of. Padding is not attended to. Raises
    `RecipeError` when `embedding` cannot be split over the heads."""
    if embedding % heads:
        fit = max(embedding // heads, 1) * heads
        raise RecipeError(
            f"model.embedding: {embedding} does not split evenly over {heads} heads",
            hint=f"set model.embedding to {fit} or {fit + heads}, or model.heads to a divisor of {embedding}",
        )
    seeds = draw_seeds(seed)
    words, hidden = _embed(length, n_words, embedding, dtype, seeds)
    hidden = AddPositions(seed=next(seeds), dtype=dtype, name="positions")(hidden)
    seen = keras.ops.expand_dims(keras.ops.not_equal(words, 0), 1)
    for number in range(1, blocks + 1):
        hidden = _attend(hidden, seen, heads, activation, dropout, dtype=dtype, seeds=seeds, name=f"block{number}")
    hidden = layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name="norm")(hidden)
    hidden = AverageWords(dtype=dtype, name="average")([hidden, words])
    hidden = add_dense(hidden, dense, activation, dropout, dtype=dtype, seeds=seeds)
    return keras.Model(words, add_logits(hidden, n_outputs, seeds=seeds), name="transformer")


def _attend(
    hidden: Any, seen: Any, heads: int, activation: str, dropout: float, *, dtype: str, seeds: Iterator[int], name: str
) -> Any:
    """Self-attention and two dense layers, each added to what was there. `seen` bool [n, 1, words]."""
    width = hidden.shape[-1]

    def start() -> Any:
        return keras.initializers.GlorotUniform(seed=next(seeds))

    def norm(part: str) -> Any:
        return layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name=f"{name}_norm_{part}")

    def drop(tensor: Any, part: str) -> Any:
        return layers.Dropout(dropout, seed=next(seeds), dtype=dtype, name=f"{name}_dropout_{part}")(tensor)

    normed = norm("attention")(hidden)
    attention = layers.MultiHeadAttention(
        heads, width // heads, kernel_initializer=start(), dtype=dtype, name=f"{name}_attention"
    )
    found = attention(normed, normed, attention_mask=seen)
    hidden = layers.Add(dtype=dtype, name=f"{name}_add_attention")([hidden, drop(found, "attention")])
    inner = layers.Dense(
        4 * width, activation=activation, kernel_initializer=start(), dtype=dtype, name=f"{name}_dense1"
    )(norm("dense")(hidden))
    outer = layers.Dense(width, kernel_initializer=start(), dtype=dtype, name=f"{name}_dense2")(inner)
    return layers.Add(dtype=dtype, name=f"{name}_add_dense")([hidden, drop(outer, "dense")])


def _embed(length: int, n_words: int, width: int, dtype: str, seeds: Iterator[int]) -> tuple[Any, Any]:
    """Word numbers int32 [n, length], and the vectors [n, length, width] that stand for them."""
    words = keras.Input((length,), dtype="int32", name="words")
    start: Any = keras.initializers.RandomUniform(-0.05, 0.05, seed=next(seeds))
    embed = layers.Embedding(n_words, width, embeddings_initializer=start, dtype=dtype, name="embedding")
    return words, embed(words)
