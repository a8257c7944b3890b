"""The data that comes with railcar: where it lies in the package. Made by `scripts/make_mnist_sample.py`.

The samples are IDX files packed with xz, so that `idx.py` reads them; the notice beside them names their authors.
"""

from __future__ import annotations

from pathlib import Path

from railcar import samples
from railcar.data.sources.idx import read_idx_folder
from railcar.data.types import RawData


def find_mnist_sample() -> Path:
    """The folder of the embedded part of MNIST."""
    return Path(samples.__path__[0]) / "mnist"


def read_mnist_sample() -> RawData:
    """The embedded part of MNIST: training and test images, uint8 [n, 28, 28, 1], and their labels."""
    return read_idx_folder(find_mnist_sample())
