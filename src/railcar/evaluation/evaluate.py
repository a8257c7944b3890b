"""A split through a model, batch by batch. Owns the compiled forward pass; what the numbers mean is `metrics.py`'s."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.data.pipeline import iterate
from railcar.data.types import Features, Split
from railcar.evaluation.metrics import log_loss

_BATCH_NUMBERS = 400_000


class Evaluator:
    """The forward pass of `network`, compiled once for what it takes of data of these features."""

    def __init__(self, network: keras.Model, features: Features) -> None:
        self._features = features
        self._batch_size = int(np.clip(_BATCH_NUMBERS // max(int(np.prod(features.input_shape)), 1), 16, 500))
        signature = [tf.TensorSpec([None, *features.input_shape], features.dtype)]

        def forward(images: Any) -> Any:
            return network(images, training=False)

        self._forward = tf.function(forward, input_signature=signature, autograph=False).get_concrete_function()

    def logits(self, split: Split) -> NDArray[np.float32]:
        """float32 [n, n_classes], in the split's order."""
        parts = [self._forward(tf.constant(images)).numpy() for images, _ in iterate(split, self._batch_size)]
        return np.concatenate(parts)

    def measure(self, split: Split) -> dict[str, float]:
        """Mean cross entropy and accuracy over the whole split; of a regression the mean squared error of the scaled
        targets, and the mean absolute error in their own unit."""
        logits, labels = self.logits(split), split.label_array()
        if self._features.target is not None:
            errors = logits[:, 0].astype(np.float64) - labels
            return {"loss": float((errors**2).mean()), "mae": float(np.abs(errors).mean() * self._features.target[1])}
        right = logits.argmax(axis=-1) == labels
        return {"loss": float(log_loss(logits, labels).mean()), "accuracy": float(right.mean())}
