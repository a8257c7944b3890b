"""Images that stay encoded: the same pixels as prepared ones, by number, and no others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from railcar.data.decoding import EncodedImages
from railcar.data.pipeline import Batches, iterate
from railcar.data.prepare import open_dataset
from railcar.data.sources.encoded import choose_keeping
from railcar.data.types import Dataset, PixelRoom, ReadOptions
from railcar.errors import DataError

GB = 10**9


def open_both(folder: Path, **settings: Any) -> tuple[Dataset, Dataset]:
    pixels, encoded = (
        open_dataset(str(folder), validation=0.2, keep=keep, **settings) for keep in ("pixels", "encoded")
    )
    assert isinstance(pixels.splits["train"].inputs, np.ndarray)
    assert isinstance(encoded.splits["train"].inputs, EncodedImages)
    return pixels, encoded


def make_mixed(make: SimpleNamespace, root: Path) -> Path:
    """Two sizes, gray and RGB."""
    make.class_folders(root, n=20, size=(10, 12))
    for number in range(6):
        make.image(root / "cat" / f"large-{number}.png", seed=500 + number, size=(20, 16), mode="RGB")
    return root


@pytest.mark.parametrize("size", [None, (9, 7)])
def test_encoded_images_are_the_same_to_a_training_as_pixels(
    make: SimpleNamespace, tmp_path: Path, size: tuple[int, int] | None
) -> None:
    pixels, encoded = open_both(make_mixed(make, tmp_path / "photos"), image_size=size)
    assert encoded.fingerprint == pixels.fingerprint
    assert encoded.features == pixels.features
    assert encoded.features.image_shape == ((*size, 3) if size else pixels.features.image_shape)
    for side, split in pixels.splits.items():
        np.testing.assert_array_equal(encoded.splits[side].rows, split.rows)
        expected = [images for images, _ in iterate(split, 7)]
        found = [images for images, _ in iterate(encoded.splits[side], 7)]
        np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))
    chunks = [Batches(one.splits["train"], 8, seed=3).chunk(2, 5) for one in (pixels, encoded)]
    np.testing.assert_array_equal(chunks[1].inputs, chunks[0].inputs)
    np.testing.assert_array_equal(chunks[1].labels, chunks[0].labels)


def test_rows_are_asked_for_as_of_an_array(make: SimpleNamespace, tmp_path: Path) -> None:
    pixels, encoded = open_both(make_mixed(make, tmp_path / "photos"))
    array, images = pixels.splits["train"].inputs, encoded.splits["train"].inputs
    assert (images.shape, images.dtype, len(images), images.nbytes) == (
        array.shape,
        array.dtype,
        len(array),
        array.nbytes,
    )
    for rows in (3, slice(2, 5), [4, 1], np.array([[5, 0], [5, 2]]), np.empty(0, np.int64)):
        np.testing.assert_array_equal(images[rows], array[rows])
    np.testing.assert_array_equal(np.asarray(images), array)


def test_what_is_bad_is_skipped_and_named_before_training(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.class_folders(tmp_path / "photos", n=20)
    (folder / "cat" / "3.png").write_bytes((folder / "cat" / "3.png").read_bytes()[:-20])
    _, encoded = open_both(folder, max_bad=0.1)
    assert len(encoded.splits["train"].inputs) == 39
    assert any("skipped 1 unreadable: cat/3.png" in note for note in encoded.notes)
    with pytest.raises(DataError, match=r"cat/3\.png.*1 of 40 images cannot be read"):
        open_dataset(str(folder), keep="encoded")


@pytest.mark.parametrize("change", ["gone", "other"])
def test_a_file_that_is_not_what_it_was_is_named(make: SimpleNamespace, tmp_path: Path, change: str) -> None:
    folder = make.class_folders(tmp_path / "photos", n=20)
    images = open_dataset(str(folder), keep="encoded").splits["train"].inputs
    victim = folder / "cat" / "3.png"
    if change == "gone":
        victim.unlink()
    else:
        victim.write_bytes((folder / "cat" / "4.png").read_bytes())
    with pytest.raises(DataError) as caught:
        images[:]
    why = "not there" if change == "gone" else "not what it was when the data was prepared"
    assert caught.value.what == f"{victim}: {why}"
    assert "begin anew" in caught.value.hint


@pytest.mark.parametrize("odd", ["size", "color"])
def test_one_image_that_differs_from_the_sample_changes_the_shape_of_all(
    make: SimpleNamespace, tmp_path: Path, odd: str
) -> None:
    """Of 600 files every second one is looked at before they are read."""
    folder = tmp_path / "photos"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(300):
            Image.new("L", (9, 8), number % 256).save(folder / name / f"{number:03d}.png")
    same = open_dataset(str(folder))
    assert same.features.image_shape == (8, 9, 1)
    mode, size = ("L", (30, 20)) if odd == "size" else ("RGB", (9, 8))
    Image.new(mode, size, 77).save(folder / "dog" / "201.png")
    found = open_dataset(str(folder))
    assert found.features.image_shape == ((8, 8, 1) if odd == "size" else (8, 9, 3))
    assert sum(map(len, found.splits.values())) == 600


@pytest.mark.parametrize(
    ("n_bytes", "times", "keep", "room", "kept", "why"),
    [
        (10 * GB, 1.0, "pixels", PixelRoom(GB, GB), True, "as data.keep says"),
        (1, 1.0, "encoded", None, False, "as data.keep says"),
        (10 * GB, 1.0, "auto", None, True, ""),
        (4 * GB, 1.0, "auto", PixelRoom(16 * GB, 100 * GB), True, ""),
        (5 * GB, 1.0, "auto", PixelRoom(16 * GB, 100 * GB), False, "5.0 GB, more than a quarter of the memory"),
        (5 * GB, 9.0, "auto", PixelRoom(16 * GB, 100 * GB), True, ""),
        (60 * GB, 9.0, "auto", PixelRoom(16 * GB, 100 * GB), False, "60.0 GB, more than half of the free disk"),
    ],
)
def test_pixels_are_kept_where_there_is_room_for_them(
    n_bytes: int, times: float, keep: str, room: PixelRoom | None, kept: bool, why: str
) -> None:
    found, reason = choose_keeping(n_bytes, times, ReadOptions(keep=keep, room=room))
    assert found is kept
    assert reason.endswith(why) and bool(reason) is bool(why)


@pytest.mark.parametrize("n_known", [0, 25])
def test_mean_and_deviation_come_from_the_images_whose_pixels_were_summed(
    make: SimpleNamespace, tmp_path: Path, n_known: int
) -> None:
    """Of very many images some are; where too few of those are trained on, pixels are summed anew."""
    folder = make.class_folders(tmp_path / "photos", n=20)
    whole = open_dataset(str(folder), validation=None)
    path = whole.path / "train.sums.npy"
    sums = np.load(path)
    sums[n_known:] = -1
    np.save(path, sums)
    found = open_dataset(str(folder), validation=None)
    np.testing.assert_allclose(found.features.mean, whole.features.mean, rtol=1e-12)
    np.testing.assert_allclose(found.features.std, whole.features.std, rtol=1e-12)
