"""Training, keeping and using networks of the user's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl
import pytest

import railcar
from railcar.data.pipeline import Batches
from railcar.errors import RecipeError, UsageError
from railcar.models.own import find_function
from railcar.runs.checkpoint import checkpoint_name
from railcar.runs.run_dir import RunDir, read_json
from railcar.workflows.find_rate import find_learning_rate
from tests.synthetic import make_images
from tests.workflows.test_resume import expect_same_variables, read_log
from tests.workflows.test_warm_start import write_data

FILE = Path(__file__).resolve().parent.parent / "own_models.py"
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


def train(data: Any, runs_dir: Path, function: str, **changes: Any) -> RunDir:
    overrides = {
        "model.name": function if ":" in function else f"{FILE}:{function}",
        "training.steps": 6,
        "training.batch_size": 8,
        "training.validate_every": 3,
        "training.checkpoint_every": 3,
        "training.keep_checkpoints": 9,
        "training.tensorboard": False,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return RunDir(railcar.train(data, overrides=overrides, runs_dir=runs_dir, quiet=True).path)


def read_test(run: RunDir) -> dict[str, float]:
    evaluation = read_json(run.evaluation_path)
    assert evaluation is not None
    return evaluation["test"]


def write_npz(path: Path) -> Path:
    images, labels = make_images(90)
    np.savez(path, images=images, labels=labels)
    return path


@pytest.mark.parametrize("function", ["build_plain", "build_compiled", "build_subclassed", "build_with_own_step"])
def test_every_kind_of_network_is_trained_measured_and_used_without_its_code(function: str, tmp_path: Path):
    code = tmp_path / "mine.py"
    code.write_bytes(FILE.read_bytes())
    data = write_npz(tmp_path / "some.npz")
    run = train(data, tmp_path / "runs", f"{code}:{function}", training__steps=60, training__validate_every=30)
    measured = read_test(run)
    assert measured["accuracy"] > 0.5
    assert (run.path / "model.py").read_bytes() == FILE.read_bytes()
    code.unlink()
    again = railcar.evaluate(run.path, runs_dir=tmp_path, quiet=True)["test"]
    assert again["accuracy"] == measured["accuracy"]
    assert again["loss"] == pytest.approx(measured["loss"], rel=1e-4)
    program = (
        "import sys, numpy as np, railcar\n"
        "found = railcar.load(sys.argv[1]).predict(np.load(sys.argv[2])['images'][:5])\n"
        "print(len(found), found[0].label)"
    )
    command = [sys.executable, "-c", program, str(run.path), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.split()[0] == "5"


@pytest.mark.parametrize("function", ["build_compiled", "build_with_own_step", "build_subclassed"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(function: str, tmp_path: Path):
    data = write_npz(tmp_path / "some.npz")
    whole = train(data, tmp_path / "whole", function)
    short = train(data, tmp_path / "short", function, training__steps=3)
    railcar.train(resume=short.name, overrides={"training.steps": 6}, runs_dir=tmp_path / "short", quiet=True)
    expect_same_variables(whole, short, 6)


def test_a_compiled_network_learns_what_keras_own_loop_would_teach_it(tmp_path: Path):
    data = write_npz(tmp_path / "some.npz")
    run = train(data, tmp_path / "runs", "build_compiled", training__best="last", data__validation=0.2)
    with np.load(run.checkpoints / checkpoint_name(6) / "variables.npz") as stored:
        found = [stored[key] for key in sorted(stored.files) if key.startswith("model/")]
    from railcar.data.prepare import open_dataset

    dataset = open_dataset(str(data), seed=0, validation=0.2, test=0.1)
    keras.utils.set_random_seed(0)
    model = find_function(f"{FILE}:build_compiled").call((12, 12, 1), 3)
    batches = Batches(dataset.splits["train"], 8, 0)
    for step in range(6):
        chunk = batches.chunk(step, 1)
        model.train_on_batch(chunk.inputs[0].astype(np.float32), np.eye(3, dtype=np.float32)[chunk.labels[0]])
    expected = [variable.numpy() for variable in model.variables]
    found = [one for one in found if one.dtype == np.float32]
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_its_own_train_step_is_what_trains(tmp_path: Path):
    run = train(write_npz(tmp_path / "some.npz"), tmp_path / "runs", "build_with_own_step")
    with np.load(run.checkpoints / checkpoint_name(6) / "variables.npz") as stored:
        counted = [stored[key] for key in stored.files if key.endswith("/n_steps")]
    assert counted == [6.0]
    assert all(row["loss"] > 1.0 for row in run.read_metrics())
    assert "its own train_step" in read_log(run)


def test_texts_and_rows_reach_it_as_numbers_or_as_they_are(tmp_path: Path):
    texts = [f"{word} number {index}" for index in range(40) for word in ("good day", "bad night", "long week")]
    frame = pl.DataFrame({"text": texts, "label": ["x", "y", "z"] * 40})
    for function in ("build_for_words", "build_for_strings"):
        run = train(frame, tmp_path / function, function, training__steps=150, training__optimizer__learning_rate=0.02)
        assert read_test(run)["accuracy"] > 0.9
        answer = railcar.load(run.path).predict(["bad night number 77"])
        assert answer[0].label == "y"
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(300, 2))
    rows = pl.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "label": np.where(numbers[:, 0] > 0, "up", "down")})
    run = train(rows, tmp_path / "rows", "build_for_rows", training__steps=200, training__optimizer__learning_rate=0.02)
    assert read_test(run)["accuracy"] > 0.9
    sums = pl.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "label": 3 * numbers[:, 0] + 50})
    changes: Any = {"data__task": "regression", "training__optimizer__learning_rate": 0.02, "training__steps": 200}
    sums.write_csv(tmp_path / "sums.csv")
    run = train(tmp_path / "sums.csv", tmp_path / "sums", "build_for_number", **changes)
    assert read_test(run)["mae"] < 1.0
    assert railcar.evaluate(run.path, runs_dir=tmp_path, quiet=True)["test"]["mae"] == read_test(run)["mae"]


def test_code_that_has_changed_or_is_gone_is_told_when_a_run_goes_on(tmp_path: Path):
    code = tmp_path / "mine.py"
    code.write_bytes(FILE.read_bytes())
    run = train(write_npz(tmp_path / "some.npz"), tmp_path / "runs", f"{code}:build_plain")
    code.write_bytes(FILE.read_bytes() + b"\n# a thought\n")
    longer: Any = {"overrides": {"training.steps": 9}, "runs_dir": tmp_path / "runs", "quiet": True}
    with pytest.raises(RecipeError, match=r"mine\.py has changed since the run began") as caught:
        railcar.train(resume=run.name, **longer)
    assert str(run.path / "model.py") in caught.value.hint
    code.unlink()
    with pytest.raises(RecipeError, match=r"mine\.py is gone"):
        railcar.train(resume=run.name, **longer)
    code.write_bytes((run.path / "model.py").read_bytes())
    railcar.train(resume=run.name, **longer)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"training__label_smoothing": 0.1}, "training.label_smoothing"),
        ({"data__balance": "weights"}, "data.balance"),
        ({"training__precision": "bfloat16"}, "training.precision"),
    ],
)
def test_what_a_compiled_network_cannot_be_asked_is_refused(changes: dict[str, Any], key: str, tmp_path: Path):
    data = write_npz(tmp_path / "some.npz")
    with pytest.raises(RecipeError, match=rf"{key}: has no effect on a network that is compiled"):
        train(data, tmp_path / "runs", "build_compiled", **changes)
    with pytest.raises(UsageError, match="a learning rate of its own"):
        find_learning_rate(data, overrides={"model.name": f"{FILE}:build_compiled"}, runs_dir=tmp_path, quiet=True)


def run_example(name: str, *words: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *words]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tutorials_cnn_learns_the_same_by_railcar_and_by_keras(tmp_path: Path):
    for side, size in (("train", 32), ("test", 31)):
        write_data(tmp_path / "data" / side, names=["cat", "dog", "fox"], side=size, channels=3)
    said = run_example("cifar_cnn.py", str(tmp_path / "data")).splitlines()[-1]
    assert float(said.removeprefix("test accuracy ")) > 0.9
    changes: Any = {"training__steps": 30, "training__validate_every": 10, "data__image_size": [32, 32]}
    run = train(tmp_path / "data", tmp_path / "runs", f"{EXAMPLES / 'cifar_cnn.py'}:build_model", **changes)
    assert read_test(run)["accuracy"] > 0.9
    assert "as it is compiled: Adam 0.001, loss categorical_crossentropy" in read_log(run)


def test_the_tutorials_rnn_runs_by_railcar_and_by_keras(tmp_path: Path):
    said = run_example("reviews_rnn.py").splitlines()[-1]
    assert float(said.removeprefix("accuracy on what it has seen ")) >= 0.5
    module = find_function(f"{EXAMPLES / 'reviews_rnn.py'}:build_model").call.__globals__
    frame = pl.DataFrame({"text": module["GOOD"] + module["BAD"], "label": ["good"] * 4 + ["bad"] * 4})
    changes: Any = {"data__validation": None, "training__batch_size": 2, "training__best": "last", "data__test": None}
    run = train(frame, tmp_path, f"{EXAMPLES / 'reviews_rnn.py'}:build_model", **changes)
    assert railcar.load(run.path).predict(["A great film"])[0].label in ("good", "bad")


def test_the_tutorials_photo_gets_the_same_prediction_by_railcar_and_by_keras(tmp_path: Path):
    from tests.models.test_pretrained import save_weights

    save_weights("MobileNetV2", tmp_path / "some.weights.h5")
    names = [f"class{index}" for index in range(10)]
    photos = write_data(tmp_path / "photos", names=names, side=224, channels=3)
    photo = next((photos / "class3").iterdir())
    said = run_example("mobilenet_photo.py", str(photo), str(tmp_path / "some.weights.h5"))
    expected = np.array([float(word) for word in said.strip().strip("[]").split()])
    still: Any = {
        "model__options": {"weights": str(tmp_path / "some.weights.h5")},
        "training__optimizer": {"name": "sgd", "learning_rate": 1e-30},
        "training__steps": 1,
        "training__batch_size": 2,
        "data__limit_per_class": 3,
    }
    run = train(photos, tmp_path / "runs", f"{EXAMPLES / 'mobilenet_photo.py'}:build_model", **still)
    from railcar.storage.images import decode_image

    found = railcar.load(run.path).predict_probabilities(decode_image(photo, 3)[None])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
