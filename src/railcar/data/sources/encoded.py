"""Encoded images of any source (files, or parts of files) -> one uint8 array for each side, decoded on all cores.

Owns looking at headers, choosing one shape for all, decoding straight into the arrays, and the notes on what was
skipped or repaired. Where the images are found is each source's business, decoding is `storage/images.py`'s, as in
prediction; sizes are changed by the same function as the model's own layer.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from railcar.data.fingerprint import sum_block
from railcar.data.sources.blocks import BlockWriter
from railcar.data.types import RawSplit, ReadOptions
from railcar.errors import DataError
from railcar.storage.images import (
    REMARKS,
    SUFFIX_FORMATS,
    ImageHeader,
    ImageTooLarge,
    decode_content,
    find_format,
    read_header,
    read_image_file,
)

Item = TypeVar("Item")
MAX_SIZE = 224
MAX_NAMED = 5
CHUNK = 64
# A header is nearly always in the first part of a file; a file that ends within it is not read again, as long as all
# of those together are small.
HEAD_BYTES = 1 << 17
KEPT_BYTES = 1 << 28
# Images that wait to be resized together, and rows that are written together.
PENDING_BYTES = 1 << 25
BLOCK_BYTES = 1 << 20


class Encoded(NamedTuple):
    """One image: `name` is its id, `class_index` its label; the file's `n_bytes` from `offset` on, all of them when
    `n_bytes` is None."""

    name: str
    class_index: int
    path: str
    offset: int = 0
    n_bytes: int | None = None


@dataclass
class Notes:
    """What was skipped, with the reason, and what was repaired or accepted: key of `REMARKS` -> names."""

    bad: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)

    def remark(self, key: str, name: str) -> None:
        self.remarks.setdefault(key, []).append(name)

    def check(self, n_images: int, max_bad: float) -> None:
        """Raise `DataError` when more than the share `max_bad` of the images is bad."""
        if len(self.bad) <= max_bad * n_images:
            return
        name, reason = next(iter(self.bad.items()))
        raise DataError(
            f"{name}: {reason}; {len(self.bad):,} of {n_images:,} images cannot be read",
            hint=f"mend or remove them, or set data.max_bad to {min(1.0, len(self.bad) / n_images + 0.005):.2f}",
        )

    def describe(self) -> tuple[str, ...]:
        """One line each, with the number and the first names."""
        lines = [
            f"{count_images(len(self.remarks[key]))} {says[len(self.remarks[key]) > 1]}: {name_some(self.remarks[key])}"
            for key, says in REMARKS.items()
            if key in self.remarks
        ]
        if self.bad:
            named = "; ".join(f"{name}: {reason}" for name, reason in list(self.bad.items())[:MAX_NAMED])
            more = ", …" if len(self.bad) > MAX_NAMED else ""
            lines.append(f"skipped {len(self.bad):,} unreadable: {named}{more}")
        return tuple(lines)


def count_images(n: int) -> str:
    return "1 image" if n == 1 else f"{n:,} images"


def name_some(names: Sequence[str]) -> str:
    """The first names, for a note."""
    return ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")


def show_name(name: str) -> str:
    """A file's name in a form that can be printed and kept, whatever its bytes are."""
    return name.encode("utf-8", "backslashreplace").decode()


def is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_encoded(
    groups: dict[str, list[Encoded]], class_names: tuple[str, ...], options: ReadOptions, notes: Notes, *, where: str
) -> tuple[dict[str, RawSplit], tuple[str, ...]]:
    """The sides, images uint8 [n, height, width, 1 or 3], and lines for the user.

    Gray when every image is, else RGB. The size is `options.image_size`, else the images' own when they agree, else a
    square of the median side, at most 224. What `notes` calls bad already counts. Raises `DataError` for more
    unreadable images than `options.max_bad`, for one that is too large, and for a class left without images.
    """
    n_images = sum(map(len, groups.values())) + len(notes.bad)
    n_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(n_threads)
    try:
        looked = _look_at_all(pool, [one for group in groups.values() for one in group], options)
        for one in looked:
            if isinstance(one.header, str):
                notes.bad[one.image.name] = one.header
        notes.check(n_images, options.max_bad)
        size, channels, reason = _choose_shape([one.header for one in looked], options.image_size)
        sides, at = {}, 0
        for side, group in groups.items():
            seen = looked[at : at + len(group)]
            at += len(group)
            readable = [one for one in seen if not isinstance(one.header, str)]
            sides[side] = _read_side(pool, side, readable, (*size, channels), notes, options)
    finally:
        pool.shutdown(cancel_futures=True)
    notes.check(n_images, options.max_bad)
    _check_trained(where, sides, class_names)
    return {side: split for side, split in sides.items() if len(split.labels)}, (reason, *notes.describe())


class _Looked(NamedTuple):
    """An image with its header, or why it cannot be read; `content` when it was small enough to be kept."""

    image: Encoded
    header: ImageHeader | str
    content: bytes | None


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
            header = read_header(_read(image), name=image.name)
        return _Looked(image, header, content if is_whole else None)
    except ImageTooLarge:
        raise
    except DataError as error:
        return _Looked(image, _reason(image, error), None)


def _read(image: Encoded) -> bytes:
    content, _ = read_image_file(image.path, offset=image.offset, n_bytes=image.n_bytes)
    return content


def _reason(image: Encoded, error: DataError) -> str:
    return error.what.removeprefix(f"{image.path}: ").removeprefix(f"{image.name}: ")


def _choose_shape(
    headers: Iterable[ImageHeader | str], image_size: tuple[int, int] | None
) -> tuple[tuple[int, int], int, str]:
    """(height, width), channels, and the reason."""
    found = [header for header in headers if not isinstance(header, str)]
    channels = 1 if all(header.is_gray for header in found) else 3
    color = "gray" if channels == 1 else "RGB"
    if image_size is not None:
        return image_size, channels, f"images are {color}, {image_size[0]}x{image_size[1]}, as data.image_size says"
    sizes = {(header.height, header.width) for header in found}
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        if max(height, width) <= MAX_SIZE:
            return (height, width), channels, f"images are {color}, all of {height}x{width}"
    median = int(np.median([(height * width) ** 0.5 for height, width, *_ in found])) if found else MAX_SIZE
    side = max(8, min(MAX_SIZE, median))
    high = max(sizes, default=(0, 0))
    why = f"the median of sizes up to {high[0]}x{high[1]}" if len(sizes) > 1 else "all of one larger size"
    return (side, side), channels, f"images are {color}, resized to {side}x{side} ({why}; data.image_size changes it)"


def _read_side(
    pool: ThreadPoolExecutor,
    side: str,
    looked: list[_Looked],
    shape: tuple[int, int, int],
    notes: Notes,
    options: ReadOptions,
) -> RawSplit:
    """Decode into one array; rows of images that turn out bad are closed up.

    An example is known by its encoded bytes: what size and channels the others have must not move it to another side.
    """
    images = options.allocate(f"{side}.images", (len(looked), *shape))
    hashes = np.zeros(len(looked), np.uint64)
    sums = np.zeros((len(looked), shape[2], 2), np.int64)
    good = np.ones(len(looked), np.bool_)
    n_done = 0
    with BlockWriter(images) as rows:
        chunks = _chunks(range(len(looked)))
        for chunk in pool.map(lambda numbers: _decode_chunk(numbers, looked, rows, hashes, sums), chunks):
            for row, found in chunk:
                name = looked[row].image.name
                if isinstance(found, str):
                    notes.bad[name] = found
                    good[row] = False
                for key in found if not isinstance(found, str) else ():
                    notes.remark(key, name)
            n_done = min(n_done + CHUNK, len(looked))
            _report(options, f"reading {side} images", n_done, len(looked))
    kept = np.flatnonzero(good)
    _close_up(images, kept)
    labels = np.array([looked[row].image.class_index for row in kept], np.int32)
    names = [looked[row].image.name for row in kept]
    return RawSplit(images[: len(kept)], labels, names, hashes[kept], sums[kept])


Said = list[tuple[int, str | tuple[str, ...]]]
"""Of rows with something to say: remarks, or why the image is bad."""


def _decode_chunk(
    numbers: Sequence[int],
    looked: list[_Looked],
    rows: BlockWriter,
    hashes: NDArray[np.uint64],
    sums: NDArray[np.int64],
) -> Said:
    """Fill consecutive rows, their hashes and the sums of their pixels, a block that the processor's cache holds at a
    time."""
    said: Said = []
    shape = rows.images.shape[1:]
    n_block = max(1, BLOCK_BYTES // math.prod(shape))
    buffer = np.empty((min(n_block, len(numbers)), *shape), np.uint8)
    for start in range(numbers[0], numbers[-1] + 1, n_block):
        block = buffer[: numbers[-1] + 1 - start]
        _decode_block(start, block, looked, hashes, said)
        sums[start : start + len(block)] = sum_block(block)
        rows.write(start, block)
    return said


def _decode_block(
    start: int, block: NDArray[np.uint8], looked: list[_Looked], hashes: NDArray[np.uint64], said: Said
) -> None:
    pending: dict[tuple[int, ...], list[tuple[int, NDArray[np.uint8]]]] = {}
    n_pending = 0
    n_channels = block.shape[3]
    for number, target in enumerate(block):
        row = start + number
        image, header, content = looked[row]
        try:
            if content is None:
                content, header = _read(image), None
            known = None if isinstance(header, str) else header
            pixels, remarks = decode_content(content, n_channels, name=image.name, header=known, buffer=target)
        except ImageTooLarge:
            raise
        except DataError as error:
            said.append((row, _reason(image, error)))
            continue
        looked[row] = looked[row]._replace(content=None)
        hashes[row] = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
        if _is_misnamed(image, content):
            remarks = ("misnamed", *remarks)
        if remarks:
            said.append((row, remarks))
        if pixels.shape != target.shape:
            pending.setdefault(pixels.shape, []).append((number, pixels))
            n_pending += pixels.nbytes
        elif not np.may_share_memory(pixels, target):
            target[...] = pixels
        if n_pending > PENDING_BYTES:
            _resize_into(block, pending)
            n_pending = 0
    _resize_into(block, pending)


def _is_misnamed(image: Encoded, content: bytes) -> bool:
    """Only a whole file has a suffix to be wrong."""
    if image.n_bytes is not None:
        return False
    named = SUFFIX_FORMATS.get(image.path[image.path.rfind(".") :].lower())
    return named is not None and named != find_format(content)


def _resize_into(
    images: NDArray[np.uint8], pending: dict[tuple[int, ...], list[tuple[int, NDArray[np.uint8]]]]
) -> None:
    """Those of one size together. Empties `pending`."""
    if not pending:
        return
    from railcar.layers.images import resize_images

    for group in pending.values():
        rows = [row for row, _ in group]
        images[rows] = np.asarray(resize_images(np.stack([pixels for _, pixels in group]), images.shape[1:3]))
    pending.clear()


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
