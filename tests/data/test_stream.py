"""A pack in a bucket that is read while it is trained on."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from railcar.data.decoding import EncodedImages
from railcar.data.prepare import open_dataset
from railcar.data.sources.notes import Notes
from railcar.data.sources.shards import find_stream, pack_folder
from railcar.data.types import Dataset
from railcar.errors import AccessDenied, DataError, Unreachable
from railcar.storage import remote
from railcar.storage.shards import Example, open_shards, pack
from railcar.storage.stream import find_copy, open_stream
from tests.places import Place


def open_streamed(place: Place, **settings: Any) -> Dataset:
    return open_dataset(f"{place.address}/pack", validation=0.2, may_stream=True, **settings)


def inputs_of(dataset: Dataset) -> EncodedImages:
    found = dataset.splits["train"].inputs
    assert isinstance(found, EncodedImages)
    return found


def wait_for_copy(place: Place) -> None:
    address = open_stream(f"{place.address}/pack").place
    for _ in range(200):
        if find_copy(address):
            return
        time.sleep(0.05)
    raise AssertionError("the pack did not come into the cache")


def packed(place: Place, make: SimpleNamespace, tmp_path: Path) -> Path:
    folder = make.class_folders(tmp_path / "photos", n=30)
    pack_folder(folder, f"{place.address}/pack")
    return folder


@pytest.mark.parametrize("size", [None, (9, 7)])
def test_what_is_read_from_the_bucket_is_what_the_folder_holds(
    bucket: Place, make: SimpleNamespace, tmp_path: Path, size: tuple[int, int] | None
) -> None:
    local = open_dataset(str(packed(bucket, make, tmp_path)), validation=0.2, image_size=size)
    before = len(bucket.requests)
    streamed = open_streamed(bucket, image_size=size)
    read = [one for one in bucket.requests[before:] if ".tfrecord" in one]
    assert not read, "the index alone says what there is"
    assert streamed.fingerprint == local.fingerprint
    assert {side: split.rows.tolist() for side, split in streamed.splits.items()} == {
        side: split.rows.tolist() for side, split in local.splits.items()
    }
    images = np.asarray(local.splits["train"].inputs)
    np.testing.assert_array_equal(inputs_of(streamed)[[7, 3, 7]], images[[7, 3, 7]])
    np.testing.assert_array_equal(np.asarray(inputs_of(streamed)), images)
    if size is None:
        assert streamed.features == local.features
    else:  # by the images as they are, before they are resized
        np.testing.assert_allclose(streamed.features.mean, local.features.mean, atol=1.0)


@pytest.mark.parametrize("keep", ["encoded", "pixels"])
def test_after_the_first_epoch_the_bucket_is_not_asked_again(
    bucket: Place, make: SimpleNamespace, tmp_path: Path, clouds: pytest.MonkeyPatch, keep: str
) -> None:
    packed(bucket, make, tmp_path)
    dataset, said = open_streamed(bucket, keep=keep), []
    with dataset.in_use(said.append):
        first = np.asarray(inputs_of(dataset))
        wait_for_copy(bucket)
    assert said == []
    clouds.setenv("RAILCAR_RETRY_S", "0")
    bucket.faults.n_allowed = 0
    before = len(bucket.requests)
    np.testing.assert_array_equal(np.asarray(inputs_of(dataset)), first)
    assert len(bucket.requests) == before
    # another run, with the network still down
    again = open_streamed(bucket, keep=keep)
    np.testing.assert_array_equal(np.asarray(inputs_of(again)), first)
    assert again.path == dataset.path


def test_pixels_are_decoded_once_and_known_to_the_next_run(
    s3: Place, make: SimpleNamespace, tmp_path: Path, clouds: pytest.MonkeyPatch
) -> None:
    packed(s3, make, tmp_path)
    dataset = open_streamed(s3, keep="pixels")
    expected = inputs_of(dataset)[:10]
    store = inputs_of(dataset).store
    assert store is not None
    assert store.filled.sum() == 10
    with dataset.in_use(lambda line: None):
        pass
    known = inputs_of(open_streamed(s3, keep="pixels"))
    assert known.store is not None
    assert known.store.filled.nonzero()[0].tolist() == list(range(10))
    clouds.setenv("RAILCAR_RETRY_S", "0")
    s3.faults.n_allowed = 0
    np.testing.assert_array_equal(known[:10], expected)
    with pytest.raises(Unreachable):
        known[10:12]


def test_content_that_is_not_what_was_packed_is_refused(s3: Place, make: SimpleNamespace, tmp_path: Path) -> None:
    packed(s3, make, tmp_path)
    images = inputs_of(open_streamed(s3, keep="encoded"))
    s3.faults.only, s3.faults.n_damaged = "GET", 1
    with pytest.raises(DataError, match=r"pack/train-00000-.*tfrecord, byte [\d,]+: "):
        images[3]


def test_a_bad_image_is_left_out_and_named_when_it_is_packed(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.class_folders(tmp_path / "photos", n=60)
    (folder / "cat" / "3.png").write_bytes(b"")
    notes = Notes()
    manifest = pack_folder(folder, tmp_path / "pack", notes=notes)
    assert manifest.count("train") == 119
    assert notes.describe() == ("skipped 1 unreadable: cat/3.png: an empty file",)
    with pytest.raises(DataError, match="1 of 120 images cannot be read"):
        pack_folder(folder, tmp_path / "other", max_bad=0.0)


def test_a_pack_whose_index_says_too_little_is_fetched_before(s3: Place, make: SimpleNamespace, tmp_path: Path) -> None:
    files = sorted(make.class_folders(tmp_path / "photos", n=20).rglob("*.png"))
    examples = [Example(file.name, number % 2, file.read_bytes()) for number, file in enumerate(files)]
    pack(examples, ("a", "b"), f"{s3.address}/pack", {"train": 40})
    assert "hash" not in open_shards(f"{s3.address}/pack").read_index().columns
    assert find_stream(f"{s3.address}/pack") is None
    assert len(open_streamed(s3).splits["train"].inputs) == 40
    assert find_copy(open_stream(f"{s3.address}/pack").place)


def test_a_folder_that_was_fetched_is_used_when_the_network_is_gone(
    s3: Place, make: SimpleNamespace, tmp_path: Path, clouds: pytest.MonkeyPatch
) -> None:
    folder = make.class_folders(tmp_path / "photos", n=10)
    for path in folder.rglob("*.png"):
        remote.write(f"{s3.address}/photos/{path.relative_to(folder).as_posix()}", path)
    first = open_dataset(f"{s3.address}/photos", validation=0.2, may_stream=True)
    clouds.setenv("RAILCAR_RETRY_S", "0")
    s3.faults.n_allowed = 0

    assert open_dataset(f"{s3.address}/photos", validation=0.2, may_stream=True).fingerprint == first.fingerprint


def test_who_may_not_read_is_told_of_the_address_that_was_given(s3: Place) -> None:
    s3.faults.n_busy, s3.faults.busy_status = 99, 403
    with pytest.raises(AccessDenied, match=f"^{s3.address}/photos may not be read"):
        open_dataset(f"{s3.address}/photos", may_stream=True)


def test_what_is_no_pack_is_not_streamed(s3: Place) -> None:
    assert find_stream(f"{s3.address}/nothing") is None
    assert find_stream("https://127.0.0.1/a.csv") is None


def test_a_pack_of_this_computer_is_trained_on_without_a_look_at_its_images(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    folder = make.class_folders(tmp_path / "photos", n=30)
    manifest = pack_folder(folder, tmp_path / "pack")
    whole = open_dataset(str(folder), validation=0.2)
    for keep in ("pixels", "encoded"):
        found = open_dataset(str(tmp_path / "pack"), validation=0.2, may_stream=True, keep=keep)
        assert (found.fingerprint, found.features) == (whole.fingerprint, whole.features)
        assert (inputs_of(found).store is not None) == (keep == "pixels")
        np.testing.assert_array_equal(np.asarray(inputs_of(found)), np.asarray(whole.splits["train"].inputs))
    shard = tmp_path / "pack" / manifest.sides["train"][0].name
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match=rf"{shard.name}: the checksum does not match"):
        open_dataset(str(tmp_path / "pack"), may_stream=True, max_bad=0.02)
