"""Searches with real trainings: begun, killed, gone on with, and their ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import railcar
from railcar.errors import NotFound, RecipeError, RunError, UsageError
from railcar.recipe.load import load_recipe
from railcar.runs.run_dir import RunDir, read_json
from railcar.tuning.hparams import has_hparams

QUICK = ("--set", "training.epochs=2", "--set", "training.batch_size=16")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(240, 2))
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    label = np.where(numbers[:, 0] * numbers[:, 1] > 0, "same", "other")
    pl.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "label": label}).write_csv(path)
    return path


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "railcar", "tune", *words, "--runs-dir", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def find_study(folder: Path) -> Path:
    return next(folder.glob("*-tune-*"))


def read_trials(folder: Path) -> list[dict[str, Any]]:
    path = find_study(folder) / "trials.json"
    return json.loads(path.read_text()) if path.exists() else []


def wait_for(n_trials: int, folder: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not list(folder.glob("*-tune-*")) or len(read_trials(folder)) < n_trials:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_search_that_is_killed_and_gone_on_with_makes_each_trial_once(rows: Path, tmp_path: Path):
    process = start(tmp_path, str(rows), "--trials", "6", *QUICK)
    wait_for(2, tmp_path, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = read_trials(tmp_path)
    again = start(tmp_path, "--resume", "--json")
    said, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    found = json.loads(said)
    assert found["trials"][: len(before)] == before
    assert len(found["trials"]) == 6
    assert len({json.dumps(one["settings"]) for one in found["trials"]}) == 6
    assert f"going on after {len(before)} of 6 trials" in errors
    study = Path(found["path"])
    made = {path.name for path in (study / "trials").iterdir()}
    assert {one["run"] for one in found["trials"]} <= made
    assert {path.name for path in (study / "plots").iterdir()} >= {"history.png", "parallel.png"}


def test_the_test_side_is_not_looked_at_and_the_best_recipe_trains_to_what_was_found(rows: Path, tmp_path: Path):
    found = railcar.tune(rows, overrides={"training.epochs": 2}, n_trials=3, runs_dir=tmp_path, quiet=True)
    assert found.best is not None and found.best.value is not None
    for trial in found.trials:
        run = RunDir(found.path / "trials" / trial.run)
        evaluation = read_json(run.evaluation_path)
        assert evaluation is not None and "test" not in evaluation and "validation" in evaluation
        assert has_hparams(run.tensorboard)
        assert "test" not in pl.read_parquet(run.splits_path)["side"].to_list()
    assert found.trials[0].number == 0 and found.default == found.trials[0]
    recipe = load_recipe(found.recipe)
    assert recipe.training.optimizer.learning_rate == found.best.settings["training.optimizer.learning_rate"]
    run = railcar.train(found.recipe, runs_dir=tmp_path / "runs", quiet=True)
    assert run.evaluation["validation"]["loss"] == pytest.approx(found.best.value, rel=0.02)  # in bfloat16
    assert "test" in run.evaluation


def test_two_workers_make_all_trials_and_each_once(rows: Path, tmp_path: Path):
    found = railcar.tune(rows, overrides={"training.epochs": 1}, n_trials=5, workers=2, runs_dir=tmp_path, quiet=True)
    assert [one.number for one in found.trials] == [0, 1, 2, 3, 4]
    assert len({one.run for one in found.trials}) == 5
    assert all(one.state in ("finished", "pruned") for one in found.trials)


def test_a_trial_that_fails_does_not_end_the_search_and_is_told(rows: Path, tmp_path: Path):
    document = {
        "name": "some",
        "data": {"source": str(rows)},
        "model": {"name": "mlp", "dense": [4]},
        "training": {
            "steps": 8,
            "batch_size": {"choose": [8, 5000]},
            "optimizer": {"name": "sgd", "learning_rate": {"choose": [0.1, 1e30]}},
        },
    }
    (tmp_path / "some.yaml").write_text(json.dumps(document))
    found = railcar.tune(tmp_path / "some.yaml", n_trials=8, runs_dir=tmp_path / "runs", quiet=True)
    failed = [one for one in found.trials if one.state == "failed"]
    assert found.best is not None and found.best.settings["training.batch_size"] == 8
    assert failed and all(one.note for one in failed)
    assert any("5,000 is more than" in one.note or "the loss is" in one.note for one in failed)


def test_a_search_that_is_going_on_is_not_taken_up_by_another(rows: Path, tmp_path: Path):
    process = start(tmp_path, str(rows), "--trials", "3", *QUICK)
    wait_for(1, tmp_path, process)
    with pytest.raises(RunError, match="still going on in another process"):
        railcar.tune(resume=True, runs_dir=tmp_path, quiet=True)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert len(read_trials(tmp_path)) == 3


def test_what_is_left_open_on_the_command_line_is_searched_with_data_and_with_bundled_recipes(
    rows: Path, tmp_path: Path
):
    opened = ["model.dropout={search: [0.1, 0.3]}", "training.epochs=1"]
    for number, data in enumerate((rows, "penguins")):
        found = railcar.tune(data, overrides=opened, n_trials=2, runs_dir=tmp_path / str(number), quiet=True)
        assert [set(one.settings) for one in found.trials] == [{"model.dropout"}] * 2
        assert found.trials[0].is_first and 0.1 <= found.trials[1].settings["model.dropout"] <= 0.3


def test_a_signal_ends_a_search_that_can_go_on(rows: Path, tmp_path: Path):
    process = start(tmp_path, str(rows), "--trials", "50", *QUICK)
    wait_for(1, tmp_path, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "of 50 trials are done and kept" in " ".join(errors.split())
    assert f"railcar tune --resume={find_study(tmp_path).name}" in " ".join(errors.split())
    assert "Traceback" not in errors


def test_a_time_ends_a_search_with_what_there_is(rows: Path, tmp_path: Path):
    began = time.monotonic()
    found = railcar.tune(rows, n_trials=500, time_s=8, runs_dir=tmp_path, quiet=True)
    assert time.monotonic() - began < 40
    assert 1 <= len(found.trials) < 500


def test_what_cannot_be_searched_is_refused_before_the_first_trial(rows: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="judged on validation"):
        railcar.tune(rows, overrides={"data.validation": None}, runs_dir=tmp_path, quiet=True)
    with pytest.raises(UsageError, match="several processes"):
        railcar.tune(pl.read_csv(rows), runs_dir=tmp_path, quiet=True)
    with pytest.raises(NotFound, match="there is no search"):
        railcar.tune(resume=True, runs_dir=tmp_path, quiet=True)
    with pytest.raises(UsageError, match="kept in a folder"):
        railcar.tune(rows, runs_dir="gs://some/runs", quiet=True)
    by_hand = {
        "training.steps": 5,
        "training.batch_size": 8,
        "training.optimizer": {"name": "sgd", "learning_rate": 0.1},
    }
    with pytest.raises(UsageError, match="all that is searched for by itself is set by hand"):
        railcar.tune(rows, overrides={"model.name": "linear", **by_hand}, runs_dir=tmp_path, quiet=True)
    (tmp_path / "bad.yaml").write_text("model: {dropout: {search: [0.5, 0.1]}}\n")
    with pytest.raises(RecipeError, match="searches from"):
        railcar.tune(tmp_path / "bad.yaml", runs_dir=tmp_path, quiet=True)
    assert not list(tmp_path.glob("*-tune-*"))
