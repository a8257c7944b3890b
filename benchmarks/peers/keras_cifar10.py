"""The usual first CNN for CIFAR-10 in plain Keras: `compile` and `fit`, all defaults.

    python keras_cifar10.py --data cifar10.npz [--epochs 10] [--seed 0] [--limit N]

Convolutions of 3x3 (32, 64) with pooling, dense 128, softmax; pixels from 0 to 1, one-hot labels, Adam, categorical
cross entropy, batches of 32, a tenth held out for validation. Prints seconds since the process began, images a second
of the epochs after the first, and the accuracy on the test set.
"""

from __future__ import annotations

import time

PROCESS_START = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402

layers = keras.layers
N_CLASSES = 10


class Clock(keras.callbacks.Callback):
    """Notes how long each epoch takes, its validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def build_model() -> keras.Model:
    return keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(N_CLASSES, activation="softmax"),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="training images; all when absent")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    with np.load(arguments.data) as data:
        # the folder's order is by class, and validation_split takes the end: mixed, as CIFAR-10 was published
        order = np.random.default_rng(0).permutation(len(data["y_train"]))[: arguments.limit]
        images = data["x_train"][order].astype("float32") / 255
        labels = keras.utils.to_categorical(data["y_train"][order], N_CLASSES)
        test_images = data["x_test"].astype("float32") / 255
        test_labels = keras.utils.to_categorical(data["y_test"], N_CLASSES)
    model = build_model()
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    clock = Clock()
    model.fit(
        images, labels, batch_size=32, epochs=arguments.epochs, validation_split=0.1, verbose=0, callbacks=[clock]
    )
    _, accuracy = model.evaluate(test_images, test_labels, verbose=0)
    later = clock.seconds[1:] or clock.seconds
    row = {
        "seed": arguments.seed,
        "epochs": arguments.epochs,
        "seconds": round(time.perf_counter() - PROCESS_START, 2),
        "seconds_training": round(sum(clock.seconds), 2),
        "images_per_s": round(0.9 * len(images) * len(later) / sum(later), 1),
        "accuracy": round(float(accuracy), 5),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
