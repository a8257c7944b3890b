"""Images whose shape is settled -> pixels, or what stands for them, with all that is noted on the way.

Owns how the work is shared among the cores: by forked processes where little but Python and libjpeg is at work, as with
thousands of small files, else by threads. Which images there are and what shape they get is `encoded.py`'s.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from railcar.data.decoding import Encoded, EncodedImages, Files, Known, Seen, count_threads, decode_block
from railcar.data.fingerprint import sum_block
from railcar.data.forks import Forks, may_fork
from railcar.data.sources.blocks import BlockWriter
from railcar.data.sources.notes import Notes
from railcar.data.types import RawSplit, ReadOptions
from railcar.storage.images import ImageHeader

Item = TypeVar("Item")
Done = TypeVar("Done")
CHUNK = 64
# What is handed over at a time: so many pixels' bytes as tell soon enough how far it is, and not more images than that.
PIECE_BYTES = 1 << 25
MAX_PIECE = 256
# Rows that are decoded and written together: what the cache of one core holds.
BLOCK_BYTES = 1 << 17
# So many images tell the mean and the deviation of a set as well as all of them do.
N_SUMMED = 4_000
# Fewer are read before processes are forked.
N_WORTH_FORKING = 1_000


class Piece(NamedTuple):
    """Images `first` to `stop` of the side with this number."""

    side: int
    first: int
    stop: int


class Read(NamedTuple):
    """What came of a piece: hashes uint64 [n], sums int64 [n, channels, 2] (-1 where none were taken), and the rows
    with something to say: remarks, or why the image is bad."""

    piece: Piece
    hashes: NDArray[np.uint64]
    sums: NDArray[np.int64]
    said: list[tuple[int, Seen]]


@dataclass
class _Side:
    """`known` is emptied on the way. `pixels` uint8 [n, height, width, channels] unless images stay encoded."""

    name: str
    images: list[Encoded]
    known: list[Known]
    pixels: NDArray[np.uint8] | None
    rows: BlockWriter | None = None


class Reader:
    """Reads sides, all of the shape `image_shape`.

    `accept` is called with each header that is read, and may raise. `is_uniform`: all are of this size themselves, as
    `accept` sees to.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        options: ReadOptions,
        notes: Notes,
        *,
        n_images: int,
        keeps_pixels: bool,
        accept: Callable[[ImageHeader], None] | None = None,
        is_uniform: bool = False,
    ) -> None:
        self._shape, self._options, self._notes, self._accept = image_shape, options, notes, accept
        self._n_images, self._keeps_pixels, self._is_uniform = n_images, keeps_pixels, is_uniform
        self._sum_every = max(1, n_images // N_SUMMED)
        self._sides: list[_Side] = []

    def read(
        self, groups: dict[str, list[Encoded]], known: dict[str, list[Known]] | None = None
    ) -> dict[str, RawSplit]:
        """Decode all; rows of images that turn out bad are closed up.

        An example is known by its encoded bytes: what size and channels the others have must not move it to another
        side. `known` is emptied on the way.
        """
        with ExitStack() as stack:
            for name, images in groups.items():
                side = _Side(name, images, known[name] if known else [], None)
                if self._keeps_pixels:
                    side.pixels = self._options.allocate(f"{name}.images", (len(images), *self._shape))
                    side.rows = stack.enter_context(BlockWriter(side.pixels))
                self._sides.append(side)
            found = self._read_all()
        return {side.name: self._gather(number, side, found[number]) for number, side in enumerate(self._sides)}

    def _read_all(self) -> list[list[Read]]:
        """Of each side, its pieces in order."""
        if self._is_worth_forking():
            before = self._notes.copy()
            try:
                with Forks(self._decode, count_threads()) as forks:
                    return self._read_with(forks)
            except (OSError, BrokenProcessPool):  # the system has no room for them, or no patience
                self._notes.become(before)
        with ThreadPoolExecutor(count_threads()) as threads:
            return self._read_with(threads)

    def _is_worth_forking(self) -> bool:
        """What has to be resized is TensorFlow's, which no fork knows; what is written must be a file."""
        is_writable = all(side.rows is None or side.rows.is_file for side in self._sides)
        is_many = self._n_images >= N_WORTH_FORKING and count_threads() > 1
        return self._is_uniform and is_many and is_writable and may_fork()

    def _read_with(self, executor: Executor) -> list[list[Read]]:
        found: list[list[Read]] = [[] for _ in self._sides]
        for read in map_in_order(executor, self._decode, self._cut()):
            number, _, stop = read.piece
            side = self._sides[number]
            found[number].append(read)
            for row, one in read.said:
                if one.bad:
                    self._notes.bad[side.images[row].name] = one.bad
                for key in one.remarks:
                    self._notes.remark(key, side.images[row].name)
            report(self._options, f"reading {side.name} images", stop, len(side.images))
        return found

    def _cut(self) -> Iterator[Piece]:
        size = min(max(1, PIECE_BYTES // math.prod(self._shape)), MAX_PIECE)
        for number, side in enumerate(self._sides):
            n = len(side.images)
            yield from (Piece(number, first, min(first + size, n)) for first in range(0, n, size))

    def _decode(self, piece: Piece) -> Read:
        """Fill rows, a block that the processor's cache holds at a time."""
        number, first, end = piece
        side = self._sides[number]
        n_block = min(max(1, BLOCK_BYTES // math.prod(self._shape)), end - first)
        buffer = np.empty((n_block, *self._shape), np.uint8)
        hashes, said = np.zeros(end - first, np.uint64), []
        sums = np.full((end - first, self._shape[2], 2), -1)
        for start in range(first, end, n_block):
            stop = min(start + n_block, end)
            block, known = buffer[: stop - start], side.known[start:stop]
            seen = decode_block(side.images[start:stop], block, fit=self._options.fit, known=known, accept=self._accept)
            if known:
                side.known[start:stop] = [Known()] * len(seen)
            hashes[start - first : stop - first] = [one.hash for one in seen]
            skipped = -start % self._sum_every
            if len(summed := block[skipped :: self._sum_every]):
                sums[start - first : stop - first][skipped :: self._sum_every] = sum_block(summed)
            if side.rows is not None:
                side.rows.write(start, block)
            said += [(row, one) for row, one in enumerate(seen, start) if one.bad or one.remarks]
        return Read(piece, hashes, sums, said)

    def _gather(self, number: int, side: _Side, found: list[Read]) -> RawSplit:
        n, images, pixels = len(side.images), side.images, side.pixels
        good = np.ones(n, np.bool_)
        good[[row for read in found for row, one in read.said if one.bad]] = False
        kept = np.flatnonzero(good)
        left = images if len(kept) == n else [images[row] for row in kept]
        labels = np.array([one.class_index for one in left], np.int32)
        names = [one.name for one in left]
        nothing = Read(Piece(number, 0, 0), np.zeros(0, np.uint64), np.zeros((0, self._shape[2], 2), np.int64), [])
        hashes = np.concatenate([read.hashes for read in [nothing, *found]])[kept]
        sums = np.concatenate([read.sums for read in [nothing, *found]])[kept]
        if pixels is None:
            files = Files.make([_make_absolute(one.path) for one in left], [one[3:] for one in left])
            return RawSplit(
                EncodedImages(files, self._shape, hashes, fit=self._options.fit), labels, names, hashes, sums
            )
        _close_up(pixels, kept)
        return RawSplit(pixels[: len(kept)], labels, names, hashes, sums)


def _make_absolute(path: str) -> str:
    return path if path[0] == os.sep else os.path.abspath(path)  # noqa: PTH100  of thousands, that takes long


def map_in_order(executor: Executor, work: Callable[[Item], Done], items: Iterable[Item]) -> Iterator[Done]:
    """As `executor.map`; when one fails it waits for those under way, so that nobody writes any more."""
    futures = deque(executor.submit(work, one) for one in items)
    try:
        while futures:
            yield futures.popleft().result()
    finally:
        for one in futures:
            one.cancel()
        wait(futures)


def _close_up(images: NDArray[np.uint8], kept: NDArray[np.int64]) -> None:
    """Move the kept rows to the front, in order."""
    first = int(np.argmax(kept != np.arange(len(kept)))) if len(kept) and kept[-1] != len(kept) - 1 else len(kept)
    for start in range(first, len(kept), CHUNK):
        rows = kept[start : start + CHUNK]
        images[start : start + len(rows)] = images[rows]


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def report(options: ReadOptions, what: str, n_done: int, n: int) -> None:
    if options.progress:
        options.progress(what, n_done, n)
