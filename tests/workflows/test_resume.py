"""Taking up a run again: what is refused, and what is found where."""

from __future__ import annotations

from pathlib import Path

import pytest

import railcar
from railcar.errors import RunError
from railcar.runs.run_dir import RunDir


def test_a_run_that_another_process_trains_is_not_taken_up(tmp_path: Path):
    run = RunDir.create(tmp_path, "tiny")
    with run.hold(), pytest.raises(RunError, match="still going on"):
        railcar.train(resume=run.name, runs_dir=tmp_path, quiet=True)


def test_a_run_without_a_recipe_cannot_go_on_and_says_so(tmp_path: Path):
    run = RunDir.create(tmp_path, "tiny")
    with pytest.raises(RunError, match=r"recipe\.yaml: is missing") as caught:
        railcar.train(resume=run.name, runs_dir=tmp_path, quiet=True)
    assert caught.value.exit_status == 1


def test_a_damaged_recipe_of_a_run_is_named_with_status_one(tmp_path: Path):
    run = RunDir.create(tmp_path, "tiny")
    run.recipe_path.write_bytes(b"seed: [\x00")
    with pytest.raises(RunError, match=r"recipe\.yaml") as caught:
        railcar.train(resume=run.name, runs_dir=tmp_path, quiet=True)
    assert caught.value.exit_status == 1
