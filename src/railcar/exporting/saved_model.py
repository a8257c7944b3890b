"""SavedModel: raw input in, labels and probabilities out; what TensorFlow Serving loads.

    serving_default   images uint8 [n, any, any, channels], texts string [n], or a tensor [n] for each column
    serving_bytes     of images: the files themselves, string [n]; each is decoded (JPEG, PNG, BMP, the first frame of a
                      GIF) and resized. EXIF is not looked at, and what is transparent is not put on white

Both give `probabilities` float32 [n, n_classes], `label` string [n] and `probability` float32 [n]; of a regression
`value` float32 [n].
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.artifact.artifact import Artifact
from railcar.exporting.core import tracked
from railcar.layers.tables import name_inputs
from railcar.storage.frames import to_arrays


def write_saved_model(folder: Path, artifact: Artifact, model: Any) -> None:
    import tensorflow as tf

    module: Any = tf.Module()
    module.model = tracked(model)
    answer = _build_answer(artifact, model)
    spec = _describe_inputs(artifact)
    signatures: dict[str, Any] = {}
    if artifact.kind == "table":
        # Signatures take names: an input for each column, none of them in a dict.
        module.serve = tf.function(lambda **columns: answer(columns))
        signatures["serving_default"] = module.serve.get_concrete_function(**spec)
    else:
        module.serve = tf.function(answer, input_signature=[spec])
        signatures["serving_default"] = module.serve.get_concrete_function()
    if artifact.kind == "image":
        module.serve_bytes = tf.function(
            lambda image_bytes: answer(_decode(image_bytes, artifact)),
            input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")],
        )
        signatures["serving_bytes"] = module.serve_bytes.get_concrete_function()
    tf.saved_model.save(module, str(folder), signatures=signatures)


def _describe_inputs(artifact: Artifact) -> Any:
    import tensorflow as tf

    if artifact.kind == "image":
        return tf.TensorSpec([None, None, None, artifact.image_shape[2]], tf.uint8, name="image")
    if artifact.kind == "text":
        return tf.TensorSpec([None], tf.string, name="text")
    types = {one.name: tf.string if one.type == "category" else tf.float32 for one in artifact.columns}
    return {key: tf.TensorSpec([None], types[name], name=key) for name, key in name_inputs(list(types)).items()}


def _build_answer(artifact: Artifact, model: Any) -> Any:
    import tensorflow as tf

    names = tf.constant(list(artifact.class_names) or [""])

    def answer(inputs: Any) -> dict[str, Any]:
        answers = tf.cast(model(inputs, training=False), tf.float32)
        if artifact.task == "regression":
            return {"value": answers[:, 0]}
        probabilities = tf.nn.softmax(answers)
        label = tf.gather(names, tf.argmax(probabilities, -1))
        return {"probabilities": probabilities, "label": label, "probability": tf.reduce_max(probabilities, -1)}

    return answer


def _decode(contents: Any, artifact: Artifact) -> Any:
    """Files, string [n] -> uint8 [n, height, width, channels], each resized as the network does it."""
    import tensorflow as tf

    from railcar.layers.images import resize_images

    height, width, channels = artifact.image_shape
    fit = artifact.features.get("fit", "stretch")

    def decode(content: Any) -> Any:
        pixels: Any = tf.io.decode_image(content, channels=channels, expand_animations=False)
        pixels.set_shape((None, None, channels))
        resized = resize_images(pixels[None], (height, width), fit)[0]
        return tf.ensure_shape(resized, (height, width, channels))

    return tf.map_fn(decode, contents, fn_output_signature=tf.uint8)


def answer_samples(folder: Path, artifact: Artifact) -> list[NDArray[np.float32]]:
    """What the export says of the artifact's samples, by each of its signatures: probabilities, or numbers [n, 1]."""
    import tensorflow as tf

    loaded: Any = tf.saved_model.load(str(folder))
    inputs, _ = artifact.samples()
    tensors = to_inputs(inputs, artifact)
    by_name = tensors if artifact.kind == "table" else {artifact.kind: tensors}
    given = [(loaded.signatures["serving_default"], by_name)]
    if artifact.kind == "image":
        files = {"image_bytes": tf.constant([_to_png(one) for one in inputs], tf.string)}
        given.append((loaded.signatures["serving_bytes"], files))
    found = []
    for signature, arguments in given:
        answers = signature(**arguments)
        found.append(answers["value"].numpy()[:, None] if "value" in answers else answers["probabilities"].numpy())
    return found


def to_inputs(inputs: Any, artifact: Artifact) -> Any:
    """Samples as the model takes them: a tensor, or of tables a dict of them."""
    import tensorflow as tf

    if artifact.kind == "image":
        return tf.constant(inputs)
    tensors = {
        name: tf.constant(values, tf.string if values.dtype == object else tf.float32)
        for name, values in to_arrays(inputs, inputs.columns).items()
    }
    if artifact.kind == "text":
        return next(iter(tensors.values()))
    return {key: tensors[name] for name, key in name_inputs(list(tensors)).items()}


def _to_png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()
