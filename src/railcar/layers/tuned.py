"""Keras' convolution and dense layer, with gradients that can be computed in more than one way.

On a CPU, the kernels for the gradients of a convolution and of a matrix product often run at a half or a fifth of the
rate of those for the forward pass (`docs/concepts/performance.md`). Both gradients of a convolution are convolutions
themselves, and that of a product with respect to its input is a product, so the forward kernels can compute them.
Which way is faster depends on shapes, processor and number format, so it is measured: `training/kernels.py` sets
`forward_gradients`. Values, variables and configuration are Keras' own whatever it says.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

INPUT, KERNEL = "input", "kernel"
"""The two gradients of a layer: with respect to its input, and to its kernel."""


@keras.saving.register_keras_serializable("railcar")
class TunedConv2D(keras.layers.Conv2D):
    """[n, height, width, channels] -> [n, height', width', filters], as Keras' Conv2D.

    `forward_gradients`, a set of "input" and "kernel", names the gradients that forward convolutions compute; empty in
    a new layer and in a loaded one, and never saved.
    """

    forward_gradients: frozenset[str] = frozenset()

    @property
    def tunable_gradients(self) -> tuple[str, ...]:
        """Those that forward convolutions can compute: none where the filters stride, are spread out or in groups."""
        is_plain = {*self.strides, *self.dilation_rate, self.groups} == {1}
        return (INPUT, KERNEL) if is_plain and self.data_format == "channels_last" else ()

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if not self.forward_gradients:
            return super().convolution_op(inputs, kernel)
        return convolve(inputs, tf.cast(kernel, inputs.dtype), self.padding.upper(), self.forward_gradients)


@keras.saving.register_keras_serializable("railcar")
class TunedDense(keras.layers.Dense):
    """[n, inputs] -> [n, units], as Keras' Dense; `forward_gradients` as in `TunedConv2D`, of which "input" has a way
    of its own."""

    forward_gradients: frozenset[str] = frozenset()
    tunable_gradients = (INPUT,)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if INPUT not in self.forward_gradients:
            return super().call(inputs, training=training)
        result = multiply(inputs, tf.cast(self.kernel, inputs.dtype))
        if self.bias is not None:
            # Not tf.nn.bias_add: on a CPU its gradient is summed in bfloat16, and is mostly rounding.
            result = result + tf.cast(self.bias, result.dtype)
        return result if self.activation is None else self.activation(result)


def convolve(inputs: Any, kernel: Any, padding: Any, forward_gradients: frozenset[str]) -> Any:
    """A convolution with strides of 1 whose gradients are computed as `forward_gradients` says; `padding` is "SAME" or
    "VALID", `inputs` [n, height, width, channels], `kernel` [rows, columns, channels, filters]."""

    @tf.custom_gradient
    def compute(inputs: Any, kernel: Any) -> Any:
        def backward(upstream: Any) -> tuple[Any, Any]:
            to_input = differentiate_by_input(inputs, kernel, upstream, padding, INPUT in forward_gradients)
            return to_input, differentiate_by_kernel(inputs, kernel, upstream, padding, KERNEL in forward_gradients)

        return tf.nn.conv2d(inputs, kernel, strides=1, padding=padding), backward

    return compute(inputs, kernel)


def differentiate_by_input(inputs: Any, kernel: Any, upstream: Any, padding: str, is_forward: bool) -> Any:
    """`upstream` [n, height', width', filters] -> the shape of `inputs`. Forward: `upstream` convolved with the kernel
    turned by half a turn."""
    if not is_forward:
        return tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(inputs), filter=kernel, out_backprop=upstream, strides=[1] * 4, padding=padding
        )
    turned = tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2))
    rows, columns = [[side - 1 - before, side - 1 - after] for side, (before, after) in _padding(kernel, padding)]
    around: Any = [[0, 0], rows, columns, [0, 0]]
    return tf.nn.conv2d(upstream, turned, strides=1, padding=around)


def differentiate_by_kernel(inputs: Any, kernel: Any, upstream: Any, padding: str, is_forward: bool) -> Any:
    """`upstream` [n, height', width', filters] -> the shape of `kernel`. Forward: the inputs, whose channels count as
    images and whose images as channels, convolved with `upstream` as one large kernel."""
    if not is_forward:
        return tf.raw_ops.Conv2DBackpropFilter(
            input=inputs, filter_sizes=tf.shape(kernel), out_backprop=upstream, strides=[1] * 4, padding=padding
        )
    images, large = tf.transpose(inputs, (3, 1, 2, 0)), tf.transpose(upstream, (1, 2, 0, 3))
    around: Any = [[0, 0], *(list(pair) for _, pair in _padding(kernel, padding)), [0, 0]]
    return tf.transpose(tf.nn.conv2d(images, large, strides=1, padding=around), (1, 2, 0, 3))


def multiply(inputs: Any, kernel: Any) -> Any:
    """[n, inputs] times [inputs, units], with the input's gradient by `differentiate_product_by_input`."""

    @tf.custom_gradient
    def compute(inputs: Any, kernel: Any) -> Any:
        def backward(upstream: Any) -> tuple[Any, Any]:
            to_input = differentiate_product_by_input(kernel, upstream, is_forward=True)
            return to_input, tf.matmul(inputs, upstream, transpose_a=True)

        return tf.matmul(inputs, kernel), backward

    return compute(inputs, kernel)


def differentiate_product_by_input(kernel: Any, upstream: Any, is_forward: bool) -> Any:
    """`upstream` [n, units] -> [n, inputs]. Forward: the large matrix stays as it lies, and the small ones turn."""
    if not is_forward:
        return tf.matmul(upstream, kernel, transpose_b=True)
    return tf.transpose(tf.matmul(kernel, upstream, transpose_b=True))


def _padding(kernel: Any, padding: str) -> list[tuple[int, tuple[int, int]]]:
    """(size, (zeros before, zeros after)) of the kernel's rows and columns."""
    sides = [int(side) for side in kernel.shape[:2]]
    return [(side, ((side - 1) // 2, side // 2) if padding == "SAME" else (0, 0)) for side in sides]
