"""A table by AutoGluon as its users take it: `TabularPredictor(label=...).fit(train, time_limit=...)`.

    python autogluon_rows.py TRAIN.csv TEST.csv --label COLUMN --seconds 60

Prints the accuracy on the test rows and the name of its best model as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile

import pandas as pd
from autogluon.tabular import TabularPredictor


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--label", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    train, test = pd.read_csv(given.train), pd.read_csv(given.test)
    with tempfile.TemporaryDirectory() as folder:
        predictor = TabularPredictor(label=given.label, path=folder, verbosity=0)
        predictor.fit(train, time_limit=given.seconds)
        accuracy = float((predictor.predict(test) == test[given.label]).mean())
        print(json.dumps({"accuracy": accuracy, "best": predictor.model_best}))


if __name__ == "__main__":
    main()
