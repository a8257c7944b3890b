"""NumPy archives: `.npz` with images and labels, with or without a test side, in the usual spellings; and single arrays
whose rows are a label and its pixels.

Owns the names of arrays, and what pixels and labels may look like (arrays in memory pass the same checks). Never
unpickles.
"""

from __future__ import annotations

import zipfile
import zlib
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.classes import index_labels
from railcar.data.types import RawData, RawSplit, ReadOptions
from railcar.errors import DataError

IMAGE_NAMES = {
    "train": ("x_train", "X_train", "train_images", "train_x", "images_train"),
    "validation": ("x_val", "X_val", "x_valid", "x_validation", "val_images", "validation_images", "val_x"),
    "test": ("x_test", "X_test", "test_images", "test_x", "images_test"),
}
LABEL_NAMES = {
    "train": ("y_train", "Y_train", "train_labels", "train_y", "labels_train"),
    "validation": ("y_val", "Y_val", "y_valid", "y_validation", "val_labels", "validation_labels", "val_y"),
    "test": ("y_test", "Y_test", "test_labels", "test_y", "labels_test"),
}
WHOLE_IMAGE_NAMES = ("images", "x", "X", "data", "image")
WHOLE_LABEL_NAMES = ("labels", "y", "Y", "label", "target", "targets")
DAMAGED_HINT = "fetch it again, or save it anew with numpy.savez(path, x_train=..., y_train=...)"
SAVE_HINT = "save it again with numpy.savez(path, x_train=..., y_train=...)"
# Of 8x8 pixels. Shorter rows of whole numbers are tables as often as not.
FEWEST_PIXELS = 64
MAX_LABEL = 999
"""Of rows that begin with their label."""
NAMES_HINT = "name the arrays x_train, y_train, x_test, y_test, or images and labels"


def read_npz(path: Path, options: ReadOptions | None = None) -> RawData:
    """Read `x_train`, `y_train`, `x_test`, `y_test` (or `images`, `labels`, ...) of an archive.

    Raises `DataError` for a file that is damaged or needs unpickling, arrays that are missing or do not belong
    together, and pixels or labels that are not.
    """
    arrays, notes = _read_arrays(path)
    pairs = _pair_names(path, arrays)
    images, labels = {}, {}
    for side, (image_name, label_name) in pairs.items():
        images[side] = check_images(arrays[image_name], f"{path}: {image_name}")
        labels[side] = check_labels(arrays[label_name], f"{path}: {label_name}")
        if len(images[side]) != len(labels[side]):
            raise DataError(
                f"{path}: {image_name} has {len(images[side]):,} examples, {label_name} {len(labels[side]):,}",
                hint="save as many labels as images, in the same order",
            )
        if images[side].shape[1:] != images["train"].shape[1:]:
            raise DataError(
                f"{path}: {image_name} has images of shape {images[side].shape[1:]}, "
                f"{pairs['train'][0]} of shape {images['train'].shape[1:]}",
                hint="save both sides with one size and as many channels",
            )
    class_names, indices = index_labels(labels, where=str(path))
    sides = {side: RawSplit(images[side], indices[side], side) for side in pairs}
    return RawData("npz", class_names, sides, notes)


def _read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """The arrays whose names mean something to us, and notes."""
    wanted = {*WHOLE_IMAGE_NAMES, *WHOLE_LABEL_NAMES}
    for names in (*IMAGE_NAMES.values(), *LABEL_NAMES.values()):
        wanted.update(names)
    name = ""
    try:
        # numpy leaves a file that it opened itself open when the archive is damaged
        with path.open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                file.seek(0)
                return _split_rows(path, np.load(file, allow_pickle=False))
            file.seek(0)
            if file.read(2) != b"PK":
                raise DataError(f"{path}: truncated or damaged, or not an .npz", hint=DAMAGED_HINT)
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {}
                for name in archive.files:
                    if name in wanted:
                        array = archive[name]
                        if not isinstance(array, np.ndarray):  # numpy hands out members of other kinds as bytes
                            raise DataError(f"{path}: {name} is no array", hint=SAVE_HINT)
                        arrays[name] = array
                if not arrays:
                    raise DataError(f"{path}: holds {_list(archive.files)}", hint=NAMES_HINT)
                return arrays, ()
    except (zipfile.BadZipFile, EOFError, zlib.error, OSError, KeyError, MemoryError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise DataError(f"{path}: {error.strerror}", hint="check the path and its permissions") from error
        # of a file without its end, zipfile says that it is no zip file
        words = "" if isinstance(error, zipfile.BadZipFile) and "not a zip" in str(error) else f": {_one_line(error)}"
        raise DataError(f"{path}: truncated or damaged, or not an .npz{words}", hint=DAMAGED_HINT) from error
    except ValueError as error:
        if "allow_pickle" in str(error):
            inside = f" in {name!r}" if name else ""
            raise DataError(
                f"{path}: Python objects{inside}, which railcar never unpickles (they could run code)",
                hint="save plain arrays: images as uint8, labels as integers or strings",
            ) from error
        raise DataError(f"{path}: truncated or damaged: {_one_line(error)}", hint=DAMAGED_HINT) from error


def _split_rows(path: Path, array: NDArray[Any]) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Images and labels of a single array, as `numpy.save` writes what was read from a CSV of digits: each row a label
    and its pixels."""
    n_pixels = array.shape[1] - 1 if array.ndim == 2 and len(array) else 0
    is_image = n_pixels >= FEWEST_PIXELS and _find_square(n_pixels) is not None
    if not (is_image and array.dtype.kind in "iuf" and _are_labels(array[:, 0])):
        shape = "x".join(map(str, array.shape)) or "a single value"
        raise DataError(f"{path}: a single array (.npy) of shape {shape}, without labels", hint=SAVE_HINT)
    misnamed = "" if path.name.lower().endswith(".npy") else f", though its name says {path.suffix}"
    note = f"{path.name}: a single array (.npy){misnamed}: each row is read as a label and {n_pixels} pixels"
    return {"images": array[:, 1:], "labels": array[:, 0]}, (note,)


def _are_labels(values: NDArray[Any]) -> bool:
    """Whether they are whole numbers of 0 to `MAX_LABEL`."""
    return bool(((values >= 0) & (values <= MAX_LABEL) & (values == np.floor(values))).all())


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _list(names: list[str]) -> str:
    return f"the arrays {', '.join(names)}, none of which is named as images or labels" if names else "no arrays"


def _pair_names(path: Path, arrays: dict[str, NDArray[Any]]) -> dict[str, tuple[str, str]]:
    """(images, labels) names by side."""
    pairs: dict[str, tuple[str, str]] = {}
    for side in IMAGE_NAMES:
        image_names = [*IMAGE_NAMES[side], *(WHOLE_IMAGE_NAMES if side == "train" else ())]
        label_names = [*LABEL_NAMES[side], *(WHOLE_LABEL_NAMES if side == "train" else ())]
        image_name = next((name for name in image_names if name in arrays), None)
        label_name = next((name for name in label_names if name in arrays), None)
        if image_name and label_name:
            pairs[side] = (image_name, label_name)
        elif image_name or label_name:
            alone, lacks = (image_name, "labels") if image_name else (label_name, "images")
            raise DataError(f"{path}: {alone} has no {lacks} beside it", hint=NAMES_HINT)
    if "train" not in pairs:
        raise DataError(f"{path}: no training side, only {', '.join(arrays)}", hint=NAMES_HINT)
    return pairs


def check_images(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """uint8 [n, height, width, channels] from [n, h, w], [n, h, w, 1 or 3] or [n, pixels] with a whole root.

    Integers of 0 to 255 pass; floats of 0 to 1 are scaled by 255, floats that are whole numbers of 0 to 255 are taken
    as they are. Raises `DataError`, naming `where`, for the rest.
    """
    if array.ndim == 0 or len(array) == 0 or array.size == 0:
        raise DataError(f"{where} is empty", hint="there must be images to learn from")
    return _shape_images(_check_pixels(array, where), where)


def _shape_images(pixels: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
    shape = pixels.shape
    if pixels.ndim == 4 and shape[3] in (1, 3):
        return pixels
    if pixels.ndim == 3:
        return pixels[..., None]
    if pixels.ndim == 2:
        height, width, channels = find_image_shape(shape[1], where)
        return pixels.reshape(shape[0], height, width, channels)
    raise DataError(
        f"{where} has the shape {list(shape)}", hint="images are [n, height, width] or [n, height, width, 1 or 3]"
    )


def find_image_shape(n_values: int, where: str) -> tuple[int, int, int]:
    """(height, width, channels) of a square image of `n_values` values: gray, else RGB. Raises `DataError`."""
    shape = _find_square(n_values)
    if shape is None:
        raise DataError(
            f"{where}: {n_values} values an example are not a square image, gray or RGB",
            hint="784 values are 28x28 in gray, 3072 are 32x32 in RGB",
        )
    return shape


def _find_square(n_values: int) -> tuple[int, int, int] | None:
    for channels in (1, 3):
        side = isqrt(n_values // channels)
        if side > 0 and channels * side * side == n_values:
            return side, side, channels
    return None


def _check_pixels(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise DataError(f"{where} holds {array.dtype}, not pixels", hint="save images as uint8, 0 to 255")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
        raise DataError(f"{where} has a value that is not a number (example {first})", hint="save images as uint8")
    low, high = array.min(), array.max()
    if low < 0 or high > 255:
        raise DataError(f"{where} has values from {low:g} to {high:g}", hint="pixels go from 0 to 255, or from 0 to 1")
    if array.dtype.kind != "f":
        return array.astype(np.uint8)
    if high <= 1:
        return np.rint(array * 255).astype(np.uint8)
    if np.array_equal(array, np.floor(array)):
        return array.astype(np.uint8)
    raise DataError(
        f"{where} has fractions, and values up to {high:g}: neither 0 to 1 nor whole numbers of 0 to 255",
        hint="save images as uint8, 0 to 255",
    )


def check_labels(array: NDArray[Any], where: str) -> NDArray[Any]:
    """[n] integers or strings from integers, whole floats, booleans or strings, [n] or [n, 1]. Raises `DataError`."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.shape[1] > 1 and ((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all():
        return array.argmax(axis=1)
    if array.ndim != 1:
        raise DataError(f"{where} has the shape {list(array.shape)}", hint="labels are one number or name an example")
    if len(array) == 0:
        raise DataError(f"{where} is empty", hint="there must be a label for each image")
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    if array.dtype.kind == "f" and (np.abs(array) < 2**53).all() and np.array_equal(array, np.floor(array)):
        return array.astype(np.int64)
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where} holds bytes that are not UTF-8", hint="save labels as text or integers"
            ) from error
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.tolist()):
        return array.astype(str)
    if array.dtype.kind not in "iuU":
        raise DataError(f"{where} holds {array.dtype}, not labels", hint="labels are integers or strings")
    if array.dtype.kind in "iu" and array.min() < 0:
        first = int(np.flatnonzero(array < 0)[0])
        raise DataError(f"{where} has the label {array[first]} (example {first})", hint="labels are 0 or more")
    return array
