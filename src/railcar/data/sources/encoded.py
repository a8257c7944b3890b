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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from railcar.data.decoding import Encoded, Known, count_threads, explain_bad, read_content
from railcar.data.sources.notes import Notes
from railcar.data.sources.reading import Reader, chunks, map_in_order, report
from railcar.data.types import RawSplit, ReadOptions
from railcar.errors import DataError
from railcar.storage.images import ImageHeader, ImageTooLarge, read_header, read_image_file

MAX_SIZE = 224
# A header is nearly always in the first part of a file; a file that ends within it is not read again, as long as all
# of those together are small.
HEAD_BYTES = 1 << 17
KEPT_BYTES = 1 << 28
# Headers that tell whether all images are of one shape.
N_SAMPLE = 256
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
    before = notes.copy()
    try:
        sides, lines = _read_at_once(groups, notes, options)
    except _GuessedWrong:
        notes.become(before)
        sides, lines = _look_and_read(groups, notes, options, n_images)
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
    groups: dict[str, list[Encoded]], notes: Notes, options: ReadOptions
) -> tuple[dict[str, RawSplit], tuple[str, ...]]:
    """Guess the shape from a sample and read. Raises `_GuessedWrong`."""
    images = [one for group in groups.values() for one in group]
    headers = [one.header for one in _look_at_all(images[:: max(1, len(images) // N_SAMPLE)]) if one.header]
    if not headers:
        raise _GuessedWrong
    shape = _shape_of(headers, options.image_size)
    sizes = {(one.height, one.width) for one in headers}
    is_uniform = sizes == {shape.image_shape[:2]}
    is_any_size = options.image_size is not None and not is_uniform
    if not is_any_size and len(sizes) > 1:
        raise _GuessedWrong

    def accept(header: ImageHeader) -> None:
        is_fitting = is_any_size or (header.height, header.width) in sizes
        if not is_fitting or (shape.image_shape[2] == 1 and not header.is_gray):
            raise _GuessedWrong

    return _read(shape, groups, None, notes, options, accept=accept, is_uniform=is_uniform)


def _look_and_read(
    groups: dict[str, list[Encoded]], notes: Notes, options: ReadOptions, n_images: int
) -> tuple[dict[str, RawSplit], tuple[str, ...]]:
    looked = _look_at_all([one for group in groups.values() for one in group], options)
    notes.bad |= {one.image.name: one.bad for one in looked if one.bad}
    notes.check(n_images, options.max_bad)
    shape = _shape_of([one.header for one in looked if one.header], options.image_size)
    readable, known, at = {}, {}, 0
    for side, group in groups.items():
        found = [one for one in looked[at : at + len(group)] if not one.bad]
        readable[side] = [one.image for one in found]
        known[side] = [Known(one.header, one.content) for one in found]
        at += len(group)
    looked.clear()  # the bytes are `known`'s alone, which lets go of them
    return _read(shape, readable, known, notes, options)


def _read(
    shape: Shape,
    groups: dict[str, list[Encoded]],
    known: dict[str, list[Known]] | None,
    notes: Notes,
    options: ReadOptions,
    **settings: Any,
) -> tuple[dict[str, RawSplit], tuple[str, ...]]:
    n_images = sum(map(len, groups.values()))
    keeps_pixels, why = choose_keeping(n_images * math.prod(shape.image_shape), shape.times, options)
    encoded = f"the images are kept encoded, and decoded while training: {why}"
    lines = (shape.reason,) if keeps_pixels else (shape.reason, encoded)
    reader = Reader(shape.image_shape, options, notes, n_images=n_images, keeps_pixels=keeps_pixels, **settings)
    return reader.read(groups, known), lines


class _Looked(NamedTuple):
    """An image with its header, or why it is bad; `content` when it was small enough to be kept."""

    image: Encoded
    header: ImageHeader | None = None
    content: bytes | None = None
    bad: str = ""


def _look_at_all(images: list[Encoded], options: ReadOptions | None = None) -> list[_Looked]:
    """The headers; the bar is only shown where there are `options`."""
    looked: list[_Looked] = []
    n_kept = 0
    with ThreadPoolExecutor(count_threads()) as pool:
        for chunk in map_in_order(pool, _look_at, chunks(images)):
            n_kept += sum(len(one.content) for one in chunk if one.content is not None)
            looked += chunk if n_kept <= KEPT_BYTES else [one._replace(content=None) for one in chunk]
            if options:
                report(options, "looking at images", len(looked), len(images))
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


def _check_trained(where: str, sides: dict[str, RawSplit], class_names: tuple[str, ...]) -> None:
    present = np.bincount(sides["train"].labels, minlength=len(class_names))
    missing = np.flatnonzero(present == 0)
    if len(missing):
        raise DataError(
            f"{where}: no image of the class {class_names[missing[0]]!r} can be read", hint="replace its images"
        )
