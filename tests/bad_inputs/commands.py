"""The commands as a user types them: in this process, or in one of their own.

Owns the words and the capture of what was said. `--dry-run` reads, splits and builds as a training does and ends there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from unittest import mock

from railcar.cli.main import main
from tests.bad_inputs.row import Row, Trial

TIMEOUT_S = 300


@dataclass(frozen=True)
class Said:
    """The exit status, and what went to stdout and stderr."""

    status: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return f"{self.out}\n{self.err}"


def train_words(row: Row, trial: Trial) -> list[str]:
    return ["train", trial.data, *trial.words, *_sets(row)]


def check_words(row: Row, trial: Trial, *more: str) -> list[str]:
    return ["data", "check", trial.data, *more, *_sets(row)]


def _sets(row: Row) -> list[str]:
    return [word for one in row.sets for word in ("--set", one)]


def run_here(words: Sequence[str], trial: Trial) -> Said:
    """`railcar words` by its entry point, in this process."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with mock.patch.dict(os.environ, _environment(trial)), _turned(1, "stdout", out), _turned(2, "stderr", err):
            status = main(words)
        return Said(status, _read(out), _read(err))


def run_apart(words: Sequence[str], trial: Trial, cwd: Path) -> Said:
    """`railcar words` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "railcar", *words],
        cwd=cwd,
        env={**os.environ, **_environment(trial)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def _environment(trial: Trial) -> dict[str, str]:
    return {"COLUMNS": "80", **trial.environment}


@contextmanager
def _turned(descriptor: int, name: str, file: IO[bytes]) -> Iterator[None]:
    """Let a standard stream lead into `file`: what Python writes, and what is written below it."""
    stream, kept = getattr(sys, name), os.dup(descriptor)
    stream.flush()
    os.dup2(file.fileno(), descriptor)
    own = open(os.dup(descriptor), "w", encoding="utf-8")  # noqa: PTH123, SIM115  a descriptor, closed below
    setattr(sys, name, own)
    try:
        yield
    finally:
        own.close()
        setattr(sys, name, stream)
        os.dup2(kept, descriptor)
        os.close(kept)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
