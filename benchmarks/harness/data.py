"""Data for the benchmarks: prepared once for railcar, and the same examples as one .npz for the peers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from railcar.data.prepare import open_dataset


@dataclass(frozen=True)
class Source:
    """`folder` as the user has it, `npz` as the peers get it, `seconds_preparing` that railcar took to read it."""

    folder: Path
    npz: Path
    seconds_preparing: float


def prepare(folder: Path, scratch: Path) -> Source:
    """Read `folder` into railcar's cache (`RAILCAR_CACHE`), and write train and test as they are there into an .npz."""
    started = time.perf_counter()
    dataset = open_dataset(str(folder))
    seconds = time.perf_counter() - started
    path = scratch / f"{folder.name}.npz"
    if not path.exists():
        arrays = {}
        for side in ("train", "test"):
            arrays[f"x_{side}"] = np.load(dataset.path / f"{side}.images.npy", mmap_mode="r")
            arrays[f"y_{side}"] = np.load(dataset.path / f"{side}.labels.npy").astype(np.uint8)
        np.savez(path, **arrays)
    return Source(folder, path, round(seconds, 2))


def write_grown_idx(source: Source, folder: Path, factor: int) -> Path:
    """The training images `factor` times over as plain IDX files, each copy moved a little and with noise of its own
    (exact copies would be duplicates); the test side as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(factor)
    with np.load(source.npz) as data:
        images, labels = data["x_train"][..., 0], data["y_train"]
        _write_idx(folder / "t10k-images-idx3-ubyte", data["x_test"][..., 0])
        _write_idx(folder / "t10k-labels-idx1-ubyte", data["y_test"])
    n, height, width = images.shape
    with (folder / "train-images-idx3-ubyte").open("wb") as file:
        file.write(_header(n * factor, height, width))
        for copy in range(factor):
            moved = np.roll(images, generator.integers(-2, 3, 2), axis=(1, 2)) if copy else images
            noise = generator.integers(0, 8, images.shape, np.uint8) if copy else np.uint8(0)
            file.write(np.maximum(moved, noise).tobytes())
    _write_idx(folder / "train-labels-idx1-ubyte", np.tile(labels, factor))
    return folder


def _header(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()


def _write_idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(_header(*array.shape) + array.tobytes())
