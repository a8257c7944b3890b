from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from railcar.data.sources.npz import read_npz
from railcar.errors import DataError


@pytest.mark.parametrize(
    "names",
    [("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), ("X", "y")],
)
def test_the_usual_names_are_found(make: SimpleNamespace, tmp_path: Path, names: tuple[str, str]) -> None:
    images, labels = make.digits(30)
    np.savez(tmp_path / "set.npz", **dict(zip(names, (images, labels), strict=True)))
    raw = read_npz(tmp_path / "set.npz")
    np.testing.assert_array_equal(raw.sides["train"].images, images[..., None])
    np.testing.assert_array_equal(raw.sides["train"].labels, labels)


def test_keras_mnist_npz_has_both_sides(make: SimpleNamespace, tmp_path: Path) -> None:
    (images, labels), (more, more_labels) = make.digits(30), make.digits(9, seed=1)
    np.savez_compressed(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=more, y_test=more_labels)
    raw = read_npz(tmp_path / "mnist.npz")
    np.testing.assert_array_equal(raw.sides["test"].images, more[..., None])


@pytest.mark.parametrize("change", ["floats to 1", "floats to 255", "int64", "flat", "one channel", "column of labels"])
def test_one_set_in_many_dtypes_and_shapes_reads_the_same(make: SimpleNamespace, tmp_path: Path, change: str) -> None:
    images, labels = make.digits(30)
    given = {
        "floats to 1": (images / 255).astype(np.float32),
        "floats to 255": images.astype(np.float64),
        "int64": images.astype(np.int64),
        "flat": images.reshape(30, -1),
        "one channel": images[..., None],
    }.get(change, images)
    np.savez(tmp_path / "set.npz", images=given, labels=labels[:, None] if change == "column of labels" else labels)
    raw = read_npz(tmp_path / "set.npz")
    np.testing.assert_array_equal(raw.sides["train"].images, images[..., None])
    np.testing.assert_array_equal(raw.sides["train"].labels, labels)


def test_labels_may_be_names_or_one_hot(make: SimpleNamespace, tmp_path: Path) -> None:
    images, labels = make.digits(30)
    names = np.array(["ant", "bee", "cow"])
    np.savez(tmp_path / "names.npz", images=images, labels=names[labels])
    np.savez(tmp_path / "onehot.npz", images=images, labels=np.eye(3)[labels])
    assert read_npz(tmp_path / "names.npz").class_names == ("ant", "bee", "cow")
    np.testing.assert_array_equal(read_npz(tmp_path / "onehot.npz").sides["train"].labels, labels)


IMAGES, LABELS = np.full((6, 4, 4), 7, np.uint8), np.arange(6) % 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES, "labels": LABELS[:5]}, "images has 6 examples, labels 5"),
        ({"images": IMAGES.astype(object), "labels": LABELS}, "Python objects in 'images', which railcar never unpick"),
        ({"images": IMAGES, "labels": LABELS.astype(object)}, "Python objects in 'labels'"),
        ({"images": IMAGES}, "images has no labels beside it"),
        ({"a": IMAGES}, "holds the arrays a, none of which"),
        ({}, "holds no arrays"),
        ({"x_test": IMAGES, "y_test": LABELS}, "no training side"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "images is empty"),
        ({"images": IMAGES.astype(np.int16) * 100, "labels": LABELS}, "values from 700 to 700"),
        ({"images": IMAGES.astype(np.int16) - 8, "labels": LABELS}, "values from -1 to -1"),
        ({"images": IMAGES * 0.55, "labels": LABELS}, "neither 0 to 1 nor whole"),
        ({"images": IMAGES * np.nan, "labels": LABELS}, "not a number"),
        ({"images": IMAGES.astype(complex), "labels": LABELS}, "complex128, not pixels"),
        ({"images": IMAGES.astype(str), "labels": LABELS}, "not pixels"),
        ({"images": IMAGES.reshape(6, 2, 2, 4), "labels": LABELS}, r"the shape \[6, 2, 2, 4\]"),
        ({"images": IMAGES.reshape(6, 16)[:, :15], "labels": LABELS}, "15 values an example are not a square"),
        ({"images": IMAGES, "labels": LABELS * 0.5}, "float64, not labels"),
        ({"images": IMAGES, "labels": LABELS - 1}, "the label -1"),
        ({"images": IMAGES, "labels": LABELS * 0}, "only the class '0'"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS + 1}, "the label 2"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:, :3], "y_test": LABELS}, "images of shape"),
    ],
)
def test_arrays_that_are_no_images_and_labels_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match=message) as caught:
        read_npz(path)
    assert str(path) in caught.value.what
    assert caught.value.hint


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_npz_is_refused_by_name(make: SimpleNamespace, tmp_path: Path, compressed: bool) -> None:
    images, labels = make.digits(300)
    whole, path = tmp_path / "whole.npz", tmp_path / "set.npz"
    (np.savez_compressed if compressed else np.savez)(whole, images=images, labels=labels)
    content = whole.read_bytes()
    for n_bytes in (0, 10, len(content) // 2, len(content) - 30, len(content) - 1):
        path.write_bytes(content[:n_bytes])
        with pytest.raises(DataError, match=r"set\.npz: (truncated|damaged)"):
            read_npz(path)


def test_damage_inside_an_npz_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    images, labels = make.digits(300)
    path = tmp_path / "set.npz"
    np.savez(path, images=images, labels=labels)
    content = bytearray(path.read_bytes())
    content[1000:1010] = bytes(10)
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged"):
        read_npz(path)


def test_a_single_array_named_npz_is_refused_with_its_form(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with path.open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(DataError, match="a single array"):
        read_npz(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_rows_of_a_label_and_its_pixels_are_read_from_a_single_array(
    make: SimpleNamespace, tmp_path: Path, n_channels: int, dtype: type
) -> None:
    images, labels = make.digits(30, size=12)
    flat = np.repeat(images.reshape(30, -1), n_channels, axis=1)
    np.save(tmp_path / "set.npy", np.concatenate([labels[:, None], flat], axis=1).astype(dtype))
    (tmp_path / "set.npz").write_bytes((tmp_path / "set.npy").read_bytes())
    plain, misnamed = read_npz(tmp_path / "set.npy"), read_npz(tmp_path / "set.npz")

    assert plain.sides["train"].images.shape == (30, 12, 12, n_channels)
    np.testing.assert_array_equal(np.asarray(plain.sides["train"].images).reshape(30, -1), flat)
    np.testing.assert_array_equal(plain.sides["train"].labels, labels)
    assert plain.warnings == (
        f"set.npy: a single array (.npy): each row is read as a label and {flat.shape[1]} pixels",
    )
    assert "though its name says .npz" in misnamed.warnings[0]


@pytest.mark.parametrize(
    "array",
    [
        np.full((9, 65), 0.5),
        np.full((9, 65), -1),
        np.full((9, 65), np.nan),
        np.zeros((9, 64)),
        np.zeros((9, 50)),
        np.zeros((0, 65)),
        np.array(7),
        np.full((9, 65), "x"),
    ],
    ids=["fractions", "negative", "nan", "no square", "few", "empty", "one value", "words"],
)
def test_a_single_array_without_labels_is_refused_with_its_shape(tmp_path: Path, array: NDArray[Any]) -> None:
    np.save(tmp_path / "set.npy", array)
    with pytest.raises(DataError, match=r"set\.npy: a single array \(\.npy\) of shape .*, without labels"):
        read_npz(tmp_path / "set.npy")


def test_labels_that_no_integer_holds_are_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    images, labels = make.digits(30)
    for name, strange in (("huge", np.where(labels == 1, 1e300, labels)), ("bytes", np.array([b"a", b"\xff"] * 15))):
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=strange)
        with pytest.raises(DataError, match="y_train holds"):
            read_npz(tmp_path / f"{name}.npz")


def test_an_archive_of_other_things_is_refused_by_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("x_train.npy", b"no array")
        archive.writestr("y_train.npy", b"no array")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataError, match="x_train is no array"):
        read_npz(tmp_path / "set.npz")
    with pytest.raises(DataError, match=r"text.npz: truncated or damaged, or not an .npz"):
        read_npz(tmp_path / "text.npz")
