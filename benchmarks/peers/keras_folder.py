"""A folder of images through Keras' image_dataset_from_directory, with its defaults but for the order and the batch.

    python keras_folder.py FOLDER --size 224 [--first-step]

Prints the images and the seconds from listing the folder to the last batch, as JSON; with `--first-step` in place of
that the time of day at which the first step of a small network was done.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

import keras


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--first-step", action="store_true")
    options = parser.parse_args()
    if options.first_step:
        print(json.dumps({"n": 1, "at": train_a_step(options.folder, options.size)}))
        return
    started = time.perf_counter()
    n = 0
    for side in sorted(options.folder.iterdir()):
        with contextlib.redirect_stdout(sys.stderr):
            data = keras.utils.image_dataset_from_directory(
                side, image_size=(options.size, options.size), batch_size=256, shuffle=False
            )
        for images, _ in data:
            n += len(images)
    print(json.dumps({"n": n, "seconds": time.perf_counter() - started}))


def train_a_step(folder: Path, size: int) -> float:
    with contextlib.redirect_stdout(sys.stderr):
        data = keras.utils.image_dataset_from_directory(folder / "train", image_size=(size, size))
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((size, size, 3)),
            layers.Rescaling(1 / 255),
            *(layer for n in (32, 64) for layer in (layers.Conv2D(n, 3, activation="relu"), layers.MaxPooling2D())),
            layers.Flatten(),
            layers.Dense(len(data.class_names)),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    done: list[float] = []

    def end(batch: int, logs: object = None) -> None:
        done.append(time.time())
        model.stop_training = True

    model.fit(data.take(1), verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=end)])
    return done[0]


if __name__ == "__main__":
    main()
