"""Rows 9 to 16: rented machines, on the fake provider with hosts that have a network, a real sshd and a guard.

Needs root (network namespaces), OpenSSH, rsync and iproute2. Requests of the clouds (row 14) are looked at as they are
written; their stand-ins, which tests have, are not started.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.reliability.run import Outcome

from railcar.errors import HostKeyWrong, MachineError
from railcar.machines.base import MachineSpec, Offer, Request
from railcar.machines.ec2 import _describe_request
from railcar.machines.fake import FakeProvider
from railcar.machines.gce import GceProvider
from railcar.machines.guarding import write_start_script
from railcar.machines.lease import list_leases, machines_dir, make_key, new_lease
from railcar.machines.renting import give_back, rent, wait_for
from railcar.machines.shell import Shell
from railcar.runs.index import list_runs
from railcar.runs.run_dir import RunDir
from railcar.workflows.machines import destroy_found, down, list_machines

RAILCAR = [sys.executable, "-m", "railcar"]
OWNER, OTHER = "bench", "somebody"
CALLS = 16


def quiet(text: str) -> None:
    pass


@contextlib.contextmanager
def cloud(folder: Path) -> Iterator[FakeProvider]:
    """A cloud, leases and runs of its own."""
    places = {"RAILCAR_MACHINES": "machines", "RAILCAR_FAKE_CLOUD": "cloud", "RAILCAR_RUNS": "runs"}
    wanted = {**{name: str(folder / place) for name, place in places.items()}, "RAILCAR_OWNER": OWNER}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    provider = FakeProvider(folder / "cloud", network=True)
    try:
        yield provider
    finally:
        provider.close()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def plant(provider: FakeProvider, *faults: dict[str, Any]) -> None:
    (provider.folder / "faults.json").write_text(json.dumps(faults))


def clean_up() -> None:
    """What a user does: `machine list --all`, and an end for each line of it."""
    for one in list_machines(everywhere=True).found:
        down(one.lease, quiet, force=True) if one.lease else destroy_found(one, quiet)


def measure_killed_clients(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 9: `train --on` is killed before and after each of its calls, one after the other, as far as there are."""
    passed = n_trials = 0
    failures: list[str] = []
    most = trials or CALLS
    for number in range(most):
        for when in ("before", "after"):
            place = folder / f"{number}-{when}"
            with cloud(place) as provider:
                plant(provider, {"call": "any", "error": "kill", "when": when, "skip": number})
                words = ["train", "--on", "fake", "--yes", "--python", sys.executable, "--set", "training.steps=4"]
                done = subprocess.run([*RAILCAR, *words], capture_output=True, stdin=subprocess.DEVNULL)
                if done.returncode == 0:  # it has fewer calls than that
                    note = f"{number} calls of the API, each killed before and after it"
                    return Outcome(passed, n_trials, note, failures)
                plant(provider)
                n_trials += 1
                clean_up()
                left = [*provider.list(OWNER), *list_leases()]
                if done.returncode == -signal.SIGKILL and not left:
                    passed += 1
                else:
                    failures.append(f"call {number}, {when}: status {done.returncode}, left over: {left}")
    return Outcome(passed, n_trials, f"the first {most} calls", failures)


def measure_lost_network(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 9b: the machine's network is cut for 60 s in the middle of a training. It goes on, is followed again without
    anybody's hand, and comes home whole."""
    passed, trials, failures = 0, trials or 5, []
    settings = ["training.steps=1500", "training.validate_every=50", "training.kernels=own"]
    words = ["train", "--on", "fake", "--yes", "--python", sys.executable, "--runs-dir", str(folder / "runs")]
    words += [word for setting in settings for word in ("--set", setting)]
    for number in range(trials):
        with cloud(folder / str(number)) as provider:
            null = subprocess.DEVNULL
            client = subprocess.Popen([*RAILCAR, *words], stderr=subprocess.PIPE, stdin=null, stdout=null, text=True)
            assert client.stderr
            lines: list[str] = []
            for line in client.stderr:
                if "val loss" in line and not any("val loss" in one for one in lines):
                    threading.Thread(target=_cut, args=(provider, list_leases()[0].name, chance.uniform(0, 5))).start()
                lines.append(line)
            status, run = client.wait(), list_runs(folder / "runs")[0]
            steps = [row["step"] for row in RunDir(run.path).read_metrics() if "val_loss" in row]
            told = sum("is followed again as soon as it answers" in line for line in lines)
            left = [*provider.list(OWNER), *list_leases()]
            is_whole = run.state == "finished" and steps == list(range(50, 1501, 50))
            if status == 0 and is_whole and told == 1 and not left:
                passed += 1
            else:
                failures.append(f"status {status}, {run.state}, {len(steps)} validations, told {told}, left: {left}")
    return Outcome(passed, trials, "cut for 60 s; finished, no line lost, nothing left", failures)


def _cut(provider: FakeProvider, name: str, after_s: float) -> None:
    time.sleep(after_s)
    provider.set_link(name, is_up=False)
    time.sleep(60)
    provider.set_link(name, is_up=True)


def measure_lost_answers(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 10: the answer to `create` is lost one to three times, the call repeated."""
    passed, trials = 0, trials or 20
    with cloud(folder) as provider:
        for number in range(trials):
            plant(provider, {"call": "create", "error": "Unreachable", "when": "after", "times": chance.randint(1, 3)})
            lease = rent(new_lease(f"m{number}", "fake", MachineSpec()), provider, quiet)
            passed += len(provider.list(OWNER)) == 1
            give_back(lease, provider, quiet)
    return Outcome(passed, trials, "one machine each")


def measure_failing_ends(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 11: destroying, or looking whether it is gone, fails: never is "gone" said of what is there."""
    passed, trials = 0, trials or 20
    with cloud(folder) as provider:
        for number in range(trials):
            lease = rent(new_lease(f"m{number}", "fake", MachineSpec()), provider, quiet)
            call, error = (
                chance.choice(["destroy", "leftovers"]),
                chance.choice(["Unreachable", "MachineError", "NoPermission"]),
            )
            plant(provider, {"call": call, "error": error})
            told: list[str] = []
            try:
                give_back(lease, provider, told.append, within_s=0.5)
            except MachineError:
                passed += not any("gone" in line for line in told) and len(list_leases()) == 1
            plant(provider)
            give_back(lease, provider, quiet)
            passed -= bool(provider.list(OWNER))
    return Outcome(passed, trials, "none was called gone; the next try ended each")


def measure_deadlines(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 12: nobody is there any more. The guard alone ends the machine, which was rebooted meanwhile; the provider's
    own end is an hour away."""
    trials, late, failures = trials or 20, [], []
    moments = [chance.uniform(1, 4) for _ in range(trials)]
    with cloud(folder) as provider:

        def measure(number: int) -> bool:
            name, ends_s = f"m{number}", time.time() + 8
            script = write_start_script(provider.inside(name), ends_s=ends_s, idle_s=600)
            request = Request(name, name, OWNER, "ssh-ed25519 AAAA", "", script, 3600, MachineSpec())
            provider.create(provider.offers(MachineSpec())[0], request)
            time.sleep(moments[number])
            provider.reboot(name)
            while provider.find(name, OWNER) and time.time() < ends_s + 20:
                time.sleep(0.05)
            late.append(time.time() - ends_s)
            if provider.find(name, OWNER):
                failures.append(f"{name} is still there {late[-1]:.0f} s after its deadline")
            return 0 <= late[-1] < 20

        with ThreadPoolExecutor(4) as pool:
            passed = sum(pool.map(measure, range(trials)))
    return Outcome(passed, trials, f"gone {min(late):.1f} to {max(late):.1f} s after the deadline", failures)


def measure_foreign_machines(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 13: another owner has machines of the same names; this one cleans up."""
    passed, trials = 0, trials or 20
    with cloud(folder) as provider:
        for number in range(trials):
            name = f"m{number}"
            os.environ["RAILCAR_OWNER"] = OTHER
            theirs = new_lease(f"their-{name}", "fake", MachineSpec())
            rent(theirs, provider, quiet)
            theirs.forget()
            os.environ["RAILCAR_OWNER"] = OWNER
            rent(new_lease(name, "fake", MachineSpec()), provider, quiet)
            provider.destroy(f"their-{name}", OWNER)
            clean_up()
            there = [one.state for one in provider.list(OTHER)]
            passed += len(there) == 1 and there[0] in ("starting", "running") and not provider.list(OWNER)
            provider.destroy(f"their-{name}", OTHER)
            while provider.list(OTHER):
                time.sleep(0.02)
    return Outcome(passed, trials, "0 touched")


def measure_ends(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 14: requests to each provider with other wishes: all carry an end that needs nobody here."""
    passed, trials = 0, trials or 60
    os.environ["RAILCAR_GCE_ENDPOINT"] = "http://127.0.0.1:9"
    for number in range(trials):
        ends_in_s = chance.randint(60, 86400)
        spec = MachineSpec(spot=chance.random() < 0.5, disk_gb=chance.randint(20, 500))
        offer = Offer("us-east-1a", "g4dn.xlarge", spec.spot)
        kind = number % 3
        name = f"m{number}"
        with cloud(folder / name) as fake:
            inside = fake.inside(name)
            script = write_start_script(inside, ends_s=time.time() + ends_in_s, idle_s=60)
            request = Request(name, name, OWNER, "ssh-ed25519 AAAA", "1.2.3.4/32", script, ends_in_s, spec, "key")
            if kind == 0:
                asked = _describe_request(offer, request, "ami-1", "sg-1")
                passed += asked["InstanceInitiatedShutdownBehavior"] == "terminate" and "start.sh" in asked["UserData"]
            elif kind == 1:
                scheduling = GceProvider()._describe_request(replace(offer, zone="us-central1-a"), request).scheduling
                is_ended = scheduling.max_run_duration.seconds == ends_in_s
                passed += is_ended and scheduling.instance_termination_action == "DELETE"
            else:
                fake.create(fake.offers(spec)[0], request)
                host = json.loads((fake.folder / "hosts" / name / "host.json").read_text())
                passed += abs(host["ends_s"] - host["started_s"] - ends_in_s) < 2
    del os.environ["RAILCAR_GCE_ENDPOINT"]
    return Outcome(passed, trials, "a third each of EC2, Compute Engine and the fake")


def measure_wrong_keys(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 15: who answers has another host key: refused, before anybody has logged in."""
    passed, trials = 0, trials or 20
    make_key(folder / "other", "other")
    other = " ".join((folder / "other.pub").read_text().split()[:2])
    with cloud(folder / "cloud") as provider:
        lease = rent(new_lease("one", "fake", MachineSpec()), provider, quiet)
        lease, shell = wait_for(lease, provider)
        shell.close()
        log = provider.folder / "hosts" / "one" / "log"
        (folder / "payload").write_text("secret")
        for number in range(trials):
            before = log.stat().st_size
            wrong = Shell(replace(shell.address, host_keys=(other,)), folder / f"ssh-{number}")
            try:
                if number % 2:
                    wrong.run("cat > ~/payload", stdin=b"secret")
                else:
                    wrong.send([folder / "payload"], "there/")
            except HostKeyWrong:
                passed += b"Accepted" not in log.read_bytes()[before:]
        left = shell.run("ls ~/payload ~/there 2>/dev/null", check=False).stdout
        shell.close()
    return Outcome(passed if not left else 0, trials, "no login, 0 bytes of payload")


def measure_secrets(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 16: secrets in the environment and in a project's files; looked for in all that a machine gets, in what is
    kept here, and in what is printed."""
    passed, trials, failures = 0, trials or 20, []
    names = [".env", "id_rsa", "deploy.pem", "credentials.json", "notes.md", ".aws/credentials", "service_account.json"]
    with cloud(folder / "cloud") as provider:
        lease = rent(new_lease("one", "fake", MachineSpec()), provider, quiet)
        wait_for(lease, provider)[1].close()
        for number in range(trials):
            secret = f"planted{chance.getrandbits(64):x}"
            project = folder / f"project-{number}"
            project.mkdir()
            for name in chance.sample(names, 4):
                (project / name).parent.mkdir(exist_ok=True)
                (project / name).write_text(f"aws_secret_access_key = {secret}\n")
            (project / "train.py").write_text("print('trained')\n")
            environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": secret, "GOOGLE_TOKEN": secret}
            words = ["machine", "run", "one", "--python", sys.executable, "--", "python3", "train.py"]
            done = subprocess.run([*RAILCAR, *words], capture_output=True, cwd=project, env=environment)
            found = [str(path) for path in _files(provider.folder, machines_dir()) if secret in _read(path)]
            if done.returncode == 0 and not found and secret.encode() not in done.stdout + done.stderr:
                passed += 1
            else:
                failures.append(f"{found or done.stderr.decode()[-200:]}")
    return Outcome(passed, trials, "0 found in start scripts, arguments, logs, synced files", failures)


def _files(*folders: Path) -> Iterator[Path]:
    return (path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
