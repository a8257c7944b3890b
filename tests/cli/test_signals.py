"""Signals and closed streams: the status and what is printed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from railcar.cli.main import COMMANDS, main


def test_sigterm_ends_with_its_own_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    @click.command()
    def probe_command() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setitem(COMMANDS, "probe", "A command of the tests.")
    monkeypatch.setitem(sys.modules, "railcar.cli.probe", SimpleNamespace(command=probe_command))  # type: ignore[arg-type]
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["probe"]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err.strip() == "stopped: terminated"


def test_closed_streams_are_no_fault(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m railcar recipe list >&- 2>&-'
    assert subprocess.run(["bash", "-c", command], cwd=tmp_path, check=False).returncode == 0


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    line = f"{sys.executable} -m railcar recipe schema | head -n 1"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stdout == "{\n"
    assert done.stderr == ""
