"""A network in LiteRT or ONNX Runtime: what it is given at once, on how many cores, and how long that takes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.errors import MissingExtra

LIGHT_S = 1e-3
"""A network that answers in less is computed on one core: to wake another costs more."""
BUCKETS = (1, 4, 8, 16, 32)
# Of light ones no more than `LIGHT_BATCH` are computed together: with more, whoever computes waits for all that came
# together to be read; with less, the weights come from memory too often.
LIGHT_BATCH = 12
_LIGHT_BUCKETS = (1, 4, 8, LIGHT_BATCH)
# A larger batch is kept where it answers that many times as much: each holds the network's memory once more, which of a
# heavy one is much. Under load, weights come from farther away than when a light one is timed alone.
_WORTH_IT, _WORTH_IT_LIGHT = 1.15, 1.05
Run = Callable[[NDArray[Any]], NDArray[np.float32]]


class Network:
    """`content` of a model.tflite (`runtime` "litert") or model.onnx ("onnx"), for inputs [n, *shape] of `dtype`. Any
    thread may compute. `plan` says for each number of inputs how many of them are computed first; `time_itself` makes
    one. Raises what the runtime raises where `content` is none of its own."""

    def __init__(
        self,
        runtime: str,
        content: bytes,
        shape: Sequence[int],
        dtype: str,
        *,
        n_threads: int = 1,
        plan: Sequence[int] = (0, 1),
    ) -> None:
        self.runtime, self.content = runtime, content
        self.shape, self.dtype = tuple(shape), dtype
        self.n_threads, self.plan = n_threads, list(plan)
        self.good_batch = 1
        self._open()

    def _open(self) -> None:
        opener = open_litert if self.runtime == "litert" else open_onnx
        n_threads = self.n_threads
        self._runs = _PerThread(lambda: opener(self.content, n_threads))
        self._runs.get()(self._build_zeros(1))

    def time_itself(self, n_threads: int | None, *, is_single: bool) -> float:
        """Choose cores (None: one for a light network, else all) and sizes of batches by the clock. Returns the
        seconds of one input. `is_single`: the file takes one at a time."""
        seconds = self.time_batch(1)
        n_wanted = n_threads or (count_cores() if seconds > LIGHT_S else 1)
        if n_wanted != self.n_threads:
            self.n_threads = n_wanted
            self._open()
            seconds = self.time_batch(1)
        buckets = {1: seconds} if is_single else self._time_buckets(seconds)
        best = min(seconds / size for size, seconds in buckets.items())
        self.good_batch = min(one for one, seconds in buckets.items() if seconds / one <= best * _WORTH_IT)
        # ONNX Runtime takes any size as it is.
        is_any = self.runtime == "onnx" and not is_single
        self.plan = list(range(BUCKETS[-1] + 1)) if is_any else _plan_batches(buckets)
        return seconds

    def _time_buckets(self, seconds_each: float) -> dict[int, float]:
        """Sizes of batches that answer more than smaller ones, and the seconds that each takes."""
        kept, best = {1: seconds_each}, seconds_each
        is_light = seconds_each < LIGHT_S and self.n_threads == 1
        worth_it = _WORTH_IT_LIGHT if is_light else _WORTH_IT
        for size in (_LIGHT_BUCKETS if is_light else BUCKETS)[1:]:
            if seconds_each * size > 0.5:
                break  # nobody waits half a second to be computed along with others
            seconds = self.time_batch(size)
            if seconds / size * worth_it < best:
                kept[size], best = seconds, seconds / size
        return kept

    def time_batch(self, n: int) -> float:
        """Seconds for a batch of `n`, the best of a few."""
        batch = self._build_zeros(n)
        run, found = self._runs.get(), float("inf")
        run(batch)
        until = time.perf_counter() + 0.02
        while True:
            began = time.perf_counter()
            run(batch)
            found = min(found, time.perf_counter() - began)
            if time.perf_counter() > until:
                return found

    def warm(self) -> None:
        """Make what the calling thread needs, for each size of batch, so that no question waits for it."""
        for size in sorted({*self.plan} & {*BUCKETS, LIGHT_BATCH}):
            self._runs.get()(self._build_zeros(size))

    def forget(self) -> None:
        """Let go of what the calling thread has for it; it is made anew when that thread computes again."""
        self._runs.forget()

    def _build_zeros(self, n: int) -> NDArray[Any]:
        return np.zeros((n, *self.shape), self.dtype)

    def compute(self, encoded: NDArray[Any]) -> NDArray[np.float32]:
        """[n, n_outputs] of [n, *shape], n from 1 on."""
        run = self._runs.get()
        if len(encoded) == 1:
            return run(encoded)
        parts, at = [], 0
        while at < len(encoded):
            size = self.plan[min(len(encoded) - at, len(self.plan) - 1)]
            part = encoded[at : at + size]
            if len(part) < size:
                # The rest of a batch is computed in vain: it costs less than several small ones.
                part = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), part.dtype)])
            parts.append(run(part))
            at += size
        return parts[0][: len(encoded)] if len(parts) == 1 else np.concatenate(parts)[: len(encoded)]


def _plan_batches(seconds: Mapping[int, float]) -> list[int]:
    """For each number of inputs from 0 on the size of the batch that is computed first, so that all take least."""
    most = max(seconds)
    plan, costs = [0], [0.0]
    for n in range(1, most + 1):
        cost, size = min((seconds[size] + costs[max(n - size, 0)], size) for size in seconds)
        plan.append(size)
        costs.append(cost)
    return plan


class _PerThread:
    """What `make` gives, once for each thread."""

    def __init__(self, make: Callable[[], Run]) -> None:
        self._make = make
        self._local = threading.local()

    def get(self) -> Run:
        found = getattr(self._local, "found", None)
        if found is None:
            found = self._local.found = self._make()
        return found

    def forget(self) -> None:
        self._local.found = None


def open_litert(content: bytes, n_threads: int) -> Run:
    """A function of the network's input. Each size of batch has an interpreter of its own: to resize one costs more
    than an answer."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtra("LiteRT (ai-edge-litert)", "serve", needed_for="serving") from error
    interpreters: dict[int, tuple[Any, int, int]] = {}

    def open_one(shape: tuple[int, ...]) -> tuple[Any, int, int]:
        interpreter = Interpreter(model_content=content, num_threads=n_threads)
        given = interpreter.get_input_details()[0]
        if tuple(given["shape"]) != shape:
            interpreter.resize_tensor_input(given["index"], shape, strict=False)
        interpreter.allocate_tensors()
        found = interpreter, given["index"], interpreter.get_output_details()[0]["index"]
        interpreters[shape[0]] = found
        return found

    def run(batch: NDArray[Any]) -> NDArray[np.float32]:
        interpreter, given, answer = interpreters.get(len(batch)) or open_one(batch.shape)
        interpreter.set_tensor(given, batch)
        interpreter.invoke()
        return interpreter.get_tensor(answer)

    return run


def open_onnx(content: bytes, n_threads: int) -> Run:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("ONNX Runtime (onnxruntime)", "export", needed_for="serving a model.onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    # Threads that spin between questions take the cores from the rest of the server.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {name: batch})[0])


def count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
