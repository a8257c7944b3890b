"""Training a network of the user's own that is compiled: by its own optimizer, loss, metrics and train_step.

Owns what a step of such a network is to the loop, and labels in the form that its loss takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from railcar.training.optimizer import Schedule

# Losses that compare one number for each class.
_ONE_HOT = ("crossentropy", "mean_squared_error", "mse", "mean_absolute_error", "kl_divergence", "hinge", "focal")
_ACCURACIES = ("accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy")


class OwnRate(Schedule):
    """The learning rate of an optimizer that was made elsewhere, for records."""

    def __init__(self, optimizer: Any) -> None:
        super().__init__("constant", peak=float(optimizer.learning_rate), warmup_steps=0, n_steps=1)
        self._optimizer = optimizer

    def value_at(self, step: int) -> float:
        rate = getattr(self._optimizer, "_learning_rate", None)
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            return float(rate(step))
        return float(self._optimizer.learning_rate)


def is_compiled(model: Any) -> bool:
    return getattr(model, "optimizer", None) is not None


def describe_compiled(model: Any) -> str:
    """Its optimizer and loss, in a few words."""
    optimizer = model.optimizer
    loss = model.loss
    name = loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", None)
    step = "" if type(model).train_step is keras.Model.train_step else ", its own train_step"
    rate = float(optimizer.learning_rate)
    return f"{type(optimizer).__name__} {rate:g}, loss {name or 'its own'}{step}"


def choose_targets(model: Any, n_units: int, n_outputs: int, *, is_number: bool) -> Callable[[Any], Any]:
    """From labels int32 [n] (of a regression float32 [n]) to what the model's loss compares with: one-hot float32
    [n, n_outputs] where it needs one number for each of `n_units`, float32 [n, 1] for one unit, else the labels."""
    loss = model.loss
    name = str(loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "")).lower()
    if is_number or n_units == 1:
        return lambda labels: tf.cast(labels, tf.float32)[:, None]
    if "sparse" not in name and any(word in name for word in _ONE_HOT):
        return lambda labels: tf.one_hot(labels, n_outputs)
    return lambda labels: labels


def build_own_learning(
    network: keras.Model, inner: Any, prepare: Any, *, n_outputs: int, is_number: bool, unit: float | None
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """One step of `inner` by its own train_step: inputs as `network` takes them and labels -> its loss, and how many
    answers were right (of a regression the sum of absolute errors in the targets' `unit`)."""
    n_units = network.get_layer("answer").input.shape[-1]
    targets = choose_targets(inner, n_units, n_outputs, is_number=is_number)

    def learn(inputs: Any, labels: Any) -> tuple[Any, Any]:
        given = prepare(inputs) if prepare is not None else inputs
        for metric in inner.metrics:
            metric.reset_state()
        logs = inner.train_step((given, targets(labels)))
        loss = tf.cast(logs["loss"] if "loss" in logs else next(iter(logs.values())), tf.float32)
        n = tf.cast(tf.shape(labels)[0], tf.float32)
        found = next((logs[key] for key in _ACCURACIES if key in logs), None)
        if found is not None and not is_number:
            return loss, tf.cast(found, tf.float32) * n
        answers = network(inputs, training=False)
        if is_number:
            return loss, tf.reduce_sum(tf.abs(answers[:, 0] - tf.cast(labels, tf.float32))) * (unit or 1.0)
        right = tf.equal(tf.argmax(answers, axis=-1, output_type=tf.int32), tf.cast(labels, tf.int32))
        return loss, tf.reduce_sum(tf.cast(right, tf.float32))

    return learn


def begin(inner: Any, given: Any, labels: Any, targets: Callable[[Any], Any]) -> None:
    """Make the variables of its optimizer and its metrics, before they are needed in a graph: one batch is measured."""
    inner.optimizer.build(inner.trainable_variables)
    if inner.loss is not None:  # else its own train_step knows what it needs
        inner.test_on_batch(given, targets(labels))
        inner.reset_metrics()
