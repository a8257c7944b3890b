"""Raw texts -> numbers of words, inside the model: standardised, split at spaces, looked up, cut or padded.

The data of a training is encoded by the same layer when it is prepared, so training and prediction cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

FIRST_WORD = 2
"""The number of the vocabulary's first word; 0 is no word, and 1 one that the vocabulary has not."""
# Scripts that put no spaces between words: each of their characters counts as a word.
_UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"


@keras.saving.register_keras_serializable("railcar")
def standardize_text(texts: Any) -> Any:
    """string [...] -> string [...]: lower case, without HTML tags; words (letters, digits and apostrophes), and the
    marks `!` and `?`, each with a space between."""
    plain = tf.strings.regex_replace(tf.strings.lower(texts, encoding="utf-8"), r"<[a-z/!][^>]*>", " ")
    plain = tf.strings.regex_replace(plain, r"[^\p{L}\p{M}\p{N}'\x{2019}!?]+", " ")
    plain = tf.strings.regex_replace(plain, r"([!?])", r" \1 ")
    return tf.strings.strip(tf.strings.regex_replace(plain, _UNSPACED, r" \1 "))


def build_text_encoder(encoding: Mapping[str, Any]) -> keras.layers.Layer:
    """string [n] -> int64 [n, length]. `encoding` has `vocabulary`, the words from number 2 on (0 is no word, 1 an
    unknown one), and `length`, the number of words that are kept of a text."""
    standardize: Any = standardize_text  # Keras' annotation knows names only
    return keras.layers.TextVectorization(
        standardize=standardize,
        split="whitespace",
        output_mode="int",
        output_sequence_length=encoding["length"],
        vocabulary=list(encoding["vocabulary"]),
        name="encode",
    )


def split_words(texts: Any) -> tuple[Any, Any]:
    """string [n] -> the words of all texts, string [total], and how many each has, int64 [n]."""
    words = tf.strings.split(standardize_text(texts))
    return words.values, words.row_lengths()
