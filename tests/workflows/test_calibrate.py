"""`evaluate --calibrate`: the answers stay, the probabilities move, and everything that is made of the run has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import railcar
from railcar.artifact.artifact import read_artifact
from railcar.errors import DataError, UsageError
from railcar.layers.temperature import divide_logits, read_temperature
from railcar.runs.run_dir import RunDir
from tests.workflows.test_kinds import make_table, write_reviews

QUICK: Any = {"training.steps": 6, "training.batch_size": 16, "training.tensorboard": False}
SURE: Any = {**QUICK, "training.steps": 60, "training.optimizer.learning_rate": 0.01, "data.validation": 0.3}


def measure(run: RunDir, split: str) -> dict[str, Any]:
    return json.loads(run.evaluation_path.read_text())[split]


def check_calibrated(run: RunDir, before: dict[str, Any], found: dict[str, Any]) -> None:
    for name in ("validation", "test"):
        assert found[name]["n_right"] == before[name]["n_right"]
        assert found[name]["confusion"] == before[name]["confusion"]
    assert found["validation"]["loss"] <= before["validation"]["loss"] + 1e-6
    assert found["temperature"] > 0 and abs(found["temperature"] - 1) > 0.01
    kept = json.loads(run.evaluation_path.read_text())
    assert {name: kept[name] for name in found} == found
    # Once more: nothing is left to mend.
    again = railcar.evaluate(run.path, calibrate=True, quiet=True)
    assert again["temperature"] == pytest.approx(found["temperature"], rel=1e-2)
    # What it says without: as the artifact has it.
    plain = railcar.evaluate(run.path, quiet=True)
    assert plain["test"]["loss"] == pytest.approx(found["test"]["loss"], rel=1e-2)
    assert plain["temperature"] == pytest.approx(again["temperature"])


def test_images_have_the_same_answers_with_other_probabilities_everywhere(tmp_path: Path):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    images = generator.integers(0, 255, (300, 12, 12, 1)).astype(np.uint8)
    images[np.arange(300), labels * 4] = 255
    labels[::7] = (labels[::7] + 1) % 3  # mistakes that nobody could avoid
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    run = RunDir(railcar.train(tmp_path / "data.npz", overrides=SURE, runs_dir=tmp_path / "runs", quiet=True).path)
    before = json.loads(run.evaluation_path.read_text())
    raw = railcar.load(run.path).predict_probabilities(images[:20])
    check_calibrated(run, before, railcar.evaluate(run.path, calibrate=True, quiet=True))

    temperature = json.loads(run.evaluation_path.read_text())["temperature"]
    expected = raw.astype(np.float64) ** (1 / temperature)
    expected /= expected.sum(axis=1, keepdims=True)
    found = railcar.load(run.path).predict_probabilities(images[:20])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    stored = pl.read_parquet(run.predictions_path)["probabilities"].to_numpy()
    confidence = np.stack(list(stored)).max(axis=1).mean()
    assert confidence == pytest.approx(
        np.average(
            [one["confidence"] for one in measure(run, "test")["calibration"]["bins"]],
            weights=[one["n"] for one in measure(run, "test")["calibration"]["bins"]],
        ),
        abs=1e-5,
    )
    # Each export is held to the artifact's samples, or is an error.
    made = railcar.export(run.path, formats=["litert"], output=tmp_path / "exports", quiet=True)
    assert (Path(made[0].path) / "model.tflite").is_file()
    # Made anew from the checkpoint, it is calibrated as it was.
    shutil.rmtree(run.artifact)
    again = railcar.evaluate(run.path, quiet=True)
    assert again["temperature"] == pytest.approx(temperature)
    np.testing.assert_allclose(railcar.load(run.path).predict_probabilities(images[:20]), found, atol=1e-5)


def test_texts_are_calibrated_within_their_network(tmp_path: Path):
    rows = pl.read_csv(write_reviews(tmp_path / "reviews.csv"), infer_schema=False)
    names = ["bad", "good"]
    mixed = [names[1 - names.index(one)] if at % 6 == 0 else one for at, one in enumerate(rows["label"].to_list())]
    data = tmp_path / "mixed.csv"
    rows.with_columns(pl.Series("label", mixed)).write_csv(data)
    run = RunDir(railcar.train(data, overrides=SURE, runs_dir=tmp_path / "runs", quiet=True).path)
    before = json.loads(run.evaluation_path.read_text())
    check_calibrated(run, before, railcar.evaluate(run.path, calibrate=True, quiet=True))
    artifact = read_artifact(run.artifact)
    inputs, expected = artifact.samples()
    answers = railcar.load(run.path).predict_probabilities([row[0] for row in inputs.rows()])
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_numbers_have_no_probabilities_and_other_data_no_artifact(tmp_path: Path):
    make_table().drop("dear").write_csv(tmp_path / "homes.csv")
    overrides = {**QUICK, "data.label": "price"}
    run = railcar.train(tmp_path / "homes.csv", overrides=overrides, runs_dir=tmp_path / "runs", quiet=True)
    with pytest.raises(UsageError, match="gives numbers"):
        railcar.evaluate(run.path, calibrate=True, quiet=True)
    with pytest.raises(UsageError, match="on its own data"):
        railcar.evaluate(run.path, calibrate=True, data=tmp_path / "homes.csv", quiet=True)


def test_a_validation_side_without_a_mistake_tells_nothing(tmp_path: Path):
    data = write_reviews(tmp_path / "reviews.csv")
    run = railcar.train(data, overrides=SURE, runs_dir=tmp_path / "runs", quiet=True)
    content = (Path(run.path) / "artifact" / "artifact.json").read_bytes()
    with pytest.raises(DataError, match=r"all \d+ answers to the validation split are right"):
        railcar.evaluate(run.path, calibrate=True, quiet=True)
    assert (Path(run.path) / "artifact" / "artifact.json").read_bytes() == content


def test_a_second_temperature_takes_the_place_of_the_first():
    import keras

    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    given = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    once = divide_logits(network, 2.0)
    twice = divide_logits(once, 3.0)
    np.testing.assert_allclose(twice(given), network(given) / 6.0, rtol=1e-6)
    assert read_temperature(network) == 1.0 and read_temperature(twice) == pytest.approx(6.0)
    assert len(twice.layers) == len(once.layers)
    assert [one.path for one in twice.variables] == [one.path for one in network.variables]
