"""One bounded queue of a model, and who computes what waits in it, together.

Nothing is held back to fill a batch: what has come while the last one was computed is the next one, so that a batch is
as large as the load asks for, and a single question waits for nobody.

Threads compute. Where the network is light, the event loop computes, too: a single question at once, as to wake a
thread would cost more, and a part of what waits whenever the threads have enough to do: no core should be idle then.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.serving.engines import LIGHT_S, Engine, count_cores

_SWEEP_S = 0.05
_MOST_WORKERS = 4
_NICE = 5
# With more, the threads wait for all that came together to be read.
_MOST_CHUNK = 16
# More questions than can be answered in that time are refused, whatever `max_waiting` says.
MOST_WAIT_S = 2.0


def yield_cores() -> None:
    """Let the event loop go before the calling thread, and those that it begins: whoever is refused, or asks something
    small, does not wait for a core."""
    with suppress(OSError, AttributeError):  # not everywhere
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


class QueueFull(Exception):
    """There is no place for a question; `retry_s` is when there may be some."""

    def __init__(self, retry_s: float) -> None:
        super().__init__("too many questions wait")
        self.retry_s = retry_s


class DeadlinePassed(Exception):
    """The time for a question ran out before it was answered."""


class _Item:
    __slots__ = ("deadline", "encoded", "future")

    def __init__(self, encoded: NDArray[Any], future: asyncio.Future[Any], deadline: float) -> None:
        self.encoded = encoded
        self.future = future
        self.deadline = deadline


class Batcher:
    """`max_batch` inputs are computed together at most, `max_waiting` may wait. `watch` is told of each batch: how many
    inputs, and seconds. To be made and used within a running event loop; `start` before the first question, `close`
    ends its threads."""

    def __init__(
        self,
        engine: Engine,
        *,
        max_batch: int = 32,
        max_waiting: int = 512,
        watch: Callable[[int, float], None] = lambda n, seconds: None,
    ) -> None:
        self._engine, self._watch = engine, watch
        self._max_batch = max_batch
        self._max_waiting = min(max_waiting, max(int(MOST_WAIT_S / engine.seconds_each), max_batch))
        self._loop = asyncio.get_running_loop()
        # The queue is the threads' as well: under the lock.
        self._lock = threading.Lock()
        self._waiting: deque[_Item] = deque()
        self.n_waiting = 0
        self._open: set[_Item] = set()
        # So many inputs are worth waking a thread for before the others that came with them are read.
        self._chunk = min(engine.good_batch, _MOST_CHUNK, max_batch)
        self._is_light = engine.seconds_each < LIGHT_S and engine.n_threads == 1
        n_workers = max(1, min(count_cores() - 1, _MOST_WORKERS)) if self._is_light else 1
        self._n_idle, self._is_scheduled = n_workers, False
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"model-{number}", daemon=True) for number in range(n_workers)
        ]
        self._n_cold, self._warmed = n_workers, self._loop.create_future()
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    async def start(self) -> None:
        """Every thread makes what it needs for each size of batch; returns when all have."""
        for thread in self._threads:
            thread.start()
        await self._warmed
        if self._is_light:
            self._engine.warm()  # what the event loop's own thread needs

    def _count_warm(self) -> None:
        self._n_cold -= 1
        if not self._n_cold and not self._warmed.done():
            self._warmed.set_result(None)

    async def ask(self, encoded: NDArray[Any], timeout_s: float) -> NDArray[np.float32]:
        """Answers [n, n_outputs] to encoded inputs [n, ...]. Raises `QueueFull` at once, `DeadlinePassed`, and what the
        engine raises for these inputs."""
        n = len(encoded)
        if self.n_waiting and self.n_waiting + n > self._max_waiting:
            raise QueueFull(max(self.n_waiting * self._engine.seconds_each, 0.1))
        item = _Item(encoded, self._loop.create_future(), self._loop.time() + timeout_s)
        self._open.add(item)
        with self._lock:
            self._waiting.append(item)
            self.n_waiting += n
            is_enough = self._n_idle > 0 and self.n_waiting >= self._chunk
            if is_enough:
                self._n_idle -= 1
        if is_enough:
            self._wake.put(True)
        elif not self._is_scheduled:
            # At the end of this turn of the loop: questions that came together are then computed together.
            self._is_scheduled = True
            self._loop.call_soon(self._end_turn)
        try:
            return await item.future
        finally:
            self._open.discard(item)

    def _end_turn(self) -> None:
        self._is_scheduled = False
        with self._lock:
            is_single = len(self._waiting) == 1 and self._n_idle == len(self._threads)
            is_small = bool(self._waiting) and len(self._waiting[0].encoded) <= self._chunk
            is_here = self._is_light and is_small and (is_single or not self._n_idle)
            batch = self._take(self._chunk) if is_here else []
            n_woken = 0 if is_here else min(self._n_idle, -(-self.n_waiting // self._chunk))
            self._n_idle -= n_woken
            is_more = bool(self._waiting) and self._is_light
        for _ in range(n_woken):
            self._wake.put(True)
        if batch:
            self._settle(batch, *self._compute(batch))
        if is_more:
            self._is_scheduled = True
            self._loop.call_soon(self._end_turn)

    def _take(self, n_most: int) -> list[_Item]:
        """The first that wait, `n_most` inputs at most unless the very first has more. Under the lock."""
        batch, n = [], 0
        while self._waiting and (not batch or n + len(self._waiting[0].encoded) <= n_most):
            item = self._waiting.popleft()
            self.n_waiting -= len(item.encoded)
            if not item.future.done():
                batch.append(item)
                n += len(item.encoded)
        return batch

    def _work(self) -> None:
        if not self._is_light:
            yield_cores()
        self._engine.warm()
        self._loop.call_soon_threadsafe(self._count_warm)
        while self._wake.get():
            while True:
                with self._lock:
                    # Of what a light network is asked, the loop takes its share.
                    share = max(self.n_waiting // 2, self._chunk) if self._is_light else self._max_batch
                    batch = self._take(min(share, self._max_batch))
                    if not batch:
                        self._n_idle += 1
                        break
                found, seconds = self._compute(batch)
                try:
                    self._loop.call_soon_threadsafe(self._settle, batch, found, seconds)
                except RuntimeError:  # the loop has ended: nobody waits any more
                    return

    def _compute(self, batch: list[_Item]) -> tuple[list[Any], float]:
        """An answer, or an exception, for each item. One that fails fails alone."""
        began = time.perf_counter()
        try:
            if len(batch) == 1:
                return [self._engine.compute(batch[0].encoded)], time.perf_counter() - began
            answers = self._engine.compute(np.concatenate([item.encoded for item in batch]))
            if len(answers) == len(batch):
                return [answers[at : at + 1] for at in range(len(batch))], time.perf_counter() - began
            ends = np.cumsum([len(item.encoded) for item in batch])[:-1]
            return np.split(answers, ends), time.perf_counter() - began
        except Exception as error:  # whatever an engine may raise is the answer to whoever asked
            if len(batch) == 1:
                return [error], time.perf_counter() - began
            alone = [self._compute([item])[0][0] for item in batch]
            return alone, time.perf_counter() - began

    def _settle(self, batch: list[_Item], found: list[Any], seconds: float) -> None:
        self._watch(sum(len(item.encoded) for item in batch), seconds)
        for item, answer in zip(batch, found, strict=True):
            if item.future.done():
                continue
            if isinstance(answer, Exception):
                item.future.set_exception(answer)
            else:
                item.future.set_result(answer)

    def _sweep(self) -> None:
        now = self._loop.time()
        for item in [one for one in self._open if one.deadline < now and not one.future.done()]:
            item.future.set_exception(DeadlinePassed())
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def close(self) -> None:
        """End the threads when what they compute is done; whoever still waits is told so."""
        self._sweeper.cancel()
        for _ in self._threads:
            self._wake.put(False)
        for item in self._open:
            if not item.future.done():
                item.future.set_exception(DeadlinePassed())
