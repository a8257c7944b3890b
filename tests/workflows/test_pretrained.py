"""Training on what a frozen backbone makes of images, which is computed once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import railcar
from railcar.errors import UsageError, WeightsMissing
from railcar.runs.checkpoint import checkpoint_name
from railcar.runs.run_dir import RunDir, read_json
from tests.models.test_pretrained import save_weights
from tests.workflows.test_resume import expect_same_variables, read_log
from tests.workflows.test_warm_start import write_data

NAMES = ["cat", "dog", "fox"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "photos", names=NAMES, side=32, channels=3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "mobile.weights.h5"
    save_weights("MobileNetV2", path)
    return str(path)


def train(photos: Path, runs_dir: Path, weights: str, **changes: Any) -> RunDir:
    overrides = {
        "model.weights": weights,
        "model.input_size": 32,
        "training.steps": 12,
        "training.batch_size": 8,
        "training.validate_every": 4,
        "training.checkpoint_every": 4,
        "training.keep_checkpoints": 9,
        "training.tensorboard": False,
        "training.precision": "float32",
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return RunDir(railcar.train(photos, overrides=overrides, runs_dir=runs_dir, quiet=True).path)


def test_features_are_computed_once_for_all_trainings_and_the_model_takes_images(
    photos: Path, weights: str, tmp_path: Path
):
    run = train(photos, tmp_path / "first", weights)
    decisions = read_json(run.decisions_path)
    assert decisions is not None and decisions["model.features"]["value"] == "kept"
    assert decisions["model.name"]["value"] == "pretrained"
    again = train(photos, tmp_path / "second", weights)
    expect_same_variables(run, again, 12)
    kept = list(Path(os.environ["RAILCAR_CACHE"]).rglob("*.features"))
    assert kept
    written = {path: path.stat().st_mtime_ns for path in kept}
    train(photos, tmp_path / "third", weights, seed=5)
    assert {path: path.stat().st_mtime_ns for path in kept} == written
    evaluation = read_json(run.evaluation_path)
    assert evaluation is not None
    measured = railcar.evaluate(run.path, runs_dir=tmp_path, quiet=True)  # images, through the whole artifact
    assert measured["test"]["accuracy"] == evaluation["test"]["accuracy"]
    assert measured["test"]["loss"] == pytest.approx(evaluation["test"]["loss"], rel=1e-4)
    photo = next((photos / "dog").iterdir())
    answer = railcar.predict(photo, run=run.path, runs_dir=tmp_path)
    assert answer[0].label in NAMES


def test_a_run_goes_on_where_it_was_though_weights_and_features_are_gone(photos: Path, weights: str, tmp_path: Path):
    copy = tmp_path / "copy.weights.h5"
    copy.write_bytes(Path(weights).read_bytes())
    whole = train(photos, tmp_path / "whole", str(copy), model__fine_tune={"share": 0.1, "after": 0.25})
    short = train(photos, tmp_path / "short", str(copy), model__fine_tune={"share": 0.1, "after": 0.25})
    for step in (8, 12):
        folder = short.checkpoints / checkpoint_name(step)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    short.last_path.write_text('{"checkpoint": "step-00000004", "step": 4}')
    short.best_path.unlink()
    manifest = short.read_manifest()
    short.write_manifest({**manifest, "state": "running"})
    copy.unlink()
    for kept in Path(os.environ["RAILCAR_CACHE"]).rglob("*.features"):
        kept.unlink()
        kept.with_suffix(".rows.npy").unlink(missing_ok=True)
    railcar.train(resume=short.name, runs_dir=tmp_path / "short", quiet=True)
    expect_same_variables(whole, short, 12)


def test_the_top_learns_only_after_its_time(photos: Path, weights: str, tmp_path: Path):
    run = train(photos, tmp_path, weights, model__fine_tune={"share": 0.1, "after": 0.7}, training__best="last")

    def read(step: int) -> dict[str, np.ndarray]:
        with np.load(run.checkpoints / checkpoint_name(step) / "variables.npz") as stored:
            groups = {key: stored[key] for key in stored.files if key.startswith("model/")}
        return {key: value for key, value in groups.items() if value.dtype.kind == "f"}

    begun, before, after = read(4), read(8), read(12)  # the top begins with step 9
    first = {key for key in begun if not np.array_equal(begun[key], before[key])}
    later = {key for key in begun if not np.array_equal(before[key], after[key])}
    output = {key for key in begun if key.endswith(("/kernel", "/bias")) and begun[key].shape[-1] == 3}
    assert len(output) == 2 and first == output
    assert later > output


def test_fine_tuning_that_does_harm_is_undone_and_said(photos: Path, weights: str, tmp_path: Path):
    harm = {"share": 0.3, "after": 0.5, "rate": 1.0}
    rate = {"name": "sgd", "learning_rate": 0.5}
    run = train(photos, tmp_path, weights, model__fine_tune=harm, training__optimizer=rate)
    best = read_json(run.best_path)
    assert best is not None and best["step"] == 4
    assert "fine-tuning made it no better and is undone: step 4, before it, is kept" in read_log(run)
    plain = train(photos, tmp_path, weights, training__optimizer=rate, training__steps=4)
    evaluations = [read_json(one.evaluation_path) for one in (run, plain)]
    assert evaluations[0] is not None and evaluations[1] is not None
    assert evaluations[0]["test"]["loss"] == pytest.approx(evaluations[1]["test"]["loss"], rel=1e-3)


def test_with_augmentation_each_step_goes_through_the_backbone(photos: Path, weights: str, tmp_path: Path):
    run = train(photos, tmp_path, weights, data__augment={"flip": True}, training__steps=2)
    decisions = read_json(run.decisions_path)
    assert decisions is not None and decisions["model.features"]["value"] == "recomputed"
    assert read_json(run.evaluation_path) is not None


def test_photos_get_a_backbone_by_default_and_the_usual_network_where_there_are_no_weights(
    tmp_path: Path,
):
    photos = write_data(tmp_path / "photos", names=NAMES, side=64, channels=3)
    quick = {"training.steps": 2, "training.tensorboard": False}
    run = RunDir(railcar.train(photos, overrides=quick, runs_dir=tmp_path / "runs", quiet=True).path)
    decisions = read_json(run.decisions_path)
    assert decisions is not None and decisions["model.name"]["value"] == "cnn"
    assert "the ImageNet weights of MobileNetV2 cannot be downloaded" in decisions["model.name"]["reason"]
    with pytest.raises(WeightsMissing, match="the ImageNet weights of MobileNetV2"):
        railcar.train(photos, overrides={**quick, "model.name": "pretrained"}, runs_dir=tmp_path / "runs", quiet=True)


def test_a_pass_over_the_images_that_does_not_fit_into_the_time_is_refused(
    photos: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from railcar.workflows import encoding

    monkeypatch.setattr(encoding, "_TIMED_S", 0.0)
    with pytest.raises(UsageError, match=r"--time 0\.1 s: what a pre-trained network makes of .* images takes"):
        railcar.train(
            photos,
            overrides={"model.weights": weights, "model.input_size": 64},
            time_s=0.1,
            runs_dir=tmp_path,
            quiet=True,
        )
