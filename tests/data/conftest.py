"""Small sources of every form for the tests of the data room, handed out by the fixture `make`."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.places import bucket, clouds, google_endpoint, s3, s3_endpoint

__all__ = ["bucket", "clouds", "google_endpoint", "s3", "s3_endpoint"]


def make_digits(n: int, *, seed: int = 0, n_classes: int = 3, size: int = 4) -> tuple[NDArray, NDArray]:
    """Random images uint8 [n, size, size], a third of the pixels 0, and labels int64 [n] that take turns."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (n, size, size), dtype=np.uint8)
    images[generator.random(images.shape) < 0.3] = 0
    return images, np.arange(n) % n_classes


def idx_bytes(array: NDArray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, *, n_train: int = 60, n_test: int = 12, packed: bool = False, style: str = "-") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, n, seed in (("train", n_train, 0), ("t10k", n_test, 1)):
        images, labels = make_digits(n, seed=seed)
        for what, array in (("images", images), ("labels", labels)):
            name = f"{prefix}-{what}{style}idx{array.ndim}-ubyte"
            content = idx_bytes(array)
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
    return folder


def csv_lines(n: int, *, seed: int = 0) -> list[str]:
    images, labels = make_digits(n, seed=seed)
    return [
        ",".join(map(str, [label, *row])) for label, row in zip(labels, images.reshape(n, -1).tolist(), strict=True)
    ]


def write_image(path: Path, *, seed: int = 0, size: tuple[int, int] = (6, 8), mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if mode == "L" else (*size, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_class_folders(
    root: Path, *, n: int = 5, classes: tuple[str, ...] = ("cat", "dog"), first_seed: int = 0, **image: Any
) -> Path:
    for number, name in enumerate(classes):
        for index in range(n):
            write_image(root / name / f"{index}.png", seed=first_seed + 100 * number + index, **image)
    return root


@pytest.fixture
def make() -> SimpleNamespace:
    return SimpleNamespace(
        digits=make_digits,
        idx_bytes=idx_bytes,
        idx=write_idx,
        csv_lines=csv_lines,
        image=write_image,
        class_folders=write_class_folders,
    )
