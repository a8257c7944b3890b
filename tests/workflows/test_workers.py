"""Several worker processes on this computer train one model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import railcar
from railcar.errors import RecipeError, UsageError
from railcar.layers.tuned import TunedConv2D
from railcar.recipe.schema import Recipe
from railcar.runs.checkpoint import find_newest
from railcar.runs.run_dir import RunDir
from railcar.training.tensorflow import memory_settings
from railcar.workflows.job import _choose_kernels
from railcar.workflows.local_workers import build_environments
from tests.synthetic import tiny_recipe, write_image_folder

# Sums over workers are taken in another order than within one batch.
TOLERANCE = 2e-3


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Without dropout and batch normalisation, which differ from worker to worker."""
    folder = write_image_folder(tmp_path_factory.mktemp("photos"), n_per_class=30)
    recipe = tiny_recipe(
        steps=60, batch_size=12, precision="float32", validate_every=20, checkpoint_every=20, log_every=1
    )
    model = {"filters": [4], "kernel_size": 3, "dense": [8]}
    return {**recipe, "data": {**recipe["data"], "source": str(folder)}, "model": model}  # type: ignore[dict-item]


@pytest.fixture(scope="module")
def alone(recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return RunDir(railcar.train(recipe, runs_dir=tmp_path_factory.mktemp("alone"), quiet=True).path)


def losses_of(run: RunDir) -> list[float]:
    return [row["loss"] for row in run.read_metrics()]


def last_variables(run: RunDir) -> dict[str, np.ndarray]:
    checkpoint, _ = find_newest(run.checkpoints)
    assert checkpoint is not None
    with np.load(checkpoint.path / "variables.npz") as stored:
        return dict(stored)


def start_and_stop(
    recipe: dict[str, Any], runs: Path, step: int, stop: Callable[[subprocess.Popen[str]], None]
) -> tuple[int, str, RunDir]:
    """`railcar train --workers 2` as a process of its own, and what ends it once `step` is logged."""
    runs.mkdir()
    path = runs / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    command = [sys.executable, "-m", "railcar", "train", str(path), "--workers", "2", "--runs-dir", str(runs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = [RunDir(one) for one in runs.glob("tiny-*")]
        if found and any(row["step"] >= step for row in found[0].read_metrics()):
            break
        time.sleep(0.02)
    stop(process)
    _, err = process.communicate(timeout=120)
    return process.returncode, err, RunDir(next(runs.glob("tiny-*")))


def kill_worker(process: subprocess.Popen[str]) -> None:
    """Kill worker 1, a child of `process`."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_text().split("\0")
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if parent == str(process.pid) and words[-2] == "1":
            os.kill(int(path.name), signal.SIGKILL)
            return
    raise AssertionError("worker 1 is not there")


def test_two_workers_have_the_loss_curve_of_one(recipe, alone: RunDir, tmp_path: Path):
    run = railcar.train(recipe, workers=2, runs_dir=tmp_path, quiet=True)
    pair = RunDir(run.path)
    np.testing.assert_allclose(losses_of(pair), losses_of(alone), rtol=TOLERANCE)
    assert len(list(tmp_path.iterdir())) == 1, "only the chief writes"
    assert pair.read_manifest()["state"] == "finished" and run.evaluation["test"]["n"] > 0
    chosen = json.loads(pair.decisions_path.read_text())["training.distribution"]
    assert chosen["value"] == "multi_worker" and "each takes 6 of the 12 examples" in chosen["reason"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the worker in /proc")
def test_a_killed_worker_stops_the_others_and_the_run_resumes_exactly(recipe, tmp_path: Path):
    changed = {**recipe, "model": {**recipe["model"], "dropout": 0.3, "batch_norm": True}}
    changed["data"] = {**recipe["data"], "augment": {"shift": 0.1}}
    whole = railcar.train(changed, workers=2, runs_dir=tmp_path / "whole", quiet=True)
    slow = {**changed, "training": {**changed["training"], "steps_per_call": 1}}
    status, err, cut = start_and_stop(slow, tmp_path / "cut", 22, kill_worker)
    assert status == 1, err
    assert "worker 1 of 2 was killed by SIGKILL; the checkpoint of step" in err
    assert f"hint: go on with: railcar train --resume={cut.name} --workers 2" in err
    assert "Traceback" not in err
    assert cut.read_manifest()["state"] == "interrupted"
    assert find_newest(cut.checkpoints)[0] is not None

    railcar.train(resume=cut.name, workers=2, runs_dir=tmp_path / "cut", quiet=True)
    expected, values = last_variables(RunDir(whole.path)), last_variables(cut)
    assert expected.keys() == values.keys()
    for key, value in values.items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)
    assert losses_of(cut) == losses_of(RunDir(whole.path))


def test_ctrl_c_saves_once_and_any_number_of_workers_goes_on(recipe, alone: RunDir, tmp_path: Path):
    slow = {**recipe, "training": {**recipe["training"], "steps_per_call": 1}}
    status, err, cut = start_and_stop(slow, tmp_path / "cut", 23, lambda process: process.send_signal(signal.SIGINT))
    assert status == 130, err
    found = re.search(r"at step (\d+) of 60; everything up to there is saved", err)
    assert found and "Traceback" not in err
    checkpoint, _ = find_newest(cut.checkpoints)
    assert checkpoint is not None and checkpoint.step == int(found[1]) < 60
    assert cut.read_manifest()["state"] == "interrupted"

    shutil.copytree(tmp_path / "cut", tmp_path / "more")
    for workers, runs in ((1, tmp_path / "cut"), (3, tmp_path / "more")):
        run = railcar.train(resume=cut.name, workers=workers, runs_dir=runs, quiet=True)
        np.testing.assert_allclose(losses_of(RunDir(run.path)), losses_of(alone), rtol=TOLERANCE)


def test_what_workers_cannot_do_is_refused_before_any_is_started(recipe, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RecipeError, match="12 does not split evenly over 5 workers"):
        railcar.train(recipe, workers=5, quiet=True)
    with pytest.raises(UsageError, match="contradict"):
        railcar.train(recipe, overrides={"training.distribution": "none"}, workers=2, quiet=True)
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(UsageError, match="TF_CONFIG names those of another"):
        railcar.train(recipe, workers=2, quiet=True)


def test_a_fault_that_the_chief_finds_is_raised_as_its_own_kind(recipe, tmp_path: Path):
    sets = {"training.batch_size": 120}
    with pytest.raises(RecipeError, match=r"training\.batch_size: 120 is more than"):
        railcar.train(recipe, overrides=sets, workers=2, runs_dir=tmp_path, quiet=True)


def test_workers_share_the_cores_and_keep_threads_that_are_set():
    environments = build_environments(2, {"TF_NUM_INTEROP_THREADS": "7"})
    addresses = [json.loads(one["TF_CONFIG"])["cluster"]["worker"] for one in environments]
    assert addresses[0] == addresses[1] and len(set(addresses[0])) == 2
    assert [json.loads(one["TF_CONFIG"])["task"]["index"] for one in environments] == [0, 1]
    assert all(int(one["TF_NUM_INTRAOP_THREADS"]) >= 1 for one in environments)
    assert all(one["TF_NUM_INTEROP_THREADS"] == "7" for one in environments)
    mine = int(memory_settings()["TF_CPU_BFC_MEM_LIMIT_IN_MB"])
    assert all(abs(2 * int(one["TF_CPU_BFC_MEM_LIMIT_IN_MB"]) - mine) <= 1 for one in environments)


def test_all_workers_compute_with_the_kernels_that_the_chief_found():
    """Each measures for itself otherwise, and gradients that are rounded differently meet in one sum."""

    class Second:
        is_chief = False

        def share(self, value: Any) -> Any:
            assert value is None
            return [{"convolution": ["kernel"]}, "as the chief measured"]

    model = keras.Sequential([keras.Input((8, 8, 1)), TunedConv2D(4, 3, name="convolution")])
    choice = _choose_kernels(Recipe(), None, model, None, Second())  # type: ignore[arg-type]
    assert choice is not None and choice.reason == "as the chief measured"
    assert model.get_layer("convolution").forward_gradients == {"kernel"}
