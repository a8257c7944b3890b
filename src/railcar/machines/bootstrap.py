"""Making a machine ready: railcar itself, a Python with TensorFlow that fits the driver, proof of the GPUs.

Owns the layout of `~/.railcar` there:

    packages/HASH/          railcar, unpacked from a wheel of this computer's (`wheel.py`)
    environments/HASH/      a virtual environment, named by all that decides what is in it
    wheelhouse/             wheels that were copied there, for machines without a network
    data/KEY/NAME           data that was synced, by fingerprint
    jobs/NAME/              one command, its log and its results; removed a week after they came home
    cache/                  railcar's cache, of prepared data
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from railcar.errors import MachineError, MachineUnreachable, UsageError
from railcar.machines.jobs import Job
from railcar.machines.shell import Shell, quote
from railcar.machines.wheel import Wheel, build_wheel, list_requirements, read_constraints

ROOT = ".railcar"
Tell = Callable[[str], None]
# CUDA 12 starts on no older driver: docs.nvidia.com, "CUDA Compatibility", minor version compatibility.
LEAST_DRIVER = 525
# The versions of Python that TensorFlow 2.21 has wheels for, the best first.
_PYTHONS = ("python3.12", "python3.11", "python3.13", "python3")
# What the extras bring that are looked for in a Python of the user's own: module -> package.
_MODULES = {
    "serve": {
        "ai_edge_litert": "ai-edge-litert",
        "httptools": "httptools",
        "python_multipart": "python-multipart",
        "simdjson": "pysimdjson",
        "uvicorn": "uvicorn",
    },
    "export": {"onnxruntime": "onnxruntime"},
}
_PROBE = r"""
root=$HOME/.railcar
mkdir -p "$root/packages" "$root/environments" "$root/jobs" "$root/data" && chmod 700 "$root"
echo "home=$HOME"
echo "arch=$(uname -m)"
echo "system=$(uname -s)"
[ -e "$root/packages/$1/complete" ] && echo "package=yes"
command -v rsync >/dev/null && echo "rsync=yes"
find "$root/jobs" -mindepth 2 -maxdepth 2 -name taken -mtime +7 | while read -r one; do rm -rf "${one%/taken}"; done
echo "free_kb=$(df -Pk "$root" | awk 'NR==2 {print $4}')"
if command -v nvidia-smi >/dev/null; then
    echo "driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)"
    echo "gpus=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | wc -l)"
fi
shift
for one in "$@"; do
    found=$("$one" -c 'import sys; print("%d.%d" % sys.version_info[:2], sys.executable)' 2>/dev/null) || continue
    echo "python=$found"
done
exit 0
"""


@dataclass(frozen=True)
class Wishes:
    """What the machine must have. `n_gpus` are proved; `extras` of railcar besides TensorFlow's, which is there unless
    it is not needed; `python` is one there that has all that is needed, in place of an environment of ours;
    `wheelhouse` a folder here with wheels. On a machine that is rented, packages of the system may be installed."""

    n_gpus: int = 0
    extras: tuple[str, ...] = ()
    python: str | None = None
    wheelhouse: Path | None = None
    is_rented: bool = False
    needs_tensorflow: bool = True


@dataclass(frozen=True)
class Found:
    """What a machine was found to have. `pythons` are pairs of version and path."""

    home: str
    arch: str
    has_package: bool
    has_rsync: bool
    free_gb: float
    n_gpus: int
    driver: str | None
    pythons: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Ready:
    """A machine on which railcar can be run: by `python`, with `package` on its path; both absolute, there."""

    home: str
    python: str
    package: str
    n_gpus: int = 0

    @property
    def root(self) -> str:
        return f"{self.home}/{ROOT}"

    def environment(self) -> dict[str, str]:
        """Variables of every command there."""
        return {"PYTHONPATH": self.package, "RAILCAR_CACHE": f"{self.root}/cache"}

    def command(self, *words: str) -> list[str]:
        """`railcar WORDS` there."""
        return [self.python, "-m", "railcar", *words]


def prepare(shell: Shell, wishes: Wishes, tell: Tell) -> Ready:
    """Make the machine ready, as far as it is not. Raises `MachineError` with what is missing."""
    wheel = build_wheel()
    found = probe(shell, wheel, wishes)
    host = shell.address.host
    if not found.has_rsync:
        raise MachineError(f"{host}: rsync is not installed there", hint="install it there: sudo apt install rsync")
    if not found.pythons:
        wanted = wishes.python or "Python 3.11, 3.12 or 3.13"
        raise MachineError(
            f"{host}: there is no {wanted}", hint="install it there, or name one that is there with --python PATH"
        )
    if wishes.needs_tensorflow:
        _check_driver(host, found)
    package = f"{found.home}/{ROOT}/packages/{wheel.sha256[:16]}"
    if not found.has_package:
        tell(f"copying railcar to {host} ({len(wheel.content) / 1e6:.1f} MB)")
        _send_package(shell, wheel, found.pythons[0][1])
    if wishes.python is None:
        python = _make_environment(shell, found, package, wishes, tell)
    else:
        python = found.pythons[0][1]
        _check_environment(shell, python, package, wishes)
    ready = Ready(found.home, python, package, found.n_gpus)
    if not wishes.needs_tensorflow:
        return ready
    if wishes.n_gpus or wishes.python is None:
        prove_gpus(shell, ready, wishes.n_gpus or found.n_gpus, tell)
    elif found.n_gpus:
        _try_gpus(shell, ready, tell)
    return ready


def _try_gpus(shell: Shell, ready: Ready, tell: Tell) -> None:
    """A Python of the user's own may be for the processor, and then was chosen: GPUs that nobody asked for are proved
    where they work, and told of where they do not."""
    try:
        prove_gpus(shell, ready, ready.n_gpus, tell)
    except MachineUnreachable:
        raise
    except MachineError as error:
        tell(f"its GPUs stay unused: {error.what}; ask for one with --gpu to make that an error")


def _check_driver(host: str, found: Found) -> None:
    """Before gigabytes are installed: a driver that TensorFlow's CUDA does not start on."""
    major = (found.driver or "").partition(".")[0]
    if major.isdigit() and int(major) < LEAST_DRIVER:
        raise MachineError(
            f"{host}: its NVIDIA driver {found.driver} is too old for TensorFlow, which needs {LEAST_DRIVER}",
            hint="update the driver there, or take a newer image",
        )


def probe(shell: Shell, wheel: Wheel, wishes: Wishes) -> Found:
    """Look at the machine, in one command."""
    pythons = (wishes.python,) if wishes.python else _PYTHONS
    command = quote("sh", "-s", "--", wheel.sha256[:16], *pythons)
    told = shell.run(command, stdin=_PROBE.encode(), timeout_s=90).stdout.decode(errors="replace")
    pairs: list[tuple[str, str]] = []
    for line in told.splitlines():
        key, _, value = line.partition("=")
        pairs.append((key, value))
    values = dict(pairs)
    if values.get("system") != "Linux":
        raise MachineError(
            f"{shell.address.host}: is no Linux, but {values.get('system') or 'something that answers nothing'}",
            hint="take a machine with Linux",
        )
    seen = [value.partition(" ")[::2] for key, value in pairs if key == "python"]
    fit = tuple((version, path) for version, path in seen if wishes.python or version in ("3.11", "3.12", "3.13"))
    return Found(
        home=values["home"],
        arch=values["arch"],
        has_package="package" in values,
        has_rsync="rsync" in values,
        free_gb=int(values.get("free_kb") or 0) / 2**20,
        n_gpus=int(values.get("gpus") or 0),
        driver=values.get("driver") or None,
        pythons=fit,
    )


def _send_package(shell: Shell, wheel: Wheel, python: str) -> None:
    """Unpack the wheel there once its hash is what it was here."""
    folder = f"{ROOT}/packages/{wheel.sha256[:16]}"
    script = (
        f'cd && new=$(mktemp -d {folder}.XXXXXX) && cat > "$new/{wheel.name}" && '
        f'echo "{wheel.sha256}  $new/{wheel.name}" | sha256sum -c --quiet && '
        f'{quote(python)} -m zipfile -e "$new/{wheel.name}" "$new" && touch "$new/complete" && '
        f'rm -rf {folder} && mv "$new" {folder}'
    )
    shell.run(script, stdin=wheel.content, timeout_s=300)


def _make_environment(shell: Shell, found: Found, package: str, wishes: Wishes, tell: Tell) -> str:
    """The Python of an environment there, made if no other run has made the same."""
    version, python = found.pythons[0]
    requirements = list_requirements(*_extras_of(found, wishes))
    tested = read_constraints() if found.arch == "x86_64" else ""
    key = json.dumps([version, found.arch, requirements, tested]).encode()
    name = hashlib.sha256(key).hexdigest()[:16]
    folder = f"{found.home}/{ROOT}/environments/{name}"
    if shell.run(f"test -e {quote(folder + '/complete')}", check=False).status == 0:
        return f"{folder}/bin/python"
    what, needed_gb = ("TensorFlow for NVIDIA GPUs", 8) if found.n_gpus else ("TensorFlow", 3)
    if not wishes.needs_tensorflow:
        what, needed_gb = "what it needs", 1
    if found.free_gb < needed_gb:
        raise MachineError(
            f"{shell.address.host}: {found.free_gb:.1f} GB free are too little for {what}",
            hint="free some space there, or ask for a larger disk: machine.disk_gb",
        )
    tell(f"installing {what} on {shell.address.host} (once; some minutes)")
    words = [folder, f"{folder}.txt"]
    shell.run(f"cat > {quote(folder + '.txt')}", stdin="\n".join(requirements).encode())
    if tested:
        words += ["--constraints", f"{package}/railcar/constraints.txt"]
    if wishes.wheelhouse:
        _send_wheelhouse(shell, wishes.wheelhouse)
        words += ["--wheelhouse", f"{found.home}/{ROOT}/wheelhouse"]
    if wishes.is_rented:
        words += ["--rented", "yes"]
    program = f"{package}/railcar/machines/onboard/environment.py"
    _run_to_end(shell, Job(f"environment-{name}", found.home, package), [python, program, *words], what)
    return f"{folder}/bin/python"


def _extras_of(found: Found, wishes: Wishes) -> tuple[str, ...]:
    if not wishes.needs_tensorflow:
        return wishes.extras
    return ("gpu" if found.n_gpus else "cpu", *wishes.extras)


def _run_to_end(shell: Shell, job: Job, command: list[str], what: str) -> None:
    """Run a command that may take long as a job: a lost connection does not end it. Raises `MachineError` with its last
    words."""
    job.begin(shell, command, is_repeated=True)
    log = bytearray()
    status = job.follow(shell, log.extend)
    job.mark_taken(shell)
    if status == 0:
        return
    lines = [line.strip() for line in log.decode(errors="replace").splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith("ERROR:")), lines[-1] if lines else f"status {status}")
    no_network = any("connection" in line.lower() or "no matching distribution" in line.lower() for line in lines)
    hint = (
        "where it has no network, give it a folder of wheels: --wheelhouse DIR"
        if no_network
        else "see its log: railcar machine ssh, then ~/.railcar/jobs"
    )
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    raise MachineError(
        f"{shell.address.host}: {what} could not be installed: {told.removeprefix('ERROR: ')}",
        hint=hints[0] if hints else hint,
    )


def _send_wheelhouse(shell: Shell, wheelhouse: Path) -> None:
    if not any(wheelhouse.glob("*.whl")):
        raise UsageError(f"{wheelhouse}: no wheels are in there", hint="fill it with: railcar machine wheelhouse DIR")
    shell.send([f"{wheelhouse}/"], f"{ROOT}/wheelhouse/")


def _check_environment(shell: Shell, python: str, package: str, wishes: Wishes) -> None:
    """Raise unless that Python has all that a training, or what is wished, needs."""
    names = ["click", "numpy", "PIL", "polars", "pydantic", "yaml", "rich", "simplejpeg"]
    names += ["tensorflow", "keras"] if wishes.needs_tensorflow else []
    names += [module for extra in wishes.extras for module in _MODULES.get(extra, {})]
    look = f"import importlib.util as u; print(' '.join(n for n in {names!r} if u.find_spec(n) is None))"
    missing = shell.read(f"{quote('env', f'PYTHONPATH={package}', python, '-c', look)}").split()
    if missing:
        packages = {module: one for modules in _MODULES.values() for module, one in modules.items()}
        listed = " ".join(packages.get(one, one) for one in missing)
        how = f" ({python} -m pip install {listed})" if any(one in packages for one in missing) else ""
        raise MachineError(
            f"{shell.address.host}: {python} has no {', '.join(missing)}",
            hint=f"install it there{how}, or leave --python out: railcar then makes an environment of its own",
        )


def prove_gpus(shell: Shell, ready: Ready, n_gpus: int, tell: Tell) -> dict[str, Any]:
    """Compute on each of the GPUs, once for each boot and environment. Raises `MachineError` with what is missing."""
    if not n_gpus:
        return {}
    program = f"{ready.package}/railcar/machines/onboard/gpu_proof.py"
    mark = hashlib.sha256(f"{ready.python}/{n_gpus}".encode()).hexdigest()[:16]
    kept = f'"{ready.root}/proof-{mark}-$(cat /proc/sys/kernel/random/boot_id)"'
    prove = quote(ready.python, program, str(n_gpus))
    script = (
        f"test -s {kept} && exit 0; {prove} > {kept}.new; tail -n 1 {kept}.new; "
        f"grep -q 'is_proved.: true' {kept}.new && mv {kept}.new {kept}; exit 0"
    )
    told = shell.run(script, timeout_s=300).stdout.decode().strip()
    if not told:
        return {}
    found = json.loads(told.splitlines()[-1])
    if not found["is_proved"]:
        raise MachineError(f"{shell.address.host}: {found['what']}", hint=found["hint"])
    names = ", ".join(f"{one['name']} ({one['memory']})" for one in found["gpus"])
    tell(f"proved: {names}, driver {found['driver']}, CUDA {found['cuda']}: a convolution ran on each")
    return found
