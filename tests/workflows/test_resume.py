"""Taking up a run again: what is refused, and what is found where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import railcar
from railcar.errors import RunError
from railcar.runs.checkpoint import checkpoint_name, read_checkpoint
from railcar.runs.run_dir import RunDir, read_json, write_json
from railcar.training import kernels
from tests.synthetic import make_images, tiny_recipe


def train_tiny(runs_dir: Path, **training: Any) -> Any:
    """A run on sixty images in memory."""
    images, labels = make_images(60)
    path = runs_dir.parent / f"{runs_dir.name}.npz"
    np.savez(path, images=images, labels=labels)
    recipe = tiny_recipe(**training)
    recipe["data"] = {**recipe["data"], "source": str(path)}  # type: ignore[dict-item]
    return railcar.train(recipe, runs_dir=runs_dir, quiet=True)


def read_log(run: RunDir) -> str:
    """log.txt without its line breaks."""
    return " ".join(run.log_path.read_text().split())


def expect_same_variables(first: RunDir, second: RunDir, step: int) -> None:
    """The checkpoints of `step` are equal to the bit."""
    with (
        np.load(first.checkpoints / checkpoint_name(step) / "variables.npz") as one,
        np.load(second.checkpoints / checkpoint_name(step) / "variables.npz") as other,
    ):
        assert one.files == other.files
        for key in one.files:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


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
    assert "it was the best one" in read_log(run)
    pointer = read_json(run.best_path)
    assert pointer is not None and pointer["step"] == 6


def test_a_longer_run_is_the_run_that_had_that_length_from_the_start(tmp_path: Path):
    whole = train_tiny(tmp_path / "whole", steps=12)
    short = train_tiny(tmp_path / "short", steps=6)
    longer = railcar.train(resume=short.name, overrides=["training.steps=12"], runs_dir=tmp_path / "short", quiet=True)
    expect_same_variables(RunDir(whole.path), RunDir(longer.path), 12)
    manifest = RunDir(longer.path).read_manifest()
    assert (manifest["state"], manifest["steps"], manifest["step"]) == ("finished", 12, 12)
    [change] = manifest["changes"]
    assert (change["step"], change["steps"], change["recipe"]) == (6, [6, 12], {"training.steps": [6, 12]})
    assert "steps: 12  # was 6 until step 6" in RunDir(longer.path).recipe_path.read_text()
    assert [row["step"] for row in RunDir(longer.path).read_metrics()] == list(range(1, 13))


def find_kernels(run: RunDir) -> Any:
    return (read_json(run.decisions_path) or {}).get("training.kernels", {}).get("value")


def test_a_run_keeps_the_kernels_that_it_began_with_whatever_is_measured_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def begin(name: str, steps: int, forward_ms: float) -> RunDir:
        monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / f"cache-{name}"))
        monkeypatch.setattr(kernels, "_time_gradient", lambda *_: (10.0, forward_ms))
        return RunDir(train_tiny(tmp_path / name, steps=steps).path)

    whole, short = begin("whole", 12, 1.0), begin("short", 6, 1.0)
    chosen = find_kernels(short)
    assert chosen and all(chosen.values())
    other = begin("other", 6, 10.0)  # an empty cache, and a machine that finds otherwise
    assert find_kernels(other) == {}
    railcar.train(resume=short.name, overrides=["training.steps=12"], runs_dir=tmp_path / "short", quiet=True)
    assert find_kernels(short) == chosen
    expect_same_variables(whole, short, 12)


def test_a_deterministic_training_depends_on_nothing_that_is_measured(tmp_path: Path):
    """In a process of its own: TensorFlow stays deterministic until its process ends, and rounds otherwise then."""
    images, labels = make_images(60)
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    sets = ["training.deterministic=true", "training.steps=2", "model.filters=[4]", "training.tensorboard=false"]
    options = [word for one in [*sets, "training.batch_size=8"] for word in ("--set", one)]
    command = [sys.executable, "-m", "railcar", "train", str(tmp_path / "set.npz"), *options, "--quiet"]
    environment = {**os.environ, "RAILCAR_RUNS": str(tmp_path / "runs"), "RAILCAR_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "runs").iterdir()
    assert find_kernels(RunDir(path)) is None and not (tmp_path / "cache" / "kernels.json").exists()


def test_a_falling_learning_rate_is_told_and_fewer_steps_than_are_done_are_refused(tmp_path: Path):
    run = RunDir(train_tiny(tmp_path, steps=6, optimizer={"schedule": "linear", "learning_rate": 0.01}).path)
    with pytest.raises(RunError, match="6 steps are done, and it cannot be made 3 long"):
        railcar.train(resume=run.name, overrides=["training.steps=3"], runs_dir=tmp_path, quiet=True)
    with pytest.raises(RunError, match="finished already"):
        railcar.train(resume=run.name, overrides=["training.validate_every=2"], runs_dir=tmp_path, quiet=True)
    assert run.read_manifest()["state"] == "finished" and "validate_every: 3" in run.recipe_path.read_text()
    railcar.train(resume=run.name, overrides={"training.steps": 8}, runs_dir=tmp_path, quiet=True)
    assert "zero at step 8 instead of 6: it goes on with 0.0025 where it was 0" in read_log(run)


def test_a_run_that_ended_early_goes_on_when_its_rule_is_lifted(tmp_path: Path):
    stop_at = {"metric": "val_accuracy", "value": 0.0}
    run = RunDir(train_tiny(tmp_path, steps=9, stop_at=stop_at).path)
    assert run.read_manifest()["step"] == 3
    with pytest.raises(RunError, match=r"it ended because val_accuracy reached") as caught:
        railcar.train(resume=run.name, overrides=["training.steps=12"], runs_dir=tmp_path, quiet=True)
    assert "training.stop_at=null" in caught.value.hint
    railcar.train(resume=run.name, overrides=["training.stop_at=null"], runs_dir=tmp_path, quiet=True)
    manifest = run.read_manifest()
    assert (manifest["step"], manifest["state"]) == (9, "finished") and "ended_early" not in manifest
    assert manifest["changes"][0]["recipe"] == {"training.stop_at": [stop_at, None]}


def test_a_run_that_was_killed_may_end_sooner_than_it_was_to(tmp_path: Path):
    whole = train_tiny(tmp_path, steps=9)
    run = RunDir(whole.path)
    for step in (6, 9):
        shutil.rmtree(run.checkpoints / checkpoint_name(step))
    stop(run)
    railcar.train(resume=run.name, overrides=["training.steps=4"], runs_dir=tmp_path, quiet=True)
    manifest = run.read_manifest()
    assert (manifest["state"], manifest["step"], manifest["steps"]) == ("finished", 4, 4)
    assert [row["step"] for row in run.read_metrics()] == [1, 2, 3, 4]
