"""A network whose logits are divided by a number, so that its probabilities can be believed (Guo et al., 2017).

It is a layer at the end of the network, so that every export and every server has it; the answers stay the same.
"""

from __future__ import annotations

from typing import Any

import keras

NAME = "temperature"


def divide_logits(network: Any, temperature: float) -> keras.Model:
    """`network` [..., n_classes] with its logits divided by `temperature`, besides what they were divided by before;
    the same variables."""
    logits, before = network.outputs[0], 1.0
    last = network.layers[-1]
    if last.name == NAME:
        logits, before = last.input, 1.0 / last.scale
    scaled = keras.layers.Rescaling(1.0 / (before * temperature), dtype="float32", name=NAME)(logits)
    return keras.Model(network.inputs[0] if len(network.inputs) == 1 else network.inputs, scaled, name=network.name)


def read_temperature(network: Any) -> float:
    """What its logits are divided by; 1 where they are not."""
    last = network.layers[-1]
    return 1.0 / last.scale if last.name == NAME else 1.0
