"""CIFAR-10 and CIFAR-100 as published for Python: pickled dictionaries of arrays, read without unpickling freely.

Owns the file names and what an unpickler may build here: plain containers, bytes, text and NumPy arrays, nothing else;
a pickle that names anything else is refused before it is called. Source: www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.sources.cifar import choose_level
from railcar.data.types import RawData, RawSplit, ReadOptions
from railcar.errors import DataError, NotFound

CIFAR_10 = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
CIFAR_100 = {"train": ("train",), "test": ("test",)}
META_FILES = {"batches.meta": CIFAR_10, "meta": CIFAR_100}
SHAPE = (3, 32, 32)
_DAMAGED = "the file is damaged or was not fetched completely; fetch it again"
_ARRAY_PARTS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # how bytes are written in the older protocols
}


class _Refused(Exception):
    """A pickle asks for more than data."""


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY_PARTS:
            raise _Refused(f"{module}.{name}")
        # NumPy 1 and 2 name the module differently: what was written by either is read by either
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def find_pickles(folder: Path) -> list[Path]:
    """The set's files when all of them are in `folder`, else none."""
    for meta, sides in META_FILES.items():
        paths = [folder / name for name in (*(name for names in sides.values() for name in names), meta)]
        if all(path.is_file() for path in paths):
            return paths
    return []


def read_cifar_pickles(folder: Path, options: ReadOptions | None = None) -> RawData:
    """Read the batches and the names of the classes: of CIFAR-100 the 100 fine ones, or the 20 coarse ones where
    `options.label` says so.

    Raises `DataError` for files that are damaged, or that hold more than data.
    """
    paths = find_pickles(folder)
    if not paths:
        raise NotFound(f"{folder}: not all files of CIFAR's Python version are there", hint="unpack it again")
    meta = paths[-1]
    is_ten = META_FILES[meta.name] is CIFAR_10
    level, notes = ("", ()) if is_ten else choose_level(folder, options)
    prefix = f"{level}_".encode() if level else b""
    names = _read_pickle(meta).get(prefix + b"label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise DataError(f"{meta}: no list of class names in it", hint=_DAMAGED)
    class_names = tuple(name.decode() if isinstance(name, bytes) else name for name in names)
    sides = {}
    for side, files in META_FILES[meta.name].items():
        parts = [_read_batch(folder / file, prefix + b"labels", len(names)) for file in files]
        images = np.concatenate([images for images, _ in parts])
        sides[side] = RawSplit(images, np.concatenate([labels for _, labels in parts]), side)
    return RawData("cifar", class_names, sides, notes)


def _read_batch(path: Path, label_key: bytes, n_classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """uint8 [n, 32, 32, 3] and int32 [n]."""
    batch = _read_pickle(path)
    data, labels = batch.get(b"data"), batch.get(label_key)
    n_values = int(np.prod(SHAPE))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != n_values:
        raise DataError(f"{path}: no uint8 array of [n, {n_values}] called 'data' in it", hint=_DAMAGED)
    if not isinstance(labels, list) or len(labels) != len(data) or not len(data):
        raise DataError(f"{path}: not as many labels as images in it", hint=_DAMAGED)
    for number, label in enumerate(labels):
        if not isinstance(label, int) or not 0 <= label < n_classes:
            what = f"image {number} has the label {str(label)[:20]}, and there are {n_classes} classes"
            raise DataError(f"{path}: {what}", hint=_DAMAGED)
    images = data.reshape(-1, *SHAPE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, np.int32)


def _read_pickle(path: Path) -> dict[bytes, Any]:
    """A dictionary with keys of bytes, as Python 2 wrote it or as a later one did."""
    try:
        with path.open("rb") as file:
            found = _DataUnpickler(file, encoding="bytes").load()
    except _Refused as error:
        raise DataError(
            f"{path}: asks for {error}, and railcar unpickles data only (anything else could run code)",
            hint="do not trust this file; fetch CIFAR again",
        ) from error
    except MemoryError as error:
        raise DataError(f"{path}: asks for more memory than there is", hint=_DAMAGED) from error
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(f"{path}: truncated or damaged: {' '.join(str(error).split())[:100]}", hint=_DAMAGED) from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: no dictionary in it", hint=_DAMAGED)
    return {key.encode() if isinstance(key, str) else key: value for key, value in found.items()}
