"""Who trains a run in a bucket: one at a time, though no lock reaches from one computer to another.

Owns the objects `RUN/.lease/000001.json`, `000002.json`, ...: the highest one says who has the run. To take it is to
write the next number, which a bucket lets only one of several do, so that two who find it free together cannot both
have it. Who has it says again every minute that it lives; one that was silent for ten is taken for dead, and so is one
of this computer whose process is gone. No number is written by two, so who awakes after it was taken for dead
overwrites nothing, and learns that it has lost the run.

Clocks of computers are compared: they should agree to a minute or so.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

from railcar.errors import DataError, NotFound, RunError
from railcar.runs.run_dir import is_alive
from railcar.storage import remote
from railcar.storage.address import Address

FOLDER = ".lease"
SILENT_S = 600.0
RENEW_EVERY_S = 60.0
_RELEASE_WITHIN_S = 5.0
_N_TRIES = 5


@dataclass(frozen=True)
class Holder:
    """Who took a run: `at` is when it last said so, in seconds since 1970; `token` tells two of one process apart."""

    number: int
    host: str
    pid: int
    token: str
    at: float
    is_released: bool = False

    @property
    def silent_s(self) -> float:
        return max(0.0, time.time() - self.at)

    def is_live(self) -> bool:
        """Whether it must be taken for one that trains."""
        if self.is_released or self.silent_s >= SILENT_S:
            return False
        return self.host != socket.gethostname() or is_alive(self.pid, self.at)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Lease:
    """This process's hold on the run at `address`."""

    def __init__(self, address: Address, holder: Holder) -> None:
        self.address = address
        self._holder = holder
        self._stop = threading.Event()
        self._lost: Holder | None = None
        self._thread = threading.Thread(target=self._keep, name="railcar-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise `RunError` when another has taken the run since."""
        if self._lost is not None:
            raise RunError(
                f"{self.address}: {self._lost} has taken up this run meanwhile; nothing more is sent there from here",
                hint="let one of them train: what this one did is in its local folder until the run is taken up here",
            )

    def renew(self, stop: threading.Event | None = None) -> None:
        """Say again that this process lives, or find out that the run is lost. Raises `DataError`."""
        newest = find_holder(self.address, stop=stop)
        if newest is not None and newest.number > self._holder.number:
            self._lost = newest
            return
        self._write(replace(self._holder, at=time.time()), stop)

    def _keep(self) -> None:
        # A network that is away is no reason to end: whoever sends files will tell.
        while not self._stop.wait(RENEW_EVERY_S) and self._lost is None:
            with suppress(DataError):
                self.renew(self._stop)

    def release(self) -> None:
        """Let the next one have the run at once."""
        self._stop.set()
        self._thread.join(_RELEASE_WITHIN_S)
        if self._lost is None:
            with suppress(DataError):
                # One attempt and no second: it is set.
                self._write(replace(self._holder, at=time.time(), is_released=True), self._stop)

    def _write(self, holder: Holder, stop: threading.Event | None) -> None:
        remote.write(_object(self.address, holder.number), _to_json(holder), stop=stop)


@contextmanager
def hold_lease(address: Address, *, take_over: bool = False) -> Iterator[Lease]:
    """While entered, no other computer trains the run at `address`. Raises `RunError` when one does, unless
    `take_over` says that it is known to be dead; and what writing to the bucket raises."""
    lease = Lease(address, _take(address, take_over))
    try:
        yield lease
    finally:
        lease.release()


def find_holder(address: Address, *, stop: threading.Event | None = None) -> Holder | None:
    """Who had the run at `address` last; None when nobody ever did. Raises `DataError`."""
    numbers = []
    for entry in remote.list_objects(address / FOLDER, stop=stop):
        name = entry.key.rpartition("/")[2].removesuffix(".json")
        if name.isdigit():
            numbers.append(int(name))
    if not numbers:
        return None
    number = max(numbers)
    try:
        found = json.loads(remote.read(_object(address, number), stop=stop))
        known = {name: found[name] for name in ("host", "pid", "token", "at", "is_released")}
        return Holder(number, **known)
    except (NotFound, ValueError, KeyError, TypeError):  # taken by the next one just now, or damaged
        return Holder(number, "an unknown computer", 0, "", 0.0)


def _take(address: Address, take_over: bool) -> Holder:
    for _ in range(_N_TRIES):
        before = find_holder(address)
        if before is not None and before.is_live() and not take_over:
            raise _taken(address, before)
        number = before.number + 1 if before else 1
        holder = Holder(number, socket.gethostname(), os.getpid(), secrets.token_hex(8), time.time())
        if remote.write_if_absent(_object(address, number), _to_json(holder)):
            _forget(address, number)
            return holder
        take_over = False  # somebody was quicker, and lives
    raise RunError(f"{address}: others take up this run again and again", hint="try once more")


def _taken(address: Address, holder: Holder) -> RunError:
    minutes, seconds = divmod(round(SILENT_S - holder.silent_s), 60)
    return RunError(
        f"{address}: the run is still going on: {holder} trains it, and said so {holder.silent_s:.0f} s ago",
        hint=f"stop it there first; if it is dead, wait for {minutes} min {seconds:02d} s, or add --take-over",
    )


def _forget(address: Address, number: int) -> None:
    """Delete the numbers before; they say nothing any more."""
    with suppress(DataError):
        for entry in remote.list_objects(address / FOLDER):
            name = entry.key.rpartition("/")[2].removesuffix(".json")
            if name.isdigit() and int(name) < number:
                remote.delete_object(Address(address.scheme, address.bucket, entry.key))


def _object(address: Address, number: int) -> Address:
    return address / FOLDER / f"{number:06d}.json"


def _to_json(holder: Holder) -> bytes:
    return json.dumps({name: value for name, value in asdict(holder).items() if name != "number"}).encode()
