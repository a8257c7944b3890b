"""`train --on MACHINE`: the same training on another machine, and its run home again.

Owns when a machine is given back, what happens when one is taken away, and what is said when somebody leaves early.
Imports no TensorFlow. Renting, ssh and jobs are `railcar.machines`'; what goes along is `packing.py`'s.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from railcar.errors import (
    Interrupted,
    MachineError,
    MachineGone,
    MachineUnreachable,
    NotFound,
    RailcarError,
    UsageError,
)
from railcar.machines import tasks
from railcar.machines.base import MachineSpec, Offer, Provider
from railcar.machines.bootstrap import Ready, Wishes, prepare
from railcar.machines.guarding import is_guarded
from railcar.machines.jobs import JobLost, Patience
from railcar.machines.lease import OWN, Lease, new_lease, own_machine, read_lease
from railcar.machines.providers import PROVIDERS, find_lease, find_provider
from railcar.machines.renting import describe_offer, give_back, hours_of, list_offers, most_usd, rent, wait_for
from railcar.machines.shell import Shell
from railcar.machines.tasks import Task
from railcar.runs.run_dir import RunDir
from railcar.workflows.packing import Load, pack_run, send_and_begin

Tell = Callable[[str], None]
_GUARD_WITHIN_S = 90.0
# So long a machine that was made may be silent while it is prepared.
_READY_LOST_S = 60.0
# So many machines are taken away before somebody is asked.
MOST_AGAIN = 5
# The status of a training whose machine went away: as of one that SIGTERM stopped.
TAKEN = 143


@dataclass(frozen=True)
class Rental:
    """Where a training goes. `on` is a provider, `ssh:HOST` or the name of a machine that is there; `agree` is asked
    with what it costs and says whether to go on. `python` and `wheelhouse` as `Wishes` has them. `hours`, on a
    machine of the user's own, are all that the training may take."""

    on: str
    agree: Callable[[str], bool]
    spec: MachineSpec = field(default_factory=MachineSpec)
    detach: bool = False
    keep: bool = False
    python: str | None = None
    wheelhouse: Path | None = None
    ssh_config: Path | None = None
    nodes: int = 1
    hours: float | None = None

    @property
    def wishes(self) -> Wishes:
        n_gpus = int((self.spec.gpu or ":0").partition(":")[2] or 1)
        return Wishes(n_gpus, (), self.python, self.wheelhouse)


@dataclass(frozen=True)
class Away:
    """A training on a machine that has ended, or goes on there. `status` is None as long as it does. `lost` says that
    a machine of it was taken away before it was done."""

    task: Task
    machine: str
    status: int | None = None
    run: RunDir | None = None
    result: str = ""
    lost: str = ""


def train_on(
    rental: Rental, load: Load, words: list[str], runs_dir: Path, tell: Tell, show: Callable[[bytes], object]
) -> Away:
    """Train there what was packed as `load`; `words` are what `railcar train` gets besides the data or recipe. `tell`
    is told what happens, `show` gets the training's own lines. A machine that is taken away is replaced, and the
    training goes on from the last checkpoint that came home.

    Raises what stands in the way; a machine that was made for it is then given back. `Interrupted` when the user
    leaves while the training goes on.
    """

    def once(load: Load, words: list[str], *, is_agreed: bool) -> Away:
        lease, provider = open_machine(rental, load.name, tell, is_agreed=is_agreed)
        return _train_once(rental, load, words, lease, provider, runs_dir, tell, show)

    return go_on_until_done(once, load, words, tell)


def go_on_until_done(once: Callable[..., Away], load: Load, words: list[str], tell: Tell) -> Away:
    """Train `once(load, words, is_agreed=...)`, and again whenever a machine of it was lost: from what came home, or
    from the beginning, where that was nothing yet."""
    away = once(load, words, is_agreed=False)
    for _ in range(MOST_AGAIN):
        if not away.lost:
            return away
        if away.run is None:
            tell(f"{away.lost} before anything of it came home; it begins again")
        else:
            tell(f"{away.lost}; {away.run.name} goes on")
            load, words = pack_run(away.run), [word for word in words if word == "--json"]
        away = once(load, words, is_agreed=True)
    if away.lost:
        tell(f"{away.lost}; it has gone on {MOST_AGAIN} times, and is not tried again")
    return away


def _train_once(
    rental: Rental,
    load: Load,
    words: list[str],
    lease: Lease,
    provider: Provider | None,
    runs_dir: Path,
    tell: Tell,
    show: Callable[[bytes], object],
) -> Away:
    has_begun = False
    try:
        with _making(lease, provider):
            if provider is not None:
                lease = make(lease, provider, tell)
            shell = lease.shell()
            extras = ("buckets",) if load.has_addresses else ()
            ready = make_ready(lease, shell, replace(rental.wishes, extras=extras), provider, tell)
            task = send_and_begin(load, words, lease, shell, ready, runs_dir, tell)
        has_begun = True
        if rental.detach:
            return Away(task, lease.name)
        return finish(task, lease, shell, tell, show)
    except (KeyboardInterrupt, Interrupted) as error:
        if has_begun:
            raise say_how_to_follow(lease, error) from error
        if provider is not None:
            tell("giving the machine back")
            give_back(lease, provider, tell)
        raise
    except BaseException:
        if provider is not None and not has_begun:
            give_back(lease, provider, tell)
        raise


def open_machine(rental: Rental, name: str, tell: Tell, *, is_agreed: bool = False) -> tuple[Lease, Provider | None]:
    """The machine that `on` names, and the provider that is to make it, where it must be made. What that costs is
    agreed on first, unless it was."""
    on = rental.on
    if on.startswith("ssh:"):
        lease = own_machine(on.removeprefix("ssh:"), rental.ssh_config)
        return (replace(lease, ends_s=time.time() + rental.hours * 3600) if rental.hours else lease), None
    if on not in PROVIDERS:
        lease = find_lease(on)
        if lease.state != OWN and lease.machine is None:
            raise MachineError(f"{on}: was never made", hint=f"forget it with: railcar machine down {on}")
        return lease, None
    provider = find_provider(on)
    if not is_agreed:
        agree_on_price(provider, rental, tell)
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"m-{plain}"
    lease = new_lease(f"{plain[:28].rstrip('-')}-{secrets.token_hex(2)}", on, rental.spec)
    return lease.change(is_kept=rental.keep), provider


def agree_on_price(provider: Provider, rental: Rental, tell: Tell) -> None:
    """Say what it is and what it costs; raise `UsageError` unless that is agreed on."""
    offers = list_offers(provider, rental.spec)
    first, last = offers[0], offers[-1]
    text = f"{describe_offer(first)}: {_describe_price(first, rental)}"
    if rental.nodes > 1:
        text = f"{rental.nodes} times {text}"
    if first.spot and not last.spot:
        text += f"\nor, where there is none, on demand: {_describe_price(last, rental)}"
    if not rental.agree(text):
        raise UsageError("nothing was rented", hint="answer y, or add --yes")


def _describe_price(offer: Offer, rental: Rental) -> str:
    hours, most = hours_of(offer, rental.spec), most_usd(offer, rental.spec)
    n, hourly = rental.nodes, offer.price_usd_per_hour or 0.0
    price = "price not known" if most is None else f"${n * hourly:.2f} an hour, at most ${n * most:.2f}"
    return f"{price}; ends by itself after {hours:g} h"


@contextmanager
def _making(lease: Lease, provider: Provider | None) -> Iterator[None]:
    """No other railcar ends a machine that this one is making."""
    if provider is None:
        yield
        return
    with lease.hold():
        yield


def make(lease: Lease, provider: Provider, tell: Tell) -> Lease:
    """The machine of the lease, when it answers."""
    began = time.monotonic()
    lease = rent(lease, provider, tell)
    lease, _ = wait_for(lease, provider)
    machine = lease.machine
    where = f"{machine.machine_type} in {machine.zone}" if machine else ""
    tell(f"{lease.name}: {where}, ready after {time.monotonic() - began:.1f} s")
    return lease


def make_ready(lease: Lease, shell: Shell, wishes: Wishes, provider: Provider | None, tell: Tell) -> Ready:
    """What a training needs, on the machine; of one that was made, its guard is seen to run. A connection to that is
    made again when it breaks: it has answered before, and what was done is found done."""
    wishes = replace(wishes, is_rented=lease.state != OWN)
    if provider is None:
        return prepare(shell, wishes, tell)
    patience = Patience(lambda what: tell(f"{what}; trying again"), lost_s=_READY_LOST_S)
    ready = patience.try_until_answered(lambda: prepare(shell, wishes, tell))
    until, inside = time.monotonic() + _GUARD_WITHIN_S, provider.inside(lease.name)
    while not patience.try_until_answered(lambda: is_guarded(shell, inside)):
        if time.monotonic() > until:
            raise MachineError(
                f"{lease.name}: its guard does not run, so it might be forgotten",
                hint="try again; or another image, one with Python 3 and systemd",
            )
        time.sleep(0.2)
    return ready


def finish(task: Task, lease: Lease, shell: Shell, tell: Tell, show: Callable[[bytes], object]) -> Away:
    """Follow a training to its end, bring it home, and give the machine back if it was made for it; with it those that
    it shared the training with."""
    provider = find_provider(lease.provider, lease) if lease.state != OWN else None
    gone = partial(is_gone_for_good, lease, provider)
    try:
        end = _follow_home(task, lease, shell, tell, show, gone)
    except MachineError as error:
        if gone():  # What came home before is what there is.
            end = _End(TAKEN, tasks.give_up(task), is_taken=True)
        elif isinstance(error, MachineUnreachable | MachineGone):
            hint = f"when it answers again, follow the training with: railcar machine logs {reference_of(lease)}"
            raise MachineUnreachable(error.what, hint=hint) from error
        else:
            raise
    for run in end.runs:
        note_cost(run, lease)
    run = end.runs[-1] if end.runs else None
    if provider is not None and not lease.is_kept:
        shell.close()
        give_back_together(lease, provider, tell)
    state = run.read_manifest().get("state") if run else None
    # Of several, the chief says by this status that another one died: no signal stopped it, nor a fault of its own.
    is_taken = end.is_taken or (bool(lease.others) and state == "interrupted" and end.status == 1)
    if run and is_taken and state == "finished":
        tell(f"{_tell_loss(lease)}; the run had come home whole: {run.path}")
        return Away(task, lease.name, 0, run, end.result)
    return Away(task, lease.name, end.status, run, end.result, _tell_loss(lease) if is_taken else "")


@dataclass(frozen=True)
class _End:
    """How a training ended there: its status, what came home, and what it wrote to stdout."""

    status: int
    runs: list[RunDir]
    is_taken: bool
    result: str = ""


def _follow_home(
    task: Task, lease: Lease, shell: Shell, tell: Tell, show: Callable[[bytes], object], gone: Callable[[], bool]
) -> _End:
    """Follow it, and bring it home. A connection that breaks meanwhile is made again. Raises `MachineError`."""
    may_be_lost = lease.spec.spot or lease.others
    every_s = tasks.SPOT_PULL_EVERY_S if may_be_lost else tasks.PULL_EVERY_S
    try:
        status = tasks.follow(task, shell, show, tell=tell, is_gone=gone, pull_every_s=every_s)
    except JobLost as error:
        tell(error.what)
        status = None

    def fetch() -> _End:
        if status is None:
            return _End(TAKEN, tasks.bring_home(task, shell), is_taken=True)
        is_taken, result = status != 0 and _was_noticed(lease, task, shell), tasks.read_result(task, shell)
        return _End(status, tasks.bring_home(task, shell), is_taken, result)

    patience = Patience(lambda what: tell(f"{what}; the rest is fetched as soon as it answers"), gone)
    return patience.try_until_answered(fetch)


def _was_noticed(lease: Lease, task: Task, shell: Shell) -> bool:
    """Whether a provider has said that it takes one of the machines away: all then stop together."""
    if tasks.was_noticed(task, shell):
        return True
    for name in lease.others:
        with suppress(RailcarError):  # it may be gone
            other = read_lease(name)
            if tasks.was_noticed(tasks.find_task(other), other.shell()):
                return True
    return False


def _tell_loss(lease: Lease) -> str:
    if lease.others:
        return f"{lease.name}, or one of {', '.join(lease.others)}, was lost"
    return f"{lease.name} {'lost its process' if lease.state == OWN else 'was taken away'}"


def give_back_together(lease: Lease, provider: Provider, tell: Tell) -> None:
    """End a machine and those that shared its training. All are tried; the first failure is raised."""
    leases = [lease]
    for name in lease.others:
        with suppress(NotFound):
            leases.append(read_lease(name))
    give_all_back([(one, provider) for one in leases], tell)


def give_all_back(leases: Sequence[tuple[Lease, Provider]], tell: Tell) -> None:
    """All are tried, whatever happens to one; the first failure is raised."""
    if not leases:
        return
    with ThreadPoolExecutor(len(leases)) as pool:
        ends = [pool.submit(give_back, lease, provider, tell) for lease, provider in leases]
    failures = [error for end in ends if (error := end.exception()) is not None]
    if failures:
        raise failures[0]


def is_gone_for_good(lease: Lease, provider: Provider | None) -> bool:
    """Whether the provider says that the machine is there no more."""
    if provider is None:
        return False
    try:
        machine = provider.find(lease.name, lease.owner)
    except RailcarError:
        return False  # nobody knows
    return machine is None or machine.state in ("stopping", "stopped", "gone")


def note_cost(run: RunDir, lease: Lease) -> None:
    """Write into the manifest where the run was trained, and what that has cost."""
    machine = lease.machine
    if machine is None or not run.is_run():
        return
    cost = lease.cost_usd()
    place = {"name": lease.name, "provider": lease.provider, "machine_type": machine.machine_type, "zone": machine.zone}
    known = {key: value for key, value in place.items() if value}
    costs = {"price_usd_per_hour": machine.price_usd_per_hour, "cost_usd": round(cost, 4)} if cost is not None else {}
    run.write_manifest({**run.read_manifest(), "machine": {**known, **costs}})


def say_how_to_follow(lease: Lease, error: BaseException) -> RailcarError:
    status = 143 if type(error).__name__ == "Terminated" else getattr(error, "exit_status", 130)
    name = reference_of(lease)
    return Interrupted(
        f"the training goes on, on {lease.name}",
        hint=f"follow it with: railcar machine logs {name}; end it with: railcar machine stop {name}",
        exit_status=status,
    )


def reference_of(lease: Lease) -> str:
    """What a command takes for the machine."""
    return lease.machine.name if lease.state == OWN and lease.machine else lease.name


def find_machine(name: str, ssh_config: Path | None = None) -> Lease:
    """A machine by its name, or one of the user's own as ssh:HOST. Raises `NotFound`."""
    if not name.startswith("ssh:"):
        return read_lease(name)
    lease = own_machine(name.removeprefix("ssh:"), ssh_config)
    return read_lease(lease.name) if (lease.folder / "lease.json").exists() else lease
