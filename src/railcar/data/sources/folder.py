"""Folders of images: one folder for each class, or train/validation/test folders above them.

Owns finding, reading in threads, and skipping what cannot be read. Decoding is `storage/images.py`'s, as in
prediction; sizes are changed by the same function as the model's own layer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from railcar.data.classes import check_classes
from railcar.data.types import RawData, RawSplit, ReadOptions
from railcar.errors import DataError
from railcar.storage.images import SUFFIXES, decode_image, read_image_shape

SIDE_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
}
MAX_SIZE = 224
MAX_NAMED = 5
BATCH = 256


@dataclass(frozen=True)
class ImageFile:
    """`name` is the path below the source; `class_index` counts in the sorted class names."""

    path: Path
    name: str
    class_index: int


@dataclass
class Bad:
    """What could not be read, with the reason."""

    reasons: dict[str, str] = field(default_factory=dict)

    def check(self, n_files: int, max_bad: float) -> None:
        """Raise `DataError` when more than the share `max_bad` of the files is bad."""
        if len(self.reasons) <= max_bad * n_files:
            return
        name, reason = next(iter(self.reasons.items()))
        raise DataError(
            f"{name}: {reason}; {len(self.reasons):,} of {n_files:,} images cannot be read",
            hint=f"mend or remove them, or set data.max_bad to {min(1.0, len(self.reasons) / n_files + 0.005):.2f}",
        )

    def describe(self) -> tuple[str, ...]:
        if not self.reasons:
            return ()
        named = "; ".join(f"{name}: {reason}" for name, reason in list(self.reasons.items())[:MAX_NAMED])
        more = ", …" if len(self.reasons) > MAX_NAMED else ""
        return (f"skipped {len(self.reasons):,} unreadable: {named}{more}",)


def list_image_files(path: Path) -> list[Path]:
    """Every image of the source: what a change of makes it be read again."""
    return [file for folder in _walk_folders(path) for file in list_images(folder)[0]]


def read_image_folder(path: Path, options: ReadOptions | None = None) -> RawData:
    """Read every image of the class folders of `path` to uint8 [n, height, width, 1 or 3].

    Gray when every image is, else RGB. The size is `options.image_size`, else the images' own when they agree, else a
    square of the median side, at most 224. Raises `DataError` for empty class folders, a single class, no images, and
    more unreadable files than `options.max_bad`.
    """
    options = options or ReadOptions()
    sides = find_sides(path)
    class_names, files, notes = _find_classes(path, sides)
    n_files = sum(len(found) for found in files.values())
    bad = Bad()
    whole = [file for found in files.values() for file in found]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        shapes = dict(_look(pool, whole, bad, options))
        bad.check(n_files, options.max_bad)
        size, channels, reason = _choose_shape(shapes, options.image_size)
        raw_sides = {}
        for side, found in files.items():
            readable = [file for file in found if file.name in shapes]
            raw_sides[side] = _read_side(pool, side, readable, (*size, channels), bad, options, n_files)
    bad.check(n_files, options.max_bad)
    _check_trained(path, raw_sides, class_names)
    return RawData("folder", class_names, raw_sides, (reason, *notes, *bad.describe()))


def list_folders(path: Path) -> list[Path]:
    """Sub-folders by name, hidden ones and links (which could run in circles) left out."""
    return sorted(e for e in path.iterdir() if e.is_dir() and not e.name.startswith(".") and not e.is_symlink())


def find_sides(path: Path) -> dict[str, Path]:
    """The train, validation and test folders; `path` itself as "train" when the class folders lie there."""
    sides: dict[str, Path] = {}
    folders = list_folders(path)
    for folder in folders:
        side = SIDE_NAMES.get(folder.name.lower())
        if side is None or not (list_folders(folder) or side == "train"):
            continue
        if side in sides:
            raise DataError(
                f"{path}: {sides[side].name} and {folder.name} are both a {side} side", hint="keep one of the two"
            )
        sides[side] = folder
    if "train" not in sides:
        return {"train": path}
    return sides


def _walk_folders(path: Path) -> Iterator[Path]:
    """Every class folder and what lies below it."""
    for folder in list_folders(path):
        yield folder
        yield from _walk_folders(folder)


def list_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Images and other files right in `folder`, by name; hidden ones and macOS' `._` files left out."""
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if not e.name.startswith(".") and not _is_folder(e))
    paths = [folder / name for name in names]
    images = [path for path in paths if path.suffix.lower() in SUFFIXES]
    return images, [path for path in paths if path.suffix.lower() not in SUFFIXES]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: an unreadable image
        return False


def _find_classes(
    path: Path, sides: dict[str, Path]
) -> tuple[tuple[str, ...], dict[str, list[ImageFile]], tuple[str, ...]]:
    """Class names, the files of each side, and warnings."""
    class_names = tuple(folder.name for folder in list_folders(sides["train"]))
    check_classes(class_names, where=f"{sides['train']}, by its folders")
    numbers = {name: number for number, name in enumerate(class_names)}
    files: dict[str, list[ImageFile]] = {}
    strays: list[Path] = []
    others: list[Path] = []
    for side, root in sides.items():
        files[side] = []
        strays += list_images(root)[0]
        for folder in list_folders(root):
            if folder.name not in numbers:
                raise DataError(
                    f"{folder}: the class {folder.name!r} is not in {sides['train']}",
                    hint="give every class a folder among the training images, even if small",
                )
            found = []
            for below in (folder, *_walk_folders(folder)):
                images, rest = list_images(below)
                found += images
                others += rest
            if not found and side == "train":
                raise DataError(
                    f"{folder}: no images in this class folder ({', '.join(s[1:] for s in SUFFIXES)})",
                    hint="put images into it, or remove the folder",
                )
            names = [image.relative_to(path).as_posix() for image in found]
            number = numbers[folder.name]
            files[side] += [ImageFile(image, name, number) for image, name in zip(found, names, strict=True)]
    notes = (*_warn(class_names, strays, others), *_warn_of_folders(path, sides))
    return class_names, {side: found for side, found in files.items() if found}, notes


def _warn(class_names: tuple[str, ...], strays: list[Path], others: list[Path]) -> tuple[str, ...]:
    notes = []
    folded: dict[str, str] = {}
    for name in class_names:
        twin = folded.setdefault(name.casefold(), name)
        if twin != name:
            notes.append(f"the classes {twin!r} and {name!r} differ in upper and lower case only")
    if strays:
        notes.append(f"{len(strays):,} images beside the class folders are not used: {strays[0].name}")
    if others:
        notes.append(f"{len(others):,} files of other kinds are not read: {others[0].parent.name}/{others[0].name}")
    return tuple(notes)


def _warn_of_folders(path: Path, sides: dict[str, Path]) -> Iterator[str]:
    """Name the folders that look like classes and are passed over."""
    for root in dict.fromkeys((path, *sides.values())):
        linked = sorted(e.name for e in root.iterdir() if e.is_symlink() and e.is_dir() and not e.name.startswith("."))
        if linked:
            yield f"links to folders are not followed: {', '.join(linked[:MAX_NAMED])}"
    beside = [folder.name for folder in list_folders(path) if folder not in sides.values()]
    if beside and path not in sides.values():
        yield f"folders beside {', '.join(root.name for root in sides.values())} are not used: " + ", ".join(
            beside[:MAX_NAMED]
        )


def _check_trained(path: Path, sides: dict[str, RawSplit], class_names: tuple[str, ...]) -> None:
    present = np.bincount(sides["train"].labels, minlength=len(class_names))
    missing = np.flatnonzero(present == 0)
    if len(missing):
        raise DataError(
            f"{path}: no image of the class {class_names[missing[0]]!r} can be read", hint="replace its images"
        )


def _look(
    pool: ThreadPoolExecutor, files: list[ImageFile], bad: Bad, options: ReadOptions
) -> Iterator[tuple[str, tuple[int, int, bool]]]:
    """(name, (height, width, is gray)) of each file whose header can be read; the rest goes to `bad`."""
    for number, (file, found) in enumerate(zip(files, pool.map(_look_at, files, chunksize=64), strict=True)):
        if isinstance(found, str):
            bad.reasons[file.name] = found
        else:
            yield file.name, found
        if options.progress and (number % BATCH == 0 or number + 1 == len(files)):
            options.progress("looking at images", number + 1, len(files))


def _look_at(file: ImageFile) -> tuple[int, int, bool] | str:
    """Size after turning, and whether it is gray; or why it cannot be read."""
    try:
        return read_image_shape(file.path)
    except DataError as error:
        return _reason(file.path, error)


def _reason(path: Path, error: DataError) -> str:
    return error.what.removeprefix(f"{path}: ").removeprefix(f"{path.name}: ")


def _choose_shape(
    shapes: dict[str, tuple[int, int, bool]], image_size: tuple[int, int] | None
) -> tuple[tuple[int, int], int, str]:
    """(height, width), channels, and the reason."""
    channels = 1 if all(is_gray for _, _, is_gray in shapes.values()) else 3
    color = "gray" if channels == 1 else "RGB"
    sizes = {(height, width) for height, width, _ in shapes.values()}
    if image_size is not None:
        return image_size, channels, f"images are {color}, {image_size[0]}x{image_size[1]}, as data.image_size says"
    if len(sizes) == 1:
        height, width = sizes.pop()
        if max(height, width) <= MAX_SIZE:
            return (height, width), channels, f"images are {color}, all of {height}x{width}"
    median = int(np.median([(height * width) ** 0.5 for height, width, _ in shapes.values()]))
    side = max(8, min(MAX_SIZE, median))
    why = f"the median of sizes up to {max(sizes)[0]}x{max(sizes)[1]}" if sizes else "all of one larger size"
    return (side, side), channels, f"images are {color}, resized to {side}x{side} ({why}; data.image_size changes it)"


def _read_side(
    pool: ThreadPoolExecutor,
    side: str,
    files: list[ImageFile],
    shape: tuple[int, int, int],
    bad: Bad,
    options: ReadOptions,
    n_files: int,
) -> RawSplit:
    """Decode into one array; rows of files that turn out bad are closed up.

    An example is known by its file's bytes: what size and channels the others have must not move it to another side.
    """
    images = options.allocate(f"{side}.images", (len(files), *shape))
    kept: list[ImageFile] = []
    hashes: list[int] = []
    for start in range(0, len(files), BATCH):
        group = files[start : start + BATCH]
        decoded = list(pool.map(lambda file: _decode(file, shape[2]), group))
        good = []
        for file, found in zip(group, decoded, strict=True):
            if isinstance(found, str):
                bad.reasons[file.name] = found
            else:
                good.append(found[0])
                hashes.append(found[1])
                kept.append(file)
        if good:
            images[len(kept) - len(good) : len(kept)] = _resize_each(good, shape[:2])
        if options.progress:
            options.progress(f"reading {side} images", min(start + BATCH, len(files)), len(files))
    labels = np.array([file.class_index for file in kept], np.int32)
    ids = [file.name for file in kept]
    return RawSplit(images[: len(kept)], labels, ids, np.array(hashes, np.uint64))


def _resize_each(images: list[NDArray[np.uint8]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [n, height, width, channels] of images of any sizes; those of one size are resized together."""
    result = np.empty((len(images), *size, images[0].shape[2]), np.uint8)
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(images):
        groups.setdefault(image.shape, []).append(number)
    for shape, numbers in groups.items():
        batch = np.stack([images[number] for number in numbers])
        if shape[:2] != size:
            from railcar.layers.images import resize_images

            batch = np.asarray(resize_images(batch, size))
        result[numbers] = batch
    return result


def _decode(file: ImageFile, n_channels: int) -> tuple[NDArray[np.uint8], int] | str:
    """uint8 [height, width, n_channels] and a hash of the file's bytes, or why it cannot be read."""
    try:
        pixels = decode_image(file.path, n_channels)
        digest = hashlib.blake2b(file.path.read_bytes(), digest_size=8).digest()
        return pixels, int.from_bytes(digest, "little")
    except DataError as error:
        return _reason(file.path, error)
