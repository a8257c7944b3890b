"""Muon: momentum whose update is made orthogonal, for the filters of convolutions (Jordan et al., 2024).

A momentum matrix has few large directions; making all its singular values equal lets the rare ones learn as fast. On
CIFAR-10 that takes a fifth fewer epochs than SGD to the same accuracy. Knows nothing of the loop.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic whose slope at zero is largest (Jordan et al., 2024)
_OTHER_MOMENTUM = 0.85


class Muon(keras.optimizers.Optimizer):
    """Kernels of convolutions (variables of four dimensions) get Muon with Nesterov `momentum`, and before each step
    their norm is set to the square root of their number of filters, so that `learning_rate` is a turn and not a length.
    The others get SGD with Nesterov momentum 0.85: biases at `bias_learning_rate`, the rest at `head_learning_rate`,
    both following the same schedule; `decay` is what these lose a step at the peak, before momentum.

    `learning_rate` is a schedule with a `peak` (`optimizer.Schedule`). Mean losses are assumed.
    """

    def __init__(
        self,
        learning_rate: Any,
        *,
        momentum: float = 0.6,
        bias_learning_rate: float,
        head_learning_rate: float,
        decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.peak = learning_rate.peak
        self.momentum = momentum
        self.bias_learning_rate = bias_learning_rate
        self.head_learning_rate = head_learning_rate
        self.decay = decay

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        momentum = self.momentums[index]
        share = tf.cast(learning_rate, tf.float32) / self.peak
        if len(variable.shape) == 4:
            self._turn(gradient, variable, momentum, share)
            return
        peak = self.bias_learning_rate if len(variable.shape) == 1 else self.head_learning_rate
        value = tf.convert_to_tensor(variable)
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=momentum.value.handle,
            lr=share * peak,
            grad=gradient + (self.decay / peak) * value if self.decay else gradient,
            momentum=_OTHER_MOMENTUM,
            use_nesterov=True,
        )

    def _turn(self, gradient: Any, variable: Any, momentum: Any, share: Any) -> None:
        gathered = self.momentum * momentum.value + gradient
        momentum.assign(gathered)
        n_filters = variable.shape[-1]
        matrix = tf.reshape(gradient + self.momentum * gathered, (-1, n_filters))
        update = tf.reshape(make_orthogonal(matrix), variable.shape)
        value = tf.convert_to_tensor(variable)
        value = value * (math.sqrt(n_filters) / (tf.norm(value) + 1e-7))
        variable.assign(value - share * self.peak * update)


def make_orthogonal(matrix: Any, n_iterations: int = 3) -> Any:
    """float32 [m, n] -> nearly the nearest matrix whose singular values are all one (they come between 0.5 and 1.5), by
    a Newton-Schulz iteration: matrix products only."""
    is_tall = matrix.shape[0] > matrix.shape[1]
    result = tf.transpose(matrix) if is_tall else matrix
    result = result / (tf.norm(result) + 1e-7)
    first, third, fifth = _COEFFICIENTS
    for _ in range(n_iterations):
        square = tf.matmul(result, result, transpose_b=True)
        result = first * result + tf.matmul(third * square + fifth * tf.matmul(square, square), result)
    return tf.transpose(result) if is_tall else result
