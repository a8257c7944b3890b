"""What a report is drawn from: the plain contents of a run's files. Reads nothing; `workflows/report.py` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.reporting.advice import Result


@dataclass(frozen=True)
class Predictions:
    """Of the test split, from predictions.parquet. Of a classification `labels` and `predicted` are int [n] indices of
    the class names and `probabilities` float32 [n, k]; of a regression both are float [n] and there are none."""

    labels: NDArray[Any]
    predicted: NDArray[Any]
    probabilities: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Facts:
    """`manifest`, `recipe`, `decisions`, `evaluation`, `rows` (of metrics.jsonl) and `extra` (report.json) as their
    files have them, empty where there is no file; `architecture` is the text of architecture.txt, `recipe_text` that of
    recipe.yaml. `reference` is what a command takes for this run, in the folder above that of
    the runs."""

    name: str
    manifest: dict[str, Any]
    recipe: dict[str, Any]
    decisions: dict[str, Any]
    evaluation: dict[str, Any]
    rows: Sequence[dict[str, Any]]
    extra: dict[str, Any]
    predictions: Predictions | None = None
    architecture: str = ""
    recipe_text: str = ""
    reference: str = ""

    @property
    def data(self) -> dict[str, Any]:
        return self.manifest.get("data") or {}

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", "image"))

    @property
    def noun(self) -> str:
        return {"image": "images", "text": "texts", "table": "rows"}.get(self.kind, "examples")

    @property
    def class_names(self) -> list[str]:
        return list(self.data.get("class_names") or [])

    @property
    def is_regression(self) -> bool:
        return self.data.get("task") == "regression"

    @property
    def side(self) -> str:
        """The split that the figures at the top are of; empty where nothing was measured."""
        return next((one for one in ("test", "validation", "train") if self.evaluation.get(one)), "")

    @property
    def shown(self) -> dict[str, Any]:
        return self.evaluation[self.side] if self.side else {}

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
