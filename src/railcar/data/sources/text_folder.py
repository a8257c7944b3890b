"""Folders of .txt files: one folder for each class, or train/validation/test folders above them.

Owns reading the files to a frame of texts; where class folders lie is `layout.py`'s, as for images.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from railcar.data.sources.layout import Layout, find_layout, list_folders
from railcar.data.sources.notes import MAX_NAMED, show_name
from railcar.data.sources.rows import TEXT, hash_rows
from railcar.data.types import FOLDER, RawRows, ReadOptions, RowsSide
from railcar.errors import DataError
from railcar.storage.columns import Column
from railcar.storage.images import SUFFIXES as IMAGE_SUFFIXES
from railcar.storage.texts import read_text

SUFFIX = ".txt"
_UNLABELLED = "unsup"  # beside the classes of the Large Movie Review Dataset


def list_text_files(path: Path) -> list[Path]:
    """Every text of the source: what a change of makes it be read again."""
    return [file for classes in find_layout(path)[0].values() for folder in classes.values() for file in _list(folder)]


def holds_texts(path: Path) -> bool:
    """Whether the folders of `path`, or those in them, hold .txt files, and no images."""
    found = False
    for top in list_folders(path):
        for folder in (top, *list_folders(top)):
            # plain names: a folder of images may hold very many, and the first one tells
            for name in os.listdir(folder):  # noqa: PTH208
                if name[0] != ".":
                    lowered = name.lower()
                    if lowered.endswith(IMAGE_SUFFIXES):
                        return False
                    found = found or lowered.endswith(SUFFIX)
    return found


def read_text_folder(path: Path, options: ReadOptions) -> RawRows:
    """Read every text of the class folders of `path`. Raises `DataError` for empty class folders, a single class, and
    more unreadable files than `options.max_bad`."""
    layout, notes = find_layout(path)
    names = tuple(name for name in layout["train"] if name != _UNLABELLED)
    files = _list_files(layout, names)
    bad: dict[str, str] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        sides = {side: _read_side(pool, path, found, bad, options, side) for side, found in files.items()}
    n_files = sum(map(len, files.values()))
    if len(bad) > options.max_bad * n_files:
        name, reason = next(iter(bad.items()))
        share = min(1.0, len(bad) / n_files + 0.005)
        raise DataError(
            f"{name}: {reason}; {len(bad):,} of {n_files:,} texts cannot be read",
            hint=f"mend or remove them, or set data.max_bad to {share:.2f}",
        )
    if bad:
        named = "; ".join(f"{name}: {reason}" for name, reason in list(bad.items())[:MAX_NAMED])
        notes.append(f"skipped {len(bad):,} unreadable: {named}{', …' if len(bad) > MAX_NAMED else ''}")
    columns = (Column(TEXT, "text", "the content of each file"),)
    return RawRows("text folder", "text", "classification", FOLDER, columns, names, sides, tuple(notes))


def _list_files(layout: Layout, names: tuple[str, ...]) -> dict[str, list[tuple[Path, int]]]:
    """Side -> (file, number of its class)."""
    files: dict[str, list[tuple[Path, int]]] = {}
    for side, classes in layout.items():
        files[side] = []
        for number, name in enumerate(names):
            found = _list(classes[name]) if name in classes else []
            if side == "train" and not found:
                raise DataError(
                    f"{classes[name]}: no texts in this class folder (.txt)", hint="put texts into it, or remove it"
                )
            files[side] += [(file, number) for file in found]
    return files


def _read_side(
    pool: ThreadPoolExecutor,
    path: Path,
    files: list[tuple[Path, int]],
    bad: dict[str, str],
    options: ReadOptions,
    side: str,
) -> RowsSide:
    texts, labels, ids = [], [], []
    for done, ((file, number), found) in enumerate(zip(files, pool.map(_try, [one for one, _ in files]), strict=True)):
        name = show_name(file.relative_to(path).as_posix())
        if isinstance(found, DataError):
            bad[name] = found.what.removeprefix(f"{file}: ")
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
    return sorted(
        one
        for one in folder.iterdir()
        if one.suffix.lower() == SUFFIX and not one.name.startswith(".") and not one.is_dir()
    )
