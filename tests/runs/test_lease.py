"""Who has a run in a bucket, among several who want it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import Any

import pytest

from railcar.errors import RunError
from railcar.runs.lease import FOLDER, SILENT_S, find_holder, hold_lease
from railcar.storage import remote
from railcar.storage.address import Address, parse
from tests.places import Place


def claim(address: Address, number: int = 1, **changes: Any) -> None:
    """Write a lease as another process would have."""
    holder = {"host": "elsewhere", "pid": 7, "token": "t", "at": time.time(), "is_released": False, **changes}
    remote.write(address / FOLDER / f"{number:06d}.json", json.dumps(holder).encode())


def end_process() -> int:
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_run_is_held_until_it_is_released(place: Place) -> None:
    address = parse(f"{place.address}/run")
    assert find_holder(address) is None
    with hold_lease(address):
        holder = find_holder(address)
        assert holder is not None and holder.is_live()
        assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
        with pytest.raises(RunError, match="still going on"), hold_lease(address):
            pass
    holder = find_holder(address)
    assert holder is not None and not holder.is_live()
    with hold_lease(address):
        after = find_holder(address)
        assert after is not None and after.number == holder.number + 1


def test_of_many_who_find_a_run_free_together_one_gets_it(place: Place) -> None:
    address, barrier, won, over = parse(f"{place.address}/run"), threading.Barrier(6), [], threading.Event()

    def want(number: int) -> None:
        barrier.wait()
        try:
            with hold_lease(address):
                won.append(number)
                over.wait(30)
        except RunError:
            pass

    threads = [threading.Thread(target=want, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while sum(thread.is_alive() for thread in threads) > 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    over.set()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_how_long_is_left_to_wait_for_a_silent_computer_is_said(place: Place) -> None:
    address = parse(f"{place.address}/run")
    claim(address, at=time.time() - 60)
    with pytest.raises(RunError, match="process 7 on elsewhere trains it, and said so 60 s ago") as caught:
        hold_lease(address).__enter__()
    assert "wait for 9 min 00 s, or add --take-over" in caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [{"at": time.time() - SILENT_S - 1}, {"is_released": True}, {"host": socket.gethostname(), "pid": None}],
    ids=["silent for too long", "released", "a dead process of this computer"],
)
def test_a_run_of_the_dead_is_taken(place: Place, changes: dict[str, Any]) -> None:
    address = parse(f"{place.address}/run")
    claim(address, **(changes | ({"pid": end_process()} if "pid" in changes else {})))
    with hold_lease(address):
        holder = find_holder(address)
        assert holder is not None and (holder.number, holder.pid) == (2, os.getpid())


def test_who_was_taken_for_dead_learns_that_the_run_is_lost_and_overwrites_nothing(place: Place) -> None:
    address = parse(f"{place.address}/run")
    with hold_lease(address) as lease:
        lease.renew()
        lease.check()
        claim(address, 2)
        lease.renew()
        with pytest.raises(RunError, match="process 7 on elsewhere has taken up this run meanwhile"):
            lease.check()
    holder = find_holder(address)
    assert holder is not None and asdict(holder) | {"at": 0} == asdict(holder) | {"at": 0, "host": "elsewhere"}
    assert holder.is_live()


def test_a_lease_that_is_damaged_keeps_nobody_out(place: Place) -> None:
    address = parse(f"{place.address}/run")
    remote.write(address / FOLDER / "000001.json", b"{")
    with hold_lease(address):
        holder = find_holder(address)
        assert holder is not None and holder.number == 2
