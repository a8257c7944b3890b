"""A folder of wheels with all that railcar needs on a machine: for machines that have no network."""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from railcar.errors import MachineError
from railcar.machines.wheel import list_requirements, read_constraints

# What wheels for Linux on x86_64 call it, the newest first; pip takes those that it is told.
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010")


def fill_wheelhouse(folder: Path, *, gpu: bool = False, python: str | None = None) -> list[Path]:
    """Download the wheels for Linux on x86_64 and that version of Python ("3.12"; this one's when None) into `folder`;
    those that are there are kept. Returns them. Raises `MachineError` with what pip says."""
    version = python or f"{sys.version_info[0]}.{sys.version_info[1]}"
    is_here = platform.system() == "Linux" and platform.machine() == "x86_64"
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--progress-bar", "off", "-q"]
    command += ["--only-binary", ":all:", "--dest", str(folder)]
    if not is_here or python:
        names = [f"{one}_x86_64" for one in _PLATFORMS]
        command += [word for one in (*names, "any") for word in ("--platform", one)]
        command += ["--python-version", version, "--implementation", "cp"]
    with tempfile.TemporaryDirectory() as scratch:
        requirements, constraints = Path(scratch) / "requirements.txt", Path(scratch) / "constraints.txt"
        requirements.write_text("\n".join(list_requirements("gpu" if gpu else "cpu")) + "\n")
        constraints.write_text(read_constraints())
        folder.mkdir(parents=True, exist_ok=True)
        words = [*command, "-r", str(requirements), "-c", str(constraints)]
        found = subprocess.run(words, capture_output=True, text=True, check=False)
    if found.returncode:
        lines = [line for line in found.stderr.splitlines() if line.startswith("ERROR")] or [
            found.stderr.strip()[-300:]
        ]
        raise MachineError(
            f"{folder}: pip could not download all: {lines[0]}", hint="see that this computer has a network"
        )
    return sorted(folder.glob("*.whl"))
