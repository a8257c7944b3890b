"""Vectors of words -> ones that know their place, or one of the whole text."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("railcar")
class AverageWords(keras.layers.Layer):
    """[vectors [n, words, width], words int [n, words]] -> [n, width]: the mean of the vectors of the words that are
    there (their number is not 0); zeros for a text without any."""

    def call(self, inputs: Any) -> Any:
        vectors, words = inputs
        weights = tf.cast(tf.not_equal(words, 0), vectors.dtype)[..., None]
        total = tf.reduce_sum(vectors * weights, axis=1)
        return total / tf.maximum(tf.reduce_sum(weights, axis=1), tf.cast(1.0, vectors.dtype))

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        vectors = inputs[0]
        return keras.KerasTensor((vectors.shape[0], vectors.shape[2]), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("railcar")
class AddPositions(keras.layers.Layer):
    """[n, words, width] -> the same, with a learnt vector for each place added."""

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        start: Any = keras.initializers.RandomUniform(-0.05, 0.05, seed=self.seed)
        self.places = self.add_weight(name="places", shape=tuple(input_shape[1:]), initializer=start)

    def call(self, vectors: Any) -> Any:
        return vectors + tf.cast(tf.convert_to_tensor(self.places), vectors.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}
