"""What is served and asked: of a run of images its questions with their answers, and its network as plain Keras.

    python benchmarks/serving_subject.py RUN FOLDER

A program of its own, so that the one that measures holds no TensorFlow. Writes into FOLDER

    plain/model.keras labels.json    the network of Keras' own layers, with railcar's weights, for the peers
    litert/1/ onnx/1/                railcar's exports, for the rate in the process
    questions.npz                    images uint8 [n, height, width, channels], and the label that the model gives each

and prints what they are as JSON. Images are the samples of the artifact, those whose label is beyond doubt; of photos
(three channels) as they come back from the JPEG files that are sent, photo-N.jpg.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from railcar.artifact.artifact import Artifact, read_artifact
from railcar.exporting.core import build_answer, find_core
from railcar.exporting.formats import export_artifact

_MARGIN = 0.05


def build_plain(artifact: Artifact, model: Any) -> Any:
    """A keras.Model of stock layers, uint8 [n, height, width, channels] -> probabilities, as its users would have
    built it. Raises `SystemExit` for a layer that has no counterpart in Keras."""
    import keras

    def make(layer: Any) -> Any:
        name, config = type(layer).__name__, layer.get_config()
        if name in ("ResizeImages", "AdaptChannels"):  # images come in the network's size and channels
            return keras.layers.Reshape(artifact.image_shape, name=layer.name, dtype="uint8")
        if name == "ScaleImages":
            offset: Any = [-one / std for one, std in zip(layer.mean, layer.std, strict=True)]
            scale: Any = [1.0 / std for std in layer.std]
            return keras.layers.Rescaling(scale, offset, name=layer.name)
        if type(layer).__module__.startswith("railcar"):
            stock = next(one for one in type(layer).__mro__ if one.__module__.startswith("keras."))
            if stock is keras.layers.Layer:
                raise SystemExit(
                    f"{artifact.path}: the layer {name} has no counterpart in Keras; train another network"
                )
            return stock.from_config(config)
        return type(layer).from_config(config)

    network = keras.models.clone_model(model, clone_function=make, recursive=True)
    network.set_weights([np.asarray(one) for one in model.get_weights()])
    images = keras.Input(artifact.image_shape, dtype="uint8")
    return keras.Model(images, keras.layers.Softmax(dtype="float32")(network(images, training=False)))


def take_questions(artifact: Artifact, model: Any, folder: Path) -> tuple[np.ndarray, list[str]]:
    """Images and their labels."""
    import tensorflow as tf
    from PIL import Image

    images, _ = artifact.samples()
    files = []
    if artifact.image_shape[2] == 3:
        for image in images:
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=95)
            files.append(file.getvalue())
        images = np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])
    probabilities = np.asarray(build_answer(model, artifact)(tf.constant(images)))
    best = np.sort(probabilities, axis=1)
    kept = np.flatnonzero(best[:, -1] - best[:, -2] > _MARGIN)
    if files:
        for number, index in enumerate(kept):
            (folder / f"photo-{number}.jpg").write_bytes(files[index])
    return images[kept], [artifact.class_names[index] for index in probabilities[kept].argmax(axis=1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    artifact = read_artifact(options.run / "artifact")
    if artifact.kind != "image":
        sys.exit(f"{options.run}: is no run of images")
    model = artifact.load_model()
    (options.folder / "plain").mkdir(parents=True)
    images, labels = take_questions(artifact, model, options.folder)
    if not labels:
        sys.exit(f"{options.run}: no sample has a label beyond doubt; train it longer")
    np.savez(options.folder / "questions.npz", images=images, labels=labels)
    plain = build_plain(artifact, model)
    found = np.asarray(plain(images)).argmax(axis=1)
    if [artifact.class_names[index] for index in found] != labels:
        sys.exit(f"{options.run}: its network in plain Keras gives other answers")
    plain.save(options.folder / "plain" / "model.keras")
    (options.folder / "plain" / "labels.json").write_text(json.dumps(artifact.class_names))
    for name in ("litert", "onnx"):
        export_artifact(artifact, model, name, options.folder)
    print(
        json.dumps({"shape": find_core(artifact, model).shape, "labels": labels, "n_parameters": plain.count_params()})
    )


if __name__ == "__main__":
    main()
