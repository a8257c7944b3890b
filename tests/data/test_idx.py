from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from railcar.data.sources import idx
from railcar.data.sources.idx import fetch_mnist, read_idx_folder
from railcar.data.types import ReadOptions
from railcar.errors import DataError, NotFound


@pytest.mark.parametrize(("packed", "style"), [(False, "-"), (True, "-"), (False, "."), (True, ".")])
def test_the_four_files_are_read_in_every_usual_spelling(
    make: SimpleNamespace, tmp_path: Path, packed: bool, style: str
) -> None:
    raw = read_idx_folder(make.idx(tmp_path / "set", packed=packed, style=style))
    images, labels = make.digits(60)

    assert raw.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(raw.sides["train"].images, images[..., None])
    np.testing.assert_array_equal(raw.sides["train"].labels, labels)
    assert raw.sides["test"].images.shape == (12, 4, 4, 1)


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_idx_file_is_refused_by_name(make: SimpleNamespace, tmp_path: Path, packed: bool) -> None:
    folder = make.idx(tmp_path, packed=packed)
    file = next(folder.glob("train-images*"))
    for n_bytes in (0, 3, 10, 40, file.stat().st_size - 3):
        damaged = tmp_path / "damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(folder, damaged, ignore=lambda *_: {"damaged"})
        (damaged / file.name).write_bytes(file.read_bytes()[:n_bytes])
        with pytest.raises(DataError, match=file.name) as caught:
            read_idx_folder(damaged)
        assert caught.value.hint


def test_damaged_gzip_content_is_refused_by_name(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path, packed=True)
    file = next(folder.glob("train-images*"))
    content = bytearray(file.read_bytes())
    content[60:80] = b"\xff" * 20
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"train-images.*(truncated|damaged)"):
        read_idx_folder(folder)


def test_bytes_after_the_data_are_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path)
    file = folder / "train-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(DataError, match="promises 60 bytes of data, the file has more"):
        read_idx_folder(folder)


def test_a_header_that_asks_for_terabytes_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path)
    (folder / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + b"\x00\xff\xff\xff" * 3 + b"abc")
    with pytest.raises(DataError, match="train-images"):
        read_idx_folder(folder)


def test_images_and_labels_of_different_length_are_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path)
    (folder / "train-labels-idx1-ubyte").write_bytes(make.idx_bytes(np.arange(59) % 3))
    with pytest.raises(DataError, match=r"59 labels for the 60 images of train-images-idx3-ubyte"):
        read_idx_folder(folder)


def test_an_empty_set_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path)
    (folder / "train-images-idx3-ubyte").write_bytes(make.idx_bytes(np.zeros((0, 4, 4))))
    with pytest.raises(DataError, match="holds no examples"):
        read_idx_folder(folder)


def test_a_test_label_that_training_has_not_is_refused_by_name(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(make.idx_bytes(np.array([0] * 11 + [7])))
    with pytest.raises(DataError, match=r"the test side has the label 7 \(example 11\)"):
        read_idx_folder(folder)


def test_one_class_only_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path)
    (folder / "train-labels-idx1-ubyte").write_bytes(make.idx_bytes(np.full(60, 4)))
    with pytest.raises(DataError, match="only the class '4'"):
        read_idx_folder(folder)


def test_a_folder_without_a_training_pair_says_what_is_missing(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path)
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(NotFound, match="no train-images-idx3-ubyte with its train-labels-idx1-ubyte"):
        read_idx_folder(folder)


def test_mnist_in_the_cache_is_used_without_a_network(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path))
    make.idx(tmp_path / "datasets" / "mnist", packed=True)
    assert fetch_mnist() == tmp_path / "datasets" / "mnist"


def test_mnist_without_a_network_says_where_to_put_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path))
    # Port 9 of this computer (discard) refuses at once: what a machine without a network sees.
    monkeypatch.setattr(idx, "MNIST_MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(NotFound, match="cannot be reached") as caught:
        fetch_mnist()
    assert "--set data.source=FOLDER_WITH_THE_FOUR_FILES" in caught.value.hint
    assert str(tmp_path / "datasets" / "mnist") in caught.value.hint


def test_the_real_files_are_whole(mnist_folder: Path | None) -> None:
    if mnist_folder is None:
        pytest.skip("the full MNIST is not here")
    raw = read_idx_folder(mnist_folder)
    assert raw.sides["train"].images.shape == (60000, 28, 28, 1)
    assert raw.sides["test"].images.shape == (10000, 28, 28, 1)
    assert raw.class_names == tuple("0123456789")
    with gzip.open(mnist_folder / "t10k-labels-idx1-ubyte.gz") as file:
        assert list(file.read()[8:]) == raw.sides["test"].labels.tolist()


def test_test_images_without_their_labels_are_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte: has no labels"):
        read_idx_folder(folder)


def test_test_images_of_another_size_are_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path)
    images, _ = make.digits(12, size=5)
    (folder / "t10k-images-idx3-ubyte").write_bytes(make.idx_bytes(images))
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte: images of shape"):
        read_idx_folder(folder)


def test_images_are_read_straight_into_the_array_that_is_handed_out(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path / "mnist", packed=True)
    handed: dict[str, np.ndarray] = {}

    def allocate(name: str, shape: tuple[int, ...]) -> np.ndarray:
        return handed.setdefault(name, np.zeros(shape, np.uint8))

    raw = read_idx_folder(folder, ReadOptions(allocate=allocate))

    assert set(handed) == {"train.images", "test.images"}
    assert all(raw.sides[side].images is handed[f"{side}.images"] for side in raw.sides)
    assert handed["train.images"].any()


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_promises_too_much_is_refused_before_anything_is_reserved(
    make: SimpleNamespace, tmp_path: Path, packed: bool
) -> None:
    folder = make.idx(tmp_path / "mnist", packed=packed)
    path = folder / f"train-images-idx3-ubyte{'.gz' if packed else ''}"
    content = bytes([0, 0, 8, 3]) + np.array([4_000_000_000, 28, 28], ">u4").tobytes() + bytes(99)
    path.write_bytes(gzip.compress(content) if packed else content)

    def allocate(name: str, shape: tuple[int, ...]) -> np.ndarray:
        raise AssertionError(f"{name} {shape}")

    with pytest.raises(DataError, match="header"):
        read_idx_folder(folder, ReadOptions(allocate=allocate))
