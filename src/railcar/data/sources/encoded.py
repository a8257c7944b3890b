"""Encoded images of any source (files, or parts of files) -> one array of pixels for each side; or, where those would
be too large, what stands for one.

Owns choosing one shape for all, and whether pixels are kept. Where the images are found is each source's business,
decoding is `decoding.py`'s. Either way each image is decoded once here: what cannot be read is known before a training
begins.

Images that seem to be of one shape, by a sample of their headers, are read in one go; when one differs, or where the
size must be chosen first, all headers are looked at before.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from railcar.data.decoding import (
    Encoded,
    EncodedImages,
    Files,
    Known,
    Seen,
    count_threads,
    decode_block,
    explain_bad,
    read_content,
)
from railcar.data.fingerprint import sum_block
from railcar.data.sources.blocks import BlockWriter
from railcar.data.sources.notes import Notes
from railcar.data.types import RawSplit, ReadOptions
from railcar.errors import DataError
from railcar.storage.images import ImageHeader, ImageTooLarge, read_header, read_image_file

Item = TypeVar("Item")
Done = TypeVar("Done")
MAX_SIZE = 224
CHUNK = 64
# A header is nearly always in the first part of a file; a file that ends within it is not read again, as long as all
# of those together are small.
HEAD_BYTES = 1 << 17
KEPT_BYTES = 1 << 28
# Rows that are written together: what a processor's cache holds.
BLOCK_BYTES = 1 << 20
# Headers that tell whether all images are of one shape.
N_SAMPLE = 256
# So many images tell the mean and the deviation of a set as well as all of them do.
N_SUMMED = 20_000
# Of images with so many times the pixels that are used, pixels are kept as long as the disk has room.
MUCH_LARGER = 4


def read_encoded(
    groups: dict[str, list[Encoded]], class_names: tuple[str, ...], options: ReadOptions, notes: Notes, *, where: str
) -> tuple[dict[str, RawSplit], tuple[str, ...]]:
    """The sides, images uint8 [n, height, width, 1 or 3] or `EncodedImages`, and lines for the user.

    Gray when every image is, else RGB. The size is `options.image_size`, else the images' own when they agree, else a
    square of the median side, at most 224. What `notes` calls bad already counts. Raises `DataError` for more
    unreadable images than `options.max_bad`, for one that is too large, and for a class left without images.
    """
    n_images = sum(map(len, groups.values())) + len(notes.bad)
    pool = ThreadPoolExecutor(count_threads())
    try:
        before = notes.copy()
        try:
            sides, lines = _read_at_once(pool, groups, notes, options)
        except _GuessedWrong:
            notes.become(before)
            sides, lines = _look_and_read(pool, groups, notes, options, n_images)
    finally:
        pool.shutdown(cancel_futures=True)
    notes.check(n_images, options.max_bad)
    _check_trained(where, sides, class_names)
    return {side: split for side, split in sides.items() if len(split.labels)}, (*lines, *notes.describe())


class _GuessedWrong(Exception):
    """Not all images are of the shape that a sample of them has."""


@dataclass(frozen=True)
class Shape:
    """What all images get: (height, width, channels), and why; and how many `times` as many pixels they have
    themselves."""

    image_shape: tuple[int, int, int]
    reason: str
    times: float


def _read_at_once(
    pool: ThreadPoolExecutor, groups: dict[str, list[Encoded]], notes: Notes, options: ReadOptions
) -> tuple[dict[str, RawSplit], tuple[str, ...]]:
    """Guess the shape from a sample and read. Raises `_GuessedWrong`."""
    images = [one for group in groups.values() for one in group]
    sample = images[:: max(1, len(images) // N_SAMPLE)]
    headers = [one.header for chunk in pool.map(_look_at, _chunks(sample)) for one in chunk if one.header]
    if not headers:
        raise _GuessedWrong
    shape = _shape_of(headers, options.image_size)
    sizes = {(one.height, one.width) for one in headers}
    is_any_size = options.image_size is not None
    if not is_any_size and len(sizes) > 1:
        raise _GuessedWrong

    def accept(header: ImageHeader) -> None:
        is_fitting = is_any_size or (header.height, header.width) in sizes
        if not is_fitting or (shape.image_shape[2] == 1 and not header.is_gray):
            raise _GuessedWrong

    reader = _Reader(pool, shape, notes, options, n_images=len(images), accept=accept)
    return {side: reader.read_side(side, group, []) for side, group in groups.items()}, reader.lines


def _look_and_read(
    pool: ThreadPoolExecutor, groups: dict[str, list[Encoded]], notes: Notes, options: ReadOptions, n_images: int
) -> tuple[dict[str, RawSplit], tuple[str, ...]]:
    looked = _look_at_all(pool, [one for group in groups.values() for one in group], options)
    notes.bad |= {one.image.name: one.bad for one in looked if one.bad}
    notes.check(n_images, options.max_bad)
    shape = _shape_of([one.header for one in looked if one.header], options.image_size)
    reader = _Reader(pool, shape, notes, options, n_images=len(looked))
    sides, at = {}, 0
    for side, group in groups.items():
        readable = [one for one in looked[at : at + len(group)] if not one.bad]
        known = [Known(one.header, one.content) for one in readable]
        for row in range(at, at + len(group)):
            looked[row] = _NOTHING
        sides[side] = reader.read_side(side, [one.image for one in readable], known)
        at += len(group)
    return sides, reader.lines


class _Looked(NamedTuple):
    """An image with its header, or why it is bad; `content` when it was small enough to be kept."""

    image: Encoded
    header: ImageHeader | None = None
    content: bytes | None = None
    bad: str = ""


_NOTHING = _Looked(Encoded("", 0, ""))


def _look_at_all(pool: ThreadPoolExecutor, images: list[Encoded], options: ReadOptions) -> list[_Looked]:
    looked: list[_Looked] = []
    n_kept = 0
    for chunk in pool.map(_look_at, _chunks(images)):
        n_kept += sum(len(one.content) for one in chunk if one.content is not None)
        looked += chunk if n_kept <= KEPT_BYTES else [one._replace(content=None) for one in chunk]
        _report(options, "looking at images", len(looked), len(images))
    return looked


def _look_at(images: Sequence[Encoded]) -> list[_Looked]:
    return [_look_at_one(image) for image in images]


def _look_at_one(image: Encoded) -> _Looked:
    try:
        n_bytes = min(HEAD_BYTES, image.n_bytes) if image.n_bytes is not None else HEAD_BYTES
        content, is_end = read_image_file(image.path, offset=image.offset, n_bytes=n_bytes)
        is_whole = is_end or n_bytes == image.n_bytes
        try:
            header = read_header(content, name=image.name)
        except ImageTooLarge:
            raise
        except DataError:
            if is_whole:
                raise
            header = read_header(read_content(image), name=image.name)
        return _Looked(image, header, content if is_whole else None)
    except ImageTooLarge:
        raise
    except DataError as error:
        return _Looked(image, bad=explain_bad(image, error))


def choose_shape(
    heights: NDArray[Any], widths: NDArray[Any], is_gray: NDArray[np.bool_], image_size: tuple[int, int] | None
) -> Shape:
    """For images [n] of these sizes in pixels: gray when all are, of `image_size`, else of the size that all have, else
    a square of the median side, at most 224."""
    channels = 1 if is_gray.all() else 3
    color = "gray" if channels == 1 else "RGB"
    n_pixels = heights.astype(np.int64) * widths.astype(np.int64)

    def shape(size: tuple[int, int], reason: str) -> Shape:
        times = float(n_pixels.mean()) / math.prod(size) if len(n_pixels) else 1.0
        return Shape((*size, channels), f"images are {color}, {reason}", times)

    if image_size is not None:
        return shape(image_size, f"{image_size[0]}x{image_size[1]}, as data.image_size says")
    sizes = np.unique(np.stack([heights, widths], axis=1), axis=0)
    if len(sizes) == 1:
        height, width = sizes[0].tolist()
        if max(height, width) <= MAX_SIZE:
            return shape((height, width), f"all of {height}x{width}")
    median = int(np.median(np.sqrt(n_pixels))) if len(n_pixels) else MAX_SIZE
    side = max(8, min(MAX_SIZE, median))
    high = sizes[-1].tolist() if len(sizes) else (0, 0)
    why = f"the median of sizes up to {high[0]}x{high[1]}" if len(sizes) > 1 else "all of one larger size"
    return shape((side, side), f"resized to {side}x{side} ({why}; data.image_size changes it)")


def _shape_of(headers: Sequence[ImageHeader], image_size: tuple[int, int] | None) -> Shape:
    found = np.array([header[:3] for header in headers], np.int64).reshape(-1, 3)
    return choose_shape(found[:, 0], found[:, 1], found[:, 2] > 0, image_size)


def choose_keeping(n_bytes: int, times: float, options: ReadOptions) -> tuple[bool, str]:
    """Whether pixels of `n_bytes` in all are kept, and the reason for not keeping them. The files have `times` as many
    pixels: much larger ones are not decoded anew in each epoch, as long as the disk has room."""
    room = options.room
    if options.keep != "auto":
        return options.keep == "pixels", "as data.keep says"
    if room is None:
        return True, ""
    size = f"as pixels they would take {n_bytes / 1e9:.1f} GB"
    if n_bytes > room.disk_bytes / 2:
        return False, f"{size}, more than half of the free disk"
    if n_bytes > room.memory_bytes / 4 and times < MUCH_LARGER:
        return False, f"{size}, more than a quarter of the memory"
    return True, ""


class _Reader:
    """Reads sides, all of one shape."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        shape: Shape,
        notes: Notes,
        options: ReadOptions,
        *,
        n_images: int,
        accept: Callable[[ImageHeader], None] | None = None,
    ) -> None:
        self._pool, self._notes, self._options, self._accept = pool, notes, options, accept
        self._shape = shape.image_shape
        self._sum_every = max(1, n_images // N_SUMMED)
        self._keeps_pixels, why = choose_keeping(n_images * math.prod(self._shape), shape.times, options)
        encoded = f"the images are kept encoded, and decoded while training: {why}"
        self.lines = (shape.reason,) if self._keeps_pixels else (shape.reason, encoded)

    def read_side(self, side: str, images: list[Encoded], known: list[Known]) -> RawSplit:
        """Decode all; rows of images that turn out bad are closed up.

        An example is known by its encoded bytes: what size and channels the others have must not move it to another
        side. `known` is emptied on the way.
        """
        n, shape = len(images), self._shape
        pixels = self._options.allocate(f"{side}.images", (n, *shape)) if self._keeps_pixels else None
        hashes, sums = np.zeros(n, np.uint64), np.full((n, shape[2], 2), -1)
        good = np.ones(n, np.bool_)
        with BlockWriter(np.empty((0, *shape), np.uint8) if pixels is None else pixels) as rows:

            def decode(numbers: Sequence[int]) -> list[tuple[int, Seen]]:
                return self._decode_chunk(numbers, images, known, rows if pixels is not None else None, hashes, sums)

            n_done = 0
            for said in _map(self._pool, decode, _chunks(range(n))):
                for row, one in said:
                    if one.bad:
                        self._notes.bad[images[row].name] = one.bad
                        good[row] = False
                    for key in one.remarks:
                        self._notes.remark(key, images[row].name)
                n_done = min(n_done + CHUNK, n)
                _report(self._options, f"reading {side} images", n_done, n)
        kept = np.flatnonzero(good)
        left = images if len(kept) == n else [images[row] for row in kept]
        labels = np.array([one.class_index for one in left], np.int32)
        names = [one.name for one in left]
        hashes, sums = hashes[kept], sums[kept]
        if pixels is None:
            files = Files.make([os.path.abspath(one.path) for one in left], [one[3:] for one in left])  # noqa: PTH100
            return RawSplit(EncodedImages(files, shape, hashes, fit=self._options.fit), labels, names, hashes, sums)
        _close_up(pixels, kept)
        return RawSplit(pixels[: len(kept)], labels, names, hashes, sums)

    def _decode_chunk(
        self,
        numbers: Sequence[int],
        images: list[Encoded],
        known: list[Known],
        rows: BlockWriter | None,
        hashes: NDArray[np.uint64],
        sums: NDArray[np.int64],
    ) -> list[tuple[int, Seen]]:
        """Fill consecutive rows, their hashes and the sums of the pixels of some, a block that the processor's cache
        holds at a time. Rows with something to say: remarks, or why the image is bad."""
        first, end = numbers[0], numbers[-1] + 1
        n_block = min(max(1, BLOCK_BYTES // math.prod(self._shape)), end - first)
        buffer = np.empty((n_block, *self._shape), np.uint8)
        said: list[tuple[int, Seen]] = []
        for start in range(first, end, n_block):
            stop = min(start + n_block, end)
            block = buffer[: stop - start]
            seen = decode_block(
                images[start:stop], block, fit=self._options.fit, known=known[start:stop], accept=self._accept
            )
            if known:
                known[start:stop] = [Known()] * len(seen)
            hashes[start:stop] = [one.hash for one in seen]
            if len(summed := block[-start % self._sum_every :: self._sum_every]):
                sums[start:stop][-start % self._sum_every :: self._sum_every] = sum_block(summed)
            if rows is not None:
                rows.write(start, block)
            said += [(row, one) for row, one in enumerate(seen, start) if one.bad or one.remarks]
        return said


def _map(pool: ThreadPoolExecutor, work: Callable[[Item], Done], items: Iterable[Item]) -> Iterator[Done]:
    """In order, as `pool.map`; when one fails it waits for those under way, so that nobody writes any more."""
    futures = deque(pool.submit(work, one) for one in items)
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


def _check_trained(where: str, sides: dict[str, RawSplit], class_names: tuple[str, ...]) -> None:
    present = np.bincount(sides["train"].labels, minlength=len(class_names))
    missing = np.flatnonzero(present == 0)
    if len(missing):
        raise DataError(
            f"{where}: no image of the class {class_names[missing[0]]!r} can be read", hint="replace its images"
        )


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def _report(options: ReadOptions, what: str, n_done: int, n: int) -> None:
    progress: Callable[[str, int, int], None] | None = options.progress
    if progress:
        progress(what, n_done, n)
