"""`railcar runs ...` as a user types it."""

from __future__ import annotations

import json
import os
import re
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


def test_list_draws_the_course_of_validation_and_shows_the_mae_of_regressions(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(runs_dir, "digits")
    for step in range(1, 9):
        run.append_metrics({"step": step, "loss": 1.0, "val_loss": 1.0, "val_accuracy": step / 8})
    prices = make_run(runs_dir, "prices")
    write_json(prices.evaluation_path, {"test": {"mae": 12.345, "r2": 0.5}, "validation": {"mae": 10.5}})
    assert main(["runs", "list"]) == 0
    shown = capsys.readouterr().out

    assert "▁▂▃▄▅▆▇█" in shown
    assert "mae 12.35" in shown and "mae 10.5" in shown
    assert main(["runs", "list", "--json", "--name", "digits"]) == 0
    [entry] = json.loads(capsys.readouterr().out)
    assert (entry["curve_of"], entry["curve"]) == ("val_accuracy", [step / 8 for step in range(1, 9)])


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_list_leaves_out_what_does_not_fit_and_never_the_name(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    run = make_run(runs_dir, "mnist-sample")
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["runs", "list"]) == 0
    header, line = capsys.readouterr().out.splitlines()

    assert line.startswith(f"{run.name}  finished")
    assert len(line) <= max(columns, len(run.name) + 20)
    assert ("took" in header) == (columns >= 80)


def test_list_shows_those_that_are_asked_for_in_the_order_that_is_asked_for(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [make_run(runs_dir, f"run{number}", accuracy=number / 10, batch_size=number).name for number in (5, 9, 7)]

    def list_names(*words: str) -> list[str]:
        assert main(["runs", "list", "--json", *words]) == 0
        return [entry["name"] for entry in json.loads(capsys.readouterr().out)]

    assert list_names("--sort", "test") == [names[0], names[2], names[1]]
    assert list_names("--sort", "test", "--reverse", "--last", "2") == [names[2], names[0]]
    assert list_names("--where", "training.batch_size>5", "--where", "test.accuracy<0.8") == [names[2]]
    assert list_names("--name", "run9-*", "--state", "finished") == [names[1]]
    assert list_names("--state", "failed") == []
    assert main(["runs", "list", "--state", "failed"]) == 0
    assert "none of the 3 runs" in capsys.readouterr().err
    assert main(["runs", "list", "--where", "training.batchsize>5"]) == 2
    assert "did you mean training.batch_size?" in capsys.readouterr().err


def test_list_shows_a_search_as_one_line(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = runs_dir / "penguins-tune-20261122-061500-3f2a"
    folder.mkdir(parents=True)
    write_json(folder / "study.json", {"recipe": {}, "n_trials": 20, "measure": "val_accuracy"})
    write_json(folder / "trials.json", [{"value": 0.5, "seconds": 1.0}, {"value": 0.75, "seconds": 2.0}])
    assert main(["runs", "list"]) == 0

    assert re.search(rf"{folder.name} +interrupted +2/20 trials +75.00% ", capsys.readouterr().out)
    assert main(["runs", "show", folder.name]) == 1
    assert f"--runs-dir {folder / 'trials'}" in capsys.readouterr().err


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
