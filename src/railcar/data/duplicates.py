"""Images that occur twice: the same, nearly the same, or the same under two labels. Pure functions of arrays.

Owns what counts as nearly the same. Who is told, and what follows from it, is the splits' business.

Near duplicates are found in two steps. A difference hash (128 bits: is each of 8 x 8 places lighter than its right, and
than its lower neighbour?) names candidates: two hashes that differ in few bits agree in all bits of one of a few bands,
so equal bands are looked up by sorting. A candidate counts when small copies of the two images match as well, each
without its local mean: plain figures (digits) are alike as a whole, but not in their fine detail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from railcar.data.decoding import EncodedImages

Images = Union[NDArray[np.uint8], "EncodedImages"]
N_PLACES = 9
N_BITS = 128
# The copies that are compared have 24 x 24 places; they match when the correlation of their detail is at least this. Of
# the 6e8 pairs of MNIST's two sides it lets one pass.
N_FINE = 24
MIN_CORRELATION = 0.96
# A place is lighter when it is by so much (of 0 to 255): noise on even ground changes no bit.
MIN_STEP = 1.5
# An image whose places differ less than this (of 0 to 255) is blank: nothing tells it from another blank one.
MIN_CONTRAST = 3.0
# Of more images in one bucket only neighbours are compared: time stays near-linear.
MAX_BUCKET = 12
BLOCK_BYTES = 1 << 23
N_ROWS = 1 << 11
_MAX_LENGTH = 64


def find_exact(hashes_a: NDArray[np.uint64], hashes_b: NDArray[np.uint64] | None = None) -> NDArray[np.int64]:
    """int64 [k, 2]: for each row of b whose hash occurs in a, the first such row of a, and it; ascending in b. Without
    b: each row whose hash came before, as (first row, it)."""
    known, first = np.unique(hashes_a, return_index=True)
    other = hashes_a if hashes_b is None else hashes_b
    if not len(known):
        return np.empty((0, 2), np.int64)
    at = np.searchsorted(known, other).clip(max=len(known) - 1)
    rows = np.flatnonzero(known[at] == other)
    pairs = np.stack([first[at[rows]], rows], axis=1).astype(np.int64)
    return pairs if hashes_b is not None else pairs[pairs[:, 0] != pairs[:, 1]]


def find_conflicts(hashes: NDArray[np.uint64], labels: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Groups of rows, int64 and ascending, that have one hash and at least two labels; in the order of first rows."""
    order = np.argsort(hashes, kind="stable")
    starts = np.flatnonzero(np.r_[True, hashes[order][1:] != hashes[order][:-1]]) if len(order) else np.empty(0, int)
    if not len(starts):
        return []
    low = np.minimum.reduceat(labels[order], starts)
    high = np.maximum.reduceat(labels[order], starts)
    stops = np.r_[starts[1:], len(order)]
    groups = [order[starts[i] : stops[i]].astype(np.int64) for i in np.flatnonzero(low != high)]
    return sorted(groups, key=lambda group: int(group[0]))


def find_near(images_a: Images, images_b: Images | None = None, limit: int = 8) -> NDArray[np.int64]:
    """int64 [k, 2]: rows of a and of b (without b: two rows of a, the lower first) that show nearly the same, sorted;
    those that are the same among them.

    Images are uint8 [n, height, width, channels] of one shape. `limit` is the number of bits of 128 that two hashes may
    differ in. Blank images are left out, and of very many candidates that look alike only some pairs are named.
    """
    if images_b is not None and images_a.shape[1:] != images_b.shape[1:]:
        raise ValueError(f"images of shape {images_a.shape[1:]} and {images_b.shape[1:]} cannot be compared")
    bits_a, fine_a, blank_a = _describe(images_a)
    bits_b, fine_b, blank_b = (bits_a, fine_a, blank_a) if images_b is None else _describe(images_b)
    pairs = _find_candidates(bits_a, bits_b, limit, is_same=images_b is None)
    pairs = pairs[~blank_a[pairs[:, 0]] & ~blank_b[pairs[:, 1]]]
    return pairs[_match(fine_a, fine_b, pairs)]


def _match(fine_a: NDArray[np.uint8], fine_b: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool [k]: which pairs agree in detail, too."""
    rows_a, at_a = np.unique(pairs[:, 0], return_inverse=True)
    rows_b, at_b = np.unique(pairs[:, 1], return_inverse=True)
    detail_a, detail_b = _take_detail(fine_a, rows_a), _take_detail(fine_b, rows_b)
    matched = np.empty(len(pairs), np.bool_)
    for start in range(0, len(pairs), N_ROWS):
        block = slice(start, start + N_ROWS)
        # half precision is for keeping them all; sums of it would not do
        a, b = detail_a[at_a[block]].astype(np.float32), detail_b[at_b[block]].astype(np.float32)
        matched[block] = np.einsum("np,np->n", a, b) >= MIN_CORRELATION
    return matched


def _describe(images: Images) -> tuple[NDArray[np.bool_], NDArray[np.uint8], NDArray[np.bool_]]:
    """Of each image: 128 bits, uint8 [n, 24, 24] of gray places, and whether it is blank."""
    n, height, width, channels = images.shape
    step_y, step_x = max(1, height // _MAX_LENGTH), max(1, width // _MAX_LENGTH)
    coarse = _averages((height - 1) // step_y + 1, (width - 1) // step_x + 1, N_PLACES)
    fine = _averages((height - 1) // step_y + 1, (width - 1) // step_x + 1, N_FINE)
    bits = np.empty((n, N_BITS), np.bool_)
    places = np.empty((n, N_FINE, N_FINE), np.uint8)
    blank = np.empty(n, np.bool_)
    n_rows = max(1, BLOCK_BYTES // (4 * height * width * channels // (step_y * step_x) + 1))
    for start in range(0, n, n_rows):
        rows = slice(start, min(start + n_rows, n))
        gray = images[rows][:, ::step_y, ::step_x].astype(np.float32)
        gray = gray[..., 0] if channels == 1 else gray @ np.full(channels, 1.0 / channels, np.float32)
        small = coarse[0] @ gray @ coarse[1]
        right = small[:, :-1, 1:] > small[:, :-1, :-1] + MIN_STEP
        down = small[:, 1:, :-1] > small[:, :-1, :-1] + MIN_STEP
        bits[rows] = np.concatenate([right, down], axis=1).reshape(-1, N_BITS)
        copies = fine[0] @ gray @ fine[1]
        blank[rows] = copies.std(axis=(1, 2)) < MIN_CONTRAST
        places[rows] = np.rint(copies)
    return bits, places, blank


def _take_detail(places: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.float16]:
    """float16 [n, 576] of mean 0 and length 1: of `rows`, each place less the mean of the 3 x 3 around it."""
    result = np.empty((len(rows), N_FINE * N_FINE), np.float16)
    for start in range(0, len(rows), N_ROWS):
        values = places[rows[start : start + N_ROWS]].astype(np.float32)
        padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
        tall = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
        detail = (values - (tall[..., :-2] + tall[..., 1:-1] + tall[..., 2:]) / 9.0).reshape(len(values), -1)
        detail -= detail.mean(axis=1, keepdims=True)
        result[start : start + N_ROWS] = detail / np.maximum(np.linalg.norm(detail, axis=1, keepdims=True), 1e-6)
    return result


def _averages(height: int, width: int, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrices [n, height] and [width, n] that average over areas."""
    return _average(height, n), np.ascontiguousarray(_average(width, n).T)


def _average(length: int, n: int) -> NDArray[np.float32]:
    """[n, length]: row i has the share that each of `length` pixels has in the i-th of n equal parts."""
    edges = np.linspace(0, length, n + 1)
    pixels = np.arange(length)
    shares = np.minimum(pixels + 1, edges[1:, None]) - np.maximum(pixels, edges[:-1, None])
    return (np.maximum(shares, 0.0) * n / length).astype(np.float32)


def _find_candidates(
    bits_a: NDArray[np.bool_], bits_b: NDArray[np.bool_], limit: int, *, is_same: bool
) -> NDArray[np.int64]:
    """Sorted pairs of rows whose bits differ in at most `limit` places: with `limit` + 1 bands one must be equal."""
    packed_a, packed_b = (np.packbits(bits, axis=1).view(np.uint64) for bits in (bits_a, bits_b))
    found = [np.empty(0, np.int64)]
    for band in range(limit + 1):
        # every so-many-th bit: neighbours in an image say much the same
        keys_a, keys_b = (_pack_band(bits[:, band :: limit + 1]) for bits in (bits_a, bits_b))
        for a, b in _join(keys_a, keys_b, is_same):
            differ = np.bitwise_count(packed_a[a] ^ packed_b[b]).sum(axis=1)
            near = differ <= limit
            found.append(a[near] * len(bits_b) + b[near])
    codes = np.unique(np.concatenate(found))
    return np.stack(np.divmod(codes, max(len(bits_b), 1)), axis=1)


def _pack_band(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """uint64 [n] that are equal only where the rows are (up to 64 bits; a mix of all bits above)."""
    from railcar.data.fingerprint import mix

    packed = np.packbits(bits, axis=1)
    padded = np.zeros((len(bits), -(-packed.shape[1] // 8) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    words = padded.view(np.uint64)
    keys = words[:, 0].copy()
    for column in range(1, words.shape[1]):
        keys = mix(keys) ^ words[:, column]
    return keys


def _join(
    keys_a: NDArray[np.uint64], keys_b: NDArray[np.uint64], is_same: bool
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of rows with equal keys, in blocks; of a bucket of many, only those near in the order of rows."""
    order = np.argsort(keys_b, kind="stable")
    rows_a = np.arange(len(keys_a))
    left = np.searchsorted(keys_b[order], keys_a, side="left")
    right = np.searchsorted(keys_b[order], keys_a, side="right")
    if is_same:  # each pair once, and none with itself
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        left = ranks + 1
    counts = np.minimum(right - left, MAX_BUCKET).clip(min=0)
    for offset in range(int(counts.max(initial=0))):
        rows = rows_a[counts > offset]
        yield rows, order[left[rows] + offset]
