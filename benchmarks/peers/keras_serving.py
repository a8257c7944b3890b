"""The model that the serving peers answer with, and its rate without any server.

    python keras_serving.py FOLDER QUESTIONS [--seconds 5] [--batch 32]

FOLDER has `model.keras`, uint8 [n, height, width, channels] to probabilities, and `labels.json`. The peers' programs
import `Classifier` from here: the model in a tf.function with a fixed signature, which is two to five times as fast for
one image as `predict` and as `predict_on_batch`. By itself this prints the images a second of both, and of `predict`,
in batches of the images of QUESTIONS (an .npz), as JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np


class Classifier:
    """Loads the model; called with uint8 [n, height, width, channels] it gives a dict for each image."""

    def __init__(self, folder: Path) -> None:
        import keras
        import tensorflow as tf

        self.labels = json.loads((folder / "labels.json").read_text())
        self.model: Any = keras.saving.load_model(folder / "model.keras", compile=False)
        self.shape = tuple(self.model.input_shape[1:])
        signature = [tf.TensorSpec([None, *self.shape], tf.uint8)]
        self.compute: Any = tf.function(lambda images: self.model(images, training=False), input_signature=signature)
        self.compute(np.zeros((1, *self.shape), np.uint8))

    def __call__(self, images: np.ndarray) -> list[dict[str, Any]]:
        answers = []
        for row in self.compute(images).numpy().tolist():
            probabilities = dict(zip(self.labels, row, strict=True))
            label = max(probabilities, key=probabilities.__getitem__)
            answers.append({"label": label, "probability": probabilities[label], "probabilities": probabilities})
        return answers

    def take_pixels(self, pixels: Any) -> np.ndarray:
        """Nested lists of 0 to 255 -> uint8 [height, width, channels]."""
        return np.asarray(pixels, np.uint8).reshape(self.shape)

    def take_file(self, content: bytes) -> np.ndarray:
        """An image file -> uint8 [height, width, channels]."""
        from PIL import Image

        image = Image.open(io.BytesIO(content)).convert("L" if self.shape[2] == 1 else "RGB")
        return self.take_image(image)

    def take_image(self, image: Any) -> np.ndarray:
        """A PIL image of the right mode -> uint8 [height, width, channels]."""
        if image.size != (self.shape[1], self.shape[0]):
            image = image.resize((self.shape[1], self.shape[0]))
        return np.asarray(image).reshape(self.shape)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What all the peers' programs are told."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)


def share_cores(workers: int) -> None:
    """Each worker's TensorFlow gets its share of the cores, as far as the environment does not say otherwise."""
    n_threads = max(len(os.sched_getaffinity(0)) // workers, 1)
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(n_threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


def measure_rate(run: Any, n: int, seconds: float) -> float:
    """Examples a second of `run()`, which does `n` of them."""
    run()
    n_done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        run()
        n_done += n
    return n_done / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    classifier = Classifier(options.folder)
    with np.load(options.questions) as data:
        images = data["images"]
    size = options.batch
    batch = np.resize(images, (size, *classifier.shape))
    many = np.resize(images, (16 * size, *classifier.shape))
    model, seconds = classifier.model, options.seconds
    rates = {
        "predict": measure_rate(lambda: model.predict(many, batch_size=size, verbose=0), len(many), seconds),
        "predict_on_batch": measure_rate(lambda: model.predict_on_batch(batch), size, seconds),
        "compiled": measure_rate(lambda: classifier.compute(batch).numpy(), size, seconds),
    }
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
