"""The Python interface: one function for each thing that the commands do, from the same `workflows/`.

import railcar

run = railcar.train("photos/")
run.evaluation["test"]["accuracy"]
railcar.load(run.name).predict(images)
"""

from __future__ import annotations

from railcar.workflows.evaluate import evaluate
from railcar.workflows.export import export
from railcar.workflows.folds import Folds, cross_validate
from railcar.workflows.predict import load, predict
from railcar.workflows.report import report
from railcar.workflows.serve import serve
from railcar.workflows.train import Run, train
from railcar.workflows.tune import Found, tune

__all__ = [
    "Folds",
    "Found",
    "Run",
    "cross_validate",
    "evaluate",
    "export",
    "load",
    "predict",
    "report",
    "serve",
    "train",
    "tune",
]
