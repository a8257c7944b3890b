"""Pairs of nearly equal images are looked for once: what preparing found the check reads, and keeps what it found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from railcar.data.duplicates import find_near
from railcar.data.near_pairs import find_near_once, find_side_file
from railcar.data.prepare import open_arrays, open_dataset
from railcar.data.types import ReadOptions
from railcar.workflows.check import check

N = 40


def make_scenes(n: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth pictures, none like another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6)).astype(np.float64)
    return np.kron(coarse, np.ones((6, 6)))[..., None].astype(np.uint8)


def brighten(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.clip(images.astype(int) + 3, 0, 255).astype(np.uint8)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An npz whose test side has three images that look nearly like three to train on."""
    train, test = make_scenes(N), make_scenes(N, seed=1)
    test[:3] = brighten(train[5:8])
    path = tmp_path / "scenes.npz"
    labels = np.arange(N) % 2
    np.savez(path, x_train=train, y_train=labels, x_test=test, y_test=labels)
    return path


def find_near_findings(source: Path) -> list[int]:
    return [one.n for one in check(str(source), quiet=True).diagnosis.findings if one.code == "near_duplicates"]


def test_what_preparing_found_is_kept_with_the_data_and_read_by_the_check(source: Path) -> None:
    folder = open_dataset(str(source), ReadOptions()).path
    kept = folder / "near-1.train.test.npy"
    assert np.load(kept).tolist() == [[5, 0], [6, 1], [7, 2]]
    assert find_near_findings(source) == [3]

    # Were they looked for again, all three would be found.
    np.save(kept, np.array([[5, 0]], np.int64))
    # its size is part of the index: the same number of bytes is needed for the folder to count as whole
    with kept.open("ab") as file:
        file.write(b"\0" * 32)
    assert find_near_findings(source) == [1]


def test_the_check_keeps_what_it_finds_within_a_side(source: Path) -> None:
    folder = open_dataset(str(source), ReadOptions()).path
    within = folder / "near-1.train.train.npy"
    assert not within.exists()
    find_near_findings(source)
    assert np.load(within).shape == (0, 2)


def test_a_file_that_is_damaged_is_found_anew(tmp_path: Path) -> None:
    images, others = make_scenes(10), brighten(make_scenes(10))
    expected = find_near(images, others).tolist()
    assert len(expected) == 10
    for content in (b"", b"no array", b"\x93NUMPY\x01\x00"):
        (tmp_path / "near-1.a.b.npy").write_bytes(content)
        assert find_near_once(tmp_path, ("a", "b"), images, others).tolist() == expected
    np.save(tmp_path / "near-1.a.b.npy", np.zeros(4))
    assert find_near_once(tmp_path, ("a", "b"), images, others).tolist() == expected


def test_a_folder_that_cannot_be_written_to_is_no_reason_to_fail(tmp_path: Path) -> None:
    images = make_scenes(5)
    (tmp_path / "file").write_text("")
    assert len(find_near_once(tmp_path / "file", ("a", "b"), images, brighten(images))) == 5
    assert len(find_near_once(None, ("a", "b"), images, brighten(images))) == 5


def test_the_side_of_mapped_images_is_known_by_their_file(tmp_path: Path) -> None:
    images = make_scenes(N)
    split = open_arrays(images[..., 0], np.arange(N) % 2).splits["train"]
    found = find_side_file(split.inputs)
    assert found is not None and found[1] == "train" and (found[0] / "prepared.json").is_file()
    assert find_side_file(images) is None
