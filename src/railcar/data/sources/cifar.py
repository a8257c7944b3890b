"""CIFAR-10 and CIFAR-100 in their binary versions: records of one byte of label (of CIFAR-100 two: coarse, fine) and
3 x 32 x 32 bytes of pixels, plane after plane.

Owns the format, and where CIFAR-10 comes from. Source: Krizhevsky, 2009, www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from railcar.data.types import RawData, RawSplit, ReadOptions
from railcar.errors import DataError, NotFound
from railcar.storage.download import download
from railcar.storage.local import cache_dir, write_atomic

ARCHIVE = "cifar-10-binary.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
LEVELS = ("coarse", "fine")
"""What CIFAR-100 says of each image, in the order of its bytes: one of 20 kinds of things, and which of 100 it is."""
SIDES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
NAMES_FILE = "batches.meta.txt"
SIDES_100 = {"train": ("train.bin",), "test": ("test.bin",)}
NAMES_FILES_100 = tuple(f"{level}_label_names.txt" for level in LEVELS)
SHAPE = (3, 32, 32)
IMAGE_BYTES = 3 * 32 * 32


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
    """The files of one of the two sets when all of them are in `folder`, else none."""
    for sides, names_files in ((SIDES, (NAMES_FILE,)), (SIDES_100, NAMES_FILES_100)):
        paths = [folder / name for name in (*(name for side in sides.values() for name in side), *names_files)]
        if all(path.is_file() for path in paths):
            return paths
    return []


def choose_level(folder: Path, options: ReadOptions | None) -> tuple[str, tuple[str, ...]]:
    """Which of CIFAR-100's labels are learnt, and a line that says so; `options.label` may name the other ones."""
    asked = options.label if options else None
    if asked is not None and asked not in LEVELS:
        raise DataError(
            f"{folder}: CIFAR-100 has no labels {asked!r}", hint="it has fine (100 classes) and coarse (20)"
        )
    level = asked or "fine"
    other = "; its 20 coarse ones: --label coarse" if level == "fine" else ""
    return level, (f"CIFAR-100 by its {'100 fine' if level == 'fine' else '20 coarse'} classes{other}",)


def read_cifar_folder(folder: Path, options: ReadOptions | None = None) -> RawData:
    """Read the `.bin` files and the names of the classes: of CIFAR-100 the 100 fine ones, or the 20 coarse ones where
    `options.label` says so. Raises `DataError` for files that are not whole."""
    found = {path.name for path in find_cifar_files(folder)}
    if not found:
        raise NotFound(f"{folder}: not all files of CIFAR's binary version are there", hint="unpack it again")
    if NAMES_FILE in found:
        return _read_set(folder, SIDES, NAMES_FILE, n_labels=1, place=0)
    level, notes = choose_level(folder, options)
    place = LEVELS.index(level)
    return replace(_read_set(folder, SIDES_100, NAMES_FILES_100[place], n_labels=2, place=place), warnings=notes)


def _read_set(
    folder: Path, files: Mapping[str, tuple[str, ...]], names_file: str, *, n_labels: int, place: int
) -> RawData:
    """The images of all `files`, whose label is byte number `place` of `n_labels`."""
    class_names = tuple((folder / names_file).read_text(encoding="utf-8").split())
    sides = {}
    for side, names in files.items():
        parts = [_read_records(folder / name, n_labels, place, len(class_names)) for name in names]
        images = np.concatenate([records[:, n_labels:] for records in parts]).reshape(-1, *SHAPE)
        labels = np.concatenate([records[:, place] for records in parts]).astype(np.int32)
        sides[side] = RawSplit(np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels, side)
    return RawData("cifar", class_names, sides)


def _read_records(path: Path, n_labels: int, place: int, n_classes: int) -> NDArray[np.uint8]:
    """uint8 [n, labels and pixels]"""
    content = np.fromfile(path, np.uint8)
    record_bytes = n_labels + IMAGE_BYTES
    if not content.size or content.size % record_bytes:
        what = f"{content.size:,} bytes are no whole number of records of {record_bytes:,}"
        raise DataError(f"{path}: {what}", hint="the file was cut off; fetch it again")
    records = content.reshape(-1, record_bytes)
    wrong = np.flatnonzero(records[:, place] >= n_classes)
    if wrong.size:
        label = int(records[wrong[0], place])
        raise DataError(
            f"{path}: record {int(wrong[0]) + 1} has label {label}, and there are {n_classes} classes",
            hint="the file is damaged; fetch it again",
        )
    return records
