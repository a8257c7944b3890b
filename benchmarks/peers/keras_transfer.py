"""The output of a frozen MobileNetV2 trained by plain Keras, as its guide to transfer learning has it.

    python keras_transfer.py FOLDER --weights FILE --size 96 --epochs 10 [--limit N]

FOLDER has train/<class>/ and test/<class>/. Images are read, resized and shuffled by
`keras.utils.image_dataset_from_directory`, cached in memory after the first pass, and go through the backbone in every
epoch. Prints the seconds of `fit` and the accuracy on the test side as JSON.
"""

from __future__ import annotations

import argparse
import json
import time

import keras
import tensorflow as tf


def build(size: int, n_classes: int, weights: str) -> keras.Model:
    backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(size, size, 3))
    backbone.load_weights(weights)
    backbone.trainable = False
    images = keras.Input((size, size, 3))
    hidden = backbone(keras.applications.mobilenet_v2.preprocess_input(images), training=False)
    hidden = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(images, keras.layers.Dense(n_classes, activation="softmax")(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    keras.utils.set_random_seed(0)

    def read(side: str, *, shuffle: bool) -> tf.data.Dataset:
        options = {"image_size": (given.size, given.size), "batch_size": 128, "shuffle": shuffle, "seed": 0}
        return keras.utils.image_dataset_from_directory(f"{given.folder}/{side}", verbose=False, **options)

    train, test = read("train", shuffle=True), read("test", shuffle=False)
    if given.limit:
        train = train.unbatch().take(given.limit).batch(128)
    train = train.cache().prefetch(tf.data.AUTOTUNE)
    model = build(given.size, len(test.class_names), given.weights)
    started = time.perf_counter()
    model.fit(train, epochs=given.epochs, verbose=0)
    seconds = time.perf_counter() - started
    accuracy = model.evaluate(test, verbose=0)[1]
    print(json.dumps({"seconds": seconds, "accuracy": float(accuracy)}))


if __name__ == "__main__":
    main()
