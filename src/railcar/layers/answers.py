"""What a network of somebody's own answers -> logits, which is what railcar measures and serves."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

MEANINGS = ("logits", "probabilities")
_LEAST = 1e-7


@keras.saving.register_keras_serializable("railcar")
class ToLogits(keras.layers.Layer):
    """float [n, k] -> float32 logits [n, n_outputs]. What comes in are logits or `probabilities`, as `meaning` says:
    one for each class, or of two classes only that of the second."""

    def __init__(self, n_outputs: int, meaning: str, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if meaning not in MEANINGS:
            raise ValueError(f"meaning: Expected one of {MEANINGS}. Received: {meaning!r}")
        self.n_outputs = n_outputs
        self.meaning = meaning

    def call(self, answers: Any) -> Any:
        answers = tf.cast(answers, tf.float32)
        is_single = self.n_outputs == 2 and answers.shape[-1] == 1
        if self.meaning == "probabilities":
            # As Keras' own losses clip them.
            answers = tf.clip_by_value(answers, _LEAST, 1.0 - _LEAST)
            answers = tf.math.log(answers) - tf.math.log1p(-answers) if is_single else tf.math.log(answers)
        return tf.concat([tf.zeros_like(answers), answers], axis=-1) if is_single else answers

    def compute_output_spec(self, answers: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((answers.shape[0], self.n_outputs), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_outputs": self.n_outputs, "meaning": self.meaning}
