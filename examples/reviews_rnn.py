"""A recurrent network for short reviews, as the tutorial "TensorFlow on Compute Engine VMs" has it, with Keras 3.

    railcar train reviews.csv --label label --model examples/reviews_rnn.py:build_model
    python examples/reviews_rnn.py                                    the tutorial's eight sentences, by plain Keras

A function that asks for `texts` gets those of the training split, and its network takes strings.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

GOOD = ["I loved this movie", "The film was wonderful", "A great story", "I would watch it again"]
BAD = ["I hated this movie", "The film was terrible", "A boring story", "I would not watch it again"]


def build_model(texts, n_words=1000, length=10):
    words = layers.TextVectorization(max_tokens=n_words, output_sequence_length=length)
    words.adapt(texts)
    model = keras.Sequential(
        [
            keras.Input((), dtype="string"),
            words,
            layers.Embedding(n_words, 16),
            layers.SimpleRNN(32),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def main():
    keras.utils.set_random_seed(0)
    texts, labels = tf.constant(GOOD + BAD), np.array([1] * 4 + [0] * 4)
    model = build_model(texts)
    model.fit(texts, labels, epochs=10, verbose=2)
    print("accuracy on what it has seen", model.evaluate(texts, labels, verbose=0)[1])


if __name__ == "__main__":
    main()
