"""The cache: what is in it, and that nothing which is being built is removed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from railcar.data.prepare import open_arrays, open_dataset
from railcar.storage.address import parse
from railcar.storage.cache import MAX_BUILD_S, choose_entries, list_entries, remove_entry
from railcar.storage.copies import Copy, FileTag
from railcar.storage.local import build_folder, cache_dir
from tests.synthetic import make_images


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def age(folder: Path, seconds: float) -> None:
    """Make all files below look as if nobody had read or written them for so long."""
    moment = time.time() - seconds
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (moment, moment))


def test_entries_tell_what_they_hold_and_how_large_they_are(cache: Path) -> None:
    images, labels = make_images(60)
    open_arrays(images, labels)
    open_dataset("penguins", label="species")
    archive = cache / "unpacked" / "abc" / "photos"
    archive.mkdir(parents=True)
    (archive / "1.txt").write_bytes(bytes(1000))
    (cache / "datasets" / "mnist").mkdir(parents=True)
    (cache / "datasets" / "mnist" / "images.gz").write_bytes(bytes(500))

    found = {one.what: one for one in list_entries()}
    assert set(found) == {"60 images (arrays)", "344 rows (csv)", "photos", "mnist"}
    assert found["photos"].n_bytes == 1000 and found["photos"].kind == "unpacked archive"
    assert found["mnist"].kind == "download"
    assert found["60 images (arrays)"].n_bytes > images.nbytes


def test_an_empty_cache_has_no_entries(cache: Path) -> None:
    assert list_entries() == []


def test_what_is_being_built_is_never_chosen(cache: Path) -> None:
    with build_folder(cache_dir() / "prepared" / "key") as folder:
        (folder / "train.images.npy").write_bytes(bytes(100))
        [entry] = list_entries()

        assert entry.is_building and entry.what == "being built"
        assert choose_entries([entry]) == []
    [entry] = list_entries()
    assert choose_entries([entry]) == [entry]


def test_what_a_killed_process_left_may_go_after_a_week(cache: Path) -> None:
    left = cache / "prepared" / ".key.x1y2"
    left.mkdir(parents=True)
    (left / "train.images.npy").write_bytes(bytes(100))
    age(left, MAX_BUILD_S + 60)
    [entry] = list_entries()

    assert not entry.is_building and entry.what == "left by a process that was killed"
    assert remove_entry(entry) == 100 and not left.exists()


def test_only_what_was_not_used_for_so_long_is_chosen(cache: Path) -> None:
    images, labels = make_images(60)
    old = open_arrays(images, labels).path
    new = open_arrays(images[:30], labels[:30]).path
    age(old, 40 * 86400)

    assert [one.path for one in choose_entries(list_entries(), older_than_s=30 * 86400)] == [old]
    assert [one.path for one in list_entries()] == [new, old]


def test_listing_is_no_use(cache: Path) -> None:
    images, labels = make_images(60)
    age(open_arrays(images, labels).path, 40 * 86400)
    list_entries()

    assert len(choose_entries(list_entries(), older_than_s=30 * 86400)) == 1


def test_removed_data_is_prepared_again(cache: Path) -> None:
    images, labels = make_images(60)
    before = open_arrays(images, labels)
    for entry in list_entries():
        assert remove_entry(entry) == entry.n_bytes > 0
        assert remove_entry(entry) == 0
    after = open_arrays(images, labels)

    assert after.path == before.path and after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(after.splits["train"].inputs, images)


def test_a_damaged_entry_is_listed_as_such(cache: Path) -> None:
    images, labels = make_images(60)
    (open_arrays(images, labels).path / "prepared.json").write_text("{")

    assert [one.what for one in list_entries()] == ["damaged"]


def test_a_copy_of_a_bucket_is_listed_by_its_address_and_kept_while_it_is_used(cache: Path) -> None:
    copy = Copy(parse("gs://bucket/photos"))
    copy.use()
    with copy.fetching(print):
        copy.begin()
        (copy.data / "a.jpg").write_bytes(bytes(700))
        copy.add("a.jpg", FileTag(700, "x"))
        [fetching] = list_entries()
        copy.finish("", {"a.jpg": FileTag(700, "x")})
    [entry] = list_entries()

    assert fetching.is_building and choose_entries([fetching]) == []
    assert (entry.kind, entry.what, entry.is_building) == ("remote copy", "gs://bucket/photos", False)
    assert remove_entry(entry) is None and copy.data.is_dir()
    code = "import sys; from railcar.storage.cache import *; print(remove_entry(list_entries()[0]))"
    unused = cache / "remote" / "other-0123456789abcdef"
    (unused / "data").mkdir(parents=True)
    os.utime(unused, (2e9, 2e9))
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "0\n"
    assert not unused.exists()


def test_copies_of_runs_are_entries_and_what_a_bucket_lacks_is_never_cleared(cache: Path) -> None:
    for name in ("sent", "unsent"):
        (cache / "runs" / "bucket-0123456789abcdef" / name).mkdir(parents=True)
        (cache / "runs" / "bucket-0123456789abcdef" / name / "log.txt").write_text("trained")
    (cache / "runs" / "bucket-0123456789abcdef" / "unsent" / ".unsent").touch()

    entries = list_entries()

    assert {(one.kind, one.name, one.what) for one in entries} == {
        ("copy of a run", "sent", "of bucket"),
        ("copy of a run", "unsent", "not sent to bucket"),
    }
    assert [one.name for one in choose_entries(entries)] == ["sent"]
    assert remove_entry(next(one for one in entries if one.name == "sent")) == len("trained")
    assert [one.name for one in list_entries()] == ["unsent"]
