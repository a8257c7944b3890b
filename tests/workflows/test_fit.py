"""A model that was trained on cropped or padded photos does the same with what it is asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import railcar
from railcar.data.prepare import open_dataset
from railcar.runs.run_dir import RunDir
from railcar.serving.predictor import Prediction
from railcar.storage.images import decode_image
from railcar.workflows.recorded import read_recipe
from tests.synthetic import make_images, tiny_recipe

SIZE = (12, 16)
SHAPES = ((12, 30), (40, 16), (24, 32), (50, 20), (12, 16))


def write_photos(folder: Path, *, n: int = 60, seed: int = 0) -> Path:
    """`folder/<class>/<number>.png` of classes a, b, c, in all proportions."""
    for number, (image, label) in enumerate(zip(*make_images(n, side=24, seed=seed), strict=True)):
        height, width = SHAPES[number // 3 % len(SHAPES)]
        path = folder / "abc"[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).resize((width, height)).save(path)
    return folder


@pytest.fixture(scope="module", params=["crop", "pad"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> railcar.api.Run:
    recipe: Any = tiny_recipe(steps=4, validate_every=2, checkpoint_every=2)
    source = write_photos(tmp_path_factory.mktemp("photos"))
    recipe["data"] |= {"source": str(source), "image_size": list(SIZE), "fit": request.param}
    recipe["model"]["shift_average"] = request.param == "crop"  # where views are averaged these are what is resized
    return railcar.train(recipe, runs_dir=tmp_path_factory.mktemp("runs"), quiet=True)


def fit_of(run: railcar.api.Run) -> str:
    return read_recipe(RunDir(run.path)).data.fit


def test_the_artifact_makes_of_files_of_any_proportions_what_preparing_made_of_them(run: railcar.api.Run) -> None:
    source = Path(read_recipe(RunDir(run.path)).data.source)
    train = open_dataset(str(source), image_size=SIZE, fit=fit_of(run)).splits["train"]
    model, pixels, seen = railcar.load(run.path), np.asarray(train.inputs), set()
    for row, name in enumerate(list(train.ids)[:20]):
        photo = decode_image(source / name, 1)
        expected = model.predict_probabilities(pixels[row : row + 1])
        np.testing.assert_array_equal(model.predict_probabilities(photo[None]), expected, err_msg=name)
        [prediction] = model.predict_files([source / name])
        assert isinstance(prediction, Prediction)
        assert prediction.probability == pytest.approx(float(expected.max()), abs=1e-6)
        seen.add(photo.shape[:2])
    assert seen == set(SHAPES)


def test_other_data_is_measured_as_the_model_sees_it(run: railcar.api.Run, tmp_path: Path) -> None:
    other = write_photos(tmp_path / "other", n=30, seed=7)
    measured = railcar.evaluate(run.path, data=other, quiet=True)["data"]
    model, losses = railcar.load(run.path), []
    for path in sorted(other.rglob("*.png")):
        answer = model.predict_probabilities(decode_image(path, 1)[None])[0]
        losses.append(-np.log(answer[model.class_names.index(path.parent.name)]))
    assert measured["n"] == 30
    assert measured["loss"] == pytest.approx(float(np.mean(losses)), rel=1e-4)


def test_a_run_that_begins_with_its_weights_fits_new_data_alike_unless_told_otherwise(
    run: railcar.api.Run, tmp_path: Path
) -> None:
    other = write_photos(tmp_path / "other", n=60, seed=7)
    quick: Any = {"training.steps": 2, "training.validate_every": 2, "training.batch_size": 8}
    start: Any = {"from_run": run.path, "runs_dir": tmp_path / "runs", "quiet": True}
    assert fit_of(railcar.train(other, overrides=quick, **start)) == fit_of(run)
    assert fit_of(railcar.train(other, overrides={**quick, "data.fit": "stretch"}, **start)) == "stretch"
