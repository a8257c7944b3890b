"""Runs that somebody else began: what the commands take of them, and with which words they refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import railcar
from railcar.artifact.artifact import read_artifact
from railcar.cli.main import main
from railcar.errors import ForeignArtifact, RunError
from railcar.machines import tasks
from railcar.machines.tasks import Task
from railcar.runs.run_dir import AWAY, RunDir, write_json
from railcar.workflows.recorded import is_own_run
from tests.synthetic import write_image_folder
from tests.workflows.test_resume import train_tiny

OWN = Path(__file__).resolve().parent.parent / "own_models.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return RunDir(train_tiny(tmp_path_factory.mktemp("trained"), steps=3).path)


@pytest.fixture
def theirs(trained: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """The run, on the computer of somebody else with another key."""
    run = RunDir(Path(shutil.copytree(trained.path, tmp_path / "runs" / trained.name)))
    monkeypatch.setenv("RAILCAR_KEY_FILE", str(tmp_path / "another key"))
    return run


def test_a_run_is_ones_own_and_its_artifact_too(trained: RunDir):
    assert is_own_run(trained) and read_artifact(trained.artifact).is_own


def test_predict_and_export_refuse_anothers_artifact(theirs: RunDir, tmp_path: Path):
    for refused in (
        lambda: railcar.load(theirs.path),
        lambda: railcar.export(theirs.path, formats=["keras"], output=tmp_path / "out", quiet=True),
    ):
        with pytest.raises(ForeignArtifact, match="was not made by you on this machine") as caught:
            refused()
        assert "--trust" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_the_command_says_it_in_two_lines_and_takes_it_with_trust(
    theirs: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = write_image_folder(tmp_path / "photos", n_per_class=1, side=12)
    words = ["predict", str(next(data.rglob("*.png"))), "--artifact", str(theirs.artifact)]
    assert main(words) == 1
    assert capsys.readouterr().err == (
        f"error: {theirs.artifact}: was not made by you on this machine\n"
        "hint: if you know where it comes from: --trust\n"
    )
    assert main([*words, "--trust"]) == 0
    assert capsys.readouterr().out.startswith(words[1])


def test_evaluate_makes_anothers_artifact_anew_from_the_checkpoint_and_says_so(
    theirs: RunDir, capfd: pytest.CaptureFixture[str]
):
    before = (theirs.artifact / "artifact.json").read_bytes()
    railcar.evaluate(theirs.path, split="train")
    said = " ".join(capfd.readouterr().err.split())
    assert "was not made by you on this machine; it is made anew" in said
    assert read_artifact(theirs.artifact).is_own and (theirs.artifact / "artifact.json").read_bytes() != before


def test_evaluate_loads_it_as_it_is_when_it_is_trusted(theirs: RunDir):
    before = (theirs.artifact / "artifact.json").read_bytes()
    found = railcar.evaluate(theirs.path, split="train", trust=True, quiet=True)
    assert found["train"]["n"] > 0 and (theirs.artifact / "artifact.json").read_bytes() == before


def test_a_new_run_begins_with_anothers_weights_only_when_they_are_trusted(theirs: RunDir, tmp_path: Path):
    short = {"training.steps": 1}
    with pytest.raises(RunError, match="was not begun by you on this machine, and its weights") as caught:
        railcar.train(from_run=theirs.path, overrides=short, runs_dir=tmp_path / "new", quiet=True)
    assert "--trust" in caught.value.hint and not (tmp_path / "new").exists()
    run = railcar.train(from_run=theirs.path, trust=True, overrides=short, runs_dir=tmp_path / "new", quiet=True)
    assert is_own_run(RunDir(run.path))


def test_a_recipe_that_was_changed_is_not_ones_own(trained: RunDir, tmp_path: Path):
    run = RunDir(Path(shutil.copytree(trained.path, tmp_path / trained.name)))
    run.recipe_path.write_text(run.recipe_path.read_text().replace("seed: 0", "seed: 1"))
    assert not is_own_run(run)


def test_a_run_that_was_made_longer_is_still_ones_own(trained: RunDir, tmp_path: Path):
    run = RunDir(Path(shutil.copytree(trained.path, tmp_path / trained.name)))
    railcar.train(resume=run.name, overrides={"training.steps": 4}, runs_dir=tmp_path, quiet=True)
    assert is_own_run(run) and read_artifact(run.artifact).is_own


def test_code_that_anothers_recipe_names_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = write_image_folder(tmp_path / "photos", n_per_class=12, side=14)
    planted = tmp_path / "planted.txt"
    code = tmp_path / "own.py"
    code.write_text(f"{OWN.read_text()}\nopen({str(planted)!r}, 'w').close()\n")
    sets = {"training.steps": 2, "training.tensorboard": False, "model.name": f"{code}:build_plain"}
    run = railcar.train(data, overrides=sets, runs_dir=tmp_path / "runs", quiet=True)
    monkeypatch.setenv("RAILCAR_KEY_FILE", str(tmp_path / "another key"))
    code.write_text(f"{code.read_text()}\nopen({str(planted)!r}, 'w').close()\n")
    planted.unlink()
    refused: tuple[Callable[[], object], ...] = (
        lambda: railcar.evaluate(run.path, quiet=True),
        lambda: railcar.evaluate(run.path, checkpoint="last", quiet=True),
        lambda: railcar.train(from_run=run.path, runs_dir=tmp_path / "new", quiet=True),
    )
    for call in refused:
        with pytest.raises(RunError, match="was not begun by you on this machine"):
            call()
    assert not planted.exists()


def test_what_came_home_from_a_machine_is_ones_own(theirs: RunDir):
    """The machine has signed it with its own key; only what is whole gets this computer's."""
    task = Task("job", "machine", tasks.TRAIN, (), "home", "package", 0.0, runs_dir=str(theirs.path.parent))
    write_json(theirs.path / AWAY, {"machine": task.machine, "job": task.name})
    assert not is_own_run(theirs)
    tasks._take_over(theirs, task)
    assert is_own_run(theirs) and read_artifact(theirs.artifact).is_own and not (theirs.path / AWAY).exists()


def test_what_came_home_in_part_is_not_signed(theirs: RunDir):
    (theirs.artifact / "model.keras").write_bytes(b"half of it")
    before = json.loads((theirs.artifact / "artifact.json").read_bytes())
    tasks._take_over(theirs, Task("job", "machine", tasks.TRAIN, (), "home", "package", 0.0))
    assert json.loads((theirs.artifact / "artifact.json").read_bytes()) == before
