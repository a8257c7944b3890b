"""Bytes of digits, commas and newlines -> uint8, at a gigabyte a second on two cores, with NumPy alone.

Owns the fast way for the plain form (fields of one to three digits, 0 to 255, as many on each line). Declines all
else: finding the words for a fault is the careful reader's business, in `csv.py`.

How: blocks of whole lines that fit the cache; in a block, byte-wide operations compute at each position the number
that ends there, and the positions of separators pick the numbers out. Every property that this rests on is checked.
"""

from __future__ import annotations

import mmap
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from railcar.data.decoding import count_threads

BLOCK_BYTES = 1 << 20
COMMA, NEWLINE, ZERO = 44, 10, 48


class Scratch(threading.local):
    """Buffers of one thread, as long as the longest block: reused, so that they stay in the cache."""

    def __init__(self, n_bytes: int) -> None:
        self.is_separator = np.empty(n_bytes, np.bool_)
        self.bytes = np.empty((5, n_bytes), np.uint8)


def parse_digits(content: bytes | mmap.mmap, start: int, n_fields: int) -> NDArray[np.uint8] | None:
    """uint8 [n_lines, n_fields] of `content` from `start` on, or None when it is not of the plain form throughout."""
    view = np.frombuffer(content, np.uint8)
    cuts = _cut_at_lines(content, start)
    longest = max((stop - begin for begin, stop in pairwise(cuts)), default=0)
    if longest == 0 or longest > BLOCK_BYTES + 8 * n_fields:
        return None
    scratch = Scratch(longest + 1)
    blocks = [_close_line(view[begin:stop]) for begin, stop in pairwise(cuts)]
    with ThreadPoolExecutor(count_threads()) as pool:
        ends = list(pool.map(lambda block: np.flatnonzero(block == NEWLINE), blocks))
        first_rows = np.concatenate([[0], np.cumsum([len(found) for found in ends])]).tolist()
        table = np.empty((first_rows[-1], n_fields), np.uint8)

        def parse(number: int) -> bool:
            rows = table[first_rows[number] : first_rows[number + 1]]
            return _parse_block(blocks[number], ends[number], rows, scratch)

        for parsed in pool.map(parse, range(len(blocks))):
            if not parsed:
                pool.shutdown(cancel_futures=True)
                return None
    return table


def _cut_at_lines(content: bytes | mmap.mmap, start: int) -> list[int]:
    """Where blocks begin and end: after newlines, about `BLOCK_BYTES` apart. Blank lines at the end are left out."""
    stop = len(content)
    while stop - start > 1 and content[stop - 2 : stop] == b"\n\n":
        stop -= 1
    cuts = [start]
    while cuts[-1] < stop:
        found = content.find(b"\n", cuts[-1] + BLOCK_BYTES, stop)
        cuts.append(found + 1 if found >= 0 else stop)
    return cuts


def _close_line(block: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The block with a newline at its end: the last line of a file may lack one."""
    return block if block[-1] == NEWLINE else np.append(block, np.uint8(NEWLINE))


def _parse_block(block: NDArray[np.uint8], ends: NDArray[np.intp], rows: NDArray[np.uint8], scratch: Scratch) -> bool:
    """Fill `rows` [n_lines, n_fields] from `block`, whose newlines are at `ends`; False when it is not plain."""
    n = len(block)
    is_separator = np.equal(block, COMMA, out=scratch.is_separator[:n])
    is_separator[ends] = True
    keep, digit, spare, pair, number = (buffer[:n] for buffer in scratch.bytes)
    np.subtract(is_separator.view(np.uint8), 1, out=keep)  # 255 at digits, 0 at separators
    np.subtract(block, ZERO, out=digit)
    digit &= keep
    if digit.max() > 9 or not _has_plain_fields(is_separator):
        return False
    # `pair` is this digit and the one before it; then only where a third digit follows, which is where it counts.
    np.multiply(digit, 10, out=spare)
    pair[0] = digit[0]
    np.add(digit[1:], spare[:-1], out=pair[1:])
    pair &= keep
    np.bitwise_and(pair[:-1], keep[1:], out=spare[1:])
    spare[0] = 0
    if spare.max() > 25:
        return False
    np.multiply(spare, 10, out=pair)
    np.add(pair, digit, out=number)
    if np.count_nonzero(np.less(number, pair, out=keep.view(np.bool_))):  # 256 to 259 wrapped
        return False
    separators = np.flatnonzero(is_separator)
    if len(separators) != rows.size or not np.array_equal(separators[rows.shape[1] - 1 :: rows.shape[1]], ends):
        return False
    # A field's number stands one before its separator: look there by a view that begins one earlier.
    np.take(scratch.bytes.reshape(-1)[4 * scratch.bytes.shape[1] - 1 :], separators, out=rows.reshape(-1), mode="clip")
    return True


def _has_plain_fields(is_separator: NDArray[np.bool_]) -> bool:
    """Whether each field has one to three bytes, by the separators' bits, 64 at a time."""
    n_words = -(-len(is_separator) // 64)
    packed = np.zeros(n_words * 8, np.uint8)
    bits = np.packbits(is_separator, bitorder="little")
    packed[: len(bits)] = bits
    words = packed.view("<u8")
    # before[k]: the separators k bytes earlier. The byte before the block counts as one: a line begins there.
    carried = np.concatenate([np.array([1 << 63], np.uint64), words[:-1]])
    before = [(words << np.uint64(k)) | (carried >> np.uint64(64 - k)) for k in (1, 2, 3)]
    is_short = (words & before[0]).any()
    runs = ~(words | before[0] | before[1] | before[2])
    # Beyond the block's end there are no separators, and no fields either.
    n_last = len(is_separator) - (n_words - 1) * 64
    if n_last < 64:
        runs[-1] &= np.uint64((1 << n_last) - 1)
    return not is_short and not runs.any()
