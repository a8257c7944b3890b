"""`train --on PROVIDER` with `machine.nodes: N`: one training on several rented machines, and its run home.

All are made before any begins; `TF_CONFIG` names them to each other by their addresses inside the provider's network.
The first one is the chief: its log is followed, its run comes home. Where one is lost, all are given back, and the
training goes on from the last checkpoint on as many new ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from railcar.errors import Interrupted, MachineError, UsageError
from railcar.machines.base import Provider
from railcar.machines.bootstrap import Ready
from railcar.machines.lease import Lease
from railcar.machines.providers import PROVIDERS
from railcar.machines.shell import Shell
from railcar.machines.tasks import Task
from railcar.workflows.on_machine import (
    Away,
    Rental,
    finish,
    give_all_back,
    go_on_until_done,
    make,
    make_ready,
    open_machine,
    say_how_to_follow,
)
from railcar.workflows.packing import Load, send_and_begin

Tell = Callable[[str], None]
PORT = 12345


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

    def once(load: Load, words: list[str], *, is_agreed: bool) -> Away:
        return _train_once(rental, load, words, runs_dir, tell, show, is_agreed=is_agreed)

    return go_on_until_done(once, load, words, tell)


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
    try:
        for number in range(rental.nodes):
            lease, provider = open_machine(rental, load.name, tell, is_agreed=is_agreed or number > 0)
            if provider is None:
                raise MachineError(f"{rental.on} makes no machines", hint="name a provider")
            leases.append((lease, provider))
        first, *others = _make_all(leases, rental, load, tell)
        chief = first.lease.change(others=tuple(node.lease.name for node in others))
        nodes = [replace(first, lease=chief), *others]
        task = _begin_all(nodes, load, words, runs_dir, tell)
    except BaseException:
        give_all_back(leases, tell)
        raise
    for node in others:
        node.shell.close()
    if rental.detach:
        return Away(task, chief.name)
    try:
        return finish(task, chief, first.shell, tell, show)
    except (KeyboardInterrupt, Interrupted) as error:
        raise say_how_to_follow(chief, error) from error


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


def _begin_all(nodes: Sequence[_Node], load: Load, words: list[str], runs_dir: Path, tell: Tell) -> Task:
    """Begin on all; the others first, as they wait for the chief, whose task is returned."""
    workers = [f"{node.address}:{PORT}" for node in nodes]

    def begin(index: int) -> Task:
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        node, env = nodes[index], {"TF_CONFIG": json.dumps(config)}
        task = send_and_begin(load, words, node.lease, node.shell, node.ready, runs_dir, tell, env)
        if index:
            task.job.mark_taken(node.shell)  # it makes nothing that must come home
        return task

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(begin, reversed(range(len(nodes)))))[-1]
