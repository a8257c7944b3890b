"""Taking up a run again: what is refused, and what is found where."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import railcar
from railcar.errors import RunError
from railcar.runs.checkpoint import checkpoint_name, read_checkpoint
from railcar.runs.run_dir import RunDir, read_json, write_json
from tests.synthetic import make_images, tiny_recipe


def train_tiny(runs_dir: Path, **training: Any) -> Any:
    """A run on sixty images in memory."""
    images, labels = make_images(60)
    path = runs_dir.parent / f"{runs_dir.name}.npz"
    np.savez(path, images=images, labels=labels)
    recipe = tiny_recipe(**training)
    recipe["data"] = {**recipe["data"], "source": str(path)}  # type: ignore[dict-item]
    return railcar.train(recipe, runs_dir=runs_dir, quiet=True)


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


def stop(run: RunDir) -> None:
    """As if the process had been killed: the manifest still says that it runs."""
    run.write_manifest({**run.read_manifest(), "state": "running"})


def test_a_kill_between_the_last_checkpoint_and_its_pointers_leaves_the_same_result(tmp_path: Path):
    whole = train_tiny(tmp_path, steps=6, validate_every=2, checkpoint_every=2)
    run = RunDir(whole.path)
    before = [run.best_path.read_text(), run.last_path.read_text()]
    write_json(run.last_path, {"checkpoint": "step-00000002", "step": 2})
    run.best_path.unlink()
    stop(run)
    again = railcar.train(resume=whole.name, runs_dir=tmp_path, quiet=True)
    assert again.evaluation == whole.evaluation
    assert [run.best_path.read_text(), run.last_path.read_text()] == before


def test_a_best_checkpoint_that_is_damaged_is_said_and_another_is_sought(tmp_path: Path):
    whole = train_tiny(tmp_path, steps=6, validate_every=2, checkpoint_every=1, keep_checkpoints=6)
    run = RunDir(whole.path)
    stop(run)
    shutil.rmtree(run.checkpoints / "step-00000006")
    best_step = read_checkpoint(run.checkpoints / "step-00000005").state["best"]["step"]
    (run.checkpoints / checkpoint_name(best_step) / "variables.npz").write_bytes(b"")
    railcar.train(resume=whole.name, runs_dir=tmp_path, quiet=True)
    assert "it was the best one" in run.log_path.read_text()
    pointer = read_json(run.best_path)
    assert pointer is not None and pointer["step"] == 6
