"""`railcar runs watch` as a user types it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from railcar.cli.main import main
from railcar.runs.run_dir import RunDir, now_text, write_json
from tests.terminal import Screen, run_in_terminal

WATCH = [sys.executable, "-m", "railcar", "runs", "watch"]
N_ROWS = 8


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run of texts that has just begun."""
    monkeypatch.setenv("RAILCAR_RUNS", str(tmp_path / "runs"))
    run = RunDir.create(tmp_path / "runs", "reviews")
    run.recipe_path.write_text("training: {best: val_loss}\n")
    run.write_manifest(run.read_manifest() | {"steps": 10 * N_ROWS, "data": {"kind": "text"}})
    return run


def write_row(run: RunDir, number: int) -> None:
    row = {"step": 10 * number, "loss": 2 / number, "accuracy": 0.5, "examples_per_s": 900.0, "seconds": number / 10}
    run.append_metrics(row | ({"val_loss": 2.2 / number, "val_accuracy": 0.75} if number % 4 == 0 else {}))


def finish(run: RunDir) -> None:
    write_json(run.evaluation_path, {"test": {"accuracy": 0.7}, "validation": {"accuracy": 0.75}})
    run.write_manifest(
        run.read_manifest() | {"state": "finished", "started": now_text(), "ended": now_text(), "step": 10 * N_ROWS}
    )


@contextmanager
def training(
    run: RunDir, first: int = 1, last: int = N_ROWS, *, begin: threading.Event | None = None
) -> Iterator[threading.Event]:
    """A thread that trains, once `begin` is set. When the event that this gives is set, it ends: finished, or dead if
    rows are lacking."""
    is_over, is_held = threading.Event(), threading.Event()

    def train() -> None:
        with run.hold():
            is_held.set()
            if begin:
                begin.wait(60)
            for number in range(first, last + 1):
                write_row(run, number)
                time.sleep(0.1)
            is_over.wait(60)
            if last == N_ROWS:
                finish(run)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        is_held.wait(60)
        yield is_over
    finally:
        is_over.set()
        thread.join()


def test_a_run_is_watched_live_until_it_has_finished(run: RunDir) -> None:
    seen: list[str] = []

    with training(run) as is_over:

        def note(screen: Screen, process: subprocess.Popen[bytes]) -> None:
            seen.append(str(screen))
            if "trained; evaluating" in seen[-1]:
                is_over.set()

        status, screen = run_in_terminal(WATCH, on_output=note)

    assert status == 0
    assert any("train ━" in one and " 80/80 100%" in one and "900 texts/s" in one for one in seen)
    assert any("best  loss 0.2750  accuracy 75.00%  at step 80" in one for one in seen)
    shown = str(screen)
    assert shown.startswith(f"run   {run.name}\n")
    assert "loss of steps 10 to 80" in shown
    assert f"{run.name}: finished, 80 steps, took" in shown
    assert shown.endswith("test       70.00%\nvalidation 75.00%")


def test_without_a_terminal_there_are_plain_lines_and_the_result_on_stdout(run: RunDir) -> None:
    for number in (1, 2, 3):
        write_row(run, number)
    begin = threading.Event()
    with training(run, 4, begin=begin) as is_over:
        process = subprocess.Popen(WATCH, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(2)]
        begin.set()
        is_over.set()
        result, rest = process.communicate(timeout=60)

    assert process.returncode == 0
    assert said[1] == "  step     30/80  loss 0.667 accuracy 50.00% 900 texts/s\n"
    assert [line for line in rest.splitlines() if "val" in line] == [
        "  step     40/80  val loss 0.5500  val accuracy 75.00% (best)",
        "  step     80/80  val loss 0.2750  val accuracy 75.00% (best)",
    ]
    assert result.splitlines()[1:] == ["test       70.00%", "validation 75.00%"]


def test_as_json_each_row_is_a_line_and_the_result_the_last(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1, N_ROWS + 1):
        write_row(run, number)
    finish(run)
    assert main(["runs", "watch", run.name, "--json"]) == 0
    *rows, last = map(json.loads, capsys.readouterr().out.splitlines())

    assert [row["step"] for row in rows] == list(range(10, 10 * N_ROWS + 1, 10))
    assert (last["name"], last["state"], last["test_accuracy"]) == (run.name, "finished", 0.7)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_run_that_dies_says_how_to_go_on(run: RunDir, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with training(run, last=3) as is_over:
        is_over.set()
        status = main(["runs", "watch", run.name, *words])
    error, hint = capsys.readouterr().err.splitlines()[-2:]

    assert status == 1
    assert error == f"error: {run.name}: died at step 30/80"
    assert hint == f"hint: go on with: railcar train --resume={run.name}"


def test_a_reason_is_told_and_no_run_that_goes_on_is_an_error(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    run.write_manifest(run.read_manifest() | {"state": "failed", "step": 30, "reason": "the loss is no number"})
    assert main(["runs", "watch", run.name]) == 1
    assert f"{run.name}: failed at step 30/80: the loss is no number" in capsys.readouterr().err
    assert main(["runs", "watch"]) == 1
    assert f"no run is going on; the newest, {run.name}, is failed" in capsys.readouterr().err


def test_ctrl_c_ends_the_watching_and_not_the_run(run: RunDir) -> None:
    sent: list[signal.Signals] = []
    with training(run, last=4) as is_over:

        def interrupt(screen: Screen, process: subprocess.Popen[bytes]) -> None:
            if "train ━" in str(screen) and not sent:
                sent.append(signal.SIGINT)
                process.send_signal(signal.SIGINT)

        status, screen = run_in_terminal(WATCH, on_output=interrupt)
        assert run.state() == "running"
        is_over.set()

    assert status == 130
    assert "goes on; watch it again" in str(screen).replace("\n", " ")
    assert str(screen).endswith("stopped: interrupted")


def test_watching_loads_nothing_heavy(run: RunDir) -> None:
    finish(run)
    program = (
        "import sys; from railcar.cli.main import main\n"
        f"assert main(['runs', 'watch', {run.name!r}]) == 0\n"
        "assert not {'numpy', 'polars', 'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
