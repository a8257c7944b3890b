"""A small network whose steps take as long as the clock says: something can happen in the middle of a training on any
machine, and the processor is hardly needed."""

import time

import keras
import tensorflow as tf
from keras import layers


class Pace(layers.Layer):
    """Lets its input through after `step_s`, in training."""

    def __init__(self, step_s):
        super().__init__()
        self.step_s = step_s

    def call(self, x, training=False):
        if not training:
            return x
        pause = tf.py_function(lambda: time.sleep(self.step_s), [], [])
        with tf.control_dependencies([pause] if pause is not None else []):
            return tf.identity(x)


def build_paced(input_shape, n_classes, step_s=0.05):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Rescaling(1 / 255),
            Pace(step_s),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.2),  # random: what goes on must draw what it would have drawn
            layers.Dense(n_classes),
        ]
    )
