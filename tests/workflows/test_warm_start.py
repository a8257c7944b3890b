"""Beginning a run with the weights of another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import railcar
from railcar.errors import CheckpointError, RecipeError, RunError
from railcar.runs.checkpoint import checkpoint_name
from railcar.runs.run_dir import RunDir, read_json
from tests.synthetic import make_images
from tests.workflows.test_resume import expect_same_variables, read_log, train_tiny

QUICK = {"training.steps": 4, "training.validate_every": 2, "training.keep_checkpoints": 9}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return RunDir(train_tiny(tmp_path_factory.mktemp("origin"), steps=6).path)


def read_variables(run: RunDir, name: str) -> dict[str, np.ndarray]:
    with np.load(run.checkpoints / name / "variables.npz") as stored:
        return {key: stored[key] for key in stored.files if key.startswith("model/")}


def read_best(run: RunDir) -> dict[str, np.ndarray]:
    pointer = read_json(run.best_path)
    assert pointer is not None
    return read_variables(run, pointer["checkpoint"])


def write_data(path: Path, *, names: list[str], side: int = 12, channels: int = 1) -> Path:
    """A folder of images of classes called `names`."""
    from PIL import Image

    images, labels = make_images(20 * len(names), n_classes=len(names), side=side)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        target = path / names[label] / f"{index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat(image, 3, axis=2) if channels == 3 else image[..., 0]).save(target)
    return path


def test_without_data_the_recipe_and_data_are_the_same_and_the_weights_those_of_the_best(
    origin: RunDir, tmp_path: Path
):
    run = RunDir(railcar.train(from_run=origin.path, overrides=QUICK, runs_dir=tmp_path, quiet=True).path)
    note = run.read_manifest()["origin"]
    best = read_json(origin.best_path)
    assert best is not None and (note["run"], note["checkpoint"]) == (origin.name, best["checkpoint"])
    checksums = json.loads((origin.checkpoints / note["checkpoint"] / "checksums.json").read_text())
    assert note["sha256"] == checksums["variables.npz"]
    first, expected = read_variables(run, checkpoint_name(0)), read_best(origin)
    for key in (key for key in expected if expected[key].dtype == np.float32):
        np.testing.assert_array_equal(first[key], expected[key], err_msg=key)
    assert run.read_manifest()["data"] == origin.read_manifest()["data"]
    assert "the 3 classes are the same" in read_log(run)


def test_a_warm_run_killed_before_its_first_checkpoint_resumes_exactly_though_the_origin_has_gone(
    origin: RunDir, tmp_path: Path
):
    copy = shutil.copytree(origin.path, tmp_path / "origin" / origin.name)
    whole = RunDir(railcar.train(from_run=copy, overrides=QUICK, runs_dir=tmp_path, quiet=True).path)
    cut = RunDir(Path(shutil.copytree(whole.path, tmp_path / "tiny-cut")))
    shutil.rmtree(copy)
    for path in cut.checkpoints.glob("step-*"):
        if path.name != checkpoint_name(0):
            shutil.rmtree(path)
    cut.write_manifest({**cut.read_manifest(), "state": "interrupted"})
    railcar.train(resume=cut.name, runs_dir=tmp_path, quiet=True)
    expect_same_variables(whole, cut, 4)
    shutil.rmtree(cut.checkpoints)
    cut.write_manifest({**cut.read_manifest(), "state": "interrupted"})
    with pytest.raises(RunError, match="not even of the weights it began with"):
        railcar.train(resume=cut.name, runs_dir=tmp_path, quiet=True)


def test_other_data_takes_the_network_and_the_rows_of_classes_by_name(origin: RunDir, tmp_path: Path):
    names = origin.read_manifest()["data"]["class_names"]
    data = write_data(tmp_path / "photos", names=[names[2], "new", names[0], "other"], side=16)
    sets = {**QUICK, "training.batch_size": 8}
    run = RunDir(railcar.train(data, from_run=origin.path, overrides=sets, runs_dir=tmp_path, quiet=True).path)
    about = run.read_manifest()["data"]
    assert about["image_shape"] == [12, 12, 1]
    first, expected = read_variables(run, checkpoint_name(0)), read_best(origin)
    kernel, own = (max(key for key in one if "kernel" in key) for one in (first, expected))
    for index, name in enumerate(about["class_names"]):
        if name in names:
            np.testing.assert_array_equal(first[kernel][:, index], expected[own][:, names.index(name)])
    log = read_log(run)
    assert "2 of 4 classes carried over by name, the others begin fresh: new, other" in log
    assert (run.recipe_path.read_text()).count("filters: [4]") == 1


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"model.filters": [6]}, r"kernel \(3, 3, 1, 4\) where this has conv1/kernel \(3, 3, 1, 6\)"),
        ({"model.batch_norm": False}, r"gamma \(4,\) where this has conv1/bias \(4,\)"),
        ({"model.dense": [5]}, r"where this has dense1/kernel"),
    ],
)
def test_another_network_is_refused_with_the_first_layer_that_differs(origin: RunDir, sets, words, tmp_path: Path):
    with pytest.raises(RecipeError, match=words):
        railcar.train(from_run=origin.path, overrides={**QUICK, **sets}, runs_dir=tmp_path, quiet=True)
    assert not list(tmp_path.iterdir())


def test_colour_images_do_not_fit_weights_of_gray_ones_and_it_is_said(origin: RunDir, tmp_path: Path):
    data = write_data(tmp_path / "photos", names=["a", "b"], channels=3)
    with pytest.raises(RecipeError) as caught:
        railcar.train(data, from_run=origin.path, overrides=QUICK, runs_dir=tmp_path / "runs", quiet=True)
    assert "gray" in caught.value.hint


def test_a_run_without_a_checkpoint_has_no_weights_to_give(tmp_path: Path):
    run = RunDir.create(tmp_path, "tiny")
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        railcar.train(from_run=run.name, runs_dir=tmp_path, quiet=True)
