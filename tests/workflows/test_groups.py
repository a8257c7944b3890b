"""`evaluate --by`: the figures of each value of a column, of a run's own data and of other data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import railcar
from railcar.cli.main import main
from railcar.errors import DataError
from railcar.runs.run_dir import RunDir
from tests.workflows.test_kinds import make_table

QUICK: Any = {"training.steps": 40, "training.batch_size": 32, "training.tensorboard": False, "data.test": 0.4}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "houses.csv"
    frame = (
        make_table().with_row_index("number").with_columns(agent=pl.lit("agent ") + (pl.col("number") % 3).cast(str))
    )
    frame.write_csv(path)
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> RunDir:
    overrides = QUICK | {"data.label": "dear", "data.drop": ["price", "agent"], "model.name": "mlp"}
    return RunDir(railcar.train(table, overrides=overrides, runs_dir=table.parent / "runs", quiet=True).path)


def test_a_column_that_the_model_never_saw_groups_its_answers(
    run: RunDir, table: Path, capsys: pytest.CaptureFixture[str]
):
    whole = json.loads(run.evaluation_path.read_text())["test"]
    words = ["evaluate", str(run.path), "--by", "agent", "--by", "price", "--by", "sold", "-q"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "test by agent\ngroup" in shown and "test by price, by its quartiles\n" in shown
    assert "largest difference" in shown

    kept = json.loads(run.evaluation_path.read_text())["test"]
    assert {key: value for key, value in kept.items() if key != "groups"} == whole
    assert list(kept["groups"]) == ["agent", "price", "sold"]
    answers = pl.read_parquet(run.predictions_path)
    rows = answers["id"].str.strip_prefix("train/").cast(pl.Int64)
    by_agent = answers.with_columns(agent=rows % 3, right=pl.col("label") == pl.col("predicted"))
    for row in kept["groups"]["agent"]["groups"]:
        own = by_agent.filter(pl.col("agent") == int(row["group"][-1]))
        assert (row["n"], row["n_right"]) == (len(own), own["right"].sum())
    assert [row["group"] for row in kept["groups"]["sold"]["groups"]] == [f"202{one}" for one in range(5)]
    for one in kept["groups"].values():
        assert sum(row["n"] for row in one["groups"]) == whole["n"]

    # Measured again without them: they stay.
    assert main(["evaluate", str(run.path), "--by", "town", "--json", "-q"]) == 0
    assert list(json.loads(capsys.readouterr().out)["test"]["groups"]) == ["town"]
    railcar.evaluate(run.path, quiet=True)
    groups = json.loads(run.evaluation_path.read_text())["test"]["groups"]
    assert list(groups) == ["agent", "price", "sold", "town"]
    card = run.card_path.read_text()
    assert "### test by `agent`" in card and f"{whole['accuracy']:.2%} right" in card


def test_other_data_is_grouped_by_its_own_columns(run: RunDir, table: Path):
    frame = pl.read_csv(table).head(90).with_columns(county=pl.Series([f"k{row % 2}" for row in range(90)]))
    found = railcar.evaluate(run.path, data=frame, by="county", quiet=True)["data"]
    assert [(row["group"], row["n"]) for row in found["groups"]["county"]["groups"]] == [("k0", 45), ("k1", 45)]
    frame.write_csv(table.parent / "new.csv")
    assert railcar.evaluate(run.path, data=table.parent / "new.csv", by=["county"], quiet=True)["data"] == found


def test_a_column_that_is_not_there_or_groups_nothing_is_refused(
    run: RunDir, table: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["evaluate", str(run.path), "--by", "agnet"]) == 1
    assert "did you mean 'agent'?" in capsys.readouterr().err
    frame = pl.read_csv(table).with_columns(code=pl.Series([f"x{row}y" for row in range(400)]))
    with pytest.raises(DataError, match="400 different values"):
        railcar.evaluate(run.path, data=frame, by="code", quiet=True)


def test_of_a_regression_the_errors_are_grouped(table: Path, capsys: pytest.CaptureFixture[str]):
    overrides = QUICK | {"data.label": "price", "data.drop": ["dear"], "model.name": "mlp"}
    run = railcar.train(table, overrides=overrides, runs_dir=table.parent / "runs", quiet=True)
    assert main(["evaluate", str(run.path), "--by", "price", "-q"]) == 0
    shown = capsys.readouterr().out
    assert "mean error" in shown and "of mean error" in shown and max(map(len, shown.splitlines())) <= 80
    whole = json.loads(RunDir(run.path).evaluation_path.read_text())["test"]
    rows = whole["groups"]["price"]["groups"]
    assert sum(row["mae"] * row["n"] for row in rows) / whole["n"] == pytest.approx(whole["mae"], rel=1e-5)
    assert sum(row["bias"] * row["n"] for row in rows) / whole["n"] == pytest.approx(whole["bias"], abs=1e-3)
