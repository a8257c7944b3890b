from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from railcar.data.detect import detect_form, locate
from railcar.data.prepare import open_dataset
from railcar.data.sources.folder import read_image_folder
from railcar.data.sources.shards import pack_folder, read_shards
from railcar.data.types import RawData, RawRows
from railcar.errors import DataError, NotFound
from railcar.storage import remote
from railcar.storage.shards import pack
from tests.places import Place


def assert_same(found: RawData | RawRows, expected: RawData) -> None:
    assert isinstance(found, RawData)
    assert found.class_names == expected.class_names
    assert found.sides.keys() == expected.sides.keys()
    for side, split in expected.sides.items():
        np.testing.assert_array_equal(found.sides[side].images, split.images)
        np.testing.assert_array_equal(found.sides[side].labels, split.labels)
        np.testing.assert_array_equal(np.asarray(found.sides[side].hashes), np.asarray(split.hashes))
        assert list(found.sides[side].ids) == list(split.ids)


def test_a_packed_folder_is_read_as_the_folder_is(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.class_folders(tmp_path / "photos")
    manifest = pack_folder(folder, tmp_path / "pack")
    assert detect_form(tmp_path / "pack") == ("shards", "pack holds a pack of shards")
    expected = read_image_folder(folder)
    assert manifest.count("train") == len(expected.sides["train"].labels)
    assert_same(read_shards(tmp_path / "pack"), expected)


def test_data_in_a_bucket_trains_as_the_same_on_this_computer(
    bucket: Place, make: SimpleNamespace, tmp_path: Path
) -> None:
    folder = make.class_folders(tmp_path / "photos")
    for path in folder.rglob("*"):
        if path.is_file():
            remote.write(f"{bucket.address}/photos/{path.relative_to(folder).as_posix()}", path)
    pack_folder(folder, f"{bucket.address}/pack")
    whole = open_dataset(str(folder), validation=0.2)
    for name in ("photos", "pack"):
        found = open_dataset(f"{bucket.address}/{name}", validation=0.2)
        assert found.fingerprint == whole.fingerprint
        assert {side: split.rows.tolist() for side, split in found.splits.items()} == {
            side: split.rows.tolist() for side, split in whole.splits.items()
        }


def test_an_address_where_nothing_is_is_refused_with_the_nearest_name(bucket: Place) -> None:
    remote.write(f"{bucket.address}/photos/cat/1.png", b"1")
    with pytest.raises(NotFound) as caught:
        locate(f"{bucket.address}/photo")
    assert caught.value.hint == f"did you mean {bucket.address}/photos?"


def test_a_damaged_shard_is_named_before_anything_is_decoded(make: SimpleNamespace, tmp_path: Path) -> None:
    manifest = pack_folder(make.class_folders(tmp_path / "photos"), tmp_path / "pack")
    shard = tmp_path / "pack" / manifest.sides["train"][0].name
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match=shard.name):
        read_shards(tmp_path / "pack")


def test_rows_are_read_as_lines_of_json(tmp_path: Path) -> None:
    rows = [{"text": f"message {n} about {'trains' if n % 2 else 'boats'}", "label": "ab"[n % 2]} for n in range(40)]
    examples = [(str(n), n % 2, json.dumps(row).encode()) for n, row in enumerate(rows)]
    pack(examples, ("a", "b"), tmp_path / "pack", {"train": 30, "test": 10}, kind="row")
    found = read_shards(tmp_path / "pack")
    assert isinstance(found, RawRows)
    assert {side: len(split.labels) for side, split in found.sides.items()} == {"train": 30, "test": 10}
    assert found.sides["test"].frame["text"][0] == rows[30]["text"]


def test_a_pack_without_a_train_side_or_without_images_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    pack([("1", 0, b"1")], ("a", "b"), tmp_path / "pack", {"test": 1})
    with pytest.raises(DataError, match="no train side"):
        read_shards(tmp_path / "pack")
    folder = make.class_folders(tmp_path / "photos")
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="no images in this class folder"):
        pack_folder(folder, tmp_path / "other")
