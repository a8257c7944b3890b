"""A folder of images, or texts in a CSV, by AutoKeras as its users take it: `ImageClassifier().fit(...)`, for so long.

    python autokeras_search.py TRAIN TEST --seconds 300 [--size 32] [--text COLUMN --label COLUMN] [--seed 0]

AutoKeras knows no limit of time: when it is over, a callback ends the trial that is going on and asks for no other, and
the best epoch of all trials is what is taken. A tenth of the training examples is held out to choose by, as railcar
does. Prints the accuracy on the test examples, and the number of trials, as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import autokeras
import keras
import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]
STARTED = time.monotonic()
# Loading the best model and predicting.
_END_S = 15.0
# The deadline, and the search that it ends: AutoKeras copies its callbacks deeply, which would copy a search, too.
SEARCH: dict[str, Any] = {}


class Deadline(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if time.monotonic() > SEARCH["ends"]:
            oracle = SEARCH["classifier"].tuner.oracle
            oracle.max_trials = len(oracle.trials)
            self.model.stop_training = True


def read_folder(folder: Path, side: int) -> Arrays:
    """AutoKeras takes arrays alone: uint8 [n, side, side, 3] and names [n, 1]."""
    data = keras.utils.image_dataset_from_directory(folder, image_size=(side, side), shuffle=False)
    batches = [(images.numpy().astype(np.uint8), labels.numpy()) for images, labels in data]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images, np.array(data.class_names)[labels][:, None]


def read_columns(path: Path, text: str, label: str) -> Arrays:
    """str [n] and [n, 1]: its text preprocessor splits each example itself."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return np.array([row[text] for row in rows]), np.array([[row[label]] for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--size", type=int, default=32, help="height and width of images, in pixels")
    parser.add_argument("--text", help="the column of texts; images when absent")
    parser.add_argument("--label", help="the column of labels, of texts")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    keras.utils.set_random_seed(given.seed)
    SEARCH["ends"] = STARTED + given.seconds - _END_S
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        (examples, labels), (tested, truth) = (
            read_columns(one, given.text, given.label) if given.text else read_folder(one, given.size)
            for one in (given.train, given.test)
        )
        order = np.random.default_rng(given.seed).permutation(len(examples))
        held, fitted = order[: len(order) // 10], order[len(order) // 10 :]
        kind = autokeras.TextClassifier if given.text else autokeras.ImageClassifier
        classifier = SEARCH["classifier"] = kind(directory=folder, seed=given.seed)
        held_out = (examples[held], labels[held])
        classifier.fit(examples[fitted], labels[fitted], validation_data=held_out, callbacks=[Deadline()], verbose=2)
        search_s = time.monotonic() - STARTED
        answers = classifier.predict(tested, verbose=0)
    accuracy = float((answers.reshape(-1) == truth.reshape(-1)).mean())
    trials = len(classifier.tuner.oracle.trials)
    print(json.dumps({"accuracy": accuracy, "trials": trials, "search_s": round(search_s, 1)}))


if __name__ == "__main__":
    main()
