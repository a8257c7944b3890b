"""`train --on PROVIDER` with `machine.nodes: N`: one training on several rented machines, and its run home.

All are made before any begins; `TF_CONFIG` names them to each other by their addresses inside the provider's network.
The first one is the chief: its log is followed, its run comes home. Where one is lost, all are given back, and the
training goes on from the last checkpoint on as many new ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from railcar.errors import Interrupted, MachineError, RailcarError, UsageError
from railcar.machines import tasks
from railcar.machines.base import Provider
from railcar.machines.bootstrap import Ready
from railcar.machines.lease import Lease, read_lease
from railcar.machines.providers import PROVIDERS
from railcar.machines.renting import give_back
from railcar.machines.shell import Shell
from railcar.machines.tasks import Task
from railcar.workflows.on_machine import (
    MOST_AGAIN,
    Away,
    Rental,
    is_gone_for_good,
    make,
    make_ready,
    note_cost,
    open_machine,
    say_how_to_follow,
)
from railcar.workflows.packing import Load, pack_run, send_and_begin

Tell = Callable[[str], None]
PORT = 12345
# The others end by themselves when the chief has; after so long they are ended with their machines.
_OTHERS_WITHIN_S = 60.0


@dataclass(frozen=True)
class _Node:
    """One of the machines; `address` is how the others reach it."""

    lease: Lease
    shell: Shell
    ready: Ready
    address: str


def train_on_nodes(
    rental: Rental, load: Load, words: list[str], runs_dir: Path, tell: Tell, show: Callable[[bytes], object]
) -> Away:
    """As `on_machine.train_on`, on `rental.nodes` machines."""
    if rental.on not in PROVIDERS:
        raise UsageError(
            f"machine.nodes: {rental.nodes} machines are rented, not {rental.on}",
            hint=f"name a provider: {', '.join(PROVIDERS)}; or set TF_CONFIG on machines of your own",
        )
    if rental.detach:
        raise UsageError("--detach is for one machine", hint="leave it out, or set machine.nodes to 1")
    n_again = 0
    while True:
        away = _train_once(rental, load, words, runs_dir, tell, show, is_agreed=n_again > 0)
        if not away.is_taken or away.run is None or n_again == MOST_AGAIN:
            return away
        tell(f"a machine was lost; {away.run.name} goes on, on new ones")
        load, words = pack_run(away.run), [word for word in words if word == "--json"]
        n_again += 1


def _train_once(
    rental: Rental,
    load: Load,
    words: list[str],
    runs_dir: Path,
    tell: Tell,
    show: Callable[[bytes], object],
    *,
    is_agreed: bool,
) -> Away:
    leases: list[tuple[Lease, Provider]] = []
    nodes: list[_Node] = []
    has_begun = is_left = False
    try:
        for number in range(rental.nodes):
            lease, provider = open_machine(rental, load.name, tell, is_agreed=is_agreed or number > 0)
            if provider is None:
                raise MachineError(f"{rental.on} makes no machines", hint="name a provider")
            leases.append((lease, provider))
        nodes = _make_all(leases, rental, load, tell)
        chief, others = _begin_all(nodes, load, words, runs_dir, tell)
        has_begun = True
        return _finish(nodes, chief, others, leases[0][1], tell, show)
    except (KeyboardInterrupt, Interrupted) as error:
        if not has_begun:
            raise
        is_left = True  # the training goes on; what nobody uses any more, its guard powers off
        raise say_how_to_follow(nodes[0].lease, error) from error
    finally:
        if not is_left:
            _give_all_back(leases, tell)


def _give_all_back(leases: Sequence[tuple[Lease, Provider]], tell: Tell) -> None:
    """All are tried, whatever happens to one; the first failure is raised."""
    with ThreadPoolExecutor(8) as pool:
        ends = [pool.submit(give_back, lease, provider, tell) for lease, provider in leases]
    failures = [error for end in ends if (error := end.exception()) is not None]
    if failures:
        raise failures[0]


def _make_all(leases: Sequence[tuple[Lease, Provider]], rental: Rental, load: Load, tell: Tell) -> list[_Node]:
    """All machines, ready and open to each other. The first that cannot be had ends it for all."""
    extras = ("buckets",) if load.has_addresses else ()

    def make_one(pair: tuple[Lease, Provider]) -> _Node:
        lease, provider = pair
        lease = make(lease, provider, tell)
        shell = lease.shell()
        ready = make_ready(lease, shell, replace(rental.wishes, extras=extras), provider, tell)
        return _Node(lease, shell, ready, shell.read("hostname -I").split()[0])

    with ExitStack() as stack:
        for lease, _ in leases:
            stack.enter_context(lease.hold())
        with ThreadPoolExecutor(8) as pool:
            nodes = list(pool.map(make_one, leases))
    for node, (lease, provider) in zip(nodes, leases, strict=True):
        provider.join(lease.name, lease.owner, [one.address for one in nodes if one is not node])
    return nodes


def _begin_all(
    nodes: Sequence[_Node], load: Load, words: list[str], runs_dir: Path, tell: Tell
) -> tuple[Task, list[Task]]:
    """Begin on all; the others first, as they wait for the chief."""
    workers = [f"{node.address}:{PORT}" for node in nodes]

    def begin(index: int) -> Task:
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        node, env = nodes[index], {"TF_CONFIG": json.dumps(config)}
        task = send_and_begin(load, words, node.lease, node.shell, node.ready, runs_dir, tell, env)
        if index:
            task.job.mark_taken(node.shell)  # it makes nothing that must come home
        return task

    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(begin, reversed(range(len(nodes)))))
    return begun[-1], begun[:-1]


def _finish(
    nodes: Sequence[_Node],
    chief: Task,
    others: Sequence[Task],
    provider: Provider,
    tell: Tell,
    show: Callable[[bytes], object],
) -> Away:
    """Follow the chief to its end, and bring home what there is."""
    lease, shell, result = nodes[0].lease, nodes[0].shell, ""
    gone, every_s = partial(is_gone_for_good, lease, provider), tasks.SPOT_PULL_EVERY_S
    try:
        status = tasks.follow(chief, shell, show, tell=tell, is_gone=gone, pull_every_s=every_s)
        runs, result = tasks.bring_home(chief, shell), tasks.read_result(chief, shell)
    except MachineError as error:
        tell(error.what)
        status, runs = 143, tasks.give_up(chief)
    for run in runs:
        note_cost(run, read_lease(lease.name))
    run = runs[-1] if runs else None
    is_done = run is not None and run.read_manifest().get("state") == "finished"
    if is_done:
        _await_others(nodes[1:], others)
    for node in nodes:
        node.shell.close()
    # not by a fault of its own, which would come again
    was_lost = run is not None and run.read_manifest().get("state") == "interrupted"
    return Away(chief, lease.name, status, run, result, is_taken=status != 0 and was_lost)


def _await_others(nodes: Sequence[_Node], others: Sequence[Task]) -> None:
    until = time.monotonic() + _OTHERS_WITHIN_S
    for node, task in zip(nodes, reversed(others), strict=True):
        with suppress(RailcarError):
            while task.job.state(node.shell)["state"] == "running" and time.monotonic() < until:
                time.sleep(0.2)
