"""A network whose code only its user has, as a SavedModel: what it computes, without the code that made it.

`serve` takes raw input as `model.keras` would, `network` what encoded texts or rows are, or images of its own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from railcar.errors import ArtifactError

FOLDER = "saved_model"


class SavedNetwork:
    """The model in the folder `path`, which answers like a keras.Model. Raises `ArtifactError` when TensorFlow cannot
    read it."""

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        try:
            self.loaded: Any = tf.saved_model.load(str(path))
        except (ValueError, OSError, tf.errors.OpError) as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise ArtifactError(
                f"{path}: TensorFlow cannot load it: {reason}", hint="make it anew: railcar evaluate RUN"
            ) from error

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        return self.loaded.serve(inputs)

    def get_layer(self, name: str) -> Any:
        """The network without the encoding before it."""
        return lambda inputs, training=False: self.loaded.network(inputs)


def write_saved_model(path: Path, model: Any, network: Any | None, *, image_shape: Sequence[int] | None = None) -> None:
    """Write `model`, a keras.Model from raw input to logits, and of texts and rows its `network`, into `path`; of
    images, those of `image_shape` (height, width, channels) have a way of their own, without resizing."""
    import keras
    import tensorflow as tf

    archive: Any = keras.export.ExportArchive()
    archive.track(model)
    for name, one in (("serve", model), ("network", network)):
        if one is not None:
            given = one.input if isinstance(one.input, dict) else one.inputs[0]
            spec: Any = keras.tree.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), given)
            archive.add_endpoint(name=name, fn=_answers_of(one), input_signature=[spec])
    if image_shape is not None:
        sized: Any = tf.TensorSpec([None, *image_shape], "uint8")
        archive.add_endpoint(name="network", fn=_answers_of(model), input_signature=[sized])
    archive.write_out(str(path), verbose=False)


def _answers_of(model: Any) -> Any:
    return lambda inputs: model(inputs, training=False)
