"""Images of prepared data that look nearly the same: looked for once, and kept beside the data.

Owns where the pairs are kept. Who looks for them is `leakage.py`, when data is prepared, and `repeats.py`, when it is
checked; what counts as nearly the same is `duplicates.py`'s.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from railcar.data.duplicates import Images, find_near
from railcar.errors import OutputError
from railcar.storage.local import write_atomic

# Counts up when `duplicates.py` finds other pairs.
_VERSION = 1


def find_near_once(
    folder: Path | None, names: tuple[str, str], images: Images, others: Images | None = None
) -> NDArray[np.int64]:
    """What `find_near` says of two sides of these `names`, or (without `others`) of one: int64 [k, 2]. Read from
    `folder`, that of the prepared data, if it was found before; else kept there if it can be. Without a folder found
    anew."""
    if folder is None:
        return find_near(images, others)
    path = folder / f"near-{_VERSION}.{names[0]}.{names[1]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        pairs = np.load(path)
        if pairs.dtype == np.int64 and pairs.ndim == 2 and pairs.shape[1] == 2:
            return pairs
    pairs = find_near(images, others)
    content = io.BytesIO()
    np.save(content, pairs)
    with contextlib.suppress(OutputError):
        write_atomic(path, content.getvalue())
    return pairs


def find_side_file(images: Images) -> tuple[Path, str] | None:
    """The folder and the side that prepared images are mapped from; None of images in memory."""
    if not isinstance(images, np.memmap) or images.filename is None:
        return None
    path = Path(images.filename)
    return path.parent, path.name.partition(".")[0]
