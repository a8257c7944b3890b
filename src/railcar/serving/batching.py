"""One bounded queue of a model, and who computes what waits in it, together.

Nothing is held back to fill a batch: what has come while the last one was computed is the next one, so that a batch is
as large as the load asks for, and a single question waits for nobody.

A heavy network is computed by a thread, which uses all cores. A light one is computed by processes (`pool.py`), as
threads would wait for Python's lock most of the time, and by the event loop: a lone question at once, as to wake
anybody would cost more, and what waits when all processes have enough to do: no core should be idle then.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.serving.engines import Engine
from railcar.serving.networks import LIGHT_BATCH, LIGHT_S, Network
from railcar.serving.pool import Pool
from railcar.serving.spec import BadRequest

_SWEEP_S = 0.05
_NICE = 5
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


class Batcher(ABC):
    """`max_batch` inputs are computed together at most, `max_waiting` may wait. `watch` is told of each batch: how many
    inputs, and seconds. To be made and used within a running event loop; `start` before the first question, `close`
    at the end. `build_batcher` makes the one that suits an engine."""

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
        # So many inputs are worth computing before the others that came with them are read.
        self._chunk = min(engine.good_batch, max_batch)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Item] = deque()
        self.n_waiting = 0
        self._is_scheduled = False
        self._open: set[_Item] = set()
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    async def start(self) -> None:
        """Make what is needed for each size of batch."""
        self._engine.warm()

    async def ask(self, encoded: NDArray[Any], timeout_s: float) -> NDArray[np.float32]:
        """Answers [n, n_outputs] to encoded inputs [n, ...]. Raises `QueueFull` at once, `DeadlinePassed`, and what the
        engine raises for these inputs."""
        self._check_place(len(encoded))
        item = self._put(encoded, timeout_s)
        try:
            return await item.future
        finally:
            self._open.discard(item)

    def _check_place(self, n: int) -> None:
        if self.n_waiting and self.n_waiting + n > self._max_waiting:
            raise QueueFull(max(self.n_waiting * self._engine.seconds_each, 0.1))

    def _put(self, encoded: NDArray[Any], timeout_s: float) -> _Item:
        item = _Item(encoded, self._loop.create_future(), self._loop.time() + timeout_s)
        self._open.add(item)
        self._append(item)
        return item

    @abstractmethod
    def _append(self, item: _Item) -> None:
        """Into the queue; `_schedule` where it may wait for those that come together with it."""

    def _schedule(self) -> None:
        """Look at the queue at the end of this turn of the loop."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._is_scheduled = False

    def _take(self, n_most: int) -> list[_Item]:
        """The first that wait, `n_most` inputs at most unless the very first has more."""
        batch, n = [], 0
        while self._waiting and (not batch or n + len(self._waiting[0].encoded) <= n_most):
            item = self._waiting.popleft()
            self.n_waiting -= len(item.encoded)
            if not item.future.done():
                batch.append(item)
                n += len(item.encoded)
        return batch

    def _compute(self, batch: list[_Item]) -> tuple[list[Any], float]:
        """An answer, or an exception, for each item. One that fails fails alone."""
        began = time.perf_counter()
        try:
            if len(batch) == 1:
                return [self._engine.compute(batch[0].encoded)], time.perf_counter() - began
            answers = self._engine.compute(_join(batch))
            return _split(answers, batch), time.perf_counter() - began
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
        """Whoever still waits is told that there is no answer."""
        self._sweeper.cancel()
        for item in self._open:
            if not item.future.done():
                item.future.set_exception(DeadlinePassed())


def _join(batch: list[_Item]) -> NDArray[Any]:
    return batch[0].encoded if len(batch) == 1 else np.concatenate([item.encoded for item in batch])


def _split(answers: NDArray[np.float32], batch: list[_Item]) -> list[NDArray[np.float32]]:
    if len(answers) == len(batch):
        return [answers[at : at + 1] for at in range(len(batch))]
    return np.split(answers, np.cumsum([len(item.encoded) for item in batch])[:-1])


class ThreadBatcher(Batcher):
    """A thread computes, and takes the next from the queue by itself."""

    def __init__(self, engine: Engine, **options: Any) -> None:
        super().__init__(engine, **options)
        self._lock = threading.Lock()  # the queue is the thread's as well
        self._is_idle = True
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._warmed = self._loop.create_future()

    async def start(self) -> None:
        self._thread.start()
        await self._warmed

    def _append(self, item: _Item) -> None:
        with self._lock:
            self._waiting.append(item)
            self.n_waiting += len(item.encoded)
            is_enough = self._is_idle and self.n_waiting >= self._chunk
            if is_enough:
                self._is_idle = False
        if is_enough:
            self._wake.put(True)
        else:
            self._schedule()

    def _end_turn(self) -> None:
        super()._end_turn()
        with self._lock:
            is_for_thread = self._is_idle and bool(self._waiting)
            if is_for_thread:
                self._is_idle = False
        if is_for_thread:
            self._wake.put(True)

    def _work(self) -> None:
        yield_cores()
        try:
            self._engine.warm()
        except Exception as error:
            self._loop.call_soon_threadsafe(self._warmed.set_exception, error)
            return
        self._loop.call_soon_threadsafe(self._warmed.set_result, None)
        while self._wake.get():
            while True:
                with self._lock:
                    batch = self._take(self._max_batch)
                    if not batch:
                        self._is_idle = True
                        break
                found, seconds = self._compute(batch)
                try:
                    self._loop.call_soon_threadsafe(self._settle, batch, found, seconds)
                except RuntimeError:  # the loop has ended: nobody waits any more
                    return

    def close(self) -> None:
        """The thread ends when what it computes is done."""
        self._wake.put(False)
        super().close()


class LightBatcher(Batcher):
    """The processes of `pool` compute, and the event loop."""

    def __init__(self, engine: Engine, network: Network, pool: Pool, **options: Any) -> None:
        super().__init__(engine, **options)
        self._pool = pool
        self._chunk = min(LIGHT_BATCH, self._max_batch)
        self._key = pool.add(network, self._end_turn)

    async def ask(self, encoded: NDArray[Any], timeout_s: float) -> NDArray[np.float32]:
        if len(encoded) <= self._chunk:
            return await super().ask(encoded, timeout_s)
        self._check_place(len(encoded))
        parts = [self._put(encoded[at : at + self._chunk], timeout_s) for at in range(0, len(encoded), self._chunk)]
        try:
            return np.concatenate([await part.future for part in parts])
        finally:
            for part in parts:
                part.future.cancel()  # nothing to one that is done
                self._open.discard(part)

    def _append(self, item: _Item) -> None:
        self._waiting.append(item)
        self.n_waiting += len(item.encoded)
        if self.n_waiting < self._chunk or not self._hand_out():
            self._schedule()

    def _hand_out(self) -> bool:
        """Whether a process was given a part of what waits."""
        process = self._pool.find(self._key, self.n_waiting, self._chunk)
        batch = self._take(self._chunk) if process is not None else []
        if process is None or not batch:
            return False
        process.ask(self._key, _join(batch), partial(self._take_answers, batch))
        return True

    def _end_turn(self) -> None:
        super()._end_turn()
        is_lone = len(self._waiting) == 1 and self._pool.is_idle()
        while self._waiting and not is_lone and self._hand_out():
            pass
        # What is left and is less than a batch waits for a process that will soon be free.
        if is_lone or self._pool.is_full(self._key):
            self._compute_here()

    def _compute_here(self) -> None:
        if batch := self._take(self._chunk):
            self._settle(batch, *self._compute(batch))
        if self._waiting:
            self._schedule()

    def _sweep(self) -> None:
        super()._sweep()
        if self._waiting:
            self._compute_here()  # the process that they wait for takes too long

    def _take_answers(self, batch: list[_Item], answers: NDArray[np.float32] | Exception, seconds: float) -> None:
        if isinstance(answers, BadRequest):
            self._settle(batch, [answers] * len(batch), seconds)
        elif isinstance(answers, Exception):
            self._settle(batch, *self._compute(batch))  # one of them failed: here it fails alone
        else:
            self._settle(batch, _split(answers, batch), seconds)

    def close(self) -> None:
        self._pool.remove(self._key)
        super().close()


def build_batcher(engine: Engine, pool: Pool, **options: Any) -> Batcher:
    network = engine.network
    if network is not None and engine.seconds_each < LIGHT_S and engine.n_threads == 1:
        return LightBatcher(engine, network, pool, **options)
    return ThreadBatcher(engine, **options)
