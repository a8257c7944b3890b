"""Rows of a large array that threads or processes fill: written to its file where it is a memory map, else copied.

Owns how pixels get to the disk soonest: a write of a block costs the system less than a page fault for every 4 KB, and
what is written is sent to the disk while more is decoded, so that nobody waits for it at the end.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

FLUSH_BYTES = 1 << 27


class BlockWriter:
    """A context around uint8 `images` [n, ...]; `write` may be called by several threads, for different rows."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images
        self._descriptor = -1
        self._n_waiting = 0
        self._lock = threading.Lock()
        self._flusher: threading.Thread | None = None

    def __enter__(self) -> BlockWriter:
        images = self.images
        if not isinstance(images, np.memmap) or images.mode not in ("r+", "w+") or not hasattr(os, "pwrite"):
            return self
        # only a whole file: a view's own offset is not that of its file
        if images.flags.c_contiguous and not isinstance(images.base, np.ndarray):
            self._descriptor = os.open(str(images.filename), os.O_WRONLY)
        return self

    @property
    def is_file(self) -> bool:
        """Whether what is written is in a file, for other processes, too."""
        return self._descriptor >= 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._flusher:
            self._flusher.join()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def write(self, first: int, block: NDArray[np.uint8]) -> None:
        """Put `block` [k, ...], which is contiguous, into rows `first` to `first` + k."""
        if self._descriptor < 0 or not isinstance(self.images, np.memmap):
            self.images[first : first + len(block)] = block
            return
        at = self.images.offset + first * (self.images.nbytes // len(self.images))
        view = memoryview(block.data).cast("B")
        while view:
            n = os.pwrite(self._descriptor, view, at)
            view, at = view[n:], at + n
        self._send(block.nbytes)

    def _send(self, n_bytes: int) -> None:
        with self._lock:
            self._n_waiting += n_bytes
            is_busy = self._flusher is not None and self._flusher.is_alive()
            if self._n_waiting < FLUSH_BYTES or is_busy or not hasattr(os, "fdatasync"):
                return
            self._n_waiting = 0
            self._flusher = threading.Thread(target=_flush, args=(self._descriptor,))
            self._flusher.start()


def _flush(descriptor: int) -> None:
    """Failures show again when the file is closed for good by whoever made it."""
    try:
        os.fdatasync(descriptor)
    except OSError:
        return
