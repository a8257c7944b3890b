"""Folders of images: one folder for each class, or train/validation/test folders above (or below) them.

Owns finding the files, and the notes on what lies beside them. Layouts are `layout.py`'s, reading is `encoded.py`'s.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from railcar.data.decoding import Encoded
from railcar.data.sources.encoded import read_encoded
from railcar.data.sources.layout import Layout, find_layout, list_folders
from railcar.data.sources.notes import Notes, count_images, is_utf8, name_some, show_name
from railcar.data.types import RawData, ReadOptions
from railcar.errors import DataError
from railcar.storage.images import SUFFIXES

_READ = ", ".join(suffix[1:] for suffix in SUFFIXES)


@dataclass
class Found:
    """Names below one folder, as "sub/name.jpg": images, files of other kinds, and what macOS wrote beside images."""

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)


def list_image_files(path: Path) -> list[str]:
    """Every image of the source: what a change of makes it be read again. Plain texts: of a hundred thousand files,
    paths would take a second."""
    return [f"{folder}{os.sep}{name}" for folder in list_folders(path) for name in find_files(folder).images]


def read_image_folder(path: Path, options: ReadOptions | None = None) -> RawData:
    """Read every image of the class folders of `path` to uint8 [n, height, width, 1 or 3].

    Shape and color are chosen as `read_encoded` says. Raises `DataError` for empty class folders, a single class, no
    images, and more unreadable files than `options.max_bad`.
    """
    options = options or ReadOptions()
    layout, layout_notes = find_layout(path)
    class_names = tuple(layout["train"])
    notes = Notes()
    groups, beside = _list_groups(path, layout, class_names, notes)
    sides, lines = read_encoded(groups, class_names, options, notes, where=str(path))
    reason, *rest = lines
    twins = _name_twins(class_names)
    return RawData("folder", class_names, sides, (reason, *twins, *beside, *layout_notes, *rest))


def find_files(folder: Path) -> Found:
    """Of `folder` and all below it, in the order of names; hidden files and folders are left out, links to folders not
    followed."""
    found = Found()
    _scan(str(folder), "", found)
    return found


def _scan(folder: str, prefix: str, found: Found, *, deep: bool = True) -> None:
    names, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                if entry.name.startswith("._") and entry.name.lower().endswith(SUFFIXES):
                    found.resources.append(prefix + entry.name)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif not (entry.is_symlink() and _is_folder(entry)):
                names.append(entry.name)
    for name in sorted(names):
        (found.images if name.lower().endswith(SUFFIXES) else found.others).append(prefix + name)
    for name in sorted(folders) if deep else ():
        if name != "__MACOSX":
            _scan(f"{folder}{os.sep}{name}", f"{prefix}{name}/", found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: an unreadable image
        return False


def _list_groups(
    path: Path, layout: Layout, class_names: tuple[str, ...], notes: Notes
) -> tuple[dict[str, list[Encoded]], list[str]]:
    """The images of each side, and warnings of what lies beside them."""
    groups: dict[str, list[Encoded]] = {}
    empty: list[Path] = []
    others: list[str] = []
    resources: list[str] = []
    for side, classes in layout.items():
        group = groups.setdefault(side, [])
        for name, folder in classes.items():
            found = find_files(folder)
            prefix = folder.relative_to(path).as_posix() + "/"
            _add(group, folder, prefix, found.images, class_names.index(name), notes)
            others += [f"{prefix}{one}" for one in found.others]
            resources += [f"{prefix}{one}" for one in found.resources]
            if side == "train" and not found.images:
                empty.append(folder)
    if empty:
        raise _explain_empty(path, empty, others, len(class_names))
    strays = _find_strays(path, layout)
    lines = []
    if strays:
        verb = "is" if len(strays) == 1 else "are"
        lines.append(f"{count_images(len(strays))} beside the class folders {verb} not used: {name_some(strays)}")
    if others:
        lines.append(f"{_count(others, 'of another kind', 'of other kinds')} not read: {_show(others)}")
    if resources:
        what = "is no image and" if len(resources) == 1 else "are no images and"
        n_files = "1 file" if len(resources) == 1 else f"{len(resources):,} files"
        lines.append(f"{n_files} of macOS (._*) {what} skipped: {_show(resources)}")
    return groups, lines


def _add(group: list[Encoded], folder: Path, prefix: str, names: list[str], number: int, notes: Notes) -> None:
    root = f"{folder}{os.sep}"
    for name in names:
        if is_utf8(name):
            group.append(Encoded(prefix + name, number, root + name))
        else:
            notes.bad[show_name(prefix + name)] = "its name is not UTF-8"


def _explain_empty(path: Path, empty: list[Path], others: list[str], n_classes: int) -> DataError:
    if len(empty) < n_classes:
        return DataError(
            f"{empty[0]}: no images in this class folder ({_READ})", hint="put images into it, or remove the folder"
        )
    kinds = sorted({PurePath(name).suffix.lower() or "no suffix" for name in others})
    what = f"; it holds files of other kinds: {name_some(kinds)}" if kinds else ""
    return DataError(f"{path}: no images in any of its folders ({_READ}){what}", hint="put images into them")


def _find_strays(path: Path, layout: Layout) -> list[str]:
    """Images right in the folders that hold the class folders."""
    found = Found()
    for root in sorted({path, *(folder.parent for classes in layout.values() for folder in classes.values())}):
        prefix = "" if root == path else root.relative_to(path).as_posix() + "/"
        _scan(str(root), prefix, found, deep=False)
    return [show_name(name) for name in found.images]


def _name_twins(class_names: tuple[str, ...]) -> list[str]:
    lines = []
    folded: dict[str, str] = {}
    for name in class_names:
        twin = folded.setdefault(name.casefold(), name)
        if twin != name:
            lines.append(f"the classes {twin!r} and {name!r} differ in upper and lower case only")
    return lines


def _count(names: list[str], one: str, several: str) -> str:
    return f"1 file {one} is" if len(names) == 1 else f"{len(names):,} files {several} are"


def _show(names: list[str]) -> str:
    return name_some([show_name(name) for name in names])
