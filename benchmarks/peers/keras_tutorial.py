"""The tutorial's network in plain Keras, everything else Keras' default: `compile` and `fit`. For its rate.

    python keras_tutorial.py --data mnist.npz [--steps 300] [--whole]

Prints the images a second of `fit`, the first (tracing) epoch left out.
"""

from __future__ import annotations

import argparse
import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

layers = keras.layers
BATCH = 128


class Clock(keras.callbacks.Callback):
    """Notes how long each epoch takes."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def build_model() -> keras.Model:
    start = {
        "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.1),
        "bias_initializer": "ones",
        "activation": "relu",
    }
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 5, padding="same", **start),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 5, padding="same", **start),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(1024, **start),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--whole", action="store_true", help="with all images in memory, not only those of the steps")
    arguments = parser.parse_args()
    n_images = max(arguments.steps // 3, 1) * BATCH
    with np.load(arguments.data) as data:
        n_read = None if arguments.whole else n_images
        images = data["x_train"][:n_read].reshape(-1, 28, 28, 1).astype(np.float32)
        labels = data["y_train"][:n_read].astype(np.int64)
    model = build_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss=loss, metrics=["accuracy"])
    clock = Clock()
    model.fit(images[:n_images], labels[:n_images], batch_size=BATCH, epochs=4, verbose=0, callbacks=[clock])
    print(json.dumps({"images_per_s": round(3 * n_images / sum(clock.seconds[1:]), 1)}))


if __name__ == "__main__":
    main()
