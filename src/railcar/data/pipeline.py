"""Splits -> batches, addressed by step: the same (seed, epoch, step) gives the same examples in any process.

Owns the order of examples and reading ahead. Keeps no state between calls, so that a run resumes at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from railcar.data.augment import Augmentation, Draws
from railcar.data.decoding import EncodedImages
from railcar.data.types import Split

T = TypeVar("T")


@dataclass(frozen=True)
class Chunk:
    """The batches after `first_step` steps, n of them. `inputs` [n, batch, ...] as the network takes them (images are
    uint8), or their rows int32 [n, batch] when all inputs lie on the device already; `labels` int32 (or float32)
    [n, batch]; `draws`: what is done to images, None when they stay as they are."""

    first_step: int
    inputs: NDArray[Any]
    labels: NDArray[Any]
    draws: Draws | None = None

    def __len__(self) -> int:
        return len(self.labels)


class Batches:
    """Batches of `batch_size` examples of `split`, all full: they run on across the ends of epochs.

    Example number `step * batch_size + i` of the run is batch `step`'s example i; `step` counts from 0. Each epoch has
    every example once, in an order drawn from (seed, epoch), or in the split's own order without `shuffle`. With
    `rows_only` a chunk has the inputs' rows in place of the inputs. With `part` a chunk has only these of the
    `batch_size` examples of each batch: each of several workers reads its own.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        *,
        augmentation: Augmentation | None = None,
        rows_only: bool = False,
        part: slice = slice(None),
    ) -> None:
        self.split = split
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.augmentation = augmentation
        self.rows_only = rows_only
        self.part = part
        self._inputs = _view(split.inputs)
        self._labels = np.asarray(split.labels)
        self._orders: dict[int, NDArray[np.int64]] = {}

    @property
    def steps_per_epoch(self) -> float:
        return len(self.split) / self.batch_size

    def rows(self, step: int) -> NDArray[np.int64]:
        """int64 [batch_size]: rows of `split.inputs` of one batch."""
        return self._rows(step, 1)[0][0]

    def chunk(self, first_step: int, n_steps: int) -> Chunk:
        """Batches `first_step` to `first_step + n_steps - 1`."""
        rows, epochs = self._rows(first_step, n_steps)
        draws = self.augmentation.draw(first_step, rows, epochs) if self.augmentation else None
        if draws:
            draws = Draws(draws.transforms[:, self.part], draws.boxes[:, self.part])
        rows = rows[:, self.part]
        labels = np.take(self._labels, rows)
        inputs = rows.astype(np.int32) if self.rows_only else _take(self._inputs, rows)
        return Chunk(first_step, inputs, labels, draws)

    def _rows(self, first_step: int, n_steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """int64 [n_steps, batch_size] twice: rows, and the epoch of each."""
        n = len(self.split)
        position, end = first_step * self.batch_size, (first_step + n_steps) * self.batch_size
        rows, epochs = [], []
        while position < end:
            epoch, start = divmod(position, n)
            stop = min(n, start + end - position)
            rows.append(self._order(epoch)[start:stop])
            epochs.append(np.full(stop - start, epoch))
            position += stop - start
        shape = (n_steps, self.batch_size)
        return np.concatenate(rows).reshape(shape), np.concatenate(epochs).reshape(shape)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """int64 [n]: rows of `split.inputs` in the order of one epoch. The two latest are kept: chunks cross ends."""
        if not self.shuffle:
            return self.split.rows
        order = self._orders.get(epoch)
        if order is None:
            generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, epoch])))
            order = self.split.rows.copy()
            generator.shuffle(order)
            self._orders = {kept: rows for kept, rows in self._orders.items() if kept == epoch - 1} | {epoch: order}
        return order


def prefetch(batches: Batches, plan: Iterable[tuple[int, int]]) -> Iterator[Chunk]:
    """A chunk for each (first_step, n_steps) of `plan`, the next one read while one is used.

    An error in reading is raised where the chunk was due. Closing the iterator ends its thread.
    """
    return _read_ahead(partial(batches.chunk, first_step, n_steps) for first_step, n_steps in plan)


def iterate(split: Split, batch_size: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Every example once, in the split's order: inputs [b, ...] as the network takes them and labels [b]; the last
    batch may be short. The next one is read while one is used."""
    inputs, labels = _view(split.inputs), np.asarray(split.labels)

    def read(start: int) -> tuple[NDArray[Any], NDArray[Any]]:
        rows = split.rows[start : start + batch_size]
        return _take(inputs, rows), np.take(labels, rows)

    return _read_ahead(partial(read, start) for start in range(0, len(split), batch_size))


def _read_ahead(reads: Iterable[Callable[[], T]]) -> Iterator[T]:
    with ThreadPoolExecutor(1, thread_name_prefix="railcar-read") as reader:
        waiting = None
        for read in reads:
            following = reader.submit(read)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def _view(inputs: NDArray[Any] | EncodedImages) -> NDArray[Any] | EncodedImages:
    """A plain view of a memory map: taking rows of np.memmap itself costs a wrapper object for each call."""
    return np.asarray(inputs) if isinstance(inputs, np.ndarray) else inputs


def _take(inputs: NDArray[Any] | EncodedImages, rows: NDArray[np.int64]) -> NDArray[Any]:
    """[*rows.shape, ...]: `inputs` of these rows, of any shape."""
    return np.take(inputs, rows, axis=0) if isinstance(inputs, np.ndarray) else inputs[rows]
