"""Keras' public example "Simple MNIST convnet", with a look at the test set after each epoch.

    python keras_mnist.py --data mnist.npz [--epochs 20] [--seed 0] [--limit N]

Two convolutions of 3x3 (32, 64) with pooling, dropout of 0.5, softmax; pixels from 0 to 1, one-hot labels, Adam,
batches of 128, a tenth held out for validation. Prints the accuracy on the test set and the seconds since the process
began after each epoch; the looks at the test set are taken outside the clock.
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


class TestLook(keras.callbacks.Callback):
    """Accuracy on the test set after each epoch; `outside_s` is what that took."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, stop_at: float) -> None:
        super().__init__()
        self._images, self._labels, self._stop_at = images, labels, stop_at
        self.outside_s = 0.0
        self.history: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        paused = time.perf_counter()
        _, accuracy = self.model.evaluate(self._images, self._labels, batch_size=500, verbose=0)
        self.outside_s += time.perf_counter() - paused
        seconds = time.perf_counter() - PROCESS_START - self.outside_s
        self.history.append({"epoch": epoch + 1, "seconds": round(seconds, 2), "accuracy": round(float(accuracy), 5)})
        if accuracy >= self._stop_at:
            self.model.stop_training = True


def build_model() -> keras.Model:
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(N_CLASSES, activation="softmax"),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-at", type=float, default=1.0, help="no further once the test accuracy is this")
    parser.add_argument("--limit", type=int, help="training images; all when absent")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    with np.load(arguments.data) as data:
        images = data["x_train"][: arguments.limit].reshape(-1, 28, 28, 1).astype("float32") / 255
        labels = keras.utils.to_categorical(data["y_train"][: arguments.limit], N_CLASSES)
        test_images = data["x_test"].reshape(-1, 28, 28, 1).astype("float32") / 255
        test_labels = keras.utils.to_categorical(data["y_test"], N_CLASSES)
    model = build_model()
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    look = TestLook(test_images, test_labels, arguments.stop_at)
    model.fit(
        images, labels, batch_size=128, epochs=arguments.epochs, validation_split=0.1, verbose=0, callbacks=[look]
    )
    print(
        json.dumps({"seed": arguments.seed, "epochs": len(look.history), **look.history[-1], "history": look.history})
    )


if __name__ == "__main__":
    main()
