"""CIFAR-10 in its binary version: records of one byte of label and 3 x 32 x 32 bytes of pixels, plane after plane.

Owns the format and where the set comes from. Source: Krizhevsky, 2009, www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

from railcar.data.types import RawData, RawSplit, ReadOptions
from railcar.errors import DataError, NotFound
from railcar.storage.download import download
from railcar.storage.local import cache_dir, write_atomic

ARCHIVE = "cifar-10-binary.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
SIDES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
NAMES_FILE = "batches.meta.txt"
SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32


def fetch_cifar10() -> Path:
    """The folder of CIFAR-10's binary files in the cache; downloaded, checked and unpacked when they are not there.

    Raises `NotFound` without a network.
    """
    folder = cache_dir() / "datasets" / "cifar10"
    if find_cifar_files(folder):
        return folder
    hint = f"use --set data.source=FOLDER with the set's images or its .bin files, or put {ARCHIVE} into {folder}"
    unpack_cifar10(download(URL, folder / ARCHIVE, sha256=SHA256, hint=hint), folder)
    return folder


def unpack_cifar10(archive: Path, folder: Path) -> None:
    """Take the set's own files, and nothing else, out of the archive."""
    wanted = {name for names in SIDES.values() for name in names} | {NAMES_FILE}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                content = tar.extractfile(member) if member.isfile() and name in wanted else None
                if content is not None:
                    write_atomic(folder / name, content.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive}: cannot be unpacked: {error}", hint="remove it; it is fetched again") from error


def find_cifar_files(folder: Path) -> list[Path]:
    """The set's files when all of them are in `folder`, else none."""
    names = [name for side in SIDES.values() for name in side] + [NAMES_FILE]
    paths = [folder / name for name in names]
    return paths if all(path.is_file() for path in paths) else []


def read_cifar_folder(folder: Path, options: ReadOptions | None = None) -> RawData:
    """Read the six `.bin` files and the names of the classes. Raises `DataError` for files that are not whole."""
    if not find_cifar_files(folder):
        raise NotFound(f"{folder}: not all files of CIFAR-10's binary version are there", hint="unpack it again")
    class_names = tuple((folder / NAMES_FILE).read_text(encoding="utf-8").split())
    sides = {side: _read_side(folder, names, side, len(class_names)) for side, names in SIDES.items()}
    return RawData("cifar", class_names, sides)


def _read_side(folder: Path, names: tuple[str, ...], side: str, n_classes: int) -> RawSplit:
    records = np.concatenate([_read_records(folder / name, n_classes) for name in names])
    images = records[:, 1:].reshape(-1, *SHAPE).transpose(0, 2, 3, 1)
    return RawSplit(np.ascontiguousarray(images), records[:, 0].astype(np.int32), side)


def _read_records(path: Path, n_classes: int) -> np.ndarray:
    """uint8 [n, 3073]"""
    content = np.fromfile(path, np.uint8)
    if not content.size or content.size % RECORD_BYTES:
        what = f"{content.size:,} bytes are no whole number of records of {RECORD_BYTES:,}"
        raise DataError(f"{path}: {what}", hint="the file was cut off; fetch it again")
    records = content.reshape(-1, RECORD_BYTES)
    wrong = np.flatnonzero(records[:, 0] >= n_classes)
    if wrong.size:
        label = int(records[wrong[0], 0])
        raise DataError(
            f"{path}: record {int(wrong[0]) + 1} has label {label}, and there are {n_classes} classes",
            hint="the file is damaged; fetch it again",
        )
    return records
