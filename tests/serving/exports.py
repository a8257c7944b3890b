"""Models of every kind, exported for small runtimes: trained in seconds, and made once for a module of tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import railcar
from railcar.runs.run_dir import RunDir
from tests.synthetic import make_images, write_image_folder
from tests.workflows.test_kinds import make_table, write_reviews

QUICK = {"training.steps": 6, "training.batch_size": 16, "training.tensorboard": False}
KINDS = ("images", "texts", "words", "rows", "numbers")


@dataclass(frozen=True)
class Made:
    """`raw` are inputs as a client has them, `expected` float32 [n, n_outputs] what `railcar.load(run)` says of them.
    `folders` has the versions of each engine."""

    kind: str
    run: RunDir
    raw: list[Any]
    expected: Any
    folders: dict[str, Path]


def make(kind: str, folder: Path) -> Made:
    folder.mkdir(parents=True)
    data, overrides = _write_data(kind, folder)
    run = RunDir(railcar.train(data, overrides={**QUICK, **overrides}, runs_dir=folder / "runs", quiet=True).path)
    raw, given = _find_examples(kind, data)
    expected = railcar.load(run.path).predict_probabilities(given)
    made = railcar.export(run.path, formats=["litert", "onnx"], output=folder / "exports", quiet=True)
    return Made(kind, run, raw, expected, {one.format: one.path.parent for one in made})


def _write_data(kind: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    if kind == "images":
        return write_image_folder(folder / "photos", n_per_class=16, side=14), {"data.image_size": [12, 12]}
    if kind in ("texts", "words"):
        return write_reviews(folder / "reviews.csv"), {"model.name": "rnn"} if kind == "words" else {}
    column = "dear" if kind == "rows" else "price"
    make_table().drop("price" if kind == "rows" else "dear").write_csv(folder / "homes.csv")
    return folder / "homes.csv", {"data.label": column}


def _find_examples(kind: str, data: Path) -> tuple[list[Any], Any]:
    if kind == "images":
        images, _ = make_images(12, side=14)
        return list(images), images
    rows = pl.read_csv(data, infer_schema=False)
    if kind in ("texts", "words"):
        texts = [*rows["review"].to_list()[:9], "", "<br>Never!? Größe 中文", "superb " * 60]
        return texts, texts
    names = [name for name in rows.columns if name not in ("dear", "price")]
    some = rows.select(names).head(12)
    typed = [
        {name: float(cell) if cell and name in ("size", "age") else cell for name, cell in row.items()}
        for row in some.rows(named=True)
    ]
    return typed, some


def answers_of(predictions: list[dict[str, Any]], labels: list[str]) -> np.ndarray:
    """float32 [n, n_outputs] of POST /predict's answers."""
    if "value" in predictions[0]:
        return np.array([[one["value"]] for one in predictions], np.float32)
    return np.array([[one["probabilities"][label] for label in labels] for one in predictions], np.float32)


def scale_of(made: Made) -> float:
    """What a difference is measured by."""
    return float(np.std(made.expected)) if made.kind == "numbers" else 1.0


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Made]]:
    folder = tmp_path_factory.mktemp("served")
    yield {kind: make(kind, folder / kind) for kind in KINDS}
