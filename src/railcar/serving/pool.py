"""The processes that compute light networks beside the event loop (`worker.py`): begun, given networks and questions,
and begun anew when one ends.

To be used in the event loop's thread. A process is given more before it has answered, so that it goes on with the next
questions while the answers to the last are sent.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.serving import worker
from railcar.serving.networks import Network, count_cores
from railcar.serving.spec import BadRequest

MOST_PROCESSES = 4
_PLACES = 2
# A process is given more until it has that many times what is left: the event loop reads, writes and computes the rest.
_SHARE = 4
_AGAIN_S = 1.0
# A process that ends sooner than that, so many times in a row, is not begun again.
_SHORT_S, _MOST_SHORT = 30.0, 3
_LOG = logging.getLogger("railcar.serving")
# Given the answers [n, n_outputs] or an exception, and the seconds of the network.
Done = Callable[[NDArray[np.float32] | Exception, float], None]


class Process(asyncio.Protocol):
    """One of them, seen from the server. `ready` are the keys of the networks that it holds."""

    def __init__(self, is_free: Callable[[], None], has_ended: Callable[[Process], None]) -> None:
        self.ready: set[int] = set()
        self.asked: deque[Done] = deque()
        self.n_inputs = 0
        self.began = time.monotonic()
        self._is_free, self._has_ended = is_free, has_ended
        self._received = bytearray()
        self._transport: Any = None
        here, there = socket.socketpair()
        with there:
            words = [sys.executable, "-P", "-m", "railcar.serving.worker", str(there.fileno())]
            self.child = subprocess.Popen(words, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL)
        here.setblocking(False)
        self.connection = here

    def connection_made(self, transport: Any) -> None:  # type: ignore[override]
        self._transport = transport

    def send(self, message: bytes) -> None:
        self._transport.write(message)

    def ask(self, key: int, encoded: NDArray[Any], done: Done) -> None:
        self.asked.append(done)
        self.n_inputs += len(encoded)
        content = np.ascontiguousarray(encoded)
        self._transport.writelines(
            (worker.HEADER.pack(worker.ASK, key, len(encoded), content.nbytes), content.data.cast("B"))
        )

    def data_received(self, data: bytes) -> None:
        self._received += data
        size = worker.HEADER.size
        while len(self._received) >= size:
            kind, key, n, n_bytes = worker.HEADER.unpack_from(self._received)
            if len(self._received) < size + n_bytes:
                return
            content = bytes(self._received[size : size + n_bytes])
            del self._received[: size + n_bytes]
            self._take(kind, key, n, content)

    def _take(self, kind: int, key: int, n: int, content: bytes) -> None:
        if kind == worker.LOADED:
            self.ready.add(key)
        elif kind == worker.ANSWER:
            self.n_inputs -= n
            self.asked.popleft()(*worker.unpack_answer(content, n))
        elif kind == worker.FAULT:
            self.n_inputs -= n
            self.asked.popleft()(RuntimeError(content.decode(errors="replace")), 0.0)
        else:
            _LOG.warning("a process does not hold a network: %s", content.decode(errors="replace"))
        self._is_free()

    def connection_lost(self, exc: Exception | None) -> None:
        while self.asked:
            self.asked.popleft()(BadRequest("what computed it has ended; ask again", 503), 0.0)
        self.n_inputs = 0
        self.ready.clear()
        self._has_ended(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self.connection.close()


class Pool:
    """`n` processes, begun when the first network comes; None: one for each core but the event loop's, at most
    `MOST_PROCESSES`."""

    def __init__(self, n: int | None = None) -> None:
        self.n = min(count_cores() - 1, MOST_PROCESSES) if n is None else n
        self._processes: list[Process] = []
        self._networks: dict[int, Network] = {}
        self._wanting: dict[int, Callable[[], None]] = {}
        self._keys = itertools.count()
        self._n_short = 0
        self._is_begun = self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, network: Network, is_free: Callable[[], None] = lambda: None) -> int:
        """The key of a network, for `find`; `is_free` is called when a process may have a place again."""
        key = next(self._keys)
        self._networks[key], self._wanting[key] = network, is_free
        for one in self._processes:
            one.send(worker.pack_network(key, network))
        if not self._is_begun:
            self._is_begun = True
            for _ in range(self.n):
                self._begin()
        return key

    def remove(self, key: int) -> None:
        self._networks.pop(key, None)
        self._wanting.pop(key, None)
        for one in self._processes:
            one.ready.discard(key)
            one.send(worker.pack(worker.DROP, key, 0))

    def find(self, key: int, n_waiting: int, n_batch: int) -> Process | None:
        """A process that holds the network and has nothing to do, or, where a whole batch of `n_batch` waits, one that
        has less to do than `_SHARE` times what waits."""
        found, n_least = None, _SHARE * n_waiting if n_waiting >= n_batch else 1
        for one in self._processes:
            if key in one.ready and one.n_inputs < n_least:
                found, n_least = one, one.n_inputs
        return found

    def is_idle(self) -> bool:
        """Whether no process has anything to do."""
        return not any(one.asked for one in self._processes)

    def is_full(self, key: int) -> bool:
        """Whether every process that holds the network has enough to go on with, or none holds it."""
        return not any(key in one.ready and len(one.asked) < _PLACES for one in self._processes)

    def _begin(self) -> None:
        if self._is_closed:
            return
        task = asyncio.get_running_loop().create_task(self._connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        try:
            process = Process(self._tell, self._lose)
        except OSError as error:
            _LOG.warning("no process to compute with could be begun: %s", error)
            return
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: process, sock=process.connection)
        self._processes.append(process)
        for key, network in self._networks.items():
            process.send(worker.pack_network(key, network))

    def _tell(self) -> None:
        for is_free in list(self._wanting.values()):
            is_free()
        if self._wanting:  # another is the first to take what is free the next time
            key = next(iter(self._wanting))
            self._wanting[key] = self._wanting.pop(key)

    def _lose(self, process: Process) -> None:
        if process in self._processes:
            self._processes.remove(process)
        if self._is_closed:
            return
        is_short = time.monotonic() - process.began < _SHORT_S
        self._n_short = self._n_short + 1 if is_short else 0
        self._tell()
        _LOG.warning("a process that computes has ended (%s)", _reap(process.child))
        if self._n_short < _MOST_SHORT:
            asyncio.get_running_loop().call_later(_AGAIN_S, self._begin)

    def close(self) -> None:
        """They end when they have computed what they were asked; one that takes longer than a second is ended."""
        self._is_closed = True
        for one in self._processes:
            one.close()
        for one in self._processes:
            _reap(one.child)
        self._processes.clear()


def _reap(child: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        return f"status {child.wait(1.0)}"
    child.kill()
    return f"status {child.wait()}"
