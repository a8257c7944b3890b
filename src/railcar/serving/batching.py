"""One bounded queue of a model, and the threads that compute what waits in it, together.

Nothing is held back to fill a batch: what has come while the last one was computed is the next one, so that a batch is
as large as the load asks for, and a single question waits for nobody. A single question to a light network is computed
at once in the event loop: to wake a thread would cost more.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.serving.engines import LIGHT_S, Engine, count_cores

_SWEEP_S = 0.05
_MOST_WORKERS = 4


class QueueFull(Exception):
    """There is no place for a question; `retry_s` is when there may be some."""

    def __init__(self, retry_s: float) -> None:
        super().__init__("too many questions wait")
        self.retry_s = retry_s


class DeadlinePassed(Exception):
    """The time for a question ran out before it was answered."""


class _Item:
    __slots__ = ("deadline", "encoded", "future", "is_taken")

    def __init__(self, encoded: NDArray[Any], future: asyncio.Future[Any], deadline: float) -> None:
        self.encoded = encoded
        self.future = future
        self.deadline = deadline
        self.is_taken = False


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
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Item] = deque()
        self._open: set[_Item] = set()
        self.n_waiting = 0
        self._is_light = engine.seconds_each < LIGHT_S and engine.n_threads == 1
        self._n_free = n_workers = max(1, min(count_cores() - 1, _MOST_WORKERS)) if self._is_light else 1
        self._is_scheduled = False
        self._batches: queue.SimpleQueue[list[_Item] | None] = queue.SimpleQueue()
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
        self._waiting.append(item)
        self._open.add(item)
        self.n_waiting += n
        self._schedule()
        try:
            return await item.future
        finally:
            self._open.discard(item)

    def _schedule(self) -> None:
        # At the end of this turn of the loop: questions that came together are then computed together.
        if not self._is_scheduled and self._n_free:
            self._is_scheduled = True
            self._loop.call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._is_scheduled = False
        is_single = len(self._waiting) == 1 and len(self._waiting[0].encoded) == 1
        if self._is_light and is_single and self._n_free == len(self._threads):
            self._answer_here()
        while self._waiting and self._n_free:
            batch = self._take()
            if batch:
                self._n_free -= 1
                self._batches.put(batch)

    def _answer_here(self) -> None:
        batch = self._take()
        if batch:
            self._settle(batch, *self._compute(batch))

    def _take(self) -> list[_Item]:
        batch, n = [], 0
        while self._waiting and (not batch or n + len(self._waiting[0].encoded) <= self._max_batch):
            item = self._waiting.popleft()
            self.n_waiting -= len(item.encoded)
            if not item.future.done():
                item.is_taken = True
                batch.append(item)
                n += len(item.encoded)
        return batch

    def _work(self) -> None:
        self._engine.warm()
        self._loop.call_soon_threadsafe(self._count_warm)
        while (batch := self._batches.get()) is not None:
            found, seconds = self._compute(batch)
            try:
                self._loop.call_soon_threadsafe(self._finish, batch, found, seconds)
            except RuntimeError:  # the loop has ended: nobody waits any more
                return

    def _compute(self, batch: list[_Item]) -> tuple[list[Any], float]:
        """An answer, or an exception, for each item. One that fails fails alone."""
        began = time.perf_counter()
        try:
            if len(batch) == 1:
                return [self._engine.compute(batch[0].encoded)], time.perf_counter() - began
            answers = self._engine.compute(np.concatenate([item.encoded for item in batch]))
            ends = np.cumsum([len(item.encoded) for item in batch])[:-1]
            return np.split(answers, ends), time.perf_counter() - began
        except Exception as error:  # whatever an engine may raise is the answer to whoever asked
            if len(batch) == 1:
                return [error], time.perf_counter() - began
            alone = [self._compute([item])[0][0] for item in batch]
            return alone, time.perf_counter() - began

    def _finish(self, batch: list[_Item], found: list[Any], seconds: float) -> None:
        self._n_free += 1
        self._settle(batch, found, seconds)
        if self._waiting:
            self._schedule()

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
            self._batches.put(None)
        for item in self._open:
            if not item.future.done():
                item.future.set_exception(DeadlinePassed())
