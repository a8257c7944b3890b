"""The processes that compute beside the event loop: real ones, with a small network of ONNX Runtime."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from railcar.serving import pool as pools
from railcar.serving.batching import Batcher, DeadlinePassed, LightBatcher, ThreadBatcher, build_batcher
from railcar.serving.networks import Network
from railcar.serving.pool import Pool, Process
from railcar.serving.spec import BadRequest


def make_content(factor: float = 2.0) -> bytes:
    """x [n, 3] -> x * factor."""
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])
    found = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])
    scale = helper.make_tensor("factor", onnx.TensorProto.FLOAT, [1], [factor])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "factor"], ["y"])], "scale", [given], [found], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


class Light:
    """An engine around that network; `here` are the sizes of the batches that the event loop computed."""

    name, spec, n_threads, good_batch, seconds_each = "onnx", None, 1, 8, 1e-5

    def __init__(self) -> None:
        self.network = Network("onnx", make_content(), [3], "float32", plan=[0, 1, 4, 4, 4, 8, 8, 8, 8])
        self.here: list[int] = []

    def encode(self, inputs: Any) -> Any:
        return np.asarray(inputs, np.float32)

    def compute(self, encoded: Any) -> Any:
        self.here.append(len(encoded))
        if (encoded < 0).any():
            raise ValueError("below zero")
        return self.network.compute(encoded)

    def warm(self) -> None:
        self.network.warm()

    def samples(self) -> Any:
        return [], np.zeros((0, 3), np.float32)


def run(ask: Callable[[Pool], Awaitable[Any]], n: int = 1) -> Any:
    async def go() -> Any:
        pool = Pool(n)
        try:
            return await asyncio.wait_for(ask(pool), 60)
        finally:
            pool.close()

    return asyncio.run(go())


async def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it never came"
        await asyncio.sleep(0.01)
    return found


async def start(pool: Pool, key: int) -> Process:
    return await wait_for(lambda: pool.find(key, 1, 8))


def ask(process: Process, key: int, given: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    process.ask(key, np.asarray(given, np.float32), lambda found, seconds: future.set_result((found, seconds)))
    return future


def test_a_process_answers_as_the_network_does_here():
    network = Network("onnx", make_content(), [3], "float32", plan=[0, 1, 4, 4, 4])
    given = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)

    async def go(pool: Pool) -> Any:
        key = pool.add(network)
        assert pool.find(key, 8, 8) is None  # nobody waits for one that is not there yet
        process = await start(pool, key)
        return [await ask(process, key, given[:n]) for n in (1, 2, 7)]

    for (found, seconds), n in zip(run(go), (1, 2, 7), strict=True):
        np.testing.assert_array_equal(found, network.compute(given[:n]))
        assert 0 < seconds < 10


def test_one_that_is_busy_is_only_given_more_where_much_waits():
    async def go(pool: Pool) -> None:
        key = pool.add(Network("onnx", make_content(), [3], "float32"))
        process = await start(pool, key)
        assert pool.is_idle() and not pool.is_full(key)
        first = ask(process, key, [[1, 2, 3]])
        assert not pool.is_idle() and not pool.is_full(key)
        assert pool.find(key, 7, 8) is None and pool.find(key, 8, 8) is process
        second = ask(process, key, np.ones((40, 3)))
        assert pool.is_full(key)
        assert pool.find(key, 8, 8) is None and pool.find(key, 12, 8) is process
        assert [(await one)[0].tolist()[0] for one in (first, second)] == [[2, 4, 6], [2, 2, 2]]
        assert pool.is_idle() and pool.find(key, 1, 8) is process

    run(go)


def test_each_process_holds_every_network_and_lets_go_of_those_that_have_gone():
    async def go(pool: Pool) -> None:
        keys = [pool.add(Network("onnx", make_content(factor), [3], "float32")) for factor in (2, 3)]
        process = await start(pool, keys[1])
        assert (await ask(process, keys[1], [[1, 1, 1]]))[0].tolist() == [[3, 3, 3]]
        pool.remove(keys[1])
        assert pool.find(keys[1], 8, 8) is None
        late = pool.add(Network("onnx", make_content(5), [3], "float32"))
        process = await start(pool, late)
        assert (await ask(process, late, [[1, 1, 1]]))[0].tolist() == [[5, 5, 5]]
        assert (await ask(process, keys[0], [[1, 1, 1]]))[0].tolist() == [[2, 2, 2]]

    run(go)


def test_a_network_that_a_process_does_not_hold_is_told_and_the_others_go_on(caplog: pytest.LogCaptureFixture):
    class Broken(Network):
        def __init__(self) -> None:
            self.runtime, self.content, self.shape, self.dtype, self.plan = "onnx", b"none", (3,), "float32", [0, 1]

    async def go(pool: Pool) -> None:
        broken = pool.add(Broken())
        key = pool.add(Network("onnx", make_content(), [3], "float32"))
        process = await start(pool, key)
        assert pool.find(broken, 8, 8) is None
        assert (await ask(process, key, [[1, 2, 3]]))[0].tolist() == [[2, 4, 6]]

    with caplog.at_level(logging.WARNING, "railcar.serving"):
        run(go)
    assert "does not hold a network" in caplog.text


def test_killed_ones_are_begun_anew_and_who_waited_for_them_is_told(caplog: pytest.LogCaptureFixture):
    async def go(pool: Pool) -> None:
        key = pool.add(Network("onnx", make_content(), [3], "float32"))
        process = await start(pool, key)
        os.kill(process.child.pid, signal.SIGSTOP)
        lost = ask(process, key, [[1, 2, 3]])
        os.kill(process.child.pid, signal.SIGKILL)
        found, _ = await lost
        assert isinstance(found, BadRequest) and found.status == 503
        assert pool.find(key, 8, 8) is None
        other = await start(pool, key)
        assert other.child.pid != process.child.pid
        assert (await ask(other, key, [[1, 2, 3]]))[0].tolist() == [[2, 4, 6]]

    with caplog.at_level(logging.WARNING, "railcar.serving"):
        run(go)
    assert "has ended (status -9)" in caplog.text


def test_one_that_ends_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pools, "_AGAIN_S", 0.01)
    begun = []

    class Ends(Process):
        def __init__(self, *told: Callable[..., None]) -> None:
            super().__init__(*told)
            begun.append(self)
            self.child.kill()

    monkeypatch.setattr(pools, "Process", Ends)

    async def go(pool: Pool) -> None:
        pool.add(Network("onnx", make_content(), [3], "float32"))
        await wait_for(lambda: len(begun) == 3)
        await asyncio.sleep(0.5)

    run(go)
    assert len(begun) == 3


def test_signals_that_end_a_server_end_no_process_before_it_has_answered():
    async def go(pool: Pool) -> int:
        key = pool.add(Network("onnx", make_content(), [3], "float32"))
        process = await start(pool, key)
        for one in (signal.SIGINT, signal.SIGTERM):
            os.kill(process.child.pid, one)
        assert (await ask(process, key, [[1, 2, 3]]))[0].tolist() == [[2, 4, 6]]
        pool.close()
        return process.child.returncode

    assert run(go) == 0


def test_many_questions_are_shared_out_between_a_process_and_the_loop():
    engine: Any = Light()

    async def go(pool: Pool) -> Any:
        batcher: Batcher = build_batcher(engine, pool)
        assert isinstance(batcher, LightBatcher)
        await batcher.start()
        await wait_for(lambda: any(one.ready for one in pool._processes))
        try:
            found = []
            for turn in range(20):
                asked = [batcher.ask(np.full((1 + at % 3, 3), turn + at, np.float32), 5) for at in range(40)]
                found += await asyncio.gather(*asked)
            large = await batcher.ask(np.arange(300, dtype=np.float32).reshape(100, 3), 5)
            return found, large
        finally:
            batcher.close()

    found, large = run(go)
    for at, answer in enumerate(found):
        expected = np.full((1 + at % 40 % 3, 3), 2 * (at // 40 + at % 40), np.float32)
        np.testing.assert_array_equal(answer, expected)
    np.testing.assert_array_equal(large, 2 * np.arange(300, dtype=np.float32).reshape(100, 3))
    assert 0 < sum(engine.here) < sum(1 + at % 3 for at in range(40)) * 20 + 100


def test_what_fails_in_a_process_fails_alone(monkeypatch: pytest.MonkeyPatch):
    engine: Any = Light()

    async def go(pool: Pool) -> Any:
        batcher = LightBatcher(engine, engine.network, pool)
        await wait_for(lambda: any(one.ready for one in pool._processes))
        monkeypatch.setattr(
            Process, "ask", lambda self, key, encoded, done: asyncio.get_running_loop().call_soon(done, OSError("x"), 0)
        )
        asked = [batcher.ask(np.full((1, 3), value, np.float32), 5) for value in (1, -1, 2, 3)]
        try:
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            batcher.close()

    found = run(go)
    assert isinstance(found[1], ValueError)
    assert [found[at].tolist() for at in (0, 2, 3)] == [[[2] * 3], [[4] * 3], [[6] * 3]]


def test_heavy_networks_are_for_a_thread_and_begin_no_process():
    async def go(pool: Pool) -> None:
        engine: Any = Light()
        engine.seconds_each = 0.01
        batcher = build_batcher(engine, pool)
        await batcher.start()
        assert isinstance(batcher, ThreadBatcher) and not pool._processes
        assert (await batcher.ask(np.ones((1, 3), np.float32), 5)).tolist() == [[2, 2, 2]]
        batcher.close()

    run(go)


def test_what_waits_for_a_process_that_does_not_answer_is_computed_here():
    engine: Any = Light()

    async def go(pool: Pool) -> Any:
        batcher = build_batcher(engine, pool)
        process = await wait_for(lambda: next((one for one in pool._processes if one.ready), None))
        os.kill(process.child.pid, signal.SIGSTOP)
        try:
            lost = [asyncio.create_task(batcher.ask(np.full((1, 3), at, np.float32), 0.5)) for at in range(2)]
            await asyncio.sleep(0)
            found = await asyncio.gather(*(batcher.ask(np.full((1, 3), at, np.float32), 5) for at in range(3)))
            told = await asyncio.gather(*lost, return_exceptions=True)
        finally:
            batcher.close()
            os.kill(process.child.pid, signal.SIGCONT)
        return found, told

    found, told = run(go)
    assert [one[0, 0] for one in found] == [0, 2, 4]
    assert all(isinstance(one, DeadlinePassed) for one in told)


def test_a_large_question_whose_process_ends_fails_as_one():
    engine: Any = Light()

    async def go(pool: Pool) -> tuple[int, int]:
        batcher = build_batcher(engine, pool)
        process = await wait_for(lambda: next((one for one in pool._processes if one.ready), None))
        os.kill(process.child.pid, signal.SIGSTOP)
        asked = asyncio.create_task(batcher.ask(np.ones((200, 3), np.float32), 5))
        await wait_for(lambda: len(process.asked) > 2)
        os.kill(process.child.pid, signal.SIGKILL)
        with pytest.raises(BadRequest) as caught:
            await asked
        await asyncio.sleep(0)
        left = batcher.n_waiting
        batcher.close()
        return caught.value.status, left

    assert run(go) == (503, 0)
