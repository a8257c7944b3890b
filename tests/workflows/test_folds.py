"""Cross-validation: every example is tested on once, by a model that has not seen it."""

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
from railcar.data.splits import draw_rows
from railcar.errors import UsageError
from railcar.runs.run_dir import RunDir

QUICK: Any = {"training.epochs": 4, "training.tensorboard": False}


def make_rows(n: int = 120) -> pl.DataFrame:
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=n)
    who = [f"p{index // 4}" for index in range(n)]
    return pl.DataFrame({"a": numbers, "who": who, "label": np.where(numbers > 0, "up", "down")})


def read_tested(run: RunDir) -> list[str]:
    frame = pl.read_parquet(run.splits_path)
    return frame.filter(pl.col("side") == "test")["id"].to_list()


def test_every_row_is_tested_on_once_and_mean_and_error_are_those_of_the_folds(tmp_path: Path):
    make_rows().write_csv(tmp_path / "rows.csv")
    changes = {**QUICK, "data.group": "who"}
    found = railcar.cross_validate(tmp_path / "rows.csv", 4, overrides=changes, runs_dir=tmp_path / "runs", quiet=True)
    tested = [id_ for run in found.runs for id_ in read_tested(RunDir(run.path))]
    assert len(tested) == len(set(tested)) == 120
    accuracies = [run.evaluation["test"]["accuracy"] for run in found.runs]
    assert found.mean == pytest.approx(np.mean(accuracies))
    assert found.standard_error == pytest.approx(np.std(accuracies, ddof=1) / 2)
    assert [run.name.partition("-2")[0] for run in found.runs] == [f"rows-fold{one}of4" for one in (1, 2, 3, 4)]
    assert all(len(pl.read_parquet(RunDir(run.path).splits_path)) == 120 for run in found.runs)


def test_folds_are_nearly_equal_keep_equal_hashes_together_and_leave_room_to_validate():
    hashes = np.random.default_rng(0).integers(0, 2**63, 500).astype(np.uint64)
    hashes[:40] = hashes[0]
    parts = []
    for fold in range(5):
        rows = draw_rows(hashes, seed=3, shares={"test": ("fold", fold, 5), "validation": 0.1})
        assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(500))
        assert 20 <= len(rows["validation"]) <= 70
        parts.append(rows["test"])
    assert sorted(np.concatenate(parts).tolist()) == list(range(500))
    assert sum(0 in part for part in parts) == 1
    assert any(set(range(40)) <= set(part.tolist()) for part in parts)
    alone = np.random.default_rng(1).integers(0, 2**63, 503).astype(np.uint64)
    sizes = [len(draw_rows(alone, seed=0, shares={"test": ("fold", fold, 5)})["test"]) for fold in range(5)]
    assert max(sizes) - min(sizes) <= 1


def test_other_seeds_draw_other_folds_and_a_fold_does_not_depend_on_the_order():
    hashes = np.random.default_rng(0).integers(0, 2**63, 200).astype(np.uint64)
    one, other = (draw_rows(hashes, seed=seed, shares={"test": ("fold", 0, 5)})["test"] for seed in (0, 1))
    assert set(one) != set(other)
    turned = draw_rows(hashes[::-1], seed=0, shares={"test": ("fold", 0, 5)})["test"]
    assert set(hashes[one]) == set(hashes[::-1][turned])


def test_a_regression_is_told_by_its_error(tmp_path: Path):
    rows = make_rows().with_columns((3 * pl.col("a") + 20).alias("label")).drop("who")
    overrides = {**QUICK, "data.task": "regression"}
    found = railcar.cross_validate(rows, 2, overrides=overrides, runs_dir=tmp_path, quiet=True)
    assert found.measure == "mae"
    assert found.mean == pytest.approx(np.mean([run.evaluation["test"]["mae"] for run in found.runs]))


def test_the_command_prints_a_table_or_json(tmp_path: Path):
    make_rows().drop("who").write_csv(tmp_path / "rows.csv")
    words = ["train", "rows.csv", "--folds", "2", "--quiet", "--set", "training.epochs=2"]
    command = [sys.executable, "-m", "railcar", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mean accuracy" in done.stdout and "over 2 folds" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [one["fold"] for one in found["folds"]] == [1, 2]
    assert sum(one["test"]["n"] for one in found["folds"]) == 120


@pytest.mark.parametrize("n", [1, 51])
def test_too_few_or_too_many_are_refused(n: int):
    with pytest.raises(UsageError, match=f"--folds: {n} parts"):
        railcar.cross_validate("penguins", n, quiet=True)
