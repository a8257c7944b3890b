"""A small network whose steps take as long as the clock says: something can happen in the middle of a training on any
machine, and the processor is hardly needed."""

import time

import keras
import tensorflow as tf
from keras import layers

STEP_S = 0.05


class Pace(layers.Layer):
    """Lets its input through after a while, in training."""

    def call(self, x, training=False):
        if not training:
            return x
        pause = tf.py_function(lambda: time.sleep(STEP_S), [], [])
        with tf.control_dependencies([pause] if pause is not None else []):
            return tf.identity(x)


def build_paced(input_shape, n_classes):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Rescaling(1 / 255),
            Pace(),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.2),  # random: what goes on must draw what it would have drawn
            layers.Dense(n_classes),
        ]
    )
