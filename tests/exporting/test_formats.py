"""Every kind of model in every format: the answers of the artifact, from raw input, in the format's own runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl
import pytest
import tensorflow as tf

import railcar
from railcar.artifact.artifact import read_artifact
from railcar.artifact.signing import sign
from railcar.errors import ArtifactError, ExportError, MissingExtra, NotFound, UsageError
from railcar.exporting import formats
from railcar.exporting.formats import TOLERANCE, load_standalone
from railcar.exporting.names import FORMATS
from railcar.runs.run_dir import RunDir
from tests.synthetic import write_image_folder
from tests.workflows.test_kinds import make_table, write_reviews

OWN = Path(__file__).resolve().parent.parent / "own_models.py"
QUICK = {"training.steps": 6, "training.batch_size": 16, "training.tensorboard": False}
CROPPED = {"data.fit": "crop", "data.image_size": [10, 12]}
VIEWS = {"data.augment.flip": True, "data.augment.shift": 0.1, "model.name": "airbench", "model.filters": [8, 8]}


def train(make: Callable[[Path], Path], **overrides: Any) -> Callable[[Path], RunDir]:
    def run(folder: Path) -> RunDir:
        data = make(folder)
        return RunDir(railcar.train(data, overrides={**QUICK, **overrides}, runs_dir=folder / "runs", quiet=True).path)

    return run


def write_photos(folder: Path) -> Path:
    return write_image_folder(folder / "photos", n_per_class=16, side=14)


def write_texts(folder: Path) -> Path:
    return write_reviews(folder / "reviews.csv")


def write_homes(folder: Path) -> Path:
    make_table().drop("price").write_csv(folder / "homes.csv")
    return folder / "homes.csv"


def write_prices(folder: Path) -> Path:
    make_table().drop("dear").write_csv(folder / "homes.csv")
    return folder / "homes.csv"


RUNS = {
    "images": train(write_photos, **CROPPED),
    "views of images": train(write_photos, **VIEWS),
    "a backbone": train(
        write_photos,
        **{
            "model.name": "pretrained",
            "model.weights": "none",
            "model.backbone": "MobileNetV3Small",
            "model.input_size": 40,
        },
    ),
    "n-grams": train(write_texts),
    "a recurrent network": train(write_texts, **{"model.name": "rnn"}),
    "a transformer": train(write_texts, **{"model.name": "transformer"}),
    "rows": train(write_homes, **{"data.label": "dear"}),
    "a number of rows": train(write_prices, **{"data.label": "price"}),
    "one's own for images": train(write_photos, **{"model.name": f"{OWN}:build_plain", **CROPPED}),
    "one's own for words": train(write_texts, **{"model.name": f"{OWN}:build_for_words"}),
    "one's own for a number": train(write_prices, **{"model.name": f"{OWN}:build_for_number", "data.label": "price"}),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunDir]:
    """A run of each kind, trained when it is first asked for."""
    made: dict[str, RunDir] = {}

    def find(name: str) -> RunDir:
        if name not in made:
            made[name] = RUNS[name](tmp_path_factory.mktemp("export"))
        return made[name]

    return find


def raw_examples(run: RunDir) -> tuple[list[Any], Any]:
    """Examples that are no samples, as a user has them, and as `railcar.predict` takes them."""
    data = Path(run.read_manifest()["data"]["source"])
    if data.is_dir():
        paths = sorted(data.rglob("*.png"))[:12]
        return [str(path) for path in paths], paths
    rows = pl.read_csv(data, infer_schema=False)
    if "review" in rows.columns:
        texts = [*rows["review"].to_list()[:12], "", "<br>Never!? Größe 中文 it\u2019s", "superb " * 60]
        return texts, texts
    return rows.head(12).rows(named=True), rows.head(12)


def predict_here(run: RunDir, examples: Any) -> np.ndarray:
    model = railcar.load(run.path)
    if isinstance(examples[0], Path):
        from railcar.storage.images import decode_image

        images = [decode_image(path, model.artifact.image_shape[2]) for path in examples]
        return model.predict_probabilities(np.stack(images))
    return model.predict_probabilities(examples)


@pytest.mark.parametrize("name", RUNS)
def test_small_runtimes_give_the_answers_of_predict_from_raw_input(runs: Any, name: str, tmp_path: Path):
    run = runs(name)
    raw, examples = raw_examples(run)
    expected = predict_here(run, examples)
    for one in railcar.export(run.path, formats=["litert", "onnx"], output=tmp_path, quiet=True):
        assert one.difference <= TOLERANCE and one.path == tmp_path / one.format / "1"
        model = load_standalone(one.path)
        found = model.predict(raw)
        scale = float(np.std(expected)) if "value" in found[0] else 1.0
        answers = [list(row["probabilities"].values()) if "label" in row else [row["value"]] for row in found]
        assert np.abs(np.array(answers) - expected).max() <= TOLERANCE * scale
        if "label" in found[0]:
            labels = read_artifact(run.artifact).class_names
            assert [row["label"] for row in found] == [labels[index] for index in expected.argmax(-1)]
            assert (one.path / "labels.txt").read_text().split("\n")[:-1] == list(labels)


@pytest.mark.parametrize("name", [name for name in RUNS if name not in ("a transformer", "a recurrent network")])
def test_a_saved_model_takes_raw_input_and_says_labels(runs: Any, name: str, tmp_path: Path):
    run = runs(name)
    raw, examples = raw_examples(run)
    expected = predict_here(run, examples)
    [made] = railcar.export(run.path, output=tmp_path, quiet=True)
    assert made.difference <= TOLERANCE
    loaded: Any = tf.saved_model.load(str(made.path))
    if isinstance(examples[0], Path):
        files = tf.constant([path.read_bytes() for path in examples])
        found = loaded.signatures["serving_bytes"](image_bytes=files)
    elif isinstance(raw[0], str):
        found = loaded.signatures["serving_default"](text=tf.constant(raw))
    else:
        model = railcar.load(run.path)
        from railcar.exporting.saved_model import to_inputs

        typed = model._check(examples)
        found = loaded.signatures["serving_default"](**to_inputs(typed, model.artifact))
    if "value" in found:
        np.testing.assert_allclose(found["value"].numpy(), expected[:, 0], rtol=1e-3)
        return
    np.testing.assert_allclose(found["probabilities"].numpy(), expected, atol=TOLERANCE)
    labels = read_artifact(run.artifact).class_names
    assert [one.decode() for one in found["label"].numpy()] == [labels[index] for index in expected.argmax(-1)]
    np.testing.assert_allclose(found["probability"].numpy(), expected.max(-1), atol=TOLERANCE)


def test_a_keras_file_is_loaded_where_railcars_layers_are_known(runs: Any, tmp_path: Path):
    [made] = railcar.export(runs("images").path, formats=["keras"], output=tmp_path, quiet=True)
    code = (
        "import railcar.layers.all, keras, numpy as np, sys;"
        "print(keras.saving.load_model(sys.argv[1])(np.zeros((2, 30, 20, 1), np.uint8)).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(made.path / "model.keras")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(2, 3)"


def test_what_is_exported_runs_without_railcar_and_tensorflow(runs: Any, tmp_path: Path):
    run = runs("rows")
    [made] = railcar.export(run.path, formats=["onnx"], output=tmp_path, quiet=True)
    block = tmp_path / "sitecustomize.py"
    block.write_text("import sys\nfor name in ('railcar', 'tensorflow', 'keras', 'polars'): sys.modules[name] = None\n")
    row = {"size": 150, "age": None, "town": "Bonn", "garden": "yes", "sold": "2024-03-17"}
    done = subprocess.run(
        [sys.executable, str(made.path / "model.py"), json.dumps(row)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    wrong = subprocess.run(
        [sys.executable, str(made.path / "model.py"), '{"size": "large"}'], capture_output=True, text=True
    )
    assert (wrong.returncode, wrong.stderr) == (1, "error: column 'size': 'large' is no number\n")
    found = json.loads(done.stdout)
    [here] = railcar.load(run.path).predict([row])
    assert found["label"] == here.label and found["probability"] == pytest.approx(here.probability, abs=1e-4)


def test_versions_count_up_and_nothing_half_done_is_left(runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = runs("rows")
    _, made = [railcar.export(run.path, formats=["onnx"], output=tmp_path, quiet=True)[0] for _ in range(2)]
    assert (made.version, made.path.name) == (2, "2")
    about = json.loads((made.path / "export.json").read_text())
    assert about["largest_difference"] == made.difference and about["run"] == run.name

    monkeypatch.setattr(formats, "_compare", lambda *parts: 0.01)
    with pytest.raises(ExportError, match=r"differ by 0\.0100, and 0\.001 is allowed"):
        railcar.export(run.path, formats=["onnx"], output=tmp_path, quiet=True)
    assert sorted(one.name for one in (tmp_path / "onnx").iterdir()) == ["1", "2"]


def test_a_damaged_export_is_no_answer(runs: Any, tmp_path: Path):
    """The comparison is of what is on the disk: another network's weights are found out."""
    artifact = read_artifact(runs("images").artifact)
    model: Any = artifact.load_model()
    model.layers[-1].bias.assign(model.layers[-1].bias + np.array([1.0, 0.0, 0.0], np.float32))
    for name in ("saved_model", "litert", "onnx"):
        with pytest.raises(ExportError, match="differ by"):
            formats.export_artifact(artifact, model, name, tmp_path)
    assert isinstance(model, keras.Model) and not list(tmp_path.glob("*/[0-9]*"))


@pytest.mark.parametrize("name", ["images", "a number of rows"])
def test_eight_bit_integers_are_calibrated_and_what_they_cost_is_measured(runs: Any, name: str, tmp_path: Path):
    run = runs(name)
    [exact] = railcar.export(run.path, formats=["litert"], output=tmp_path / "float", quiet=True)
    [made] = railcar.export(run.path, formats=["litert"], output=tmp_path / "int8", int8=True, quiet=True)
    assert made.accuracy is not None and made.accuracy["examples"] >= 4
    before, after = (made.accuracy[key] for key in made.accuracy if key != "examples")
    assert abs(after - before) <= 0.5 * max(before, 1.0)
    assert (made.path / "model.tflite").stat().st_size < (exact.path / "model.tflite").stat().st_size
    assert json.loads((made.path / "export.json").read_text())["accuracy"] == made.accuracy


def test_what_a_format_cannot_hold_is_said_and_nothing_is_written(tmp_path: Path):
    strings = train(write_texts, **{"model.name": f"{OWN}:build_for_strings"})(tmp_path)
    for name in ("litert", "onnx"):
        with pytest.raises(ExportError, match="takes raw texts, which only TensorFlow can hold") as caught:
            railcar.export(strings.path, formats=[name], output=tmp_path / "out", quiet=True)
        assert "saved_model" in caught.value.hint
    with pytest.raises(ExportError, match="the code of its network is yours"):
        railcar.export(strings.path, formats=["keras"], output=tmp_path / "out", quiet=True)
    assert not list((tmp_path / "out").glob("*/*"))
    [made] = railcar.export(strings.path, output=tmp_path / "out", quiet=True)
    assert made.difference <= TOLERANCE


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        ({"formats": ["tflite"]}, UsageError, "no format 'tflite'"),
        ({"formats": ["onnx"], "int8": True}, UsageError, "--int8 is LiteRT's"),
        ({"formats": ["litert"], "int8": True, "artifact": "x"}, UsageError, "needs the data of a run"),
        ({"artifact": "nowhere"}, NotFound, "no artifact is there"),
    ],
)
def test_wrong_words_are_told(words: dict[str, Any], error: type[Exception], told: str):
    with pytest.raises(error, match=told):
        railcar.export(**words)


def test_a_library_that_is_missing_is_named_before_anything_is_done(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="--format onnx needs tf2onnx") as caught:
        railcar.export(formats=["onnx"])
    assert "railcar[export]" in caught.value.hint


def test_an_artifact_that_does_not_say_how_it_encodes_is_told_with_the_mend(runs: Any, tmp_path: Path):
    import shutil

    place = tmp_path / "artifact"
    shutil.copytree(runs("rows").artifact, place)
    (place / "encoding.json").unlink()
    manifest = json.loads((place / "artifact.json").read_text())
    del manifest["checksums"]["encoding.json"]
    (place / "artifact.json").write_text(json.dumps(sign(manifest)))
    with pytest.raises(ArtifactError, match="does not say how its tables are encoded"):
        railcar.export(artifact=place, formats=["onnx"], output=tmp_path / "out")


def test_the_command_prints_a_line_each_and_fits_eighty_columns(runs: Any, tmp_path: Path):
    run = runs("images")
    words = [word for name in FORMATS for word in ("--format", name)]
    done = subprocess.run(
        [sys.executable, "-m", "railcar", "export", str(run.path), *words, "--output", "out"],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and "WARNING" not in done.stderr
    table = done.stdout.split("next")[0].splitlines()
    assert [line.split()[0] for line in table] == ["format", *FORMATS]
    assert all(len(line) <= 80 for line in (*table, *done.stderr.splitlines()))
    assert "litert: takes images of 10x12 pixels; its model.py makes them of image files" in done.stderr
