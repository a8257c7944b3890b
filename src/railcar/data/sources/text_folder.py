"""Folders of .txt files: one folder for each class, or train/validation/test folders above them.

Owns reading the files to a frame of texts; the folders are found as those of images are.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from railcar.data.classes import check_classes
from railcar.data.sources.folder import Bad, find_sides, list_folders, list_images
from railcar.data.sources.rows import TEXT, hash_rows
from railcar.data.types import RawRows, ReadOptions, RowsSide
from railcar.errors import DataError
from railcar.storage.columns import Column
from railcar.storage.texts import read_text

SUFFIX = ".txt"
_IGNORED = ("unsup",)  # the unlabelled texts beside those of the Large Movie Review Dataset


def list_text_files(path: Path) -> list[Path]:
    """Every text of the source: what a change of makes it be read again."""
    return [file for root in find_sides(path).values() for folder in list_folders(root) for file in _list(folder)]


def holds_texts(path: Path) -> bool:
    """Whether the class folders of the training side hold .txt files, and no images."""
    folders = list_folders(find_sides(path)["train"])
    return any(_list(folder) for folder in folders) and not any(list_images(folder)[0] for folder in folders)


def read_text_folder(path: Path, options: ReadOptions) -> RawRows:
    """Read every text of the class folders of `path`. Raises `DataError` for empty class folders, a single class, and
    more unreadable files than `options.max_bad`."""
    sides = find_sides(path)
    names = tuple(folder.name for folder in list_folders(sides["train"]) if folder.name not in _IGNORED)
    check_classes(names, where=f"{sides['train']}, by its folders")
    bad, raw, n_files = Bad(), {}, 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for side, root in sides.items():
            files = [(file, number) for number, name in enumerate(names) for file in _list(root / name)]
            _check_folders(root, names, side)
            n_files += len(files)
            raw[side] = _read_side(pool, path, files, bad, options, side)
    bad.check(n_files, options.max_bad)
    notes = (f"{n_files:,} texts, one a file; classes are the folders", *bad.describe())
    columns = (Column(TEXT, "text", "the content of each file"),)
    return RawRows("text folder", "text", "classification", "folder", columns, names, raw, notes)


def _check_folders(root: Path, names: tuple[str, ...], side: str) -> None:
    for folder in list_folders(root):
        if folder.name not in (*names, *_IGNORED):
            raise DataError(
                f"{folder}: the class {folder.name!r} is not in the training side",
                hint="give every class a folder among the training texts, even if small",
            )
    empty = next((name for name in names if side == "train" and not _list(root / name)), None)
    if empty is not None:
        raise DataError(f"{root / empty}: no texts in this class folder (.txt)", hint="put texts into it, or remove it")


def _read_side(
    pool: ThreadPoolExecutor, path: Path, files: list[tuple[Path, int]], bad: Bad, options: ReadOptions, side: str
) -> RowsSide:
    texts, labels, ids = [], [], []
    for done, ((file, number), found) in enumerate(zip(files, pool.map(_try, [one for one, _ in files]), strict=True)):
        name = file.relative_to(path).as_posix()
        if isinstance(found, DataError):
            bad.reasons[name] = found.what.removeprefix(f"{file}: ")
            continue
        texts.append(found)
        labels.append(number)
        ids.append(name)
        if options.progress and (done % 256 == 0 or done + 1 == len(files)):
            options.progress(f"reading {side} texts", done + 1, len(files))
    frame = pl.DataFrame({TEXT: texts}, schema={TEXT: pl.String})
    return RowsSide(frame, np.array(labels, np.int32), ids, hash_rows(frame))


def _try(file: Path) -> str | DataError:
    try:
        text = read_text(file)
    except DataError as error:
        return error
    return text if text.strip() else DataError("an empty file")


def _list(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        one
        for one in folder.iterdir()
        if one.suffix.lower() == SUFFIX and not one.name.startswith(".") and not one.is_dir()
    )
