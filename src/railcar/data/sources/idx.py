"""Folders of IDX files: MNIST as it was published, and every set that copies its form (Fashion-MNIST, EMNIST, ...).

Owns the format, the usual spellings of the file names, and where MNIST comes from. Source: yann.lecun.com/exdb/mnist
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from railcar.data.classes import index_labels
from railcar.data.types import Allocate, RawData, RawSplit, ReadOptions
from railcar.errors import DataError, NotFound
from railcar.storage.download import download
from railcar.storage.local import cache_dir

SIDES = {"train": "train", "t10k": "test", "test": "test"}
PACKED = (".gz", ".xz")
SUFFIXES = ("", *PACKED)
UNSIGNED_BYTE = 0x08
HEADER_WORD = 4
BLOCK_BYTES = 1 << 22
# More than any packed file of pixels holds: what promises it is damaged, and is not given the memory.
MAX_RATIO = 10_000

MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


def fetch_mnist() -> Path:
    """The folder of the four MNIST files in the cache; what is not there yet is downloaded and checked.

    Files that the user put there are used as they are. Raises `NotFound` without a network.
    """
    folder = cache_dir() / "datasets" / "mnist"
    found = find_idx_files(folder)
    if {"train", "test"} <= found.keys():
        return folder
    hint = f"use --set data.source=FOLDER_WITH_THE_FOUR_FILES, or put the four files into {folder}"
    for name, sha256 in MNIST_SHA256.items():
        download([mirror + name for mirror in MNIST_MIRRORS], folder / name, sha256=sha256, hint=hint)
    return folder


def read_mnist() -> RawData:
    """The full MNIST: 60,000 images to train on and 10,000 to test on, from the cache or downloaded."""
    return read_idx_folder(fetch_mnist())


def find_idx_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The (images, labels) files of each side that `folder` has both of."""
    if not folder.is_dir():
        return {}
    found = {}
    for prefix, side in SIDES.items():
        images = _find_file(folder, prefix, "images", "idx3", "idx4")
        labels = _find_file(folder, prefix, "labels", "idx1")
        if images and labels and side not in found:
            found[side] = (images, labels)
    return found


def _find_file(folder: Path, prefix: str, what: str, *ranks: str) -> Path | None:
    """`train-images-idx3-ubyte` or `train-images.idx3-ubyte`, plain or packed."""
    for rank in ranks:
        for separator in "-.":
            for suffix in SUFFIXES:
                path = folder / f"{prefix}-{what}{separator}{rank}-ubyte{suffix}"
                if path.is_file():
                    return path
    return None


def read_idx_folder(folder: Path, options: ReadOptions | None = None) -> RawData:
    """Read `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the `t10k-` pair, plain, `.gz` or `.xz`.

    Raises `DataError` for files that are truncated, damaged or do not belong together, `NotFound` without a
    training pair.
    """
    files = find_idx_files(Path(folder))
    if "train" not in files:
        raise NotFound(
            f"{folder}: no train-images-idx3-ubyte with its train-labels-idx1-ubyte (plain or .gz)",
            hint="put the four IDX files into one folder: train-images, train-labels, t10k-images, t10k-labels",
        )
    _check_pairs(Path(folder), files)
    allocate = (options or ReadOptions()).allocate
    images = {side: _read_images(pair[0], f"{side}.images", allocate) for side, pair in files.items()}
    shape = images["train"].shape[1:]
    for side, (image_path, _) in files.items():
        if images[side].shape[1:] != shape:
            raise DataError(
                f"{image_path}: images of shape {images[side].shape[1:]}, and those to train on of {shape}",
                hint="give both sides images of one size",
            )
    labels = {side: read_idx(pair[1], n_dimensions=(1,)) for side, pair in files.items()}
    for side, (image_path, label_path) in files.items():
        if len(images[side]) != len(labels[side]):
            raise DataError(
                f"{label_path}: {len(labels[side]):,} labels for the {len(images[side]):,} images of {image_path.name}",
                hint="the two files do not belong together; fetch both again from one place",
            )
    class_names, indices = index_labels(labels, where=str(folder))
    return RawData("idx", class_names, {side: RawSplit(images[side], indices[side], side) for side in files})


def _check_pairs(folder: Path, files: dict[str, tuple[Path, Path]]) -> None:
    """Refuse test images without their labels, or the other way round: a file of the two is missing."""
    if "test" in files:
        return
    for prefix in ("t10k", "test"):
        images, labels = (
            _find_file(folder, prefix, "images", "idx3", "idx4"),
            _find_file(folder, prefix, "labels", "idx1"),
        )
        if alone := images or labels:
            lacks = "labels" if images else "images"
            raise DataError(
                f"{alone}: has no {lacks} beside it", hint=f"add the file of the {lacks}, or remove this one"
            )


def _read_images(path: Path, name: str, allocate: Allocate) -> NDArray[np.uint8]:
    def allocate_images(shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return allocate(name, shape if len(shape) == 4 else (*shape, 1))

    images = read_idx(path, n_dimensions=(3, 4), allocate=allocate_images)
    if images.shape[-1] not in (1, 3):
        raise DataError(f"{path}: images of {images.shape[-1]} channels", hint="gray (1) and RGB (3) can be read")
    return images


def _allocate(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.empty(shape, np.uint8)


def read_idx(
    path: Path,
    *,
    n_dimensions: tuple[int, ...],
    allocate: Callable[[tuple[int, ...]], NDArray[np.uint8]] = _allocate,
) -> NDArray[np.uint8]:
    """The uint8 array of one IDX file, plain or packed, read block by block into what `allocate` gives for its shape.
    Raises `DataError` unless it is whole and of such a rank."""
    hint = "the file is damaged or was not fetched completely; fetch it again"
    try:
        with _open_packed(path) as file:
            shape = _read_header(file, path, n_dimensions, hint)
            n_bytes = prod(shape)
            n_there = path.stat().st_size - HEADER_WORD * (1 + len(shape)) if path.suffix not in PACKED else n_bytes
            if n_there < n_bytes:
                raise _wrong_length(path, n_bytes, f"{max(n_there, 0):,}", hint)
            if n_bytes == 0:
                raise DataError(f"{path}: holds no examples", hint="fetch the file again")
            if n_bytes > MAX_RATIO * path.stat().st_size:
                raise OverflowError
            array = allocate(shape)
            n_read = _fill(array, file)
            has_more = bool(file.read(1))
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: truncated or damaged: {error}", hint=hint) from error
    except (OverflowError, MemoryError) as error:
        raise DataError(f"{path}: its header asks for more than this machine can hold", hint=hint) from error
    if n_read != n_bytes or has_more:
        raise _wrong_length(path, n_bytes, "more" if has_more else f"{n_read:,}", hint)
    return array


def _read_header(file: BinaryIO, path: Path, n_dimensions: tuple[int, ...], hint: str) -> tuple[int, ...]:
    """The shape of what follows."""
    magic = file.read(HEADER_WORD)
    rank = magic[3] if len(magic) == HEADER_WORD else 0
    if magic[:3] != bytes([0, 0, UNSIGNED_BYTE]) or rank not in n_dimensions:
        raise DataError(f"{path}: not an IDX file of {_name_ranks(n_dimensions)}: {_describe(magic)}", hint=hint)
    header = file.read(HEADER_WORD * rank)
    if len(header) < HEADER_WORD * rank:
        raise DataError(f"{path}: truncated inside its header", hint=hint)
    return tuple(int(size) for size in np.frombuffer(header, ">u4"))


def _fill(array: NDArray[np.uint8], file: BinaryIO) -> int:
    """Read into `array` until it is full or the file ends; how many bytes came."""
    content = array.reshape(-1).data
    n_read = 0
    while n_read < len(content):
        n = file.readinto(content[n_read : n_read + BLOCK_BYTES])  # pyright: ignore[reportAttributeAccessIssue]
        if not n:
            break
        n_read += n
    return n_read


def _wrong_length(path: Path, n_bytes: int, found: str, hint: str) -> DataError:
    return DataError(f"{path}: its header promises {n_bytes:,} bytes of data, the file has {found}", hint=hint)


def _open_packed(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # pyright: ignore[reportReturnType]
    if path.suffix == ".xz":
        return lzma.open(path, "rb")  # pyright: ignore[reportReturnType]
    return path.open("rb")


def _name_ranks(n_dimensions: tuple[int, ...]) -> str:
    return "labels" if n_dimensions == (1,) else "images"


def _describe(magic: bytes) -> str:
    return f"it starts with {magic.hex(' ')}" if magic else "it is empty"
