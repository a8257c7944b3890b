"""The queue of a model: what is computed together, refused, given up, and what fails alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from railcar.serving.batching import Batcher, DeadlinePassed, LightBatcher, QueueFull, ThreadBatcher
from railcar.serving.pool import Pool


class Slow:
    """Answers twice the input, after `seconds` for a batch; numbers below zero fail. `held` keeps it from answering."""

    name, n_threads, good_batch, network = "slow", 2, 8, None
    spec: Any = None

    def __init__(self, seconds: float = 0.0, seconds_each: float = 0.01) -> None:
        self.seconds, self.seconds_each = seconds, seconds_each
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.held = threading.Event()
        self.held.set()

    def encode(self, inputs: Any) -> Any:
        return np.asarray(inputs, np.float32)

    def compute(self, encoded: Any) -> Any:
        self.held.wait(10)
        time.sleep(self.seconds)
        self.batches.append(len(encoded))
        self.threads.add(threading.current_thread().name)
        if (encoded < 0).any():
            raise ValueError("below zero")
        return encoded * 2

    def warm(self) -> None: ...

    def samples(self) -> Any:
        return [], np.zeros((0, 1), np.float32)


def alone(engine: Any, **limits: int) -> Batcher:
    """A light network, and no process but this one."""
    return LightBatcher(engine, engine.network, Pool(0), **limits)


def run(
    engine: Slow,
    ask: Callable[[Batcher], Coroutine[Any, Any, Any]],
    make: Callable[..., Batcher] = ThreadBatcher,
    **limits: int,
) -> Any:
    async def go() -> Any:
        batcher = make(engine, **limits)
        await batcher.start()
        try:
            return await ask(batcher)
        finally:
            engine.held.set()
            batcher.close()

    return asyncio.run(go())


def one(value: float) -> Any:
    return np.array([[value]], np.float32)


def test_each_gets_its_own_answer_and_what_waits_is_computed_together():
    engine = Slow(seconds=0.02)

    async def ask(batcher: Batcher) -> Any:
        return await asyncio.gather(*(batcher.ask(one(value), 5) for value in range(100)))

    found = run(engine, ask, max_batch=32)
    assert [float(answer[0, 0]) for answer in found] == [2.0 * value for value in range(100)]
    assert sum(engine.batches) == 100 and max(engine.batches) <= 32 and len(engine.batches) <= 5


def test_a_lone_question_to_a_light_network_wakes_no_thread():
    engine = Slow(seconds_each=1e-4)

    async def ask(batcher: Batcher) -> Any:
        return [float((await batcher.ask(one(value), 5))[0, 0]) for value in range(5)]

    assert run(engine, ask, alone) == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert engine.threads == {"MainThread"}


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again():
    engine = Slow()
    engine.held.clear()

    async def ask(batcher: Batcher) -> Any:
        waiting = [asyncio.create_task(batcher.ask(one(0), 5))]
        await asyncio.sleep(0.05)  # it is being computed, and waits no more
        waiting += [asyncio.create_task(batcher.ask(one(value), 5)) for value in range(1, 9)]
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        with pytest.raises(QueueFull) as caught:
            await batcher.ask(one(9), 5)
        assert time.perf_counter() - began < 0.05 and caught.value.retry_s > 0
        engine.held.set()
        return await asyncio.gather(*waiting)

    found = run(engine, ask, max_batch=1, max_waiting=8)
    assert len(found) == 9


def test_a_question_larger_than_the_queue_is_answered_where_nobody_waits():
    found = run(Slow(), lambda batcher: batcher.ask(np.ones((64, 1), np.float32), 5), max_batch=8, max_waiting=8)
    assert found.shape == (64, 1)


def test_who_waits_too_long_is_told_and_is_not_computed():
    engine = Slow()
    engine.held.clear()

    async def ask(batcher: Batcher) -> Any:
        first = asyncio.create_task(batcher.ask(one(1), 5))
        await asyncio.sleep(0.02)
        with pytest.raises(DeadlinePassed):
            await batcher.ask(one(2), 0.1)
        engine.held.set()
        await first
        return await batcher.ask(one(3), 5)

    assert float(run(engine, ask)[0, 0]) == 6.0
    assert sum(engine.batches) == 2


def test_a_question_that_fails_fails_alone():
    engine = Slow(seconds=0.01)

    async def ask(batcher: Batcher) -> Any:
        asked = [batcher.ask(one(value), 5) for value in (1, 2, -1, 3, 4)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = run(engine, ask)
    assert isinstance(found[2], ValueError)
    assert [float(answer[0, 0]) for answer in found if not isinstance(answer, Exception)] == [2.0, 4.0, 6.0, 8.0]


def test_without_processes_the_loop_computes_all_and_large_questions_in_parts():
    engine = Slow(seconds_each=1e-4)

    async def ask(batcher: Batcher) -> Any:
        asked = [batcher.ask(one(value), 5) for value in range(50)]
        large = np.arange(100, dtype=np.float32).reshape(100, 1)
        *small, found = await asyncio.gather(*asked, batcher.ask(large, 5))
        np.testing.assert_array_equal(found, large * 2)
        return [float(answer[0, 0]) for answer in small]

    assert run(engine, ask, alone) == [2.0 * value for value in range(50)]
    assert engine.threads == {"MainThread"} and max(engine.batches) == 12
    assert sum(engine.batches) == 150


def test_a_large_question_with_a_fault_fails_as_one_and_nothing_of_it_stays_behind():
    engine = Slow(seconds_each=1e-4)

    async def ask(batcher: Batcher) -> Any:
        with pytest.raises(ValueError, match="below zero"):
            await batcher.ask(np.full((40, 1), -1, np.float32), 5)
        found = float((await batcher.ask(one(3), 5))[0, 0])
        return found, batcher.n_waiting

    assert run(engine, ask, alone) == (6.0, 0)


def test_closing_tells_whoever_still_waits():
    engine = Slow()
    engine.held.clear()

    async def ask(batcher: Batcher) -> Any:
        waiting = [asyncio.create_task(batcher.ask(one(value), 60)) for value in range(3)]
        await asyncio.sleep(0.05)
        batcher.close()
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert all(isinstance(answer, DeadlinePassed) for answer in run(engine, ask, max_batch=1))
