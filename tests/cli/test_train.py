from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from railcar.cli.main import main
from tests.synthetic import make_images, write_image_folder

SETS = ("training.steps=150", "training.tensorboard=false", "model.filters=[4]", "training.batch_size=8")


def railcar(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80", "RAILCAR_RUNS": str(cwd / "runs")}
    command = [sys.executable, "-m", "railcar", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with `photos/` and a run trained on it by the command."""
    folder = tmp_path_factory.mktemp("user")
    write_image_folder(folder / "photos", n_per_class=30)
    done = railcar("train", "photos", *(word for one in SETS for word in ("--set", one)), cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


def test_the_result_is_a_table_on_stdout_and_the_way_there_is_on_stderr(trained: Path):
    output, errors = (trained / "stdout.txt").read_text(), (trained / "stderr.txt").read_text()
    assert "accuracy" in output and "test " in output and "railcar predict" in output
    assert "photos: " in errors and "precision" in errors and "steps of 8" in errors
    assert max(len(line) for line in output.splitlines() if not line.startswith("run ")) <= 80
    assert "custom operations" not in errors and "absl" not in errors
    shown = [line for line in errors.splitlines() if not line.startswith("run ")]
    assert max(map(len, shown)) <= 80, max(shown, key=len)


def test_predict_names_each_image_with_class_and_probability(trained: Path):
    done = railcar("predict", "photos/a/0.png", "photos/b", cwd=trained)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 31 and lines[0].startswith("photos/a/0.png  a ")


def test_predict_in_json_is_one_line_an_image(trained: Path):
    done = railcar("predict", "photos/c", "--json", "--top", "2", cwd=trained)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 30 and {"input", "label", "probability", "top"} == set(rows[0])
    assert [len(row["top"]) for row in rows] == [2] * 30


def test_predict_takes_rows_of_pixels_with_and_without_a_label(trained: Path):
    images, labels = make_images(6)
    flat = images.reshape(6, -1)
    (trained / "plain.csv").write_text("\n".join(",".join(map(str, row)) for row in flat.tolist()))
    with_label = np.concatenate([labels[:, None], flat], axis=1)
    (trained / "labels.csv").write_text("\n".join(",".join(map(str, row)) for row in with_label.tolist()))
    first, second = (railcar("predict", name, cwd=trained) for name in ("plain.csv", "labels.csv"))
    assert [line.split()[1] for line in first.stdout.splitlines()] == ["abc"[label] for label in labels]
    assert first.stdout.replace("plain", "labels") == second.stdout
    assert first.stdout.startswith("plain.csv:1  a")


def test_an_unreadable_image_is_named_and_the_others_are_predicted(trained: Path):
    (trained / "broken.png").write_bytes(b"no image")
    done = railcar("predict", "broken.png", "photos/a/0.png", cwd=trained)
    assert done.returncode == 1
    assert "broken.png: not an image" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout.startswith("photos/a/0.png")


def test_evaluate_prints_the_table_and_json(trained: Path):
    table, document = railcar("evaluate", cwd=trained), railcar("evaluate", "--split", "train", "--json", cwd=trained)
    assert table.stdout.splitlines()[1].startswith("test")
    assert set(json.loads(document.stdout)) == {"checkpoint", "train"}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["train", "nothing-here"], 1, "nothing-here: no such file or folder"),
        (["train", "photos", "--set", "training.stepz=3"], 2, "did you mean training.steps?"),
        (["train", "--resume=none"], 1, "none"),
        (["predict"], 2, "nothing to predict"),
        (["predict", "missing.png"], 1, "missing.png: no such file"),
        (["evaluate", "--checkpoint", "7"], 1, "no checkpoint of step 7"),
        (["evaluate", "--checkpoint", "newest"], 2, "neither best, last nor a step"),
        (["train", "photos", "--runs-dir", "photos/a/0.png"], 2, "0.png"),
    ],
)
def test_a_fault_is_one_error_and_one_hint(trained: Path, arguments: list[str], status: int, words: str):
    done = railcar(*arguments, cwd=trained)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == status, done.stderr
    assert [line.split(":")[0] for line in lines] == ["error", "hint"] and words in done.stderr
    assert done.stdout == ""


def test_an_artifact_that_was_changed_is_refused(trained: Path, tmp_path: Path):
    import shutil

    artifact = next((trained / "runs").iterdir()) / "artifact"
    copy = tmp_path / "artifact"
    shutil.copytree(artifact, copy)
    assert railcar("predict", "photos/a/0.png", "--artifact", str(copy), cwd=trained).returncode == 0
    path = copy / "model.keras"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    done = railcar("predict", "photos/a/0.png", "--artifact", str(copy), cwd=trained)
    assert done.returncode == 1 and "model.keras: the checksum does not match" in done.stderr


def test_gray_and_colour_images_of_other_sizes_are_predicted(trained: Path, tmp_path: Path):
    original = Image.open(trained / "photos" / "c" / "2.png")
    original.convert("RGB").resize((40, 40)).save(tmp_path / "large.jpg")
    done = railcar("predict", str(tmp_path / "large.jpg"), cwd=trained)
    assert done.stdout.split()[1] == "c", done.stdout + done.stderr


def test_verbose_writes_where_each_operation_runs_into_the_log(trained: Path, tmp_path: Path):
    sets = [word for one in (*SETS, "training.steps=2") for word in ("--set", one)]
    done = railcar("train", "photos", *sets, "--verbose", "--runs-dir", str(tmp_path), cwd=trained)
    assert "placement: " in done.stderr and "CPU:0" in done.stderr
    log = next(tmp_path.iterdir()).joinpath("log.txt").read_text()
    assert any("conv1" in line and "CPU:0" in line for line in log.splitlines())


@pytest.mark.parametrize("other", ["--dry-run", "--estimate", "--find-lr", "--folds=3", "--workers=2"])
def test_a_profile_is_of_one_training_in_one_process(other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--profile", "1:2", other, "--runs-dir", str(tmp_path)]) == 2
    assert f"hint: leave {other.partition('=')[0]} out" in capsys.readouterr().err
