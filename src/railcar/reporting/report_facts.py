"""What a report is drawn from: the plain contents of a run's files. Reads nothing; `workflows/report.py` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.reporting.advice import Result
from railcar.reporting.run_facts import RunFacts


@dataclass(frozen=True)
class Predictions:
    """Of the test split, from predictions.parquet. Of a classification `labels` and `predicted` are int [n] indices of
    the class names and `probabilities` float32 [n, k]; of a regression both are float [n] and there are none."""

    labels: NDArray[Any]
    predicted: NDArray[Any]
    probabilities: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Facts(RunFacts):
    """`rows` (of metrics.jsonl) and `extra` (report.json) as their files have them, empty where there is no file;
    `architecture` is the text of architecture.txt, `recipe_text` that of recipe.yaml."""

    rows: Sequence[dict[str, Any]]
    extra: dict[str, Any]
    predictions: Predictions | None = None
    architecture: str = ""
    recipe_text: str = ""

    @cached_property
    def result(self) -> Result:
        per_class = (self.extra.get("data") or {}).get("per_class") or {}
        return Result(
            self.evaluation,
            self.rows,
            noun=self.noun,
            n_train=dict(zip(self.class_names, per_class.get("train") or [], strict=False)),
            n_doubtful=len(self.extra.get("doubtful") or []),
            importance=self.extra.get("importance") or [],
        )
