"""`railcar tensorboard` as a server: address, ports, several runs, a quiet end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from railcar.cli.main import main
from railcar.runs.run_dir import RunDir
from railcar.training.summaries import Summaries


def make_run(runs_dir: Path, name: str) -> RunDir:
    run = RunDir.create(runs_dir, name)
    with Summaries(run.tensorboard) as summaries:
        summaries.scalars(1, {"train/loss": 0.5})
    return run


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(runs_dir: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "railcar", "tensorboard", *arguments, "--runs-dir", str(runs_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    try:
        yield process.stdout.readline().strip() if process.stdout else "", process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_runs(url: str, n_expected: int) -> list[str]:
    """Asks until so many runs are loaded: TensorBoard reads them in the background."""
    names: list[str] = []
    end = time.monotonic() + 60
    while len(names) < n_expected and time.monotonic() < end:
        with urllib.request.urlopen(url + "data/runs", timeout=30) as reply:
            names = json.load(reply)
        time.sleep(0.2)
    return names


def test_it_prints_its_address_serves_the_run_and_ends_quietly(tmp_path: Path) -> None:
    make_run(tmp_path, "mnist")
    port = find_free_port()
    with serving(tmp_path, "--port", str(port)) as (url, process):
        assert url == f"http://127.0.0.1:{port}/"
        assert read_runs(url, 1) == ["."]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)

    assert process.returncode == 0
    assert said.split("\n") == ["Ctrl-C ends it", "", "ended", ""]


def test_a_taken_port_gives_way_to_the_next_free_one(tmp_path: Path) -> None:
    make_run(tmp_path, "mnist")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        with serving(tmp_path, "--port", str(taken)) as (url, process):
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)

    assert url != f"http://127.0.0.1:{taken}/"
    assert f"port {taken} is taken, using" in said


def test_several_runs_are_served_under_their_names(tmp_path: Path) -> None:
    names = [make_run(tmp_path, name).name for name in ("one", "two")]
    with serving(tmp_path, "one", "two", "--port", str(find_free_port())) as (url, _):
        assert sorted(read_runs(url, 2)) == sorted(names)


def test_a_run_without_event_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunDir.create(tmp_path, "mnist")

    assert main(["tensorboard", "--runs-dir", str(tmp_path)]) == 1
    assert "training.tensorboard=true" in capsys.readouterr().err
