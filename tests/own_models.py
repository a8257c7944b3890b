"""Networks as users write them, for tests: handed to railcar by their path."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers


def build_plain(input_shape, n_classes, filters=4):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(filters, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(n_classes),
        ]
    )


def build_compiled(input_shape, n_classes):
    model = keras.Sequential([*build_plain(input_shape, n_classes).layers, layers.Softmax()])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="categorical_crossentropy", metrics=["accuracy"])
    return model


class Net(keras.Model):
    """Softmax in plain TensorFlow: nothing but its answers says that they are probabilities."""

    def __init__(self, n_classes):
        super().__init__()
        self.hidden = layers.Dense(16, activation="relu")
        self.drop = layers.Dropout(0.2)
        self.last = layers.Dense(n_classes)

    def call(self, images, training=False):
        flat = tf.reshape(images / 255.0, (tf.shape(images)[0], 144))
        return tf.nn.softmax(self.last(self.drop(self.hidden(flat), training=training)))


def build_subclassed(n_classes):
    return Net(n_classes)


class OwnStep(Net):
    """Trains by a loss that railcar knows nothing of, and counts its steps."""

    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.n_steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="n_steps")

    def train_step(self, data):
        images, labels = data
        with tf.GradientTape() as tape:
            answers = self(images, training=True)
            mean: Any = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, answers))
            loss = mean + 1.0
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        self.n_steps.assign_add(1.0)
        return {"loss": loss}


def build_with_own_step(n_classes):
    model = OwnStep(n_classes)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    return model


def build_single_sigmoid(input_shape):
    model = keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"])
    return model


def build_for_rows(input_shape, n_classes):
    return keras.Sequential([keras.Input(input_shape), layers.Dense(16, activation="relu"), layers.Dense(n_classes)])


def build_for_number(input_shape):
    return keras.Sequential([keras.Input(input_shape), layers.Dense(16, activation="relu"), layers.Dense(1)])


def build_for_words(length, vocabulary_size, n_classes):
    words = keras.Input((length,), dtype="int32")
    vectors = layers.GlobalAveragePooling1D()(layers.Embedding(vocabulary_size, 8)(words))
    return keras.Model(words, layers.Dense(n_classes)(vectors))


def build_for_strings(texts, n_classes):
    vectorize = layers.TextVectorization(max_tokens=200, output_sequence_length=8)
    vectorize.adapt(texts)
    return keras.Sequential(
        [
            keras.Input((), dtype="string"),
            vectorize,
            layers.Embedding(200, 8),
            layers.GlobalAveragePooling1D(),
            layers.Dense(n_classes, activation="softmax"),
        ]
    )


def build_too_small(input_shape):
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(2)])


def build_too_large(input_shape):
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(1000)])


def build_maps(input_shape, n_classes):
    return keras.Sequential([keras.Input(input_shape), layers.Conv2D(n_classes, 1)])


def build_two(input_shape, n_classes):
    images = keras.Input(input_shape)
    flat = layers.Flatten()(images)
    return keras.Model(images, [layers.Dense(n_classes)(flat), layers.Dense(1)(flat)])


def build_for_others(n_classes):
    return keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(n_classes)])


def build_nothing():
    return None


def build_wrongly():
    return 1 / 0


def build_from_strange(strange):
    return strange
