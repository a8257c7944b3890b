"""Optimizers and learning-rate schedules.

Keras' optimizers update each variable in several passes over memory (about a dozen for Adam). On a CPU that costs up to
a quarter of a step, so `Adam` and `SGD` here do one variable in one fused TensorFlow kernel: the same formula, the same
variables, the same checkpoint. Knows nothing of the loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from railcar.training.muon import Muon


@dataclass(frozen=True)
class SlowPart:
    """Variables that learn at `rate` times the learning rate, and that only from step `first_step` (from 0) on."""

    variables: Sequence[Any]
    rate: float
    first_step: int


class _TwoRates:
    """For optimizers: variables of a `SlowPart` have a learning rate of their own."""

    slow: SlowPart | None = None
    iterations: Any

    def _rate_of(self, variable: Any, learning_rate: Any) -> Any:
        """float32 []."""
        rate = tf.cast(learning_rate, tf.float32)
        # Keras hands over the variables of TensorFlow inside its own
        if self.slow is None or all(one.value is not variable for one in self.slow.variables):
            return rate
        is_on = tf.convert_to_tensor(self.iterations) >= self.slow.first_step
        return tf.where(is_on, rate * self.slow.rate, 0.0)


class FusedAdam(_TwoRates, keras.optimizers.Adam):
    """Adam (Kingma and Ba, 2014, section 2's reformulation) with one kernel a variable. State as in Keras' Adam.

    With `weight_decay` it is AdamW (Loshchilov and Hutter, 2017): Keras' base class decays before the update.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, tf.float32)
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.constant(self.beta_1, tf.float32), step),
            beta2_power=tf.pow(tf.constant(self.beta_2, tf.float32), step),
            lr=self._rate_of(variable, learning_rate),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class FusedSGD(_TwoRates, keras.optimizers.SGD):
    """SGD with Nesterov momentum (Sutskever et al., 2013) with one kernel a variable. State as in Keras' SGD."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = self._rate_of(variable, learning_rate)
        if not self.momentum:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=rate,
            grad=gradient,
            momentum=self.momentum,
            use_nesterov=True,
        )


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Rises over `warmup_steps` to `peak`, then stays ("constant") or falls to zero at `n_steps` ("linear", "cosine").

    Called with the number of steps done (0 before the first); the first step of a warm-up of w has peak / w.
    """

    def __init__(self, kind: str, *, peak: float, warmup_steps: int, n_steps: int) -> None:
        self.kind = kind
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.n_steps = n_steps

    def __call__(self, step: Any) -> Any:
        step = tf.cast(step, tf.float32)
        rate = tf.constant(self.peak, tf.float32)
        if self.kind != "constant":
            length = float(max(self.n_steps - self.warmup_steps, 1))
            share = tf.clip_by_value((step - self.warmup_steps) / length, 0.0, 1.0)
            rate = rate * (1.0 - share if self.kind == "linear" else 0.5 + 0.5 * tf.cos(math.pi * share))
        if self.warmup_steps:
            rate = rate * tf.minimum((step + 1.0) / self.warmup_steps, 1.0)
        return rate

    def value_at(self, step: int) -> float:
        """The same in plain Python, for records."""
        rate = self.peak
        if self.kind != "constant":
            share = min(max((step - self.warmup_steps) / max(self.n_steps - self.warmup_steps, 1), 0.0), 1.0)
            rate *= 1.0 - share if self.kind == "linear" else 0.5 + 0.5 * math.cos(math.pi * share)
        return rate * min((step + 1) / self.warmup_steps, 1.0) if self.warmup_steps else rate

    def get_config(self) -> dict[str, Any]:
        return {"kind": self.kind, "peak": self.peak, "warmup_steps": self.warmup_steps, "n_steps": self.n_steps}


def build_optimizer(
    name: str,
    schedule: Schedule,
    *,
    model: keras.Model,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    bias_learning_rate: float | None = None,
    head_learning_rate: float | None = None,
    slow: SlowPart | None = None,
    scale_loss: bool = False,
) -> keras.optimizers.Optimizer:
    """The optimizer, its variables built for `model`. `scale_loss` wraps it in dynamic loss scaling (float16).

    Biases and normalisation (variables of one dimension) are not decayed, nor what learns as a `slow` part, which no
    optimizer but Adam and SGD has.
    """
    rate: Any = schedule
    decay = weight_decay or None
    optimizer: Any
    if name == "muon":
        rates = {"bias_learning_rate": bias_learning_rate or 0.0, "head_learning_rate": head_learning_rate or 0.0}
        optimizer, decay = Muon(rate, momentum=momentum, decay=weight_decay, **rates), None
    elif name == "sgd":
        optimizer = FusedSGD(rate, momentum=momentum, nesterov=momentum > 0, weight_decay=decay)
    else:
        optimizer = FusedAdam(rate, beta_1=beta_1, beta_2=beta_2, weight_decay=decay if name == "adamw" else None)
    if decay:
        kept = [one for one in model.trainable_variables if len(one.shape) < 2]
        optimizer.exclude_from_weight_decay([*kept, *(slow.variables if slow else ())])
    if slow is not None:
        optimizer.slow = slow
    # Keras would sum gradients over replicas, one by one; `distribute.py` has done so when they come here.
    optimizer._all_reduce_sum_gradients = lambda gradients_and_variables: gradients_and_variables
    if scale_loss:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer
