"""The data that comes with railcar: where it lies in the package; the notices beside it name its authors.

MNIST's part, made by `scripts/make_mnist_sample.py`, is IDX files packed with xz, so that `idx.py` reads them.
"""

from __future__ import annotations

from pathlib import Path

from railcar import samples
from railcar.data.sources.idx import read_idx_folder
from railcar.data.types import RawData

_FOLDER = Path(samples.__path__[0])


def find_mnist_sample() -> Path:
    """The folder of the embedded part of MNIST."""
    return _FOLDER / "mnist"


def find_penguins() -> Path:
    """The embedded table of the Palmer penguins, a CSV."""
    return _FOLDER / "penguins" / "penguins.csv"


def find_sms_spam() -> Path:
    """The embedded SMS Spam Collection, a CSV of texts and labels."""
    return _FOLDER / "sms-spam" / "sms-spam.csv.gz"


def read_mnist_sample() -> RawData:
    """The embedded part of MNIST: training and test images, uint8 [n, 28, 28, 1], and their labels."""
    return read_idx_folder(find_mnist_sample())
