"""A connection breaks, or a machine goes away, while it is prepared or a training's last copy comes home."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from railcar.errors import MachineError, MachineUnreachable
from railcar.machines import tasks
from railcar.machines.bootstrap import Wishes
from railcar.machines.fake import FakeProvider
from railcar.machines.lease import Lease
from railcar.machines.shell import Shell
from railcar.machines.tasks import TRAIN, Task
from railcar.runs.run_dir import RunDir
from railcar.workflows import on_machine
from railcar.workflows.on_machine import TAKEN, finish
from tests.machines.hosts import machine, make_ready


def begin(lease: Lease, shell: Shell, place: Path, state: str, status: int) -> Task:
    """Leave on the machine what a training does: a run with a checkpoint, its state, and a status."""
    ready = make_ready(shell)
    runs_dir = str(place / "runs")
    task = Task("job", lease.name, TRAIN, ("train",), ready.home, ready.package, time.time(), runs_dir=runs_dir)
    manifest = json.dumps({"state": state})
    script = f"mkdir -p runs/a/checkpoints; echo weights > runs/a/checkpoints/step-20; echo '{manifest}' > "
    script += f"runs/a/manifest.json; echo told; exit {status}"
    return tasks.begin(lease, shell, ready, task, ["sh", "-c", script], env={}, cwd=task.job.folder)


def at_call(monkeypatch: pytest.MonkeyPatch, method: str, number: int, act: Callable[[], object]) -> None:
    """`act` is called before that call of a method of `Shell`; the first is number 1."""
    real, calls = getattr(Shell, method), []

    def call(self: Shell, *words: Any, **options: Any) -> Any:
        calls.append(words)
        if len(calls) == number:
            act()
        return real(self, *words, **options)

    monkeypatch.setattr(Shell, method, call)


def cut() -> None:
    raise MachineUnreachable("box: the connection ended", hint="see that it runs")


def take_away(network: FakeProvider, lease: Lease) -> None:
    network.take_away(lease.name)
    until = time.monotonic() + 20
    while network.list(lease.owner) and time.monotonic() < until:
        time.sleep(0.05)
    assert not network.list(lease.owner)


def test_a_copy_that_is_cut_off_is_told_as_no_answer(network, tmp_path):
    """rsync has words for that where ssh has none."""
    with machine(network) as (lease, shell):
        shell.run("truncate -s 20G large")
        taken = threading.Timer(0.5, take_away, (network, lease))
        taken.start()
        with pytest.raises(MachineUnreachable):
            shell.fetch("large", tmp_path, "--bwlimit=20m")
        taken.join()


def test_a_copy_that_the_machine_refuses_is_told_in_its_words(network, tmp_path):
    with machine(network) as (_, shell), pytest.raises(MachineError, match="No such file") as caught:
        shell.fetch("missing", tmp_path)
    assert not isinstance(caught.value, MachineUnreachable)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_machine_whose_connection_breaks_while_it_is_prepared_is_prepared_nevertheless(network, monkeypatch, number):
    told: list[str] = []
    with machine(network) as (lease, shell):
        at_call(monkeypatch, "run", number, cut)
        ready = on_machine.make_ready(lease, shell, Wishes(python=sys.executable), network, told.append)
        assert shell.run(f"test -e {ready.package}/complete", check=False).status == 0
    assert [line for line in told if not line.startswith("copying")] == ["box: the connection ended; trying again"]


def test_ones_own_machine_that_does_not_answer_is_told_at_once(network, monkeypatch):
    with machine(network) as (lease, shell), pytest.raises(MachineUnreachable):
        at_call(monkeypatch, "run", 1, cut)
        on_machine.make_ready(lease, shell, Wishes(python=sys.executable), None, lambda text: None)


@pytest.mark.parametrize("status", [0, 1])
def test_a_broken_connection_is_made_again(network, place, monkeypatch, status):
    told: list[str] = []
    with machine(network) as (lease, shell):
        task = begin(lease, shell, place, "finished", status)
        tasks.follow(task, shell, lambda block: None, tell=told.append)
        at_call(monkeypatch, "fetch", 1, cut)
        away = finish(task, lease, shell, told.append, lambda block: None)
        assert task.job.state(shell)["is_taken"]
    assert (away.status, away.result, away.lost) == (status, "told", "")
    assert away.run is not None and (away.run.checkpoints / "step-20").read_text() == "weights\n"
    assert told == ["box: the connection ended; the rest is fetched as soon as it answers"]


def test_what_is_gone_before_the_last_copy_is_what_came_home_before(network, place, monkeypatch):
    told: list[str] = []
    with machine(network) as (lease, shell):
        task = begin(lease, shell, place, "interrupted", TAKEN)
        tasks.follow(task, shell, lambda block: None, tell=told.append)
        tasks.pull(task, shell)
        at_call(monkeypatch, "fetch", 1, lambda: take_away(network, lease))
        away = finish(task, lease, shell, told.append, lambda block: None)
    assert (away.status, away.lost) == (TAKEN, f"{lease.name} was taken away")
    assert away.run is not None and away.run.state() == "interrupted"
    assert (away.run.checkpoints / "step-20").exists() and not told


def test_what_is_gone_when_all_is_home_has_lost_nothing(network, place):
    told: list[str] = []
    with machine(network) as (lease, shell):
        task = begin(lease, shell, place, "finished", 0)
        tasks.follow(task, shell, lambda block: None, tell=told.append)
        tasks.pull(task, shell)
        take_away(network, lease)
        away = finish(task, lease, shell, told.append, lambda block: None)
    assert (away.status, away.lost) == (0, "")
    run = RunDir(place / "runs" / "a")
    assert away.run == run and run.state() == "finished"
    assert told == [f"{lease.name} was taken away; the run had come home whole: {run.path}"]
