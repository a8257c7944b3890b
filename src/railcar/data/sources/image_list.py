"""Images whose files and labels a table names: rows of (path, label) -> arrays, as from a folder.

Owns turning what stands in a table into files. Reading the table is the business of the table's source, decoding that
of `encoded.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from railcar.data.classes import index_labels
from railcar.data.decoding import Encoded
from railcar.data.sources.encoded import read_encoded
from railcar.data.sources.notes import Notes, is_utf8, show_name
from railcar.data.types import RawData, ReadOptions
from railcar.errors import DataError


def read_image_list(
    paths: Sequence[Path], labels: Sequence[str], root: Path, options: ReadOptions | None = None
) -> RawData:
    """Read the image of each row to uint8 [n, height, width, 1 or 3]; all of them are one side, to train on.

    `paths` are absolute, or relative to `root`; their names below `root` become the ids. Shape and colors are chosen as
    `read_encoded` says. Files that are not there count as unreadable: named, skipped, and refused when they are more
    than `options.max_bad`. Raises `DataError` for that, and for a single class.
    """
    return read_image_lists({"train": (paths, labels)}, root, options)


def read_image_lists(
    sides: Mapping[str, tuple[Sequence[Path], Sequence[str]]], root: Path, options: ReadOptions | None = None
) -> RawData:
    """The same for several sides, each with its paths and labels."""
    options = options or ReadOptions()
    for paths, labels in sides.values():
        if len(paths) != len(labels):
            raise DataError(
                f"{root}: {len(paths):,} images, but {len(labels):,} labels", hint="give each image a label"
            )
        if not len(paths):
            raise DataError(f"{root}: the table names no images", hint="there must be images to learn from")
    values = {side: np.array([str(label) for label in labels]) for side, (_, labels) in sides.items()}
    class_names, codes = index_labels(values, where=str(root))
    notes = Notes()
    groups = {side: _list_group(paths, codes[side].tolist(), root, notes) for side, (paths, _) in sides.items()}
    raw, lines = read_encoded(groups, class_names, options, notes, where=str(root))
    return RawData("image-list", class_names, raw, lines)


def _list_group(paths: Sequence[Path], codes: Sequence[int], root: Path, notes: Notes) -> list[Encoded]:
    group: list[Encoded] = []
    for path, name, code in zip(paths, name_images(paths, root), codes, strict=True):
        if not is_utf8(name):
            notes.bad[show_name(name)] = "its name is not UTF-8"
        else:
            group.append(Encoded(name, code, str(root / path)))
    return group


def name_images(paths: Sequence[Path], root: Path) -> list[str]:
    """The id of each row's image: its path below `root`. One file may stand in several rows: each is an example of its
    own."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for path in paths:
        name = _name(root / path, root)
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def find_image_root(paths: Sequence[str], folder: Path) -> Path:
    """The folder that relative paths of a table in `folder` start from: `folder`, one above, or a usual folder in it,
    where the first of them is there; `folder` when it is nowhere."""
    firsts = [path for path in paths[:20] if path and not Path(path).is_absolute()]
    for root in (folder, folder / "images", folder / "img", folder / "data", folder.parent):
        if any((root / clean_path(path)).is_file() for path in firsts):
            return root
    return folder


def clean_path(path: str) -> Path:
    """What stands in a table, maybe written on Windows, as a path of this computer."""
    if "\\" in path and os.sep == "/" and not Path(path).exists():
        return Path(PurePosixPath(*PureWindowsPath(path).parts))
    return Path(path)


def _name(file: Path, root: Path) -> str:
    """The path below `root`; the whole path of a file elsewhere."""
    try:
        return file.relative_to(root).as_posix()
    except ValueError:
        return file.as_posix()
