"""A first layer that whitens small patches of an image, by statistics of the training images.

Neighbouring pixels say nearly the same; a network whose first convolution sees decorrelated patches learns much sooner
(Page, 2018; Jordan, 2024, arXiv:2404.00498, section 3.2).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


@keras.saving.register_keras_serializable("railcar")
class WhitenPatches(keras.layers.Layer):
    """[n, height, width, channels] -> [n, height - k + 1, width - k + 1, 2 k k channels] for k = `kernel_size`.

    Each output channel is a patch along one principal direction of patches, divided by the deviation along it; then the
    same with the other sign. The kernel is fixed, set by `adapt` and zero before; the bias is trained.
    """

    def __init__(self, kernel_size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_size = kernel_size

    def build(self, input_shape: Any) -> None:
        size, channels = self.kernel_size, input_shape[-1]
        n_directions = size * size * channels
        shape = (size, size, channels, 2 * n_directions)
        self.kernel = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="kernel")
        self.bias = self.add_weight(shape=(2 * n_directions,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        kernel, bias = (tf.cast(one, self.compute_dtype) for one in (self.kernel, self.bias))
        # Not tf.nn.bias_add: on a CPU its gradient is summed in bfloat16, and is mostly rounding.
        return tf.nn.conv2d(inputs, kernel, strides=1, padding="VALID") + bias

    def adapt(self, images: NDArray[np.float32], epsilon: float = 5e-4) -> None:
        """Set the kernel by `images` float32 [n, height, width, channels], scaled as the layer gets them. `epsilon` is
        added to the variances, so that directions without any do not become noise."""
        windows = np.lib.stride_tricks.sliding_window_view(images, (self.kernel_size,) * 2, axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, self.kernel_size**2 * images.shape[-1])
        covariance = patches.T.astype(np.float64) @ patches / len(patches)
        variances, directions = np.linalg.eigh(covariance)
        scaled = directions / np.sqrt(np.maximum(variances, 0.0) + epsilon)
        kernel = np.concatenate([scaled, -scaled], axis=1)
        self.kernel.assign(kernel.reshape(self.kernel.shape).astype(np.float32))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel_size": self.kernel_size}
