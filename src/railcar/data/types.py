"""What data looks like between a source and a model: plain frozen records, no reading and no TensorFlow.

RawData     images that a source read    sides as the source has them, class names, warnings
RawRows     texts or table rows          the same, as frames of typed columns
Prepared    either, on disk              memory-mapped, fingerprinted, reused
Split       one side of a Prepared       rows into it: nothing is copied
Dataset     the three splits a run uses  train, validation, test, and what the model must know of them
ReadOptions what a reader is told        sizes, columns, limits, and where large arrays may go
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from railcar.registry import RAW

if TYPE_CHECKING:
    import polars as pl

    from railcar.data.decoding import EncodedImages
    from railcar.storage.columns import Column

FOLDER = "folder"
"""Stands for the column of the labels where folders name them."""

Progress = Callable[[str, int, int], None]
"""Called as work goes on, with what is done ("reading images"), how many are done, and of how many."""

Allocate = Callable[[str, tuple[int, ...]], NDArray[np.uint8]]
"""Makes a uint8 array of the given name and shape, in memory or on the disk."""


def allocate_in_memory(name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An empty uint8 array; `name` is for allocators that make files."""
    return np.empty(shape, np.uint8)


@dataclass(frozen=True)
class PixelRoom:
    """What the pixels of images may take: the memory of this computer, which keeps files at hand, and the space that is
    left where the cache is."""

    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class ReadOptions:
    """What a reader is told. `image_size` is (height, width) in pixels and `fit` how images of other proportions come
    to it, as `layers.images.resize_images` has it; `max_bad` is the share of unreadable examples that is skipped. For
    files of rows: `label` is the column of the labels, `drop` are columns to leave out, `columns` the types that some
    are declared to have, `group` the column whose values keep examples together. `kind` and `task` are those that the
    user named; `known` are the columns of data that these rows must be like, typed as there. `keep` says whether images
    become "pixels" or stay "encoded"; with "auto" `room` decides, pixels where it is None. `may_stream`: images of a
    pack may be read while they are used. `allocate` gives readers of large data their arrays."""

    image_size: tuple[int, int] | None = None
    max_bad: float = 0.01
    label: str | None = None
    progress: Progress | None = None
    fit: str = "stretch"
    allocate: Allocate = allocate_in_memory
    kind: str | None = None
    task: str | None = None
    drop: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    known: tuple[Column, ...] = ()
    keep: str = "auto"
    room: PixelRoom | None = None
    may_stream: bool = False


@dataclass(frozen=True)
class RawSplit:
    """`images` uint8 [n, height, width, channels] (0 to 255), `labels` int32 [n] (indices of class names).

    `ids` name the examples: a prefix ("train" stands for train/0, train/1, ...) or one string for each. `hashes`
    uint64 [n] are those of the examples as the source has them, where `images` were changed (resized, made gray); None
    where they were not. `sums` are those of `fingerprint.sum_pixels`, where the reader had a cheap occasion; of very
    many images some have -1 in place of them.
    """

    images: NDArray[np.uint8] | EncodedImages
    labels: NDArray[np.int32]
    ids: str | Sequence[str]
    hashes: NDArray[np.uint64] | None = None
    sums: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class RawData:
    """`sides` has "train" and, where the source has them, "validation" and "test". `form` is "idx", "csv", ..."""

    form: str
    class_names: tuple[str, ...]
    sides: dict[str, RawSplit]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowsSide:
    """`frame` has one row an example: the column `text`, or those of the table, as `storage/columns.py` types them.
    `labels` are int32 [n] indices of class names, or float32 [n] targets of a regression; `ids` and `hashes` uint64 [n]
    as for images; `groups` uint64 [n] are hashes of what keeps examples on one side, None where each is on its own."""

    frame: pl.DataFrame
    labels: NDArray[np.int32] | NDArray[np.float32]
    ids: str | Sequence[str]
    hashes: NDArray[np.uint64]
    groups: NDArray[np.uint64] | None = None


@dataclass(frozen=True)
class RawRows:
    """`kind` is "text" or "table", `task` "classification" or "regression" (which has no class names). `columns` are
    those of a table, `dropped` those that are left out, each with the reason; `label` is the column that is learnt."""

    form: str
    kind: str
    task: str
    label: str
    columns: tuple[Column, ...]
    class_names: tuple[str, ...]
    sides: dict[str, RowsSide]
    warnings: tuple[str, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedSide:
    """One side on disk. `inputs` are a memory map uint8 [n, height, width, channels] of images, or what stands for one
    and decodes the rows that it is asked for, or a frame of texts or table rows; `labels` int32 (or float32) [n] a
    memory map; `hashes` uint64 [n] tell examples apart by their content at the source; `sums` int64 [n, channels, 2]
    are the sum of each image's pixels and of their squares, -1 where they were not taken; `groups` uint64 [n] tell
    which examples belong together."""

    inputs: NDArray[np.uint8] | EncodedImages | pl.DataFrame
    labels: NDArray[np.int32] | NDArray[np.float32]
    hashes: NDArray[np.uint64]
    sums: NDArray[np.int64] | None
    ids: str | Sequence[str]
    groups: NDArray[np.uint64] | None = None

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
    kind: str = "image"
    task: str = "classification"
    label: str = ""
    columns: tuple[Column, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Features:
    """What a model is told of its data. `input_shape` is the shape of one example as the network takes it: (height,
    width, channels) of an image, (words,) of a text, (numbers,) of a table's row. The kind "features" is for what the
    frozen part of a pre-trained network makes of images.

    For images `mean` and `std` are those of the training pixels, one per channel, in units of 0 to 255. For texts and
    tables `encoding` says how raw input becomes what the network takes (`layers/texts.py`, `layers/tables.py`), fitted
    on the training split. A regression has no class names, and a `target`: mean and deviation of the training targets.
    """

    kind: str
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    task: str = "classification"
    target: tuple[float, float] | None = None
    encoding: Mapping[str, Any] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of images: (height, width, channels)."""
        height, width, channels = self.input_shape
        return height, width, channels

    @property
    def dtype(self) -> str:
        """Of what the network takes."""
        if (self.encoding or {}).get("form") == RAW:
            return "string"
        return {"image": "uint8", "text": "int32"}.get(self.kind, "float32")

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def n_outputs(self) -> int:
        """Numbers that the network gives for one example."""
        return 1 if self.task == "regression" else self.n_classes

    @property
    def measure(self) -> str:
        """What is told of training beside the loss: "accuracy", or "mae", the mean absolute error of a regression."""
        return "mae" if self.task == "regression" else "accuracy"

    @property
    def noun(self) -> str:
        """What its examples are called, in the plural."""
        return {"image": "images", "features": "images", "text": "texts", "table": "rows"}[self.kind]


@dataclass(frozen=True)
class Split:
    """One side. `inputs` [N, ...] as the network takes them (of images a memory map uint8 [N, height, width, channels],
    or what stands for one) and `labels` int32 (or float32) [N] are all that the side's file holds; `rows` int64 [n]
    says which of them are in this split, in order. `raw` are texts or table rows as they were before their encoding;
    None for images."""

    name: str
    inputs: NDArray[Any] | EncodedImages
    labels: NDArray[Any]
    rows: NDArray[np.int64]
    ids: str | Sequence[str]
    raw: pl.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def id_of(self, index: int) -> str:
        """The id of the split's example number `index`."""
        row = int(self.rows[index])
        return f"{self.ids}/{row}" if isinstance(self.ids, str) else self.ids[row]

    def label_array(self) -> NDArray[Any]:
        """int32 or float32 [n]: the labels of this split, in order."""
        return np.asarray(self.labels[self.rows])

    def raw_inputs(self, indices: NDArray[np.int64]) -> NDArray[np.uint8] | pl.DataFrame:
        """The split's examples of these numbers, as the whole model takes them: images, or a frame."""
        rows = self.rows[indices]
        return np.asarray(self.inputs[rows]) if self.raw is None else self.raw[rows.tolist()]


@dataclass(frozen=True)
class Dataset:
    """`splits` has "train", and "validation" and "test" unless they are empty. `fingerprint` is a hash of the content.
    `notes` are lines for the user: what was seen, skipped or repaired. `label` is the column of the labels, of rows."""

    source: str
    form: str
    features: Features
    splits: dict[str, Split]
    fingerprint: str
    path: Path
    notes: tuple[str, ...] = field(default=())
    label: str = ""

    @contextmanager
    def in_use(self, say: Callable[[str], None]) -> Iterator[None]:
        """While it is trained on: what is read from a bucket comes into the cache meanwhile, and what was decoded is
        kept. `say` is told what stands in the way."""
        encoded = {id(split.inputs): split.inputs for split in self.splits.values()}
        with ExitStack() as stack:
            for inputs in encoded.values():
                if not isinstance(inputs, np.ndarray):
                    stack.enter_context(inputs.in_use(say))
            yield
