"""Predictions into a Parquet file: complete, in order, and gone on with when they were interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import railcar
from railcar.errors import DataError, Interrupted, UsageError
from railcar.runs.run_dir import RunDir
from railcar.serving.predictor import Predictor
from railcar.workflows import predict_to_file as module
from railcar.workflows.predict_to_file import predict_to_file
from tests.synthetic import write_image_folder
from tests.workflows.test_kinds import make_table

QUICK = {"training.steps": 4, "training.batch_size": 16, "training.tensorboard": False}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("data") / "photos", n_per_class=14)


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return railcar.train(photos, overrides=QUICK, runs_dir=tmp_path_factory.mktemp("runs"), quiet=True).path


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_N_PART", 10)


def test_all_are_written_in_order_and_what_cannot_be_read_says_why(run: Path, photos: Path, tmp_path: Path):
    (photos / "a" / "broken.png").write_bytes(b"no image")
    try:
        found = predict_to_file(photos, tmp_path / "all.parquet", run=run, quiet=True)
        expected = list(railcar.workflows.predict.predict_each(photos, run=run))  # type: ignore[attr-defined]
    finally:
        (photos / "a" / "broken.png").unlink()
    frame = pl.read_parquet(tmp_path / "all.parquet")
    assert (found.n, found.n_failed, found.n_kept, frame.height) == (43, 1, 0, 43)
    for row, one in zip(frame.rows(named=True), expected, strict=True):
        if isinstance(one, DataError):
            assert row["input"].endswith("broken.png") and row["label"] is None and "not an image" in row["error"]
            continue
        assert (row["input"], row["label"]) == (one.input, one.label) and row["error"] is None
        assert row["probability"] == pytest.approx(one.probability)
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert int(np.argmax(row["probabilities"])) == "abc".index(one.label)
    assert json.loads(pl.read_parquet_metadata(tmp_path / "all.parquet")["classes"]) == ["a", "b", "c"]
    assert sum(found.counts.values()) == 42
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]


def test_the_command_says_what_there_is_and_the_file_is_replaced(run: Path, photos: Path, tmp_path: Path):
    (tmp_path / "all.parquet").write_text("older")
    words = ["predict", str(photos), "--run", str(run), "--output", "all.parquet"]
    done = subprocess.run(
        [sys.executable, "-m", "railcar", *words], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines()[-1] == "42 predictions in all.parquet"
    assert done.stdout.splitlines()[0].split() == ["label", "examples", "share"]
    assert pl.read_parquet(tmp_path / "all.parquet").height == 42
    refused = subprocess.run(
        [sys.executable, "-m", "railcar", "predict", "--text", "x", "--output", "all.parquet"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert refused.returncode == 2 and "--output is for files" in refused.stderr


def test_interrupted_it_goes_on_where_it_was_and_no_example_is_asked_about_twice(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    real = Predictor.predict_files

    def stop_at_thirty(self: Predictor, paths: Any, *, top: int = 3):
        if len(asked) == 30:
            raise KeyboardInterrupt
        asked.extend(map(str, paths))
        yield from real(self, paths, top=top)

    monkeypatch.setattr(Predictor, "predict_files", stop_at_thirty)
    with pytest.raises(Interrupted, match="30 of 42 are predicted, and kept beside") as caught:
        predict_to_file(photos, tmp_path / "all.parquet", run=run, quiet=True)
    assert caught.value.hint == "the same command goes on there" and not (tmp_path / "all.parquet").exists()
    monkeypatch.setattr(Predictor, "predict_files", real)
    found = predict_to_file(photos, tmp_path / "all.parquet", run=run, quiet=True)
    assert (found.n, found.n_kept) == (42, 30)
    frame = pl.read_parquet(tmp_path / "all.parquet")
    assert frame["input"].n_unique() == 42 and frame["input"].to_list()[:30] == asked


def test_parts_of_another_question_are_not_taken(run: Path, photos: Path, tmp_path: Path):
    parts = tmp_path / ".all.parquet.parts"
    parts.mkdir()
    (parts / "question.json").write_text('{"inputs": "others"}')
    pl.DataFrame({"input": ["x"]}).write_parquet(parts / "000000.parquet")
    assert predict_to_file(photos / "a", tmp_path / "all.parquet", run=run, quiet=True).n_kept == 0
    assert pl.read_parquet(tmp_path / "all.parquet").height == 14


def test_rows_and_numbers_are_written_too(tmp_path: Path):
    make_table().drop("dear").write_csv(tmp_path / "homes.csv")
    overrides = {**QUICK, "data.label": "price"}
    run = RunDir(
        railcar.train(tmp_path / "homes.csv", overrides=overrides, runs_dir=tmp_path / "runs", quiet=True).path
    )
    found = predict_to_file(tmp_path / "homes.csv", tmp_path / "prices.parquet", run=run.path, quiet=True)
    frame = pl.read_parquet(tmp_path / "prices.parquet")
    assert found.n == 400 and frame.columns == ["input", "value", "error"] and not found.counts
    expected = railcar.load(run.path).predict(pl.read_csv(tmp_path / "homes.csv"))["value"]
    np.testing.assert_allclose(frame["value"].to_numpy(), expected.to_numpy(), rtol=1e-6)
    assert frame["input"][0].endswith("homes.csv: line 2")


def test_another_kind_of_file_is_refused_before_anything_is_done(run: Path, photos: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="written as Parquet"):
        predict_to_file(photos, tmp_path / "all.csv", run=run)
    with pytest.raises(DataError, match="no images in this folder"):
        predict_to_file(tmp_path, tmp_path / "all.parquet", run=run, quiet=True)
