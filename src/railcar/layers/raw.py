"""A network for encoded texts or rows, and the layers around it that make it take raw ones.

Owns what is put before and after a network for prediction; images need nothing of it, their networks take raw pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from railcar.layers.ngrams import build_ngram_encoder
from railcar.layers.tables import EncodeColumns, name_inputs
from railcar.layers.texts import build_text_encoder
from railcar.registry import NGRAMS, RAW

NETWORK, NUMBERS = "network", "numbers"
TEXT = "text"


def build_encoder(kind: str, encoding: Mapping[str, Any]) -> keras.layers.Layer:
    """The layer from raw inputs to what the network takes, for "text" and "table"."""
    if kind == "text":
        return (build_ngram_encoder if encoding.get("form") == NGRAMS else build_text_encoder)(encoding)
    return EncodeColumns(encoding["columns"], name="encode")


def take_raw(
    network: keras.Model, *, kind: str, encoding: Mapping[str, Any], target: tuple[float, float] | None = None
) -> keras.Model:
    """`network` as it answers to raw input: strings [n], or a dict of columns [n]; the same variables. `target`, mean
    and deviation of a regression's targets, turns its answers into their unit."""
    inputs: Any
    if kind == "text":
        inputs = encoded = keras.Input((), dtype="string", name=TEXT)
        if encoding.get("form") != RAW:
            encoded = keras.ops.cast(build_encoder(kind, encoding)(inputs), "int32")
    else:
        types = {one["name"]: "string" if one["type"] == "category" else "float32" for one in encoding["columns"]}
        inputs = {key: keras.Input((), dtype=types[name], name=key) for name, key in name_inputs(list(types)).items()}
        encoded = build_encoder(kind, encoding)(inputs)
    inner = keras.Model(network.inputs[0], network.outputs[0], name=NETWORK)
    answer = inner(encoded)
    if target is not None:
        answer = keras.layers.Rescaling(target[1], offset=target[0], dtype="float32", name="unit")(answer)
    return keras.Model(inputs, answer, name=network.name)
