"""What a network makes of images, computed once and kept beside the prepared data, a row an image.

Owns the file, and which of its rows are there. Who computes them is `workflows/encoding.py`.
"""

from __future__ import annotations

import contextlib
import os
from io import BytesIO
from math import prod
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from railcar.storage.local import write_atomic


class FeatureStore:
    """float32 [n, ...] in the file `path`; rows that nobody wrote take no room. Which rows are there is written down
    when it is closed: a process that is killed leaves rows that are computed once more.

    Several processes may write one file, each the same values. Without a `path`, or where the file cannot be made, all
    is kept in memory.
    """

    def __init__(self, shape: tuple[int, ...], path: Path | None) -> None:
        self._filled_path = path.with_suffix(".rows.npy") if path else None
        self._file: int | None = None
        self._filled = np.zeros(shape[0], np.bool_)
        if path:
            with contextlib.suppress(OSError):
                self._file = _open_file(path, 4 * prod(shape))
        if self._file is None or path is None:
            self._array = np.zeros(shape, np.float32)
            return
        self._array = np.memmap(path, np.float32, "r", shape=shape)
        self._filled |= self._read_filled()

    @property
    def values(self) -> NDArray[np.float32]:
        """float32 [n, ...]: only rows that are not `missing` mean anything."""
        return self._array

    def find_missing(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `rows` that nobody has computed, in order, each once."""
        rows = np.unique(rows)
        return rows[~self._filled[rows]]

    def write(self, rows: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """`values` float32 [len(rows), ...]. Raises `OSError` when the disk is full."""
        if self._file is None:
            self._array[rows] = values
        else:
            # Through the file and not the map: a full disk is then an error, not the end of the process.
            n_bytes = values[0].nbytes
            breaks = np.flatnonzero(np.diff(rows) != 1) + 1
            for part, first in zip(np.split(values, breaks), rows[[0, *breaks]].tolist(), strict=True):
                _write_all(self._file, np.ascontiguousarray(part).data.cast("B"), first * n_bytes)
        self._filled[rows] = True

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is None or self._filled_path is None:
            return
        known = self._read_filled()
        if (self._filled & ~known).any():
            os.fsync(self._file)
            content = BytesIO()
            np.save(content, self._filled | known)
            write_atomic(self._filled_path, content.getvalue())
        os.close(self._file)

    def _read_filled(self) -> NDArray[np.bool_]:
        try:
            known = np.load(self._filled_path) if self._filled_path else None
        except (OSError, ValueError):
            known = None
        return known if known is not None and known.shape == self._filled.shape else np.zeros_like(self._filled)


def _open_file(path: Path, n_bytes: int) -> int:
    """Open to be written; made if it is not there, without ever taking the place of one that is."""
    if not path.exists():
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        with partial.open("wb") as file:
            file.truncate(n_bytes)
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
        partial.unlink()
    if path.stat().st_size != n_bytes:
        raise OSError(f"{path} is not as long as it was made")
    return os.open(path, os.O_WRONLY)


def _write_all(file: int, content: memoryview, offset: int) -> None:
    while content:
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written
