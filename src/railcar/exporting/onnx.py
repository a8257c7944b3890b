"""ONNX: one file for ONNX Runtime and all that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from railcar.errors import ExportError
from railcar.exporting.core import Core

FILE = "model.onnx"
# What ONNX Runtime has read since 1.12 (2022).
_OPSET = 17


def write_onnx(path: Path, core: Core) -> None:
    """Write `core` into the file `path`. Raises `ExportError` when ONNX has no way to compute it."""
    import tensorflow as tf
    import tf2onnx

    spec: Any = tf.TensorSpec([None, *core.shape], core.dtype, name="input")
    compute: Any = tf.function(lambda inputs: core.compute(inputs), input_signature=[spec])
    try:
        tf2onnx.convert.from_function(compute, input_signature=[spec], opset=_OPSET, output_path=str(path))
    except Exception as error:  # the converter raises many kinds
        told = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise ExportError(
            f"ONNX cannot hold this network: {told}", hint="export it with --format saved_model or litert"
        ) from error
