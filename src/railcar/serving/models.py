"""The models that are served: where each comes from, its versions, and the change from one to the next.

A version is loaded beside the one that answers, checked by its samples, warmed, and only then takes over; what was
asked before is answered by the old one, which goes when the last of it is. One that cannot be loaded is told once, and
tried again when its files change.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from railcar.errors import RailcarError
from railcar.serving.batching import Batcher, QueueFull, build_batcher, yield_cores
from railcar.serving.engines import Engine, check_samples
from railcar.serving.metrics import Metrics
from railcar.serving.networks import count_cores
from railcar.serving.pool import Pool
from railcar.serving.spec import MAX_TEXT, BadRequest, Spec

POLL_S = 1.0
_LOG = logging.getLogger("railcar.serving")
_MARKS = ("model.json", "artifact.json")
_LIGHT_BYTES = 1 << 16
Mark = tuple[tuple[str, int, int], ...]


class Fault(NamedTuple):
    """Why a version, its files as `mark` says, is not taken, and the mend."""

    mark: Mark
    what: str
    hint: str


@dataclass(frozen=True)
class Source:
    """A model by name. `folder` holds versions in folders of whole numbers, or, with `is_single`, is itself the one
    version there is, 1, and the next when its files change. `load` opens one of them, and may take its time."""

    name: str
    folder: Path
    load: Callable[[Path], Engine]
    is_single: bool = False

    def list_versions(self) -> dict[int, Path]:
        """Number -> folder, of those that are there in name; whether they are whole is found by loading."""
        if self.is_single:
            return {1: self.folder}
        with suppress(OSError):
            return {int(one.name): one for one in self.folder.iterdir() if one.name.isdecimal() and one.is_dir()}
        return {}


def mark_folder(folder: Path) -> Mark:
    """What changes when a file of a version does: names, sizes and times."""
    found = []
    with suppress(OSError):
        for path in sorted(folder.rglob("*")):
            about = path.stat()
            found.append((str(path.relative_to(folder)), about.st_size, about.st_mtime_ns))
    return tuple(found)


class Version:
    """One version at work: `n_open` questions are with it."""

    def __init__(self, number: int, mark: Mark, engine: Engine, batcher: Batcher) -> None:
        self.number, self.mark, self.engine, self.batcher = number, mark, engine, batcher
        self.n_open = 0

    @property
    def spec(self) -> Spec:
        return self.engine.spec


class Model:
    """A served model. `current` answers; None until the first version is ready, or when all have gone."""

    def __init__(
        self,
        source: Source,
        metrics: Metrics,
        pool: Pool,
        *,
        say: Callable[[str], None],
        max_batch: int,
        max_waiting: int,
    ) -> None:
        self.name, self.source = source.name, source
        self.current: Version | None = None
        self.faults: dict[int, Fault] = {}
        self._metrics, self._pool, self._say = metrics, pool, say
        self._limits = {"max_batch": max_batch, "max_waiting": max_waiting}
        self._leaving: set[Version] = set()
        self._n_prepared = 0
        n_threads = max(count_cores() - 1, 1)
        self._preparing = ThreadPoolExecutor(n_threads, "prepare", initializer=yield_cores)

    @property
    def is_ready(self) -> bool:
        return self.current is not None

    @asynccontextmanager
    async def use(self, number: int | None = None) -> AsyncIterator[Version]:
        """The version that answers, or that of a `number`, for as long as it is needed. Raises `BadRequest` 404 where
        it is not there and 503 where none is."""
        version = self.current
        if version is None:
            raise BadRequest(f"{self.name} is not ready", 503)
        if number is not None and number != version.number:
            raise BadRequest(f"Servable not found for request: Specific({self.name}, {number})", 404)
        version.n_open += 1
        try:
            yield version
        finally:
            version.n_open -= 1
            if not version.n_open and version in self._leaving:
                self._leaving.discard(version)
                version.batcher.close()

    async def refresh(self) -> None:
        """Look for a newer version, or for another where the one that answers has gone, and change to it."""
        found = await asyncio.to_thread(self._look)
        if found is None:
            return
        number, path, mark = found
        began = time.perf_counter()
        try:
            engine = await asyncio.to_thread(self._load, path)
            watch = self._metrics.watch_batches(self.name)
            batcher = build_batcher(engine, self._pool, watch=watch, **self._limits)
            await batcher.start()
        except (RailcarError, OSError, ValueError, KeyError) as error:
            what = getattr(error, "what", str(error))
            self.faults[number] = Fault(mark, what, getattr(error, "hint", ""))
            self._metrics.count_reload(self.name, is_good=False)
            keeps = f"version {self.current.number} goes on" if self.current else "no version is ready"
            self._say(f"{self.name}: version {number} is not taken, {keeps}: {what}")
            if self.current is None and self.source.is_single:
                raise
            return
        self._take_over(Version(number, mark, engine, batcher), time.perf_counter() - began)

    def _look(self) -> tuple[int, Path, Mark] | None:
        """The version to change to; None where nothing is to be done."""
        there = self.source.list_versions()
        if self.source.is_single:
            return self._look_at_single(there[1])
        for number in sorted(there, reverse=True):
            mark = mark_folder(there[number])
            if self.current is not None and self.current.number == number and self.current.mark == mark:
                return None
            fault = self.faults.get(number)
            is_whole = any(name == one for name, _, _ in mark for one in _MARKS)
            if is_whole and (fault is None or fault.mark != mark):
                return number, there[number], mark
        return None

    def _look_at_single(self, path: Path) -> tuple[int, Path, Mark] | None:
        mark = mark_folder(path)
        if self.current is not None and (self.current.mark == mark or not mark):
            return None
        number = self.current.number + 1 if self.current is not None else 1
        fault = self.faults.get(number)
        return None if fault is not None and fault.mark == mark else (number, path, mark)

    def _load(self, path: Path) -> Engine:
        engine = self.source.load(path)
        check_samples(engine)
        if engine.network is not None:
            engine.network.forget()  # this thread has done its part
        return engine

    def _take_over(self, version: Version, seconds: float) -> None:
        old, self.current = self.current, version
        self.faults.pop(version.number, None)
        if old is None:
            return
        self._metrics.count_reload(self.name, is_good=True)
        self._say(f"{self.name}: version {version.number} answers now ({seconds:.1f} s), {old.number} has gone")
        if old.n_open:
            self._leaving.add(old)
        else:
            old.batcher.close()

    async def answer(
        self, version: Version, inputs: Sequence[Any] | NDArray[Any], timeout_s: float
    ) -> NDArray[np.float32]:
        """[n, n_outputs] to raw inputs. Raises `BadRequest`, `DataError`, `QueueFull` and `DeadlinePassed`."""
        if is_light(inputs):
            return await version.batcher.ask(version.engine.encode(inputs), timeout_s)
        if any(isinstance(one, str) and len(one) > MAX_TEXT for one in inputs):
            raise BadRequest(f"a text of more than {MAX_TEXT:,} characters", 413)
        encoded = await self._prepare(version, inputs)
        return await version.batcher.ask(encoded, timeout_s)

    async def _prepare(self, version: Version, inputs: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
        """Encoded in a thread. What waits for one is in the queue, too."""
        n_waiting = self._n_prepared + version.batcher.n_waiting
        if n_waiting and n_waiting + len(inputs) > self._limits["max_waiting"]:
            raise QueueFull(1.0)
        self._n_prepared += len(inputs)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._preparing, version.engine.encode, inputs)
        finally:
            self._n_prepared -= len(inputs)

    def close(self) -> None:
        for version in (*self._leaving, *([self.current] if self.current else [])):
            version.batcher.close()
        self._preparing.shutdown(wait=False, cancel_futures=True)


def is_light(inputs: Sequence[Any] | NDArray[Any]) -> bool:
    """Whether inputs are made ready so quickly that the event loop may do it."""
    if isinstance(inputs, np.ndarray):
        return inputs.nbytes <= _LIGHT_BYTES
    if len(inputs) > 4:
        return False
    return not any(isinstance(one, bytes) or (isinstance(one, str) and len(one) > 2000) for one in inputs)


class Models:
    """All that are served, by name; the first is the one that is meant where none is named."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.by_name = {one.name: one for one in models}
        self.default = models[0]

    def find(self, name: str | None) -> Model:
        """Raises `BadRequest` 404."""
        if name is None:
            return self.default
        if name not in self.by_name:
            raise BadRequest(f"there is no model {name!r}; there is: {', '.join(self.by_name)}", 404)
        return self.by_name[name]

    @property
    def is_ready(self) -> bool:
        return all(one.is_ready for one in self.by_name.values())

    async def watch(self) -> None:
        """Look for new versions for as long as it runs."""
        while True:
            await asyncio.sleep(POLL_S)
            for one in self.by_name.values():
                try:
                    await one.refresh()
                except Exception:  # the next look may go well; nobody else would hear of it
                    _LOG.exception("%s could not be looked at", one.name)

    def close(self) -> None:
        for one in self.by_name.values():
            one.close()
