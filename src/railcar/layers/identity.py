"""How filters of convolutions start: handing their input on, so that a deep network begins as a shallow one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


@keras.saving.register_keras_serializable("railcar")
class PartialIdentity(keras.initializers.Initializer):
    """For kernels [height, width, inputs, outputs]: the first `inputs` outputs pass their input on (a Dirac kernel),
    the others are uniform within 1 / sqrt(fan in)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, shape: Any, dtype: Any = None) -> NDArray[np.float32]:
        height, width, n_inputs, n_outputs = shape
        limit = 1.0 / np.sqrt(height * width * n_inputs)
        kernel = np.random.default_rng(self.seed).uniform(-limit, limit, shape).astype(np.float32)
        n_passed = min(n_inputs, n_outputs)
        kernel[..., :n_passed] = 0.0
        kernel[height // 2, width // 2, np.arange(n_passed), np.arange(n_passed)] = 1.0
        return kernel

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}
