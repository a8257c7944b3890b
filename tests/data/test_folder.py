from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from railcar.data.sources.folder import read_image_folder
from railcar.data.types import ReadOptions
from railcar.errors import DataError


def test_class_folders_become_labels_in_the_order_of_names(make: SimpleNamespace, tmp_path: Path) -> None:
    raw = read_image_folder(make.class_folders(tmp_path, classes=("dog", "ant", "cat")))
    train = raw.sides["train"]
    assert raw.class_names == ("ant", "cat", "dog")
    assert train.images.shape == (15, 6, 8, 1)
    assert list(train.ids)[:2] == ["ant/0.png", "ant/1.png"]
    np.testing.assert_array_equal(train.labels, np.repeat([0, 1, 2], 5))
    np.testing.assert_array_equal(train.images[0, ..., 0], np.asarray(Image.open(tmp_path / "ant" / "0.png")))


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("TRAIN", "valid", "testing"),
        ("training", "dev", "Eval"),
        ("train_images", "validation_images", "images-test"),
        ("Training Set", "Validation Set", "Holdout"),
    ],
)
def test_train_and_test_folders_are_sides(
    make: SimpleNamespace, tmp_path: Path, train: str, validation: str, test: str
) -> None:
    make.class_folders(tmp_path / train)
    make.class_folders(tmp_path / validation, n=2)
    make.class_folders(tmp_path / test, n=3)
    raw = read_image_folder(tmp_path)
    assert {side: len(split.labels) for side, split in raw.sides.items()} == {"train": 10, "validation": 4, "test": 6}


def test_one_color_image_makes_all_of_them_rgb(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path)
    make.image(tmp_path / "cat" / "red.png", mode="RGB")
    assert read_image_folder(tmp_path).sides["train"].images.shape == (11, 6, 8, 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "bmp", "gif", "PNG"])
def test_every_format_is_read(make: SimpleNamespace, tmp_path: Path, suffix: str) -> None:
    make.class_folders(tmp_path)
    make.image(tmp_path / "dog" / f"more.{suffix}")
    assert len(read_image_folder(tmp_path).sides["train"].labels) == 11


def test_hidden_files_and_folders_are_not_seen(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "cat" / "._0.png").write_bytes(b"macOS")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"macOS")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    raw = read_image_folder(tmp_path)
    assert raw.class_names == ("cat", "dog")
    assert len(raw.sides["train"].labels) == 10


def test_unreadable_images_are_skipped_named_and_counted(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path, n=10)
    (tmp_path / "cat" / "empty.png").write_bytes(b"")
    (tmp_path / "cat" / "page.jpg").write_bytes(b"<html></html>")
    half = (tmp_path / "dog" / "1.png").read_bytes()
    (tmp_path / "dog" / "half.png").write_bytes(half[: len(half) // 2])
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    raw = read_image_folder(tmp_path, ReadOptions(max_bad=0.2))
    note = next(note for note in raw.warnings if note.startswith("skipped"))

    assert len(raw.sides["train"].labels) == 20
    assert "skipped 4 unreadable" in note
    for words in (
        "cat/empty.png: an empty file",
        "cat/page.jpg: not an image",
        "dog/half.png",
        "a link that leads nowhere",
    ):
        assert words in note
    kept = raw.sides["train"]
    last = np.asarray(Image.open(tmp_path / kept.ids[19]))
    np.testing.assert_array_equal(kept.images[19, ..., 0], last)


def test_more_bad_images_than_allowed_are_refused_with_the_first_and_the_count(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    make.class_folders(tmp_path)
    (tmp_path / "cat" / "a.png").write_bytes(b"")
    (tmp_path / "dog" / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"cat/a.png: an empty file; 2 of 12 images cannot be read") as caught:
        read_image_folder(tmp_path)
    assert "data.max_bad" in caught.value.hint


def test_an_empty_class_folder_is_refused_by_name(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path)
    (tmp_path / "emu").mkdir()
    with pytest.raises(DataError, match="emu: no images in this class folder"):
        read_image_folder(tmp_path)
    (tmp_path / "emu" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match="emu: no images in this class folder"):
        read_image_folder(tmp_path)


def test_one_class_only_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path, classes=("cat",))
    with pytest.raises(DataError, match="only the class 'cat'"):
        read_image_folder(tmp_path)


def test_a_test_class_that_training_has_not_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path / "train")
    make.class_folders(tmp_path / "test", classes=("cat", "emu"))
    with pytest.raises(DataError, match="the class 'emu' is not in"):
        read_image_folder(tmp_path)


def test_names_that_differ_in_case_only_are_warned_of(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path, classes=("Cat", "cat"))
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system does not tell upper from lower case")
    assert any(
        "'Cat' and 'cat' differ in upper and lower case" in note for note in read_image_folder(tmp_path).warnings
    )


def test_images_elsewhere_and_other_files_are_warned_of(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path)
    make.image(tmp_path / "stray.png")
    (tmp_path / "cat" / "scan.pdf").write_bytes(b"")
    notes = read_image_folder(tmp_path).warnings
    assert "1 image beside the class folders is not used: stray.png" in notes
    assert "1 file of another kind is not read: cat/scan.pdf" in notes


def test_images_of_many_sizes_become_one_by_the_models_own_resizing(make: SimpleNamespace, tmp_path: Path) -> None:
    from railcar.layers.images import resize_images

    make.class_folders(tmp_path)
    big = make.image(tmp_path / "cat" / "big.png", size=(20, 30))
    raw = read_image_folder(tmp_path)
    chosen = read_image_folder(tmp_path, ReadOptions(image_size=(5, 7)))
    row = list(chosen.sides["train"].ids).index("cat/big.png")
    expected = np.asarray(resize_images(np.asarray(Image.open(big))[None, ..., None], (5, 7)))[0]

    assert raw.sides["train"].images.shape[1:3] == (8, 8)
    assert any("resized to 8x8" in note for note in raw.warnings)
    np.testing.assert_array_equal(chosen.sides["train"].images[row], expected)


def test_turned_photos_are_turned_back(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path, size=(8, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(pixels).save(tmp_path / "cat" / "turned.png", exif=exif)
    raw = read_image_folder(tmp_path)
    row = list(raw.sides["train"].ids).index("cat/turned.png")
    np.testing.assert_array_equal(raw.sides["train"].images[row, ..., 0], np.rot90(pixels, -1))


def test_progress_is_reported_to_the_end(make: SimpleNamespace, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    options = ReadOptions(progress=lambda what, done, total: seen.append((what, done, total)))
    read_image_folder(make.class_folders(tmp_path), options)
    assert seen[-1] == ("reading train images", 10, 10)


def test_a_class_whose_images_are_all_bad_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path)
    shutil.rmtree(tmp_path / "dog")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="no image of the class 'dog' can be read"):
        read_image_folder(tmp_path, ReadOptions(max_bad=0.5))


def test_a_named_pipe_is_skipped_not_waited_for(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path)
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    raw = read_image_folder(tmp_path, ReadOptions(max_bad=0.2))
    assert len(raw.sides["train"].labels) == 10
    assert any("cat/pipe.png: not a file" in note for note in raw.warnings)


def test_folders_that_are_passed_over_are_named(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path / "set" / "train")
    make.class_folders(tmp_path / "set", classes=("bird",))
    (tmp_path / "set" / "train" / "fish").symlink_to(tmp_path / "set" / "bird")
    notes = read_image_folder(tmp_path / "set").warnings
    assert any("not used: bird" in note for note in notes)
    assert any("not followed: fish" in note for note in notes)


def test_sides_inside_each_class_folder_are_sides_when_all_have_them(make: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        make.class_folders(tmp_path / name, classes=("train", "test"), n=3)
    raw = read_image_folder(tmp_path)
    assert raw.class_names == ("cat", "dog") and next(iter(raw.sides["test"].ids)) == "cat/test/0.png"
    assert {side: len(split.labels) for side, split in raw.sides.items()} == {"test": 6, "train": 6}
    assert "the sides are folders inside each class: test, train" in raw.warnings
    make.image(tmp_path / "dog" / "beside.png")
    assert len(read_image_folder(tmp_path).sides["train"].labels) == 13


def test_a_class_may_be_called_train(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path, classes=("bus", "car", "train"))
    assert read_image_folder(tmp_path).class_names == ("bus", "car", "train")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/cat", "training/cat"), "train and training are both a train side"),
        (("test/cat", "test/dog"), "holds test, but no side to train on"),
        (("train",), "train: no class folders in it"),
    ],
)
def test_sides_that_could_mean_anything_are_refused(
    make: SimpleNamespace, tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    for folder in folders:
        make.image(tmp_path / folder / "a.png")
    with pytest.raises(DataError, match=message):
        read_image_folder(tmp_path)


def test_training_and_prediction_decode_alike(make: SimpleNamespace, tmp_path: Path) -> None:
    from railcar.storage.images import decode_image

    make.class_folders(tmp_path, size=(40, 50), mode="RGB")
    for path in list(tmp_path.rglob("*.png")):
        Image.open(path).save(path.with_suffix(".jpg"), quality=60, progressive=path.stem == "1")
        path.unlink()
    train = read_image_folder(tmp_path).sides["train"]
    for name, image in zip(train.ids, np.asarray(train.images), strict=True):
        np.testing.assert_array_equal(image, decode_image(tmp_path / name, 3))
        np.testing.assert_array_equal(image, np.asarray(Image.open(tmp_path / name)))
