from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from railcar.data.sources import blocks
from railcar.data.sources.blocks import BlockWriter
from railcar.data.sources.folder import read_image_folder
from railcar.data.types import ReadOptions


def make_file(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.lib.format.open_memmap(path, "w+", np.uint8, shape)


@pytest.mark.parametrize("kind", ["memory", "file", "view"])
def test_threads_fill_arrays_in_memory_files_and_views_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(blocks, "FLUSH_BYTES", 1000)  # so that it happens here
    expected = np.random.default_rng(0).integers(0, 256, (200, 7, 5), dtype=np.uint8)
    whole = make_file(tmp_path / "a.npy", (210, 7, 5))
    images = {"memory": np.zeros_like(expected), "file": make_file(tmp_path / "b.npy", (200, 7, 5)), "view": whole[10:]}
    with BlockWriter(images[kind]) as target, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: target.write(at, expected[at : at + 8]), range(0, 200, 8)))
    np.testing.assert_array_equal(images[kind], expected)
    if kind == "file":
        np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), expected)


def test_a_folder_is_read_alike_into_memory_and_into_files(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.class_folders(tmp_path / "set", n=150, size=(9, 7))
    for number in (0, 70, 149):
        (folder / "cat" / f"{number}.png").write_bytes(b"")
        damaged = folder / "dog" / f"{number}.png"
        damaged.write_bytes(damaged.read_bytes()[:-16])
    make.image(folder / "dog" / "large.png", size=(31, 20))
    in_memory = read_image_folder(folder, ReadOptions(max_bad=0.1)).sides["train"]
    options = ReadOptions(max_bad=0.1, allocate=lambda name, shape: make_file(tmp_path / f"{name}.npy", shape))
    in_files = read_image_folder(folder, options).sides["train"]

    assert len(in_memory.labels) == 295 and list(in_files.ids) == list(in_memory.ids)
    np.testing.assert_array_equal(in_files.images, in_memory.images)
    np.testing.assert_array_equal(in_files.hashes, in_memory.hashes)
