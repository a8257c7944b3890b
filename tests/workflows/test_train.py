from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

import railcar
from railcar.errors import DataError, NotFound, OutputError, RecipeError, RunError, TrainingError, UsageError
from railcar.runs.checkpoint import read_checkpoint
from railcar.runs.run_dir import RunDir
from railcar.workflows.find_rate import find_learning_rate
from tests.synthetic import make_images, tiny_recipe, write_image_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("photos"), n_per_class=30)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> railcar.api.Run:
    recipe = tiny_recipe(steps=160, validate_every=40, checkpoint_every=40, tensorboard=True)
    recipe["data"] = {**recipe["data"], "source": str(folder)}  # type: ignore[dict-item]
    return railcar.train(recipe, runs_dir=tmp_path_factory.mktemp("runs"), quiet=True)


def variables_of(run: RunDir, step: int) -> dict[str, np.ndarray]:
    checkpoint = read_checkpoint(run.checkpoints / f"step-{step:08d}")
    with np.load(checkpoint.path / "variables.npz") as stored:
        return dict(stored)


def test_a_run_directory_has_every_file_of_the_interface(run):
    found = RunDir(run.path)
    for path in (found.recipe_path, found.decisions_path, found.manifest_path, found.splits_path, found.metrics_path):
        assert path.is_file(), path
    for path in (found.best_path, found.last_path, found.evaluation_path, found.predictions_path, found.log_path):
        assert path.is_file(), path
    assert {"curves.png", "confusion.png", "mistakes.png", "batch.png", "preprocessing.svg"} <= {
        one.name for one in found.plots.iterdir()
    }
    artifact = {one.name for one in found.artifact.iterdir()}
    assert artifact == {"model.keras", "artifact.json", "signature.json", "samples"}
    assert list(found.tensorboard.glob("events.*"))
    manifest = found.read_manifest()
    assert (manifest["state"], manifest["step"], manifest["steps"]) == ("finished", 160, 160)
    assert manifest["data"]["n_train"] + manifest["data"]["n_validation"] + manifest["data"]["n_test"] == 90


def test_a_tiny_network_learns_plain_classes(run):
    assert run.evaluation["test"]["accuracy"] >= 0.9
    rows = RunDir(run.path).read_metrics()
    assert rows[-1]["step"] == 160 and rows[-1]["loss"] < rows[0]["loss"]
    assert {"step", "epoch", "loss", "accuracy", "learning_rate", "examples_per_s", "seconds"} <= set(rows[-1])
    assert [row["step"] for row in rows if "val_loss" in row] == [40, 80, 120, 160]


def test_predictions_name_every_test_example_with_probabilities(run):
    frame = polars.read_parquet(RunDir(run.path).predictions_path)
    right = (frame["label"] == frame["predicted"]).sum()
    assert (len(frame), right) == (run.evaluation["test"]["n"], run.evaluation["test"]["n_right"])
    assert frame["probabilities"].to_numpy().sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert all(re.fullmatch(r"[abc]/\d+\.png", name) for name in frame["id"])


def test_the_recipe_of_a_run_repeats_it_to_the_bit(run, tmp_path: Path):
    again = railcar.train(run.path / "recipe.yaml", runs_dir=tmp_path, quiet=True)
    first, second = variables_of(RunDir(run.path), 160), variables_of(RunDir(again.path), 160)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


def test_evaluation_and_prediction_agree_with_the_run(run, folder: Path):
    evaluation = railcar.evaluate(run.path, quiet=True)
    assert evaluation["test"] == run.evaluation["test"]
    frame = polars.read_parquet(RunDir(run.path).predictions_path)
    predictions = railcar.predict([folder / name for name in frame["id"]], run=run.path)
    assert [one.label for one in predictions] == frame["predicted"].to_list()
    expected = frame["probabilities"].to_numpy().max(axis=1)
    np.testing.assert_allclose([one.probability for one in predictions], expected, atol=1e-5)


def test_other_data_and_other_checkpoints_can_be_measured(run, tmp_path: Path):
    other = railcar.evaluate(run.path, data=write_image_folder(tmp_path / "new", n_per_class=5), quiet=True)
    assert other["data"]["n"] == 15 and other["data"]["accuracy"] >= 0.8
    early = railcar.evaluate(run.path, checkpoint=80, quiet=True)
    assert early["checkpoint"] == "step-00000080"


def test_a_loaded_model_takes_arrays_of_any_size(run):
    model = railcar.load(run.path)
    images, labels = make_images(9)
    assert [model.class_names.index(one.label) for one in model.predict(images)] == labels.tolist()
    larger = np.kron(images[..., 0], np.ones((1, 3, 3), np.uint8))
    assert model.predict_probabilities(larger).shape == (9, 3)
    with pytest.raises(DataError, match="uint8"):
        model.predict(images.astype(np.float32))  # pyright: ignore[reportArgumentType]


def test_arrays_frames_and_datasets_are_data(tmp_path: Path):
    import pandas
    import tensorflow as tf

    images, labels = make_images(60, side=8)
    frame = polars.DataFrame({"label": labels, **{f"p{i}": images.reshape(60, 64)[:, i] for i in range(64)}})
    forms = [
        (images, labels),
        frame,
        pandas.DataFrame(frame.to_dict(as_series=False)),
        tf.data.Dataset.from_tensor_slices((images, labels)).batch(7),
    ]
    accuracies = set()
    for data in forms:
        sets = {"training.steps": 4, "training.batch_size": 8, "training.tensorboard": False, "model.filters": [4]}
        run = railcar.train(data, overrides=sets, runs_dir=tmp_path, quiet=True)
        accuracies.add((run.evaluation["test"]["n"], round(run.evaluation["test"]["loss"], 6)))
    assert len(accuracies) == 1


def everything(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with all that a checkpoint must hold in use: random changes, averages, patience."""
    changes = {"flip": True, "shift": 0.1, "rotate": 0.02, "zoom": 0.1, "cutout": 0.2}
    extras = {"label_smoothing": 0.1, "average": {"decay": 0.95, "every": 3}, "early_stop": {"patience": 50}}
    return {
        **recipe,
        "data": {**recipe["data"], "augment": changes},
        "model": {**recipe["model"], "mirror_average": True},
        "training": {**recipe["training"], **extras},
    }


def stop_after(step: int, runs: Path, recipe: Path, number: signal.Signals) -> tuple[int, str, RunDir]:
    """Start a training as a process of its own and send it a signal once `step` is logged."""
    command = [sys.executable, "-m", "railcar", "train", str(recipe), "--runs-dir", str(runs)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = [RunDir(one) for one in runs.glob("tiny-*")]
        if found and any(row["step"] >= step for row in found[0].read_metrics()):
            process.send_signal(number)
            break
        time.sleep(0.02)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors, RunDir(next(runs.glob("tiny-*")))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_is_saved_says_how_to_go_on_and_ends_as_if_never_stopped(
    folder: Path, tmp_path: Path, number: signal.Signals, status: int
):
    recipe = everything(
        tiny_recipe(steps=1200, validate_every=300, checkpoint_every=300, log_every=7, steps_per_call=5)
    )
    recipe["data"] = {**recipe["data"], "source": str(folder)}  # type: ignore[dict-item]
    path = tmp_path / "tiny.json.yaml"
    path.write_text(json.dumps(recipe))
    whole = railcar.train(path, runs_dir=tmp_path / "whole", quiet=True)
    code, errors, cut = stop_after(20, tmp_path / "cut", path, number)
    assert code == status
    assert f"railcar train --resume={cut.name}" in errors and "Traceback" not in errors
    stopped_at = cut.read_manifest()["step"]
    assert 20 <= stopped_at < 1200 and cut.read_manifest()["state"] == "interrupted"
    assert "reason" in cut.read_manifest()
    resumed = railcar.train(resume=cut.name, runs_dir=tmp_path / "cut", quiet=True)
    first, second = variables_of(RunDir(whole.path), 1200), variables_of(cut, 1200)
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)
    assert resumed.evaluation["test"] == whole.evaluation["test"]
    assert "reason" not in cut.read_manifest()
    losses = [[row["loss"] for row in RunDir(one).read_metrics()] for one in (whole.path, cut.path)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"stop_at": {"metric": "val_accuracy", "value": 0.2}}, "val_accuracy reached"),
        ({"early_stop": {"metric": "val_accuracy", "patience": 2}}, "has not become better in 2 validations"),
    ],
)
def test_a_validation_can_end_the_training_before_its_last_step(
    folder: Path, tmp_path: Path, rule: dict[str, Any], reason: str
):
    recipe = tiny_recipe(steps=1000, validate_every=20, checkpoint_every=500, **rule)
    recipe["data"] = {**recipe["data"], "source": str(folder)}  # type: ignore[dict-item]
    run = RunDir(railcar.train(recipe, runs_dir=tmp_path, quiet=True).path)
    manifest = run.read_manifest()
    assert manifest["state"] == "finished" and reason in manifest["ended_early"]
    last = run.read_metrics()[-1]["step"]
    assert last < 1000 and last % 20 == 0 and manifest["step"] == last
    state = read_checkpoint(run.checkpoints / f"step-{last:08d}").state
    assert reason in state["ending"]["reason"]
    run.write_manifest({**manifest, "state": "interrupted"})  # as if killed before it was written down
    again = railcar.train(resume=run.name, runs_dir=tmp_path, quiet=True)
    assert run.read_manifest()["step"] == last and again.evaluation["checkpoint"].startswith("step-")


def test_a_learning_rate_is_found_in_a_short_training_and_drawn(folder: Path, tmp_path: Path):
    recipe = tiny_recipe()
    recipe["data"] = {**recipe["data"], "source": str(folder)}  # type: ignore[dict-item]
    found = find_learning_rate(recipe, runs_dir=tmp_path, quiet=True)
    assert 1e-5 < found.rate < 1.0 and found.steepest < found.lowest
    assert found.plot.read_bytes().startswith(b"\x89PNG") and list(tmp_path.iterdir()) == [found.plot]
    assert found.model == ""  # the recipe's
    command = [sys.executable, "-m", "railcar", "train", str(folder), "--find-lr", "--runs-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "railcar train ... --model cnn --set training.optimizer.learning_rate=" in done.stdout


def test_averages_and_mirror_images_are_what_is_evaluated_and_kept(folder: Path, tmp_path: Path):
    recipe = everything(tiny_recipe(steps=60, validate_every=60, checkpoint_every=60))
    recipe["data"] = {**recipe["data"], "source": str(folder)}
    run = railcar.train(recipe, runs_dir=tmp_path, quiet=True)
    last = RunDir(run.path).read_metrics()[-1]
    assert run.evaluation["validation"]["accuracy"] == pytest.approx(last["val_accuracy"])
    assert run.evaluation["validation"]["loss"] == pytest.approx(last["val_loss"], abs=0.02)  # bfloat16 in training
    images, _ = make_images(9)
    model = railcar.load(run.path)
    straight, mirrored = (
        model.predict_probabilities(one) for one in (images, np.ascontiguousarray(images[:, :, ::-1]))
    )
    np.testing.assert_allclose(straight, mirrored, atol=1e-5)


def test_a_damaged_newest_checkpoint_is_left_behind_on_resume(folder: Path, tmp_path: Path):
    recipe = tiny_recipe(steps=12, keep_checkpoints=2)
    recipe["data"] = {**recipe["data"], "source": str(folder)}  # type: ignore[dict-item]
    whole = railcar.train(recipe, runs_dir=tmp_path, quiet=True)
    run = RunDir(whole.path)
    expected = variables_of(run, 12)
    run.write_manifest({**run.read_manifest(), "state": "interrupted"})
    (run.checkpoints / "step-00000012" / "state.json").write_text("{}")
    railcar.train(resume=whole.name, runs_dir=tmp_path, quiet=True)
    for key, value in variables_of(run, 12).items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)
    assert "damaged" in run.log_path.read_text() or "does not match" in run.log_path.read_text()


def test_data_that_changed_since_is_not_measured_silently(tmp_path: Path):
    images, labels = make_images(60)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    sets = {"training.steps": 4, "training.tensorboard": False, "model.filters": [4]}
    run = railcar.train(tmp_path / "data.npz", overrides=sets, runs_dir=tmp_path / "runs", quiet=True)
    before = (run.path / "evaluation.json").read_text()
    np.savez(tmp_path / "data.npz", images=255 - images, labels=labels)
    with pytest.raises(RunError, match="has changed"):
        railcar.evaluate(run.path, quiet=True)
    assert (run.path / "evaluation.json").read_text() == before
    assert railcar.evaluate(run.path, data=tmp_path / "data.npz", quiet=True)["data"]["n"] == 60


def test_a_damaged_artifact_is_made_again_by_evaluate(run):
    path = run.path / "artifact" / "model.keras"
    path.write_bytes(b"damaged")
    assert railcar.evaluate(run.path, quiet=True)["test"] == run.evaluation["test"]
    assert railcar.load(run.path).class_names == ("a", "b", "c")


def test_a_finished_run_and_a_changed_recipe_are_not_resumed(run):
    with pytest.raises(RunError, match="finished") as caught:
        railcar.train(resume=str(run.path), quiet=True)
    assert "--set training.steps=320" in caught.value.hint
    with pytest.raises(UsageError, match="seed is not one of the keys of its length") as refused:
        railcar.train(resume=str(run.path), overrides=["seed=3"], quiet=True)
    assert f"--from {run.name}" in refused.value.hint
    with pytest.raises(UsageError, match="keeps its name"):
        railcar.train(resume=str(run.path), name="other", quiet=True)
    with pytest.raises(UsageError, match="exclude each other"):
        railcar.train(resume=str(run.path), from_run=str(run.path), quiet=True)


def test_a_loss_that_is_no_number_fails_with_words_and_keeps_the_checkpoint(folder: Path, tmp_path: Path):
    recipe = tiny_recipe(steps=50, optimizer={"learning_rate": 1e30}, checkpoint_every=1)
    recipe["data"] = {**recipe["data"], "source": str(folder)}  # type: ignore[dict-item]
    recipe["model"] = {"filters": [4]}
    with pytest.raises(TrainingError) as caught:
        railcar.train(recipe, runs_dir=tmp_path, quiet=True)
    assert re.search(r"step \d+: the loss is", caught.value.what)
    assert "learning_rate" in caught.value.hint
    assert RunDir(next(tmp_path.iterdir())).read_manifest()["state"] == "failed"


def test_weights_that_are_no_numbers_never_become_a_checkpoint_though_the_losses_were(folder: Path, tmp_path: Path):
    recipe = tiny_recipe(steps=9, optimizer={"name": "sgd", "learning_rate": 3e38}, checkpoint_every=1)
    recipe["data"] = {**recipe["data"], "source": str(folder), "scale": "none"}  # type: ignore[dict-item]
    with pytest.raises(TrainingError, match=r"step 1: the network's \w+ is no longer finite") as caught:
        railcar.train(recipe, runs_dir=tmp_path, quiet=True)
    assert "among the first steps" in caught.value.hint and "data.scale to standard" in caught.value.hint
    assert list(RunDir(next(tmp_path.iterdir())).checkpoints.glob("step-*")) == []


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ("no-such-thing", NotFound, "no such file or folder"),
        ("minst", NotFound, "no such file"),
        ("ftp://host/data", DataError, "addresses of this kind"),
        (42, UsageError, "int"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_anything_is_written(data, error, words, tmp_path: Path):
    with pytest.raises(error, match=words) as caught:
        railcar.train(data, runs_dir=tmp_path / "runs", quiet=True)
    assert caught.value.hint
    assert not (tmp_path / "runs").exists()


def test_images_a_pixel_wide_cannot_be_moved_and_that_is_said_before_training(tmp_path: Path):
    np.savez(tmp_path / "thin.npz", images=make_images(60)[0][:, :, :1], labels=np.arange(60) % 3)
    recipe = {**tiny_recipe(), "model": {"filters": [4], "kernel_size": 1, "pool": "none", "shift_average": True}}
    recipe["data"] = {"source": str(tmp_path / "thin.npz")}
    with pytest.raises(RecipeError, match=r"model\.shift_average: the images are a single pixel wide"):
        railcar.train(recipe, runs_dir=tmp_path / "runs", quiet=True)
    assert not (tmp_path / "runs").exists()


def test_an_output_folder_that_cannot_be_written_is_refused_before_training(tmp_path: Path):
    blocker = tmp_path / "runs"
    blocker.write_text("a file")
    with pytest.raises(OutputError, match="runs"):
        railcar.train(runs_dir=blocker, quiet=True)
    if os.geteuid() != 0:  # root may write anywhere
        blocker.unlink()
        blocker.mkdir(mode=0o500)
        with pytest.raises(OutputError, match="not writable"):
            railcar.train(runs_dir=blocker, quiet=True)
