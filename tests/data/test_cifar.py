from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from railcar.data.detect import detect_form
from railcar.data.sources.cifar import NAMES_FILE, SIDES, read_cifar_folder, unpack_cifar10
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
