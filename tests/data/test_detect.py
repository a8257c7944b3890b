from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from railcar.data.detect import detect_form, locate
from railcar.data.prepare import open_dataset
from railcar.errors import DataError, NotFound


def test_each_form_is_found_with_a_reason(make: SimpleNamespace, tmp_path: Path) -> None:
    make.idx(tmp_path / "idx")
    make.class_folders(tmp_path / "folder")
    (tmp_path / "csvs").mkdir()
    for name in ("digits.csv", "csvs/train.csv"):
        (tmp_path / name).write_text("\n".join(make.csv_lines(9)))
    np.savez(tmp_path / "set.npz", images=make.digits(9)[0])
    found = {name: detect_form(tmp_path / name) for name in ("idx", "folder", "csvs", "digits.csv", "set.npz")}
    assert {name: form for name, (form, _) in found.items()} == {
        "idx": "idx", "folder": "folder", "csvs": "rows", "digits.csv": "rows", "set.npz": "npz",
    }  # fmt: skip
    assert found["csvs"][1] == "csvs holds train.csv"


def test_a_missing_path_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(NotFound, match="no such file or folder") as caught:
        locate(str(tmp_path / "photo"))
    assert caught.value.hint == f"did you mean {tmp_path / 'photos'}?"
    with pytest.raises(NotFound) as caught:
        locate("mnist-sampel")
    assert caught.value.hint == "did you mean the set 'mnist-sample'?"
    with pytest.raises(NotFound) as caught:
        locate(str(tmp_path / "nowhere" / "photos"))
    assert "the folder" in caught.value.hint


def test_an_address_of_an_unknown_kind_is_refused_with_the_mend() -> None:
    with pytest.raises(DataError, match="addresses of this kind cannot be read") as caught:
        locate("ftp://host/photos")
    assert "gs://, s3:// and https://" in caught.value.hint


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        ([], "the folder is empty", "one folder of images for each class"),
        (["a.txt", "b.txt"], "it holds a.txt, b.txt", "into a folder of their own"),
        (["photo.png"], "it holds photo.png", "into a folder of their own"),
        (["digits.csv"], "holds digits.csv", "give the file itself"),
        (["train-images-idx3-ubyte"], "not a pair of images and labels", "train-labels-idx1-ubyte"),
    ],
)
def test_a_folder_of_something_else_is_refused_with_what_was_seen(
    tmp_path: Path, files: list[str], message: str, hint: str
) -> None:
    for name in files:
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=message) as caught:
        detect_form(tmp_path)
    assert hint in caught.value.hint


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "book.pdf").write_bytes(b"%PDF")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(DataError, match="not a form of data that railcar reads"):
        detect_form(tmp_path / "book.pdf")
    with pytest.raises(DataError) as caught:
        detect_form(tmp_path / "train-images-idx3-ubyte.gz")
    assert caught.value.hint == f"give the folder that holds it: {tmp_path}"


@pytest.mark.parametrize("suffix", ["zip", "tar", "gztar", "xztar"])
def test_an_archive_is_read_by_the_form_of_what_is_in_it(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / "cache"))
    for side, n in (("train", 20), ("test", 5)):
        make.class_folders(tmp_path / "files" / "pets" / side, n=n, first_seed=1000 * n)
    archive = Path(shutil.make_archive(str(tmp_path / "pets"), suffix, tmp_path / "files"))
    form, reason = detect_form(archive)
    first = open_dataset(str(archive))
    shutil.rmtree(tmp_path / "cache" / "unpacked")
    again = open_dataset(str(archive))

    assert form == "archive" and reason == f"{archive.name} is an archive"
    assert {name: len(split) for name, split in first.splits.items()} == {"train": 40, "test": 10}
    assert first.form == "folder" and "in it, pets holds folders: one for each class" in first.notes
    assert again.fingerprint == first.fingerprint and not (tmp_path / "cache" / "unpacked").exists()


def test_a_table_alone_in_an_archive_is_read_as_a_table(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "digits.csv").write_text("\n".join(make.csv_lines(30)))
    archive = shutil.make_archive(str(tmp_path / "digits"), "zip", tmp_path / "files")
    assert open_dataset(archive, kind="image").form == "csv"


def test_archives_of_other_kinds_are_refused_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "photos.7z").write_bytes(b"7z")
    with pytest.raises(DataError, match="not a form of data") as caught:
        detect_form(tmp_path / "photos.7z")
    assert caught.value.hint == "unpack it first, then give the folder (zip and tar are unpacked by railcar)"
