"""Raw texts -> numbers of n-grams, and their weighted sum: the two ends of a linear classifier of texts.

Words and pairs of words, and runs of characters within words, each once a text. Owns how they are cut, numbered and
weighed; which are known is fitted by `data/encode.py`. Numbers: 0 is none, then the vocabulary's, words first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.layers.texts import standardize_text

N_WORDS = 2
"""The most words in a row."""
CHARACTERS = (2, 5)
"""Fewest and most characters in a row, of a word with `EDGE` at either end."""
EDGE = "_"
MARK = "#"
"""Begins the spelling of a run of characters; no word has it (`standardize_text`)."""
# What votes count at first: n-grams that overlap say the same several times, so that all of them would be too sure.
_TRUST = 0.3
# How often each n-gram counts as seen in a class before any text is looked at; 1 is 0.2 points worse on film reviews.
_UNSEEN = 0.5


def split_ngrams(texts: Any) -> Any:
    """string [n] -> string [n, (n-grams)]: words, then pairs of words, then characters; as often as they occur."""
    words = tf.strings.split(standardize_text(texts))
    parts = [words, *(tf.strings.ngrams(words, n) for n in range(2, N_WORDS + 1))]
    edged = tf.ragged.map_flat_values(lambda word: tf.strings.join([EDGE, word, EDGE]), words)
    characters = tf.strings.unicode_split(edged, "UTF-8")
    fewest, most = CHARACTERS
    for n in range(fewest, most + 1):
        runs = tf.strings.ngrams(characters, n, separator="").merge_dims(1, 2)
        parts.append(tf.ragged.map_flat_values(lambda run: tf.strings.join([MARK, run]), runs))
    return tf.concat(parts, axis=1)


@keras.saving.register_keras_serializable("railcar")
class EncodeNgrams(keras.layers.Layer):
    """string [n] -> int32 [n, length]: the numbers of the n-grams of each text that `vocabulary` has, each once, padded
    with 0; what is beyond `length` is left out, characters first."""

    def __init__(self, vocabulary: Iterable[str], length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary = list(vocabulary)
        self.length = length
        self.lookup = keras.layers.StringLookup(vocabulary=self.vocabulary, num_oov_indices=1, name="lookup")

    def build(self, input_shape: Any) -> None:
        self.lookup.build(input_shape)

    def call(self, texts: Any) -> Any:
        ngrams = split_ngrams(texts)
        numbers = tf.cast(self.lookup(ngrams.flat_values), tf.int64)
        rows = tf.cast(ngrams.value_rowids(), tf.int64)
        is_known = numbers > 0
        n_numbers = len(self.vocabulary) + 1
        both, _ = tf.unique(tf.boolean_mask(rows * n_numbers + numbers, is_known))
        found: Any = tf.RaggedTensor  # its constructors are not in TensorFlow's types
        found = found.from_value_rowids(both % n_numbers, both // n_numbers, nrows=ngrams.nrows())
        return tf.cast(found.to_tensor(shape=(None, self.length)), tf.int32)

    def compute_output_spec(self, texts: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((texts.shape[0], self.length), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vocabulary": self.vocabulary, "length": self.length}


def build_ngram_encoder(encoding: Mapping[str, Any]) -> keras.layers.Layer:
    """string [n] -> int32 [n, length], as `encoding` says: `vocabulary` and `length`."""
    return EncodeNgrams(encoding["vocabulary"], encoding["length"], name="encode")


def count_words(vocabulary: Iterable[str]) -> int:
    """How many of the n-grams are words or pairs of them: the first ones."""
    return sum(not one.startswith(MARK) for one in vocabulary)


@keras.saving.register_keras_serializable("railcar")
class WeighNgrams(keras.layers.Layer):
    """int [n, length] -> float32 [n, n_outputs]: a linear model of what the n-grams say.

    Each n-gram counts by its rarity (inverse document frequency); those of words and those of characters are scaled to
    length 1 apart, so that neither drowns the other. It votes for a class by the log-ratio of how often it occurs there
    (`adapt`), times a factor that is learnt: naive Bayes to begin with, logistic regression in the end (Wang and
    Manning, 2012, "Baselines and Bigrams"). `n_ngrams` is the size of the vocabulary, `n_words` its first part.
    """

    def __init__(self, n_ngrams: int, n_words: int, n_outputs: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.n_ngrams = n_ngrams
        self.n_words = n_words
        self.n_outputs = n_outputs

    def build(self, input_shape: Any) -> None:
        shape = (self.n_ngrams + 1, self.n_outputs)
        self.rarity = self.add_weight(name="rarity", shape=shape[:1], initializer="ones", trainable=False)
        self.ratio = self.add_weight(name="ratio", shape=shape, initializer="ones", trainable=False)
        start: Any = keras.initializers.Constant(_TRUST)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=start)
        self.bias = self.add_weight(name="bias", shape=(self.n_outputs,), initializer="zeros")

    def call(self, numbers: Any) -> Any:
        rarity = tf.gather(tf.convert_to_tensor(self.rarity), numbers)
        is_word = tf.logical_and(numbers > 0, numbers <= self.n_words)
        is_characters = numbers > self.n_words
        weights = _scale_to_one(rarity, is_word) + _scale_to_one(rarity, is_characters)
        votes = tf.gather(tf.convert_to_tensor(self.ratio) * tf.convert_to_tensor(self.kernel), numbers)
        return tf.einsum("nl,nlo->no", weights, votes) + self.bias

    def compute_output_spec(self, numbers: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((numbers.shape[0], self.n_outputs), dtype="float32")

    def adapt(self, blocks: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> None:
        """Set rarity and ratios from training texts, (numbers [n, length], class numbers [n]) a block."""
        counts = np.zeros((self.n_outputs, self.n_ngrams + 1))
        n_texts = 0
        for numbers, labels in blocks:
            n_texts += len(labels)
            for label in np.unique(labels):
                seen = numbers[labels == label]
                counts[label] += np.bincount(seen[seen > 0], minlength=self.n_ngrams + 1)
        total = counts.sum(axis=0)
        self.rarity.assign(np.log((1 + n_texts) / (1 + total)) + 1)
        here, elsewhere = counts + _UNSEEN, total - counts + _UNSEEN
        ratio = np.log(here / here.sum(axis=1, keepdims=True)) - np.log(
            elsewhere / elsewhere.sum(axis=1, keepdims=True)
        )
        self.ratio.assign(ratio.T)

    def get_config(self) -> dict[str, Any]:
        sizes = {"n_ngrams": self.n_ngrams, "n_words": self.n_words, "n_outputs": self.n_outputs}
        return {**super().get_config(), **sizes}


def _scale_to_one(weights: Any, is_there: Any) -> Any:
    """[n, length], zero where `is_there` is not, each row of length 1 if it has any."""
    weights = tf.where(is_there, weights, 0.0)
    return weights * tf.math.rsqrt(tf.maximum(tf.reduce_sum(weights**2, axis=1, keepdims=True), 1e-12))
