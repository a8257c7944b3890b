"""Batch normalisation by TensorFlow's fused kernel.

Keras' own layer computes moments and scaling in about ten passes over the activations, in float32 even under a 16-bit
policy; on a CPU that costs more than the convolution before it (`docs/concepts/performance.md`). Variables
and configuration are Keras' own; so is the mathematics, but for the variance's divisor in the moving average.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("railcar")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """[n, height, width, channels] -> the same, normalised over all axes but the last (Ioffe and Szegedy, 2015).

    Statistics and variables are float32; input and output have the compute dtype. In training the moving averages move
    by 1 - momentum, with the unbiased variance, as TensorFlow's kernel returns it.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        gamma, beta = self._scale_and_offset(inputs.shape[-1])
        if training and self.trainable:
            normal, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs, gamma, beta, epsilon=self.epsilon, is_training=True
            )
            for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                _move(average, value, self.momentum)
            return normal
        normal, _, _ = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            gamma,
            beta,
            mean=tf.cast(self.moving_mean, tf.float32),
            variance=tf.cast(self.moving_variance, tf.float32),
            epsilon=self.epsilon,
            is_training=False,
        )
        return normal

    def _scale_and_offset(self, n_channels: int) -> tuple[Any, Any]:
        """float32 [channels] each; ones and zeros where the layer was made without."""
        gamma = tf.cast(self.gamma, tf.float32) if self.scale else tf.ones((n_channels,), tf.float32)
        beta = tf.cast(self.beta, tf.float32) if self.center else tf.zeros((n_channels,), tf.float32)
        return gamma, beta


def _move(average: Any, value: Any, momentum: float) -> None:
    average.assign(average * momentum + value * (1.0 - momentum))
