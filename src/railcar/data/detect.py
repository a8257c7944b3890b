"""What is this? The form of a source, with the reason, from its name and what lies in it.

Owns the table of forms and finding what a name stands for. Reading is in `sources/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from railcar.data.sources import (
    cifar,
    cifar_pickles,
    csv,
    folder,
    idx,
    npz,
    rows,
    shards,
    text_folder,
    tfrecord,
)
from railcar.data.types import RawData, RawRows, ReadOptions
from railcar.errors import DataError, NotFound
from railcar.registry import DATASETS
from railcar.storage.address import is_remote
from railcar.storage.archives import is_archive, unpack_archive
from railcar.storage.fetch import Progress, fetch_tree
from railcar.storage.local import find_here
from railcar.storage.rows import SUFFIXES as ROW_SUFFIXES
from railcar.storage.shards import is_pack

MAX_SHOWN = 5


@dataclass(frozen=True)
class Form:
    """A form of data: how it is read, and which files it is made of."""

    read: Callable[[Path, ReadOptions], RawData | RawRows]
    list_files: Callable[[Path], Sequence[Path | str]]


def _list_idx_files(path: Path) -> list[Path]:
    return [file for pair in idx.find_idx_files(path).values() for file in pair]


def _find_row_files(path: Path) -> dict[str, Path]:
    return csv.find_csv_sides(path, ROW_SUFFIXES) if path.is_dir() else {"train": path}


def _read_rows(path: Path, options: ReadOptions) -> RawData | RawRows:
    """Pixels where a CSV's lines are long and full of them, else texts or a table."""
    files = _find_row_files(path)
    is_csv = all(file.name.lower().endswith(csv.CSV_SUFFIXES) for file in files.values())
    if is_csv and (options.kind == "image" or (options.kind is None and csv.holds_pixels(files["train"]))):
        return csv.read_csv_source(path, options)
    return rows.read_row_files(files, options)


def _read_archive(path: Path, options: ReadOptions) -> RawData | RawRows:
    """What is inside, by its own form; the archive alone says when it must be read again."""
    inside = unpack_archive(path, progress=options.progress)
    form, reason = detect_form(inside)
    raw = FORMS[form].read(inside, options)
    return replace(raw, warnings=(f"in it, {reason}", *raw.warnings))


FORMS: dict[str, Form] = {
    "archive": Form(_read_archive, lambda path: [path]),
    "idx": Form(idx.read_idx_folder, _list_idx_files),
    "rows": Form(_read_rows, lambda path: list(_find_row_files(path).values())),
    "text folder": Form(text_folder.read_text_folder, text_folder.list_text_files),
    "cifar": Form(cifar.read_cifar_folder, cifar.find_cifar_files),
    "cifar-python": Form(cifar_pickles.read_cifar_pickles, cifar_pickles.find_pickles),
    "npz": Form(npz.read_npz, lambda path: [path]),
    "tfds": Form(tfrecord.read_tfds_folder, tfrecord.list_tfds_files),
    "tfrecord": Form(tfrecord.read_tfrecords, tfrecord.find_tfrecords),
    "shards": Form(shards.read_shards, shards.list_shard_files),
    "folder": Form(folder.read_image_folder, folder.list_image_files),
}


def locate(source: str, progress: Progress | None = None) -> Path:
    """The path that `source` stands for: a known set's name or an address (fetched when it must be), or a path.

    A path that exists wins over a set of that name only when it is written as a path (`./mnist`). Raises `NotFound`
    with near names.
    """
    if source in DATASETS:
        return DATASETS.load(source)()
    path = find_here(source)
    if path.exists():
        return path
    if is_remote(source):
        return fetch_tree(source, progress)
    parent = path.parent if path.parent.is_dir() else None
    names = sorted(entry.name for entry in parent.iterdir()) if parent else []
    near = get_close_matches(path.name, names, n=1)
    known = get_close_matches(source, DATASETS, n=1)
    if near and parent:
        hint = f"did you mean {parent / near[0]}?"
    elif known:
        hint = f"did you mean the set {known[0]!r}?"
    elif parent is None:
        hint = f"the folder {path.parent} is not there either"
    else:
        hint = f"known sets: {', '.join(DATASETS)}; or give the path of a folder, a .csv or an .npz"
    raise NotFound(f"{source}: no such file or folder, and no known set", hint=hint)


def detect_form(path: Path) -> tuple[str, str]:
    """The form of an existing path and the reason. Raises `DataError` saying what was seen when none fits."""
    if path.is_dir():
        return _detect_folder(path)
    name = path.name.lower()
    if not path.is_file():
        raise DataError(
            f"{path}: neither a file nor a folder", hint="write the data to a file first, then give its path"
        )
    if suffix := next((one for one in ROW_SUFFIXES if name.endswith(one)), None):
        return "rows", f"{path.name} is a file of rows ({suffix[1:]})"
    if name.endswith((".npz", ".npy")):
        return "npz", f"{path.name} is a NumPy archive"
    if tfrecord.is_tfrecord(path):
        return "tfrecord", f"{path.name} is a TFRecord file"
    if is_archive(path):
        return "archive", f"{path.name} is an archive"
    hint = "give a folder or an archive of images or texts, a .csv, .jsonl, .parquet, .npz or .tfrecord, or IDX files"
    if "-ubyte" in name:
        hint = f"give the folder that holds it: {path.parent}"
    if name.endswith((".7z", ".rar")):
        hint = "unpack it first, then give the folder (zip and tar are unpacked by railcar)"
    raise DataError(
        f"{path}: not a form of data that railcar reads (a file of {path.stat().st_size:,} bytes)", hint=hint
    )


def _detect_folder(path: Path) -> tuple[str, str]:
    if is_pack(path):
        return "shards", f"{path.name} holds a pack of shards"
    if found := idx.find_idx_files(path):
        return "idx", f"{path.name} holds IDX files for {' and '.join(found)}"
    if found := cifar.find_cifar_files(path):
        name = "CIFAR-10" if found[-1].name == cifar.NAMES_FILE else "CIFAR-100"
        return "cifar", f"{path.name} holds the binary files of {name}"
    if cifar_pickles.find_pickles(path):
        return "cifar-python", f"{path.name} holds the Python batches of CIFAR"
    if found := tfrecord.find_tfds_folder(path):
        return "tfds", f"{path.name} is a set of TensorFlow Datasets: {found.parent.name} {found.name}"
    if found := tfrecord.find_tfrecords(path):
        return "tfrecord", f"{path.name} holds {len(found)} TFRecord file{'s' if len(found) > 1 else ''}"
    if files := _find_row_files(path):
        return "rows", f"{path.name} holds {' and '.join(one.name for one in files.values())}"
    if text_folder.holds_texts(path):
        return "text folder", f"{path.name} holds folders of .txt files: one for each class"
    if any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir()):
        return "folder", f"{path.name} holds folders: one for each class"
    seen = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    if not seen:
        raise DataError(f"{path}: the folder is empty", hint="put one folder of images for each class into it")
    packs = [name for name in seen if name.lower().endswith((".npz", *ROW_SUFFIXES))]
    if packs:
        raise DataError(f"{path}: holds {packs[0]}", hint=f"give the file itself: {path / packs[0]}")
    shown = ", ".join(seen[:MAX_SHOWN]) + (f", … ({len(seen)} in all)" if len(seen) > MAX_SHOWN else "")
    if idx_like := [name for name in seen if "-ubyte" in name]:
        raise DataError(
            f"{path}: holds {idx_like[0]}, but not a pair of images and labels",
            hint="put train-images-idx3-ubyte and train-labels-idx1-ubyte (plain or .gz) into one folder",
        )
    raise DataError(
        f"{path}: no class folders, IDX files or train.csv in it; it holds {shown}",
        hint="put the images of each class into a folder of their own, named after the class",
    )
