"""`railcar machine`: a machine in steps, for one that stays: up, run, logs, pull, down, and what is rented where.

Owns the order of the steps. Imports no TensorFlow.
"""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from railcar.errors import Interrupted, MachineError, RailcarError, UsageError
from railcar.machines import tasks
from railcar.machines.base import Machine
from railcar.machines.bootstrap import Ready, Wishes, prepare
from railcar.machines.lease import OWN, WANTED, Lease, find_owner, list_leases, new_lease
from railcar.machines.providers import PROVIDERS, find_provider
from railcar.machines.renting import give_back, refresh
from railcar.machines.shell import Shell
from railcar.machines.sync import Files, find_missing, list_project, send_project
from railcar.machines.tasks import SCRIPT, TRAIN, Task
from railcar.runs.run_dir import RunDir
from railcar.workflows.on_machine import (
    Away,
    Rental,
    agree_on_price,
    finish,
    give_back_together,
    make,
    make_ready,
    note_cost,
)

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Listed:
    """A line of the list. `lease` is None of a machine that this computer did not make; `state` is the provider's word,
    or `unknown` where it did not answer; `job` the newest that was begun there."""

    name: str
    provider: str
    state: str
    machine: Machine | None
    lease: Lease | None
    cost_usd: float | None = None
    job: str | None = None


def up(rental: Rental, name: str, tell: Tell) -> Lease:
    """Make a machine that stays until `down`, its deadline, or nobody uses it; ready to train."""
    provider = find_provider(rental.on)
    agree_on_price(provider, rental, tell)
    lease = new_lease(name, rental.on, rental.spec).change(is_kept=True)
    try:
        with lease.hold():
            lease = make(lease, provider, tell)
            make_ready(lease, lease.shell(), rental.wishes, provider, tell)
    except BaseException:
        tell("giving the machine back")
        give_back(lease, provider, tell)
        raise
    return lease


def down(lease: Lease, tell: Tell, *, force: bool = False) -> None:
    """Give a machine back, and with the chief of a training on several the others. Raises `MachineError` when something
    there has not come home, unless `force`."""
    if lease.state == OWN:
        raise UsageError(f"{lease.name}: is your own machine; nothing is rented", hint="nothing needs to be done")
    with lease.hold():  # what is being made could be made after it was ended
        if not force:
            _check_nothing_is_lost(lease, tell)
        give_back_together(lease, find_provider(lease.provider, lease), tell)


def _check_nothing_is_lost(lease: Lease, tell: Tell) -> None:
    waiting = [one for one in tasks.list_tasks(lease) if one.kind == TRAIN and not one.is_home]
    if not waiting or lease.machine is None or lease.machine.address is None:
        return
    shell = lease.shell()
    for task in waiting:
        try:
            state = task.job.state(shell)["state"]
            if state in ("ended", "lost"):
                tell(f"bringing {task.name} home")
                tasks.bring_home(task, shell)
                continue
        except RailcarError as error:
            raise MachineError(
                f"{lease.name}: {task.name} has not come home ({error.what})",
                hint=f"end it nevertheless with: railcar machine down {lease.name} --force",
            ) from error
        raise MachineError(
            f"{lease.name}: {task.name} goes on there",
            hint=f"stop it: railcar machine stop {lease.name}; or lose it: railcar machine down {lease.name} --force",
        )


@dataclass
class Listing:
    """`warnings` are for people; `unasked` are the providers that did not answer, so that there may be more."""

    found: list[Listed] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)


def list_machines(*, everywhere: bool) -> Listing:
    """What this computer knows of, with what the providers say of it; `everywhere`: and what else they list as this
    owner's."""
    listing, known = Listing(), set()
    found, warnings = listing.found, listing.warnings
    for lease in list_leases():
        known.add(lease.name)
        if lease.state == OWN:
            found.append(Listed(lease.name, "ssh", "yours", lease.machine, lease, job=_newest(lease)))
            continue
        try:
            seen = refresh(lease, find_provider(lease.provider, lease))
        except RailcarError as error:
            warnings.append(f"{lease.provider} could not be asked about {lease.name}: {error.what}")
            found.append(Listed(lease.name, lease.provider, "unknown", lease.machine, lease, lease.cost_usd()))
            continue
        if seen is None:
            warnings.append(f"{lease.name} is gone")
            continue
        state = seen.machine.state if seen.machine else ("wanted" if seen.state == WANTED else "leftovers")
        found.append(Listed(lease.name, lease.provider, state, seen.machine, seen, seen.cost_usd(), _newest(seen)))
    if everywhere:
        _add_others(listing, known)
    return listing


def _add_others(listing: Listing, known: set[str]) -> None:
    """Machines of this owner that another computer made, or this one before it lost its notes."""
    for name in PROVIDERS:
        try:
            machines = find_provider(name).list(find_owner())
        except RailcarError as error:
            listing.warnings.append(f"{name} could not be asked: {error.what}")
            listing.unasked.append(name)
            continue
        for machine in machines:
            if machine.name not in known and machine.state != "gone":
                price, began = machine.price_usd_per_hour, machine.started_s
                cost = price * (time.time() - began) / 3600 if price and began else None
                listing.found.append(Listed(machine.name, name, machine.state, machine, None, cost))


def destroy_found(one: Listed, tell: Tell) -> None:
    """End a machine that has no lease here, by its label."""
    lease = Lease(one.name, one.provider, WANTED, find_owner(), "", time.time(), machine=one.machine)
    give_back(lease, find_provider(one.provider), tell)


def _newest(lease: Lease) -> str | None:
    found = tasks.list_tasks(lease)
    return found[-1].name if found else None


def sync(
    lease: Lease, folder: Path, extra: Sequence[str], wishes: Wishes, tell: Tell, agree: Callable[[Files], bool]
) -> tuple[Shell, Ready, str, Files]:
    """The project of `folder` on the machine; `agree` is asked with what would be copied."""
    files = list_project(folder, extra)
    if not agree(files):
        raise UsageError("nothing was copied", hint="answer y, or leave files out with .gitignore")
    shell = lease.shell()
    ready = prepare(shell, wishes, tell)
    there = send_project(shell, ready, files, folder.absolute().name or "project")
    return shell, ready, there, files


def run_script(
    lease: Lease,
    words: Sequence[str],
    folder: Path,
    extra: Sequence[str],
    wishes: Wishes,
    tell: Tell,
    show: Callable[[bytes], object],
    warn: Tell,
    *,
    detach: bool = False,
) -> int | None:
    """Any command, in the project's copy there, with the Python that railcar made ready; its status, None when nobody
    waits for it."""
    shell, ready, there, files = sync(lease, folder, extra, wishes, tell, lambda files: True)
    tell(f"copied {files.describe()}")
    _warn_of(files, words, warn)
    name = f"{Path(words[0]).name[:20]}-{secrets.token_hex(3)}"
    python = Path(ready.python)
    command = [ready.python if words[0] in ("python", "python3") else words[0], *words[1:]]
    path = f"{python.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    task = Task(name, lease.name, SCRIPT, tuple(words), ready.home, ready.package, time.time())
    task = tasks.begin(lease, shell, ready, task, command, env={"PATH": path}, cwd=there, ends_s=lease.ends_s)
    if detach:
        return None
    return _follow_script(task, lease, shell, tell, show)


def _warn_of(files: Files, words: Sequence[str], warn: Tell) -> None:
    for name in files.secrets:
        warn(f"{name} stays here: it looks like a key or password")
    for name in find_missing(words, files):
        if name not in files.secrets:
            warn(f"{name} is not copied (git ignores it); to copy it, add: --with {shlex.quote(name)}")


def _follow_script(task: Task, lease: Lease, shell: Shell, tell: Tell, show: Callable[[bytes], object]) -> int:
    reference = lease.machine.name if lease.state == OWN and lease.machine else lease.name
    try:
        status = tasks.follow(task, shell, show, tell=tell)
    except (KeyboardInterrupt, Interrupted) as error:
        raise Interrupted(
            f"{task.name} goes on, on {reference}",
            hint=f"follow it with: railcar machine logs {reference}; end it with: railcar machine stop {reference}",
            exit_status=143 if type(error).__name__ == "Terminated" else 130,
        ) from error
    task.job.mark_taken(shell)
    task.change(is_home=True)
    return status


def logs(
    lease: Lease, job: str | None, tell: Tell, show: Callable[[bytes], object], *, from_start: bool = False
) -> Away | int:
    """Follow a job from where it was last seen. Of a training, bring it home when it has ended, and give its machine
    back, as the command that began it would have; of any other command, its status."""
    task = tasks.find_task(lease, job)
    if from_start or task.is_home:
        task = task.change(n_shown=0)
    shell = lease.shell()
    if task.kind == SCRIPT:
        return _follow_script(task, lease, shell, tell, show)
    return finish(task, lease, shell, tell, show)


def pull(lease: Lease, job: str | None, tell: Tell) -> list[RunDir]:
    """Bring home what a training has by now; all of it when it has ended."""
    task = tasks.find_task(lease, job)
    shell = lease.shell()
    if task.kind == SCRIPT:
        raise UsageError(f"{task.name}: is no training; it has no run", hint="copy files with scp or rsync")
    if task.job.state(shell)["state"] == "running":
        return tasks.pull(task, shell)
    found = tasks.bring_home(task, shell)
    for run in found:
        note_cost(run, lease)
    return found


def stop(lease: Lease, job: str | None) -> Task:
    """SIGTERM to a job: a training saves what it has."""
    task = tasks.find_task(lease, job)
    task.job.stop(lease.shell())
    return task


def diagnose(lease: Lease, tell: Tell) -> list[tuple[str, bool, str]]:
    """What stands in the way between here and the machine: (what was looked at, whether it is well, words)."""
    found: list[tuple[str, bool, str]] = []

    def look(what: str, call: Callable[[], str]) -> bool:
        try:
            found.append((what, True, call()))
        except RailcarError as error:
            found.append((what, False, f"{error.what}. {error.hint}"))
        return found[-1][1]

    if lease.state != OWN:
        provider = find_provider(lease.provider, lease)
        look("provider", lambda: _tell_state(provider.find(lease.name, lease.owner)))
        look("address", lambda: _let_in(lease, provider))
    if look("ssh", lambda: lease.shell().read("uname -sr")):
        look("rsync", lambda: lease.shell().read("rsync --version | head -n 1"))
        look("disk", lambda: lease.shell().read("df -Ph ~ | awk 'NR==2 {print $4 \" free\"}'"))
        look("GPUs", lambda: lease.shell().read(_GPUS) or "none")
        for task in tasks.list_tasks(lease)[-3:]:
            look(f"job {task.name}", lambda task=task: _tell_job(task.job.state(lease.shell())))
    return found


_GPUS = "command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || true"


def _tell_state(machine: Machine | None) -> str:
    if machine is None:
        raise MachineError("it is not in the provider's list", hint="railcar machine list forgets it")
    return f"{machine.state}, {machine.machine_type} in {machine.zone}"


def _tell_job(state: dict[str, Any]) -> str:
    return state["state"] if state["status"] is None else f"{state['state']} with status {state['status']}"


def _let_in(lease: Lease, provider: Any) -> str:
    """This computer's address may have changed since the machine was made."""
    allowed = provider.own_address()
    provider.allow(lease.name, lease.owner, allowed)
    return f"port 22 is open to {allowed} and nobody else"
