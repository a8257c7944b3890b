"""`railcar serve` of runs and artifacts: made ready once, by the engine that holds them; and words that do not go."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import railcar
from railcar.errors import ArtifactError, NotFound, OutputError, UsageError
from railcar.runs.run_dir import RunDir
from railcar.storage.cache import KINDS, list_entries
from railcar.workflows.serve import find_sources, serve
from tests.serving.server import serve as run_server
from tests.synthetic import write_image_folder
from tests.workflows.test_kinds import write_reviews

OWN = Path(__file__).resolve().parent.parent / "own_models.py"
QUICK = {"training.steps": 6, "training.batch_size": 16, "training.tensorboard": False}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    folder = tmp_path_factory.mktemp("serve")
    data = write_image_folder(folder / "photos", n_per_class=16, side=14)
    return RunDir(railcar.train(data, overrides=QUICK, runs_dir=folder / "runs", quiet=True).path)


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A network of one's own that takes raw texts, which only TensorFlow holds."""
    folder = tmp_path_factory.mktemp("strings")
    overrides = {**QUICK, "model.name": f"{OWN}:build_for_strings"}
    data = write_reviews(folder / "reviews.csv")
    return RunDir(railcar.train(data, overrides=overrides, runs_dir=folder / "runs", quiet=True).path)


def test_a_run_is_made_ready_once_and_served_by_its_name(photos: RunDir):
    pixels = np.random.default_rng(0).integers(0, 255, (14, 14, 1)).astype(np.uint8)
    expected = railcar.load(photos.path).predict_probabilities(pixels[None])[0]
    for number in range(2):
        with run_server([photos.path]) as server:
            is_made = any("ready for serving, once" in line for line in server.lines)
            assert is_made == (number == 0)
            _, found = server.post("/v1/models/photos:predict", {"instances": [pixels.tolist()]})
            np.testing.assert_allclose(found["predictions"][0]["probabilities"], expected, atol=1e-3)
            if number == 1:
                loaded = Path(f"/proc/{server.process.pid}/maps")
                assert not loaded.exists() or "libtensorflow" not in loaded.read_text()
    entries = [one for one in list_entries() if one.kind == KINDS["serving"] and str(photos.artifact) in one.what]
    assert len(entries) == 1 and entries[0].n_bytes > 1000


def test_what_no_small_runtime_holds_is_answered_by_tensorflow(strings: RunDir):
    texts = ["superb film", "dull and bad", ""]
    expected = railcar.load(strings.path).predict_probabilities(texts)
    with run_server([f"mine={strings.path}"]) as server:
        assert "serving mine (tensorflow)" in server.lines[-1]
        _, found = server.post("/v1/models/mine:predict", {"instances": texts})
        rows = [one["probabilities"] for one in found["predictions"]]
        np.testing.assert_allclose(rows, expected, atol=1e-3)
        assert server.post("/explain?model=mine", {"input": "superb film"})[0] == 200
        assert server.post("/v1/models/mine:predict", {"instances": [5]})[0] == 400


def test_a_run_that_is_evaluated_anew_is_taken_up(photos: RunDir):
    with run_server([photos.path]) as server:
        assert server.get("/models/photos")[1]["version"] == 1
        manifest = json.loads((photos.artifact / "artifact.json").read_text())
        checkpoint = manifest["checkpoint"]
        railcar.evaluate(photos.path, checkpoint=checkpoint.removeprefix("step-"), quiet=True)
        (photos.artifact / "artifact.json").touch()
        server.wait_for_line("photos: version 2 answers now", 60)


def load_nothing(folder: Path) -> Any:
    raise AssertionError(folder)


def test_sources_are_found_and_named(photos: RunDir, tmp_path: Path):
    made = railcar.export(photos.path, formats=["litert", "onnx"], output=tmp_path / photos.name, quiet=True)
    one, several = made[0].path, made[0].path.parent
    words = [photos.path, f"a={photos.name}", f"b={photos.artifact}", f"c={one}", f"d={several}", f"e={several.parent}"]
    found = find_sources(words, photos.path.parent, load_nothing)
    assert [one.name for one in found] == ["photos", "a", "b", "c", "d", "e"]
    assert [one.is_single for one in found] == [True, True, True, True, False, False]
    assert find_sources([several], "runs", load_nothing)[0].name == "photos"
    with pytest.raises(UsageError, match="two models are called 'photos'") as caught:
        find_sources([photos.path, several], "runs", load_nothing)
    assert "one=photos" in caught.value.hint


def test_a_folder_of_models_is_each_of_them(photos: RunDir, tmp_path: Path):
    for name in ("birds", "cats"):
        railcar.export(photos.path, formats=["litert"], output=tmp_path / "models" / name, quiet=True)
    (tmp_path / "models" / "notes").mkdir()
    found = find_sources([tmp_path / "models"], tmp_path, load_nothing)
    assert [(one.name, one.is_single, [*one.list_versions()]) for one in found] == [
        ("birds", False, [1]),
        ("cats", False, [1]),
    ]
    [run] = find_sources([photos.path], tmp_path, load_nothing)  # whose artifact is a folder in it
    assert (run.name, run.folder) == ("photos", photos.artifact)
    with pytest.raises(NotFound, match="notes: no model is there"):
        find_sources([tmp_path / "models" / "notes"], tmp_path, load_nothing)


@pytest.mark.parametrize(
    ("words", "settings", "error", "told"),
    [
        (["nowhere"], {}, NotFound, "nowhere"),
        ([], {"engine": "torch"}, UsageError, "no engine 'torch'"),
        ([], {"host": "0.0.0.0"}, UsageError, "a token is needed"),
        ([], {"host": "192.168.7.7"}, UsageError, "a token is needed"),
    ],
)
def test_wrong_words_are_told(
    words: list[str], settings: dict[str, Any], error: type[Exception], told: str, tmp_path: Path
):
    with pytest.raises(error, match=told):
        serve(words, runs_dir=tmp_path, **settings)


def test_a_saved_model_is_said_to_be_for_tensorflow_serving(tmp_path: Path):
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(UsageError, match="is for TensorFlow Serving"):
        serve([tmp_path])


def test_a_port_that_is_taken_and_a_damaged_export_are_told_in_a_line(photos: RunDir, tmp_path: Path):
    [made] = railcar.export(photos.path, formats=["litert"], output=tmp_path, quiet=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OutputError, match="cannot be listened on") as caught:
            serve([made.path], port=taken.getsockname()[1])
        assert "--port 0" in caught.value.hint
    (made.path / "model.tflite").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match=r"model\.tflite: cannot be loaded"):
        serve([made.path], port=0)
    shutil.copytree(made.path, tmp_path / "homes" / "1")
    with pytest.raises(ArtifactError, match=r"^homes: .*model\.tflite: cannot be loaded") as caught:
        serve([tmp_path / "homes"], port=0)
    assert caught.value.hint == "serve another version, or make it anew with railcar export"
    command = [sys.executable, "-m", "railcar", "serve", str(made.path), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-2].startswith("error: ") and done.stderr.splitlines()[-1].startswith("hint: ")
