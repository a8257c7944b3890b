"""What data looks like between a source and a model: plain frozen records, no reading and no TensorFlow.

RawData     what a source read           sides as the source has them, class names, warnings
Prepared    the same, on disk            memory-mapped, fingerprinted, reused
Split       one side of a Prepared       rows into the memory map: nothing is copied
Dataset     the three splits a run uses  train, validation, test, and what the model must know of them
ReadOptions what a reader is told        sizes, limits, and where large arrays may go
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Progress = Callable[[str, int, int], None]
"""Called as work goes on, with what is done ("reading images"), how many are done, and of how many."""

Allocate = Callable[[str, tuple[int, ...]], NDArray[np.uint8]]
"""Makes a uint8 array of the given name and shape, in memory or on the disk."""


def allocate_in_memory(name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An empty uint8 array; `name` is for allocators that make files."""
    return np.empty(shape, np.uint8)


@dataclass(frozen=True)
class ReadOptions:
    """What a reader is told. `image_size` is (height, width) in pixels, `max_bad` the share of unreadable examples
    that is skipped, `label` the column of the labels (csv); `allocate` gives readers of large data their arrays."""

    image_size: tuple[int, int] | None = None
    max_bad: float = 0.01
    label: str | None = None
    progress: Progress | None = None
    allocate: Allocate = allocate_in_memory


@dataclass(frozen=True)
class RawSplit:
    """`images` uint8 [n, height, width, channels] (0 to 255), `labels` int32 [n] (indices of class names).

    `ids` name the examples: a prefix ("train" stands for train/0, train/1, ...) or one string for each. `hashes`
    uint64 [n] are those of the examples as the source has them, where `images` were changed (resized, made gray); None
    where they were not.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    ids: str | Sequence[str]
    hashes: NDArray[np.uint64] | None = None


@dataclass(frozen=True)
class RawData:
    """`sides` has "train" and, where the source has them, "validation" and "test". `form` is "idx", "csv", ..."""

    form: str
    class_names: tuple[str, ...]
    sides: dict[str, RawSplit]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedSide:
    """One side on disk. `images` uint8 [n, height, width, channels] and `labels` int32 [n] are memory maps; `hashes`
    uint64 [n] tell examples apart by their content at the source; `sums` int64 [n, channels, 2] are the sum of each
    example's pixels and of their squares."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    sums: NDArray[np.int64]
    ids: str | Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Prepared:
    """A source as it lies in the cache folder `path`. `fingerprint` is a hash of images, labels and class names."""

    path: Path
    form: str
    class_names: tuple[str, ...]
    sides: dict[str, PreparedSide]
    fingerprint: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Features:
    """What a model is told of its data. `image_shape` is (height, width, channels); `mean` and `std` are those of the
    training pixels, one per channel, in units of 0 to 255."""

    kind: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def n_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True)
class Split:
    """One side. `images` uint8 [N, height, width, channels] and `labels` int32 [N] are memory maps of all that the
    side's file holds; `rows` int64 [n] says which of them are in this split, in order."""

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    rows: NDArray[np.int64]
    ids: str | Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)

    def id_of(self, index: int) -> str:
        """The id of the split's example number `index`."""
        row = int(self.rows[index])
        return f"{self.ids}/{row}" if isinstance(self.ids, str) else self.ids[row]

    def label_array(self) -> NDArray[np.int32]:
        """int32 [n]: the labels of this split, in order."""
        return np.asarray(self.labels[self.rows])


@dataclass(frozen=True)
class Dataset:
    """`splits` has "train", and "validation" and "test" unless they are empty. `fingerprint` is a hash of the content.
    `notes` are lines for the user: what was seen, skipped or repaired."""

    source: str
    form: str
    features: Features
    splits: dict[str, Split]
    fingerprint: str
    path: Path
    notes: tuple[str, ...] = field(default=())
