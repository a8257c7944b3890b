"""Numbers that stand for content: a hash and the pixel sums of each example, and the fingerprint of a whole source.

Vectorised: 60,000 images of 28x28 take about a tenth of a second. Knows nothing of files.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 1 << 20
SUM_BYTES = 1 << 18
THREADED_BYTES = 1 << 26
WORD_BYTES = 8
# Odd constants of the splitmix64 generator (Steele, Lea and Flood, 2014): each step below is a bijection of 64 bits.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser: uint64 of any shape to uint64 that looks drawn at random."""
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def hash_examples(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint64 [n]: a hash of each example's bytes; equal images have equal hashes wherever they stand.

    Each 8-byte word is mixed with two keys of its position, and the results are added.
    """
    n = len(images)
    n_bytes = int(np.prod(images.shape[1:]))
    n_words = -(-n_bytes // WORD_BYTES)
    keys = mix((np.arange(n_words, dtype=np.uint64) + np.uint64(1)) * _GOLDEN)
    factors = mix(keys) | np.uint64(1)
    hashes = np.empty(n, np.uint64)
    n_rows = max(1, BLOCK_BYTES // max(n_bytes, 1))
    padded = np.zeros((n_rows, n_words * WORD_BYTES), np.uint8)
    spare = np.empty((n_rows, n_words), np.uint64)
    for start in range(0, n, n_rows):
        stop = min(start + n_rows, n)
        padded[: stop - start, :n_bytes] = images[start:stop].reshape(stop - start, n_bytes)
        words, shifted = padded[: stop - start].view("<u8") ^ keys, spare[: stop - start]
        words *= _MIX_1
        np.right_shift(words, np.uint64(32), out=shifted)
        words ^= shifted
        words *= factors
        hashes[start:stop] = words.sum(axis=1, dtype=np.uint64)
    return mix(hashes)


def sum_pixels(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 [n, channels, 2]: for each example and channel the sum of its pixels and of their squares. Of tall images
    not every line counts (`find_line_step`)."""
    images = images[:, :: find_line_step(images.shape[1])]
    n, height, width, channels = images.shape
    sums = np.empty((n, channels, 2), np.int64)
    n_rows = max(1, SUM_BYTES // (height * width * channels))
    starts = range(0, n, n_rows)

    def sum_rows(start: int) -> None:
        sums[start : start + n_rows] = _sum_block(images[start : start + n_rows])

    if images.nbytes < THREADED_BYTES:
        for start in starts:
            sum_rows(start)
    else:  # NumPy does all of this without the interpreter's lock
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(sum_rows, starts))
    return sums


def find_line_step(height: int) -> int:
    """Of images with so many lines, the first of each so many is summed: 56 or more tell the mean and the deviation of
    a data set as well as all of them do."""
    return max(1, height // 56)


def count_summed(height: int, width: int) -> int:
    """Pixels of an image and channel that `sum_pixels` sums."""
    return -(-height // find_line_step(height)) * width


def sum_block(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """As `sum_pixels`, of images that the processor's cache holds."""
    return _sum_block(images[:, :: find_line_step(images.shape[1])])


def _sum_block(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[n, channels, 2] whole numbers. Columns first, all channels of a row in one run: that is what a processor's wide
    instructions take. Their sums stay below 2^24, which float32 holds exactly; above that, float64 holds any that fit
    into memory."""
    n, height, width, channels = images.shape
    kind = np.float32 if height * 255**2 < 2**24 else np.float64
    block = images.reshape(n, height, width * channels).astype(kind)
    columns = (block.sum(axis=1), np.einsum("nhk,nhk->nk", block, block))
    totals = [column.reshape(n, width, channels).sum(axis=1, dtype=np.float64) for column in columns]
    return np.stack(totals, axis=2)


def mean_and_std(sums: NDArray[np.int64], n_pixels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, 0 to 255, from the rows of `sum_pixels`; `n_pixels` an image and
    channel."""
    total = sums.sum(axis=0).astype(np.float64) / (len(sums) * n_pixels)
    mean = total[:, 0]
    std = np.sqrt(np.maximum(total[:, 1] - mean**2, 0.0))
    return tuple(mean.tolist()), tuple(std.tolist())


def fingerprint_content(
    class_names: tuple[str, ...],
    sides: dict[str, tuple[tuple[int | str, ...], NDArray[np.uint64], NDArray[np.int32] | NDArray[np.float32]]],
) -> str:
    """A short hexadecimal hash of class names and, for each side, the examples' shape, hashes and labels, in order."""
    digest = hashlib.blake2b(repr(class_names).encode(), digest_size=16)
    for name in sorted(sides):
        shape, hashes, labels = sides[name]
        digest.update(repr((name, shape)).encode())
        digest.update(np.ascontiguousarray(hashes).astype("<u8", copy=False).data)
        kind = "<f4" if labels.dtype.kind == "f" else "<i4"
        digest.update(np.ascontiguousarray(labels).astype(kind, copy=False).data)
    return digest.hexdigest()
