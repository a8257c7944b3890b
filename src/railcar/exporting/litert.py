"""LiteRT (once TensorFlow Lite): one small file for phones, boards and browsers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.errors import ExportError
from railcar.exporting.core import Core

FILE = "model.tflite"


def write_litert(path: Path, core: Core, calibration: NDArray[Any] | None = None) -> None:
    """Write `core` into the file `path`. With `calibration`, encoded examples [n, ...], weights become 8-bit integers,
    and of images activations, too, where LiteRT has kernels for them. A row's numbers and codes differ too much in size
    for one scale: its activations are scaled when they are computed, as are a text's. Raises `ExportError` when LiteRT
    has no way to compute it."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec([1 if core.recurs else None, *core.shape], core.dtype, name="input")
    compute: Any = tf.function(core.compute, input_signature=[spec], autograph=False)
    # Variables as constants: LiteRT would have them read before anything is in them.
    frozen = convert_variables_to_constants_v2(compute.get_concrete_function())
    converter: Any = tf.lite.TFLiteConverter.from_concrete_functions([frozen], core.tracked)
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if core.dtype == "uint8":
            converter.representative_dataset = lambda: _one_by_one(calibration)
    try:
        path.write_bytes(converter.convert())
    except Exception as error:  # the converter raises many kinds
        lines = [line.strip() for line in str(error).splitlines() if "error:" in line or "op" in line.lower()]
        told = " ".join((lines or [type(error).__name__])[0].split())[-160:]
        raise ExportError(
            f"LiteRT cannot hold this network: {told}", hint="export it with --format saved_model or onnx"
        ) from error


def _one_by_one(examples: NDArray[Any]) -> Iterable[list[NDArray[Any]]]:
    for one in examples:
        yield [np.asarray(one)[None]]
