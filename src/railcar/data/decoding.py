"""Encoded images (files, or parts of files) -> rows of pixels, on all cores.

Owns decoding a block of images, and `EncodedImages`, which stands where the pixels of all would be too many to keep:
it looks like an array and decodes the rows that are asked for. Bytes to pixels is `storage/images.py`'s, as in
prediction; sizes are changed by the same function as the model's own layer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from railcar.errors import DataError
from railcar.storage.images import (
    SUFFIX_FORMATS,
    ImageHeader,
    ImageTooLarge,
    decode_content,
    find_format,
    read_header,
    read_image_file,
)
from railcar.storage.local import write_atomic

if TYPE_CHECKING:
    from railcar.storage.stream import Stream

# Images that wait to be resized together.
PENDING_BYTES = 1 << 25
# Rows that one thread decodes at a time: few enough that a small batch is shared among all of them.
_MAX_PIECE = 32


class Encoded(NamedTuple):
    """One image: `name` is its id, `class_index` its label; the file's `n_bytes` from `offset` on, all of them when
    `n_bytes` is None."""

    name: str
    class_index: int
    path: str
    offset: int = 0
    n_bytes: int | None = None


class Known(NamedTuple):
    """What is known of an image before it is decoded: its header, or the bytes themselves."""

    header: ImageHeader | None = None
    content: bytes | None = None


class Seen(NamedTuple):
    """What decoding an image showed: the hash of its bytes, and `storage.images.REMARKS` on it; or why it is bad."""

    hash: int = 0
    remarks: tuple[str, ...] = ()
    bad: str = ""


_UNKNOWN = Known()


def decode_block(
    images: Sequence[Encoded],
    block: NDArray[np.uint8],
    *,
    fit: str = "stretch",
    known: Sequence[Known] = (),
    accept: Callable[[ImageHeader], None] | None = None,
) -> list[Seen]:
    """Fill `block` uint8 [n, height, width, channels] with `images`, resized with `fit` where they are of another size;
    what was seen of each. The rows of bad ones are left as they were.

    `accept` is called with each header that was read, and may raise. Raises `ImageTooLarge`.
    """
    pending: dict[tuple[int, ...], list[tuple[int, NDArray[np.uint8]]]] = {}
    n_pending, n_channels, shape = 0, block.shape[3], block.shape[1:]
    owner = block if block.base is None else block.base
    found = []
    for row, image in enumerate(images):
        header, content = known[row] if known else _UNKNOWN
        try:
            if content is None:
                content, header = read_content(image), None
            header = header or read_header(content, name=image.name)
            if accept:
                accept(header)
            pixels, remarks = decode_content(content, n_channels, name=image.name, header=header, buffer=block[row])
        except ImageTooLarge:
            raise
        except DataError as error:
            found.append(Seen(bad=explain_bad(image, error)))
            continue
        if pixels.shape != shape:
            pending.setdefault(pixels.shape, []).append((row, pixels))
            n_pending += pixels.nbytes
        elif pixels.base is not owner:  # else it was decoded right there
            block[row] = pixels
        if n_pending > PENDING_BYTES:
            _resize_into(block, pending, fit)
            n_pending = 0
        found.append(Seen(hash_content(content), ("misnamed", *remarks) if _is_misnamed(image, content) else remarks))
    _resize_into(block, pending, fit)
    return found


def read_content(image: Encoded) -> bytes:
    content, _ = read_image_file(image.path, offset=image.offset, n_bytes=image.n_bytes)
    return content


def explain_bad(image: Encoded, error: DataError) -> str:
    """Why, without the name, which is told beside it."""
    return error.what.removeprefix(f"{image.path}: ").removeprefix(f"{image.name}: ")


def hash_content(content: bytes) -> int:
    """64 bits of BLAKE2b: an image is known by its encoded bytes."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _is_misnamed(image: Encoded, content: bytes) -> bool:
    """Only a whole file has a suffix to be wrong."""
    if image.n_bytes is not None:
        return False
    named = SUFFIX_FORMATS.get(image.path[image.path.rfind(".") :].lower())
    return named is not None and named != find_format(content)


def _resize_into(
    block: NDArray[np.uint8], pending: dict[tuple[int, ...], list[tuple[int, NDArray[np.uint8]]]], fit: str
) -> None:
    """Those of one size together. Empties `pending`."""
    if not pending:
        return
    import tensorflow as tf

    from railcar.layers.images import resize_images

    with tf.device("CPU:0"):
        for group in pending.values():
            rows = [row for row, _ in group]
            images = np.stack([pixels for _, pixels in group])
            block[rows] = np.asarray(resize_images(images, block.shape[1:3], fit))
    pending.clear()


def count_threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _open_pool(process: int) -> ThreadPoolExecutor:
    """One for all; a process that was forked needs threads of its own."""
    return ThreadPoolExecutor(count_threads(), thread_name_prefix="railcar-decode")


@dataclass(frozen=True)
class Files:
    """Where images lie: `names` uint8, all paths one after the other (as bytes: a folder's name need not be UTF-8);
    `places` int64 [n, 4]: of each image where its path begins in that and how long it is, the offset in the file and
    the number of bytes (-1: to its end). Plain arrays, which are read without being loaded."""

    names: NDArray[np.uint8]
    places: NDArray[np.int64]

    @classmethod
    def make(cls, paths: Sequence[str], spans: Sequence[tuple[int, int | None]]) -> Files:
        """`spans` are offset and number of bytes, None for all that there are."""
        encoded = [os.fsencode(path) for path in paths]
        lengths = np.array([len(one) for one in encoded], np.int64)
        ends = np.cumsum(lengths)
        ranges = np.array([(at, -1 if n is None else n) for at, n in spans], np.int64).reshape(-1, 2)
        places = np.column_stack([ends - lengths, lengths, ranges])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), places)

    def take(self, rows: NDArray[np.integer[Any]]) -> list[Encoded]:
        found = []
        for start, length, offset, n_bytes in self.places[rows].tolist():
            path = os.fsdecode(self.names[start : start + length].tobytes())
            found.append(Encoded(path, 0, path, offset, None if n_bytes < 0 else n_bytes))
        return found


class PixelStore:
    """Pixels of images that were decoded once: `pixels` uint8 [n, height, width, channels], a file of the prepared
    data, and which of its rows are filled. That is written down when it is closed: a process that is killed leaves rows
    that are decoded once more."""

    def __init__(self, pixels: NDArray[np.uint8], path: Path | None = None) -> None:
        self.pixels = pixels
        self.filled = np.zeros(len(pixels), np.bool_) if path is None else np.load(path)
        self._path = path

    def close(self) -> None:
        if self._path is None:
            return
        known = np.load(self._path)
        if (self.filled & ~known).any():
            if isinstance(self.pixels, np.memmap):
                self.pixels.flush()
            content = BytesIO()
            np.save(content, self.filled | known)
            write_atomic(self._path, content.getvalue())


class EncodedImages:
    """Images that stay encoded, where they lie. Has the look of an array uint8 [n, height, width, channels], 0 to 255:
    `images[rows]` decodes these rows on all cores, and fails with `DataError` for a file that is not there any more, or
    is not what it was when the data was prepared.

    `files` says where, paths being names in `stream` where there is one; `hashes` uint64 [n] are those of the encoded
    bytes; `fit` is how those of another size are resized. With a `store` each image is decoded once.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        files: Files,
        image_shape: tuple[int, int, int],
        hashes: NDArray[np.uint64],
        *,
        fit: str = "stretch",
        stream: Stream | None = None,
        store: PixelStore | None = None,
    ) -> None:
        self.files = files
        self.hashes = hashes
        self.fit = fit
        self.stream = stream
        self.store = store
        self.shape = (len(files.places), *image_shape)

    @property
    def nbytes(self) -> int:
        """As pixels."""
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.uint8]:
        """uint8 [..., height, width, channels]: the images of `rows`, a number, a slice, a list, or an array of numbers
        of any shape [...]."""
        asked = np.asarray(rows if isinstance(rows, np.ndarray) else np.arange(len(self))[rows], np.int64)
        numbers = asked.ravel()
        pixels = self._decode(numbers) if self.store is None else self._take(numbers, self.store)
        return pixels.reshape(*asked.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of them decoded."""
        return self[:] if dtype is None else self[:].astype(dtype)

    def _take(self, numbers: NDArray[np.int64], store: PixelStore) -> NDArray[np.uint8]:
        """What is not in the store yet is decoded into it."""
        missing = np.unique(numbers[~store.filled[numbers]])
        if len(missing):
            store.pixels[missing] = self._decode(missing)
            store.filled[missing] = True
        return np.take(np.asarray(store.pixels), numbers, axis=0)

    def _decode(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        pixels = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        images = self.files.take(numbers)
        known = []
        if self.stream:
            contents = self.stream.read([(one.path, one.offset, one.n_bytes or 0) for one in images])
            known = [Known(content=content) for content in contents]
        size = min(_MAX_PIECE, max(1, -(-len(images) // (2 * count_threads()))))

        def decode(start: int) -> None:
            piece = slice(start, start + size)
            seen = decode_block(images[piece], pixels[piece], fit=self.fit, known=known[piece])
            for image, one, expected in zip(images[piece], seen, self.hashes[numbers[piece]].tolist(), strict=True):
                if one.bad or one.hash != expected:
                    raise self._explain(image, one)

        list(_open_pool(os.getpid()).map(decode, range(0, len(images), size)))
        return pixels

    def _explain(self, image: Encoded, seen: Seen) -> DataError:
        where = f"{self.stream.place / image.path}, byte {image.offset:,}" if self.stream else image.path
        return DataError(
            f"{where}: {seen.bad or 'not what it was when the data was prepared'}",
            hint="put it back as it was, then go on; or begin anew with the data as it is now",
        )

    @contextmanager
    def in_use(self, say: Callable[[str], None]) -> Iterator[None]:
        """As `Dataset.in_use`."""
        with self.stream.bringing(say) if self.stream else nullcontext():
            try:
                yield
            finally:
                if self.store:
                    self.store.close()

    def is_there(self) -> bool:
        """Whether the files are where they were, as far as the first and the last tell."""
        return self.stream is not None or all(Path(one.path).is_file() for one in self.files.take(np.array([0, -1])))
