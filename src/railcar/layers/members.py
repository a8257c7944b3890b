"""Many networks in one that share most of their weights: TabM (Gorishniy et al., 2024, arXiv:2410.24210).

Each member has vectors of its own that scale what goes into a layer and what comes out (BatchEnsemble: Wen et al.,
2020, arXiv:2002.06715). In training each answers for itself, outside training they answer together.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("railcar")
class MemberDense(keras.layers.Layer):
    """[n, width], or [n, members, width] from a layer before -> [n, members, units]. With `differ` the members begin
    from different views of their input: signs drawn from `seed`."""

    def __init__(
        self,
        units: int,
        members: int,
        *,
        activation: str | None = None,
        differ: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.members = members
        self.activation = keras.activations.get(activation)
        self.differ = differ
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        width = int(input_shape[-1])
        start: Any = keras.initializers.HeNormal(seed=self.seed)
        signs: Any = _Signs(seed=self.seed + 1) if self.differ else "ones"
        self.kernel = self.add_weight(name="kernel", shape=(width, self.units), initializer=start)
        self.scale_in = self.add_weight(name="scale_in", shape=(self.members * width,), initializer=signs)
        self.scale_out = self.add_weight(name="scale_out", shape=(self.members * self.units,), initializer="ones")
        self.bias = self.add_weight(name="bias", shape=(self.members * self.units,), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        if len(inputs.shape) == 2:
            inputs = inputs[:, None]
        scaled = inputs * tf.reshape(tf.cast(self.scale_in.value, inputs.dtype), (self.members, -1))
        found = tf.einsum("nmi,iu->nmu", scaled, tf.cast(self.kernel.value, inputs.dtype))
        scale, bias = (
            tf.reshape(tf.cast(one.value, inputs.dtype), (self.members, -1)) for one in (self.scale_out, self.bias)
        )
        return self.activation(found * scale + bias)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((inputs.shape[0], self.members, self.units), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        settings = {"units": self.units, "members": self.members, "differ": self.differ, "seed": self.seed}
        return {**super().get_config(), **settings, "activation": keras.activations.serialize(self.activation)}


@keras.saving.register_keras_serializable("railcar")
class MemberAnswers(keras.layers.Layer):
    """[n, members, width] -> in training float32 [n, members, n_outputs]: each member's own logits; else [n,
    n_outputs]: the logarithm of their mean probabilities, or with one output the mean of their numbers."""

    def __init__(self, n_outputs: int, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.n_outputs = n_outputs
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        _, members, width = input_shape
        start: Any = keras.initializers.RandomUniform(-(width**-0.5), width**-0.5, seed=self.seed)
        self.kernel = self.add_weight(name="kernel", shape=(members, width, self.n_outputs), initializer=start)
        self.bias = self.add_weight(name="bias", shape=(members, self.n_outputs), initializer="zeros")

    def call(self, inputs: Any, training: bool = False) -> Any:
        answers = tf.einsum("nmi,mio->nmo", tf.cast(inputs, tf.float32), self.kernel.value)
        answers += self.bias.value
        if training:
            return answers
        if self.n_outputs == 1:
            return tf.reduce_mean(answers, axis=1)
        return tf.math.log(tf.reduce_mean(tf.nn.softmax(answers), axis=1) + 1e-12)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((inputs.shape[0], self.n_outputs), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_outputs": self.n_outputs, "seed": self.seed}


@keras.saving.register_keras_serializable("railcar")
class _Signs(keras.initializers.Initializer):
    """1 or -1, each half of the time."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
        drawn: Any = keras.random.uniform(shape, seed=self.seed)
        return tf.cast(tf.where(drawn < 0.5, -1.0, 1.0), dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}
