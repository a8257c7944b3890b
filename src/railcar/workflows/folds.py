"""`train --folds N`: N trainings, each tested on a part of the data that the others learn from; mean and its error.

Owns the order of the trainings and what is made of their figures. Each is a run like any other.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from railcar.errors import UsageError
from railcar.workflows.inputs import Overrides, resolve_input, with_name, with_settings
from railcar.workflows.train import Run, train

FEWEST, MOST = 2, 50


@dataclass(frozen=True)
class Folds:
    """`runs` are those of the folds, in order; `measure` is "accuracy", or of a regression "mae"."""

    runs: tuple[Run, ...]
    measure: str

    @property
    def values(self) -> tuple[float, ...]:
        """Of each fold on its test part."""
        return tuple(run.evaluation["test"][self.measure] for run in self.runs)

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def standard_error(self) -> float:
        """Of the mean: the deviation of the folds over the root of their number. The folds share most of what they
        learn from, so that it is a little too small (Bengio and Grandvalet, 2004)."""
        return statistics.stdev(self.values) / math.sqrt(len(self.values))

    def to_dict(self) -> dict[str, Any]:
        folds = [
            {"fold": number, "run": run.name, "path": str(run.path), "test": run.evaluation["test"]}
            for number, run in enumerate(self.runs, start=1)
        ]
        return {"folds": folds, "measure": self.measure, "mean": self.mean, "standard_error": self.standard_error}


def cross_validate(
    data: Any = None,
    folds: int = 5,
    *,
    overrides: Overrides = (),
    name: str | None = None,
    time_s: float | None = None,
    runs_dir: str | Path = "runs",
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> Folds:
    """Train `folds` times, each on all but a part of the training side and tested on that part; every example is tested
    on once. Which part an example is in depends on its content (or its group's) and the seed.

    `data` and the others are as for `train`; a test side that the source has is left alone; `time_s` is for all folds
    together. The runs are called NAME-fold1of5 and so on. Raises what `train` raises.
    """
    if not FEWEST <= folds <= MOST:
        raise UsageError(f"--folds: {folds} parts", hint=f"choose from {FEWEST} to {MOST}; 5 and 10 are usual")
    given = resolve_input(data, with_name(overrides, name))
    runs = []
    for number in range(1, folds + 1):
        called = f"{given.recipe.name[:48]}-fold{number}of{folds}"
        settings = {"data.test": {"fold": number, "of": folds}, "name": called}
        one = resolve_input(data, with_settings(overrides, settings))
        share = time_s / folds if time_s is not None else None
        runs.append(train(one, time_s=share, runs_dir=runs_dir, quiet=quiet, verbose=verbose, color=color))
    is_number = "mae" in runs[0].evaluation["test"]
    return Folds(tuple(runs), "mae" if is_number else "accuracy")
