"""The public tutorial "CNNs in TensorFlow" as it is written: three functions, a graph, a session, feed_dict.

    python keras_tutorial_graph.py --data mnist.npz [--steps 10000] [--every 500]

Prints steps, seconds of training, seconds in all, accuracy on the test set after every so many steps (taken outside the
clock) and at the end.
"""

from __future__ import annotations

import time

PROCESS_START = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
from typing import Any  # noqa: E402

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import tensorflow.compat.v1 as tf  # noqa: E402  # pyright: ignore[reportMissingImports]

BATCH = 128


def read_mnist(path: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as data:
        return data[f"x_{part}"].reshape(-1, 784).astype(np.float32), data[f"y_{part}"].astype(np.int64)


def weight(shape: list[int]) -> Any:
    return tf.Variable(tf.truncated_normal(shape, stddev=0.1))


def bias(n: int) -> Any:
    return tf.Variable(tf.constant(1.0, shape=[n]))


def inference(images: Any, keep: Any) -> Any:
    hidden = tf.reshape(images, [-1, 28, 28, 1])
    for n_in, n_out in ((1, 32), (32, 64)):
        hidden = tf.nn.conv2d(hidden, weight([5, 5, n_in, n_out]), strides=[1, 1, 1, 1], padding="SAME")
        hidden = tf.nn.relu(hidden + bias(n_out))
        hidden = tf.nn.max_pool(hidden, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    hidden = tf.reshape(hidden, [-1, 7 * 7 * 64])
    hidden = tf.nn.relu(tf.matmul(hidden, weight([7 * 7 * 64, 1024])) + bias(1024))
    hidden = tf.nn.dropout(hidden, keep_prob=keep)
    return tf.matmul(hidden, weight([1024, 10])) + bias(10)


def loss_of(logits: Any, labels: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def training(loss: Any) -> Any:
    return tf.train.AdamOptimizer(1e-4).minimize(loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=500, help="steps between looks at the test set")
    arguments = parser.parse_args()
    tf.disable_eager_execution()
    images, labels = (part[:-500] for part in read_mnist(arguments.data, "train"))
    test_images, test_labels = read_mnist(arguments.data, "test")
    feed_images, feed_labels = tf.placeholder(tf.float32, [None, 784]), tf.placeholder(tf.int64, [None])
    keep = tf.placeholder(tf.float32)
    logits = inference(feed_images, keep)
    step_op = training(loss_of(logits, feed_labels))
    right = tf.equal(tf.argmax(logits, 1), feed_labels)
    outside_s, history = 0.0, []
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        started = time.perf_counter()
        for step in range(arguments.steps):
            rows = np.arange(step * BATCH, (step + 1) * BATCH) % len(images)
            session.run(step_op, {feed_images: images[rows], feed_labels: labels[rows], keep: 0.5})
            if (step + 1) % arguments.every == 0 or step + 1 == arguments.steps:
                paused = time.perf_counter()
                parts = [
                    session.run(
                        right,
                        {feed_images: test_images[at : at + 1000], feed_labels: test_labels[at : at + 1000], keep: 1.0},
                    )
                    for at in range(0, len(test_images), 1000)
                ]
                accuracy = float(np.concatenate(parts).mean())
                outside_s += time.perf_counter() - paused
                seconds = time.perf_counter() - started - outside_s
                history.append({"step": step + 1, "seconds": round(seconds, 2), "accuracy": accuracy})
        seconds_training = time.perf_counter() - started - outside_s
    row = {
        "steps": arguments.steps,
        "seconds_training": round(seconds_training, 2),
        "seconds": round(time.perf_counter() - PROCESS_START - outside_s, 2),
        "images_per_s": round(arguments.steps * BATCH / seconds_training, 1),
        "accuracy": history[-1]["accuracy"],
        "history": history,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
