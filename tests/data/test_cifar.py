from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from railcar.data.detect import detect_form
from railcar.data.sources.cifar import NAMES_FILE, SIDES, read_cifar_folder, unpack_cifar10
from railcar.data.types import ReadOptions
from railcar.errors import DataError, NotFound


def make_record(label: int, red: int, green: int, blue: int) -> bytes:
    return bytes([label]) + bytes([red]) * 1024 + bytes([green]) * 1024 + bytes([blue]) * 1024


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """As the published one: a folder with the files, and something that does not belong there."""
    files = {name: make_record(index, 10 * index, 2, 3) for index, name in enumerate(SIDES["train"])}
    files |= {
        "test_batch.bin": make_record(9, 200, 100, 50) * 2,
        NAMES_FILE: b"\n".join(b"class%d" % n for n in range(10)),
    }
    path = tmp_path / "cifar.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {**files, "../escape.bin": b"no", "readme.html": b"no"}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_the_archive_gives_its_own_files_and_they_are_read(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cifar10"
    folder.mkdir()
    unpack_cifar10(archive, folder)
    assert len(list(folder.iterdir())) == 7 and not (tmp_path / "escape.bin").exists()
    assert detect_form(folder)[0] == "cifar"
    data = read_cifar_folder(folder)
    assert data.class_names[9] == "class9"
    train, test = data.sides["train"], data.sides["test"]
    assert train.images.shape == (5, 32, 32, 3) and train.labels.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(test.images[1, 31, 0], [200, 100, 50])


def test_files_that_are_not_whole_are_refused_by_name(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cifar10"
    folder.mkdir()
    unpack_cifar10(archive, folder)
    (folder / "test_batch.bin").write_bytes(make_record(9, 1, 1, 1)[:-1])
    with pytest.raises(DataError, match=r"test_batch\.bin: 3,072 bytes"):
        read_cifar_folder(folder)
    (folder / "test_batch.bin").write_bytes(make_record(77, 1, 1, 1))
    with pytest.raises(DataError, match="record 1 has label 77"):
        read_cifar_folder(folder)
    (folder / "test_batch.bin").unlink()
    with pytest.raises(NotFound, match="not all files"):
        read_cifar_folder(folder)
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack_cifar10(archive, folder)


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    """As CIFAR-100's binary version is unpacked: a byte of coarse label, one of fine label, and the pixels."""
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    pixels = make_record(0, 200, 100, 50)[1:]
    for name, labels in {"train.bin": [(0, 2), (1, 0), (0, 1)], "test.bin": [(1, 0)]}.items():
        (folder / name).write_bytes(b"".join(bytes(pair) + pixels for pair in labels))
    (folder / "fine_label_names.txt").write_text("apple\nbeaver\nbed\n")
    (folder / "coarse_label_names.txt").write_text("furniture\nfruit\n")
    return folder


def test_cifar_100_is_learnt_by_its_fine_labels_and_says_that_there_are_coarse_ones(hundred: Path) -> None:
    form, reason = detect_form(hundred)
    data = read_cifar_folder(hundred)

    assert form == "cifar" and reason.endswith("holds the binary files of CIFAR-100")
    assert data.class_names == ("apple", "beaver", "bed")
    assert data.sides["train"].labels.tolist() == [2, 0, 1] and data.sides["test"].labels.tolist() == [0]
    np.testing.assert_array_equal(data.sides["train"].images[2, 31, 0], [200, 100, 50])
    assert data.warnings == ("CIFAR-100 by its 100 fine classes; its 20 coarse ones: --label coarse",)


def test_the_label_coarse_takes_the_coarse_labels_of_cifar_100(hundred: Path) -> None:
    data = read_cifar_folder(hundred, ReadOptions(label="coarse"))
    assert data.class_names == ("furniture", "fruit")
    assert data.sides["train"].labels.tolist() == [0, 1, 0]

    with pytest.raises(DataError, match="no labels 'species'") as caught:
        read_cifar_folder(hundred, ReadOptions(label="species"))
    assert caught.value.hint == "it has fine (100 classes) and coarse (20)"


def test_a_label_of_cifar_100_that_has_no_name_is_refused_with_its_record(hundred: Path) -> None:
    (hundred / "fine_label_names.txt").write_text("apple\nbeaver\n")
    with pytest.raises(DataError, match=r"train\.bin: record 1 has label 2, and there are 2 classes"):
        read_cifar_folder(hundred)
