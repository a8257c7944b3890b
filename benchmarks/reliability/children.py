"""Processes to kill: trainings by the command line's own `main`, forked from a process that has imported TensorFlow.

Importing TensorFlow costs seconds, a fork none. The parent never starts TensorFlow's runtime, so that each child starts
its own, as a process begun from nothing does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 300.0


@dataclass
class Child:
    """A process under way; `log` has its stdout and stderr."""

    pid: int
    log: Path
    started: float
    status: int | None = None

    def poll(self) -> int | None:
        """Its exit status if it has ended, negative for the signal that ended it."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def wait(self) -> int:
        deadline = time.monotonic() + _TIMEOUT_S
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"process {self.pid} did not end; it said:\n{self.said()}")
            time.sleep(0.005)
        assert self.status is not None
        return self.status

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def said(self) -> str:
        """What it wrote, without its line breaks."""
        return " ".join(self.log.read_text(errors="replace").split())


def fork(work: Callable[[], int], log: Path) -> Child:
    """A child that does `work` and exits with what it returns."""
    sys.stdout.flush()
    started = time.monotonic()
    pid = os.fork()
    if pid:
        return Child(pid, log, started)
    status = 70
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(target, 1)
        os.dup2(target, 2)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def train(arguments: list[str], log: Path) -> Child:
    """`railcar train ARGUMENTS` in a forked child."""
    _import_everything()
    from railcar.cli.main import main

    return fork(lambda: main(["train", *arguments]), log)


def start_railcar(arguments: list[str], log: Path) -> Child:
    """`python -m railcar ARGUMENTS`, a process begun from nothing."""
    started = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "railcar", *arguments], stdout=file, stderr=file)
    return Child(process.pid, log, started)


def _import_everything() -> None:
    from railcar.training.tensorflow import import_tensorflow

    import_tensorflow()

    import railcar.evaluation.evaluate
    import railcar.reporting.plots
    import railcar.training.loop
    import railcar.workflows.results
    import railcar.workflows.train  # noqa: F401
