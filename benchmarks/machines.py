"""From a command to the first step on another machine: railcar's own way, and the same done by hand with ssh and rsync.

    python benchmarks/machines.py [--rounds 3] [--cold]

On a host of the fake provider (a network namespace with a real sshd), in turns. Warm: the machine has all that it
needs; by hand that is an rsync of the data and ssh with the training. Cold: railcar, its environment and the data are
not there, the wheels are; by hand that is venv, pip and rsync. Needs root, OpenSSH, rsync, iproute2; cold also the
package index. Prints JSON: medians in seconds, and the difference.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from railcar.machines.base import MachineSpec
from railcar.machines.fake import FakeProvider
from railcar.machines.lease import Lease, new_lease
from railcar.machines.renting import rent, wait_for
from railcar.machines.shell import Shell
from railcar.machines.wheel import build_wheel, list_requirements, read_constraints
from railcar.machines.wheelhouse import fill_wheelhouse

SETTINGS = ("training.steps=4", "training.validate_every=1", "training.kernels=own", "training.precision=float32")
TRAIN = [word for setting in SETTINGS for word in ("--set", setting)]


def write_photos(folder: Path) -> Path:
    """1,000 PNGs of 32 px in two classes: small files are what copying is slow at."""
    generator = np.random.default_rng(0)
    for number in range(1000):
        path = folder / f"class-{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    return folder


def time_to_first_step(command: list[str], environment: dict[str, str] | None = None) -> float:
    """Seconds until a line tells of a step; the command is then let end."""
    started, first = time.monotonic(), None
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, stdin=subprocess.DEVNULL
    ) as process:
        lines = []
        for line in process.stderr or ():
            lines.append(line)
            if first is None and "val loss" in line:
                first = time.monotonic() - started
    if first is None or process.returncode:
        raise RuntimeError("".join(lines[-20:]))
    return first


def by_railcar(lease: Lease, data: Path, scratch: Path, *words: str) -> float:
    command = [sys.executable, "-m", "railcar", "train", str(data), *TRAIN, "--on", lease.name, *words]
    return time_to_first_step([*command, "--runs-dir", str(scratch / "runs")])


def by_hand(shell: Shell, data: Path, python: str, before: str = "true") -> float:
    """What a person types, in one script; the connection is shared, as in a careful person's ~/.ssh/config."""
    ssh, target = shlex.join(shell.ssh_command()), shell.target
    train = f"{python} -m railcar train photos {' '.join(TRAIN)} --runs-dir by-hand"
    script = f"""set -e
rsync -az -e {shlex.quote(ssh)} {data}/ {target}:photos/
{before}
{ssh} {target} {shlex.quote(train)}
"""
    return time_to_first_step(["bash", "-c", script])


def measure_warm(lease: Lease, shell: Shell, data: Path, scratch: Path, rounds: int) -> dict[str, list[float]]:
    python = ("--python", sys.executable)
    by_railcar(lease, data, scratch, *python)
    package = f".railcar/packages/{build_wheel().sha256[:16]}"
    with_package = f"PYTHONPATH=$HOME/{package} RAILCAR_CACHE=$HOME/.railcar/cache {sys.executable}"
    by_hand(shell, data, with_package)
    found: dict[str, list[float]] = {"railcar": [], "by_hand": []}
    for _ in range(rounds):
        found["by_hand"].append(by_hand(shell, data, with_package))
        found["railcar"].append(by_railcar(lease, data, scratch, *python))
    return found


def measure_cold(lease: Lease, shell: Shell, data: Path, scratch: Path, rounds: int) -> dict[str, list[float]]:
    wheels = scratch / "wheels"
    fill_wheelhouse(wheels)
    shell.run("mkdir -p .railcar/wheelhouse")
    shell.send([f"{wheels}/"], ".railcar/wheelhouse/")
    wheel = build_wheel()
    (scratch / wheel.name).write_bytes(wheel.content)
    (scratch / "requirements.txt").write_text("\n".join(list_requirements("cpu")))
    (scratch / "constraints.txt").write_text(read_constraints())
    files = " ".join(str(scratch / name) for name in (wheel.name, "requirements.txt", "constraints.txt"))
    ssh, target = shlex.join(shell.ssh_command()), shell.target
    pip = "environment/bin/python -m pip install -q --no-index --find-links .railcar/wheelhouse"
    install = (
        f"python3 -m venv environment && {pip} -r requirements.txt -c constraints.txt && {pip} --no-deps ./{wheel.name}"
    )
    before = f"rsync -a -e {shlex.quote(ssh)} {files} {target}: && {ssh} {target} {shlex.quote(install)}"
    ours = " ".join(f".railcar/{name}" for name in ("environments", "packages", "data", "jobs", "cache"))
    clean = f"rm -rf environment photos by-hand {ours}"
    found: dict[str, list[float]] = {"railcar": [], "by_hand": []}
    for _ in range(rounds):
        shell.run(clean)
        found["by_hand"].append(by_hand(shell, data, "environment/bin/python", before))
        shell.run(clean)
        found["railcar"].append(by_railcar(lease, data, scratch, "--wheelhouse", str(wheels)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="railcar-machines-") as name:
        scratch = Path(name)
        os.environ.update(
            RAILCAR_MACHINES=f"{name}/machines", RAILCAR_FAKE_CLOUD=f"{name}/cloud", RAILCAR_OWNER="bench"
        )
        provider = FakeProvider(scratch / "cloud", network=True)
        try:
            began = time.monotonic()
            lease = rent(new_lease("one", "fake", MachineSpec()).change(is_kept=True), provider, lambda text: None)
            lease, shell = wait_for(lease, provider)
            ready_s = time.monotonic() - began
            measure = measure_cold if options.cold else measure_warm
            times = measure(lease, shell, write_photos(scratch / "photos"), scratch, options.rounds)
            shell.close()
        finally:
            provider.close()
    medians = {name: round(statistics.median(seconds), 2) for name, seconds in times.items()}
    difference = round(medians["railcar"] - medians["by_hand"], 2)
    print(json.dumps({"machine_ready_s": round(ready_s, 2), **medians, "difference_s": difference, "all": times}))


if __name__ == "__main__":
    main()
