"""Several optimizer steps in one compiled call: the hot code.

One step is forward, loss, backward and optimizer. Between steps nothing returns to Python. Knows nothing of epochs,
records or files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Steps = Callable[[NDArray[np.uint8], NDArray[np.int32]], tuple[NDArray[np.float32], NDArray[np.float32]]]


def compile_steps(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, *, batch_shape: tuple[int, ...], compile: str
) -> Steps:
    """A function (images uint8 [n, batch, height, width, channels], labels int32 [n, batch]) -> (losses, hits) that
    makes n steps; losses float32 [n] are mean softmax cross entropies, hits float32 [n] numbers of right answers.

    `batch_shape` is (batch, height, width, channels); `compile` is "eager", "graph" or "xla". n may differ from call
    to call without a new trace.
    """

    def one_step(images: Any, labels: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(losses)
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        right = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
        return loss, tf.reduce_sum(tf.cast(right, tf.float32))

    if compile == "eager":
        return _as_arrays(_eager_steps(one_step))
    step = tf.function(one_step, jit_compile=True) if compile == "xla" else one_step
    return _as_arrays(_graph_steps(step, batch_shape))


def _eager_steps(one_step: Callable[..., Any]) -> Callable[..., Any]:
    def run(images: Any, labels: Any) -> tuple[Any, Any]:
        pairs = [one_step(tf.constant(batch), tf.constant(marks)) for batch, marks in zip(images, labels, strict=True)]
        return tf.stack([loss for loss, _ in pairs]), tf.stack([hits for _, hits in pairs])

    return run


def _graph_steps(one_step: Callable[..., Any], batch_shape: tuple[int, ...]) -> Callable[..., Any]:
    def run(images: Any, labels: Any) -> tuple[Any, Any]:
        n_steps = tf.shape(images)[0]
        record = [tf.TensorArray(tf.float32, size=n_steps) for _ in range(2)]

        def body(index: Any, losses: Any, hits: Any) -> tuple[Any, Any, Any]:
            loss, n_right = one_step(images[index], labels[index])
            return index + 1, losses.write(index, loss), hits.write(index, n_right)

        _, losses, hits = tf.while_loop(
            lambda index, *_: index < n_steps, body, (tf.constant(0), *record), parallel_iterations=1
        )
        return losses.stack(), hits.stack()

    signature = [tf.TensorSpec([None, *batch_shape], tf.uint8), tf.TensorSpec([None, batch_shape[0]], tf.int32)]
    return tf.function(run, input_signature=signature, autograph=False)


def _as_arrays(run: Callable[..., Any]) -> Steps:
    def call(images: NDArray[np.uint8], labels: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        losses, hits = run(images, labels)
        return losses.numpy(), hits.numpy()

    return call
