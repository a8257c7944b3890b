"""`railcar train --on` as a user types it, and what is looked at afterwards."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from railcar.machines.fake import FakeProvider
from railcar.machines.lease import Lease, list_leases
from railcar.machines.shell import Shell
from railcar.runs.run_dir import RunDir

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
# Which kernels are fastest is measured on each machine anew; these give the same bits everywhere.
SAME = ("--set", "training.kernels=own", "--set", "training.precision=float32")
PACED = (
    "mnist-sample", "--model", f"{Path(__file__).parent / 'paced' / 'model.py'}:build_paced",
    "--set", "training.batch_size=64", *SAME,
)  # fmt: skip
"""A training of the clock's pace (a twentieth of a second a step), for tests of what happens in its middle."""
SHORT = ("--set", "training.steps=6", "--set", "training.batch_size=64", *SAME)


def railcar(*words: str, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "railcar", *words]
    found = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=cwd)
    assert "Traceback" not in found.stderr
    if check:
        assert found.returncode == 0, found.stderr
    return found


def train_away(*words: str, on: str = "fake", check: bool = True) -> subprocess.CompletedProcess[str]:
    return railcar("train", *words, "--on", on, "--yes", "--python", sys.executable, check=check)


def train_watched(*words: str, on_line: Callable[[str], object]) -> str:
    """`railcar train` to its good end; `on_line` gets each of its lines as it comes. Returns all of them."""
    command = [sys.executable, "-m", "railcar", "train", *words, "--python", sys.executable]
    null = subprocess.DEVNULL
    client = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=null, stdout=null, text=True)
    assert client.stderr
    lines: list[str] = []
    for line in client.stderr:
        lines.append(line)
        on_line(line)
    client.stderr.close()
    text = "".join(lines)
    status = client.wait()
    assert status == 0, f"{text}\nstatus {status}"
    assert "Traceback" not in text
    return text


def at_first_validation(act: Callable[[], object]) -> Callable[[str], None]:
    """For `train_watched`: `act` is called once, when the first validation is told."""
    told: list[str] = []

    def look(line: str) -> None:
        if "val loss" in line and not told:
            told.append(line)
            act()

    return look


def weights_of(run: RunDir) -> Sequence[np.ndarray]:
    from railcar.artifact.artifact import read_artifact

    model = read_artifact(run.artifact).load_model()
    # a network of one's own comes as a SavedModel
    return [np.asarray(one) for one in getattr(model, "weights", None) or model.loaded.variables]


def assert_same_weights(one: RunDir, other: RunDir) -> None:
    for first, second in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_array_equal(first, second)


def assert_nothing_is_left(provider: FakeProvider) -> None:
    assert not provider.list("tester")
    assert not list_leases()


def assert_as_documented(page: str, output: str) -> None:
    """The lines of the guide's transcript are those of the output, in their order, but for figures, and for what the
    guide leaves out (`...`)."""
    [transcript] = re.findall(r"<!-- transcript -->\n+```text\n(.*?)```", (GUIDES / page).read_text(), re.DOTALL)
    shown = [_without_figures(line) for line in transcript.splitlines() if line.strip() not in ("", "...")]
    assert len(shown) > 8
    lines = iter([_without_figures(line) for line in output.splitlines()])
    for line in shown:
        assert line in lines, f"{page} shows {line!r}, which is not (here) in:\n{output}"


def _without_figures(line: str) -> str:
    line = re.sub(r"\S*\bruns/(\S+)-[0-9]{8}-[0-9]{6}-[0-9a-f]{4}", r"runs/\1-#", line)
    words = re.sub(r"-[0-9a-f]{4,6}\b|[0-9][0-9,.:-]*(m[0-9]+s)?", "#", line.strip())
    return re.sub(r"\s+|(?<=#)#", " ", re.sub("#+", "#", words))


def write_ssh_config(place: Path, lease: Lease, shell: Shell) -> Path:
    """As a user's ~/.ssh/config has a machine of his own."""
    address, config = shell.address, place / "ssh_config"
    config.write_text(
        f"Host box\n  HostName {address.host}\n  Port {address.port}\n  IdentityFile {address.identity}\n"
        f"  UserKnownHostsFile {lease.folder}/known_hosts\n" + (f"  User {address.user}\n" if address.user else "")
    )
    return config
