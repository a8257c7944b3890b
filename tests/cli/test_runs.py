"""`railcar runs ...` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from railcar.cli.main import main
from railcar.runs.run_dir import RunDir, write_json


@pytest.fixture
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs"
    monkeypatch.setenv("RAILCAR_RUNS", str(folder))
    monkeypatch.setenv("COLUMNS", "80")
    return folder


def make_run(runs_dir: Path, name: str, *, accuracy: float = 0.98, batch_size: int = 128) -> RunDir:
    run = RunDir.create(runs_dir, name)
    started = run.read_manifest()["started"]
    run.write_manifest(
        run.read_manifest()
        | {"state": "finished", "ended": started, "step": 468, "steps": 468, "seconds_training": 9.5}
    )
    run.recipe_path.write_text(f"seed: 0\nmodel: {{name: cnn}}\ntraining: {{batch_size: {batch_size}}}\n")
    write_json(run.evaluation_path, {"checkpoint": "step-00000468", "test": {"accuracy": accuracy, "loss": 0.06}})
    write_json(run.decisions_path, {"training.precision": {"value": "bfloat16", "reason": "native here"}})
    return run


def test_list_shows_every_run_within_eighty_columns(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run(runs_dir, "mnist"), make_run(runs_dir, "mnist-tutorial", accuracy=0.985)]
    assert main(["runs", "list"]) == 0
    shown = capsys.readouterr().out

    assert all(run.name in shown for run in runs)
    assert "98.50%" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_list_as_json_is_one_document(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir, "mnist")
    assert main(["runs", "list", "--json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)

    assert entry["name"] == run.name
    assert entry["test_accuracy"] == 0.98


def test_list_without_runs_says_how_to_make_one(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list"]) == 0
    captured = capsys.readouterr()

    assert captured.out == ""
    assert "railcar train" in captured.err


def test_show_has_recipe_decisions_result_and_files(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(runs_dir, "mnist")
    assert main(["runs", "show"]) == 0
    shown = capsys.readouterr().out

    for part in ("finished at step 468", "training.batch_size", "bfloat16: native here", "98.00%", "evaluation.json"):
        assert part in shown

    assert main(["runs", "show", "mni", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["training"] == {"batch_size": 128}


def test_compare_shows_the_keys_that_differ(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(runs_dir, "one")
    make_run(runs_dir, "two", batch_size=256)
    assert main(["runs", "compare", "one", "two"]) == 0
    shown = capsys.readouterr().out

    assert shown.split("training.batch_size")[1].split()[:2] == ["128", "256"]
    assert "model.name" not in shown
    assert main(["runs", "compare", "one"]) == 2


def test_delete_without_a_terminal_needs_yes(runs_dir: Path) -> None:
    run = make_run(runs_dir, "mnist")
    command = [sys.executable, "-m", "railcar", "runs", "delete", run.name]
    asked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "hint: add --yes" in asked.stderr
    assert run.is_run()

    subprocess.run([*command, "--yes"], stdin=subprocess.DEVNULL, check=True, capture_output=True)
    assert not run.path.exists()


@pytest.mark.parametrize(("answer", "is_kept"), [("n\n", True), ("y\n", False)])
def test_delete_on_a_terminal_asks_first(runs_dir: Path, answer: str, is_kept: bool) -> None:
    pty = pytest.importorskip("pty")
    run = make_run(runs_dir, "mnist")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "railcar", "runs", "delete", "mnist"]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.write(ours, answer.encode())
    _, said = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)

    assert "Delete this run with all files?" in said
    assert run.is_run() is is_kept
    assert process.returncode == (1 if is_kept else 0)


def test_a_run_that_is_not_there_is_one_error_and_one_hint(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(runs_dir, "mnist")
    assert main(["runs", "show", "cifar"]) == 1
    lines = capsys.readouterr().err.splitlines()

    assert lines[0].startswith("error: cifar: there is no such run")
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2


STRANGE = {
    "manifest.json": ['{"state": [1], "step": "x", "data": [1], "devices": 3}', '{"step": NaN}', "[" * 100_000],
    "evaluation.json": ['{"test": 3}', "[1]", '{"test": {"accuracy": "x", "accuracy_95": 3}}', '{"test": {"n": NaN}}'],
    "metrics.jsonl": ['{"step": "a", "val_accuracy": []}\n', '{"step": NaN}\n'],
    "recipe.yaml": ["model: 3\n", "training: [1]\n"],
    "decisions.json": ["[1]"],
}


@pytest.mark.parametrize(("name", "content"), [(name, text) for name, texts in STRANGE.items() for text in texts])
def test_strange_content_of_one_run_ends_no_listing_and_is_named(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    good, bad = make_run(runs_dir, "good"), make_run(runs_dir, "bad")
    (bad.path / name).write_text(content)
    for words in (["list"], ["list", "--json"]):
        assert main(["runs", *words]) == 0
        shown = capsys.readouterr().out
        assert good.name in shown
        assert bad.name in shown
    for words in (["show", bad.name], ["show", bad.name, "--json"], ["compare", good.name, bad.name]):
        status, shown = main(["runs", *words]), capsys.readouterr()
        assert status == 0 or (str(bad.path) in shown.err and "hint: " in shown.err), shown.err
        assert "fault of railcar" not in shown.err
