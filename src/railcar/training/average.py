"""Averages of the weights over the last steps, which are evaluated and kept in place of the weights themselves.

Late in a training the weights circle around a good place; their average lies nearer to it (Polyak and Juditsky, 1992;
Izmailov et al., 2018). With `lookahead` the training itself goes on from the average (Zhang et al., 2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


class WeightAverage:
    """An exponential moving average of all of `model`'s variables, moved every `every` steps.

    `decay` is that of one step. The average starts at the first weights, so early on it follows them faster: by
    (1 + k) / (10 + k) at the k-th move where that is less; with `lookahead` by (step / n_steps)^3 of its decay.
    `variables` are in the model's order with its names, so that a checkpoint of them fits the model. Variables that are
    no floating-point numbers (the state of dropout) are copied.
    """

    def __init__(self, model: keras.Model, *, decay: float, every: int, lookahead: bool, n_steps: int) -> None:
        self.every = every
        self._decay = decay**every
        self._lookahead = lookahead
        self._n_steps = n_steps
        self._model = model.variables
        self.variables = [
            # A copy: a variable made from another's value shares its buffer.
            keras.Variable(one.numpy().copy(), trainable=False, dtype=one.dtype, name=one.name)
            for one in self._model
        ]

    def update(self, step: Any) -> None:
        """Move the average if it is time. `step` int64 scalar: the steps done. In a graph or eagerly."""
        tf.cond(tf.equal(step % self.every, 0), lambda: self._move(step), lambda: None)

    def _move(self, step: Any) -> None:
        kept = self._kept(tf.cast(step, tf.float32))
        for average, variable in zip(self.variables, self._model, strict=True):
            value = variable.value
            if not value.dtype.is_floating:
                average.assign(value)
                continue
            average.assign(average.value + (1.0 - kept) * (value - average.value))
            if self._lookahead:
                variable.assign(average.value)

    def _kept(self, step: Any) -> Any:
        if self._lookahead:
            return self._decay * tf.pow(step / self._n_steps, 3.0)
        n_moves = step / self.every
        return tf.minimum(self._decay, (1.0 + n_moves) / (10.0 + n_moves))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While entered, the model has the averages; then its own weights again."""
        # Not the state of dropout: it is another on each replica, and outside training nobody draws.
        pairs = [
            (variable, average)
            for variable, average in zip(self._model, self.variables, strict=True)
            if "float" in str(variable.dtype)
        ]
        own = [variable.numpy() for variable, _ in pairs]
        for variable, average in pairs:
            variable.assign(average.value)
        try:
            yield
        finally:
            for (variable, _), value in zip(pairs, own, strict=True):
                variable.assign(value)
