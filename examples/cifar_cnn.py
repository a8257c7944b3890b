"""A convolutional network for CIFAR-10, as the tutorial "CNNs in TensorFlow with GPUs" has it, with Keras 3.

    railcar train FOLDER --model examples/cifar_cnn.py:build_model --set training.epochs=10
    python examples/cifar_cnn.py FOLDER                               the same by plain Keras

FOLDER has train/<class>/ and test/<class>/.
"""

import sys

import keras
from keras import layers


def build_model(input_shape=(32, 32, 3), n_classes=10):
    model = keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(n_classes, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def main(folder, epochs=10):
    keras.utils.set_random_seed(0)
    options = {"label_mode": "categorical", "image_size": (32, 32), "batch_size": 32}
    held_out = {"validation_split": 0.1, "subset": "training", "seed": 0}
    train = keras.utils.image_dataset_from_directory(f"{folder}/train", **held_out, **options)
    test = keras.utils.image_dataset_from_directory(f"{folder}/test", **options)
    model = build_model(n_classes=len(test.class_names))
    model.fit(train.cache().shuffle(2000), epochs=epochs, verbose=2)  # the batches in a new order each time
    print("test accuracy", model.evaluate(test, verbose=0)[1])


if __name__ == "__main__":
    main(sys.argv[1])
