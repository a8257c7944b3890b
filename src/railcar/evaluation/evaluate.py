"""A split through a model, batch by batch. Owns the compiled forward pass; what the numbers mean is `metrics.py`'s."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.data.pipeline import iterate
from railcar.data.types import Split
from railcar.evaluation.metrics import log_loss

_BATCH_PIXELS = 400_000


class Evaluator:
    """The forward pass of `model`, compiled once for images uint8 [n, *image_shape] of any n."""

    def __init__(self, model: keras.Model, image_shape: tuple[int, int, int]) -> None:
        self._batch_size = int(np.clip(_BATCH_PIXELS // int(np.prod(image_shape)), 16, 500))
        signature = [tf.TensorSpec([None, *image_shape], tf.uint8)]

        def forward(images: Any) -> Any:
            return model(images, training=False)

        self._forward = tf.function(forward, input_signature=signature, autograph=False).get_concrete_function()

    def logits(self, split: Split) -> NDArray[np.float32]:
        """float32 [n, n_classes], in the split's order."""
        parts = [self._forward(tf.constant(images)).numpy() for images, _ in iterate(split, self._batch_size)]
        return np.concatenate(parts)

    def measure(self, split: Split) -> dict[str, float]:
        """Mean cross entropy and accuracy over the whole split."""
        logits, labels = self.logits(split), split.label_array()
        right = logits.argmax(axis=-1) == labels
        return {"loss": float(log_loss(logits, labels).mean()), "accuracy": float(right.mean())}
