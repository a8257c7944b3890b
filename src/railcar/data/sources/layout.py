"""Where class folders lie, and which side each belongs to: folder names -> side -> class -> folder.

Owns the usual spellings of sides, and what is done when a layout can be understood in two ways. Looks at no file.
"""

from __future__ import annotations

import re
from pathlib import Path

from railcar.data.classes import check_classes
from railcar.data.sources.notes import is_utf8, name_some, show_name
from railcar.errors import DataError

Layout = dict[str, dict[str, Path]]
"""Side -> class name -> its folder."""

SIDE_WORDS = {
    "train": ("train", "training", "trn", "trainset", "traindata", "fit"),
    "validation": ("val", "valid", "validation", "validate", "validating", "valset", "dev", "development"),
    "test": ("test", "testing", "tst", "testset", "testdata", "eval", "evaluation", "holdout", "heldout"),
}
_SIDES = {word: side for side, words in SIDE_WORDS.items() for word in words}
# What may stand beside the side in a name: train_images, images-train, "Training Set".
_FILLERS = {
    "images", "image", "imgs", "img", "pictures", "pics", "photos", "data", "dataset", "set", "split", "folder",
}  # fmt: skip


def find_side(name: str) -> str | None:
    """The side that a folder or file is named after, in any case: "Training Set" is "train"; None for other names."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word and word not in _FILLERS]
    joined = "".join(words)
    return _SIDES.get(joined) if len(words) <= 2 else None


def list_folders(path: Path) -> list[Path]:
    """Sub-folders by name, hidden ones and links (which could run in circles) left out."""
    return sorted(
        entry
        for entry in path.iterdir()
        if not entry.name.startswith(".") and entry.name != "__MACOSX" and not entry.is_symlink() and entry.is_dir()
    )


def find_layout(path: Path) -> tuple[Layout, list[str]]:
    """The class folders of each side, and what the user should know. Raises `DataError` without two classes to train
    on, and for a layout that could mean two things."""
    folders = list_folders(path)
    if layout := _find_sides_below(folders):
        return _check(layout, path, path), [f"the sides are folders inside each class: {', '.join(layout)}"]
    sides = _find_sides(path, folders)
    layout = {side: {folder.name: folder for folder in list_folders(root)} for side, root in sides.items()}
    return _check(layout, path, sides["train"]), _name_passed_over(path, folders, sides)


def _find_sides(path: Path, folders: list[Path]) -> dict[str, Path]:
    """The train, validation and test folders; `path` itself as "train" when the class folders lie there."""
    sides: dict[str, Path] = {}
    for folder in folders:
        side = find_side(folder.name)
        if side is None or not list_folders(folder):
            continue
        if side in sides:
            raise DataError(
                f"{path}: {sides[side].name} and {folder.name} are both a {side} side", hint="keep one of the two"
            )
        sides[side] = folder
    if "train" in sides:
        return sides
    if sides and len(sides) == len(folders):
        only = next(iter(sides.values()))
        raise DataError(
            f"{path}: holds {' and '.join(root.name for root in sides.values())}, but no side to train on",
            hint=f"add a folder train, or give the folder itself: {only}",
        )
    if len(folders) == 1 and find_side(folders[0].name) == "train":
        raise DataError(
            f"{folders[0]}: no class folders in it",
            hint="put the images of each class into a folder of their own, named after the class",
        )
    return {"train": path}


def _find_sides_below(folders: list[Path]) -> Layout:
    """cat/train, cat/test, dog/train, ...: only when every class folder holds the same sides, and nothing else."""
    layout: Layout = {}
    for folder in folders:
        below = list_folders(folder)
        sides = {find_side(one.name): one for one in below}
        is_clear = "train" in sides and None not in sides and len(sides) == len(below)
        if find_side(folder.name) or not is_clear or any(one.is_file() for one in _visible(folder)):
            return {}
        for side, one in sides.items():
            layout.setdefault(str(side), {})[folder.name] = one
    return layout if all(len(classes) == len(folders) for classes in layout.values()) else {}


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]


def _check(layout: Layout, path: Path, root: Path) -> Layout:
    for classes in layout.values():
        for name, folder in classes.items():
            if not is_utf8(name):
                raise DataError(
                    f"{show_name(str(folder))}: the name of this class is not UTF-8", hint="rename the folder"
                )
    names = tuple(layout["train"])
    check_classes(names, where=f"{root}, by its folders")
    for side, classes in layout.items():
        for name, folder in classes.items():
            if name not in layout["train"]:
                raise DataError(
                    f"{folder}: the class {name!r} is not in {root}"
                    if root != path
                    else f"{folder}: the class {name!r} has no {side} side to train on",
                    hint="give every class a folder among the training images, even if small",
                )
    return layout


def _name_passed_over(path: Path, folders: list[Path], sides: dict[str, Path]) -> list[str]:
    """Name the folders that look like classes and are not used."""
    notes = []
    for root in dict.fromkeys((path, *sides.values())):
        linked = sorted(
            show_name(e.name) for e in root.iterdir() if e.is_symlink() and _leads_to_folder(e) and e.name[0] != "."
        )
        if linked:
            notes.append(f"links to folders are not followed: {name_some(linked)}")
    beside = [folder.name for folder in folders if folder not in sides.values()]
    if beside and path not in sides.values():
        names = ", ".join(root.name for root in sides.values())
        notes.append(f"folders beside {names} are not used: {name_some(beside)}")
    return notes


def _leads_to_folder(link: Path) -> bool:
    try:
        return link.is_dir()
    except OSError:  # it leads to itself
        return False
