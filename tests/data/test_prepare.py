from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from railcar.data.prepare import open_arrays, open_dataset
from railcar.data.store import INDEX
from railcar.errors import DataError, NotFound, OutputError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def prepared_folders(cache: Path) -> list[Path]:
    return sorted((cache / "prepared").iterdir())


def test_prepared_data_is_memory_mapped_and_the_same_as_the_source(make: SimpleNamespace, tmp_path: Path) -> None:
    dataset = open_dataset(str(make.idx(tmp_path / "digits")))
    images, labels = make.digits(60)
    train = dataset.splits["train"]
    assert isinstance(train.inputs, np.memmap)
    np.testing.assert_array_equal(train.inputs, images[..., None])
    np.testing.assert_array_equal(train.labels, labels)
    assert dataset.features.image_shape == (4, 4, 1)
    assert dataset.features.class_names == ("0", "1", "2")
    assert train.id_of(3) == "train/3"


def test_mean_and_std_are_those_of_the_training_pixels(make: SimpleNamespace) -> None:
    images, labels = make.digits(90, size=6)
    colors = np.stack([images, images // 2, 255 - images], axis=-1)
    dataset = open_arrays(colors, labels, validation=0.3)
    train = dataset.splits["train"]
    pixels = train.inputs[train.rows].reshape(-1, 3).astype(np.float64)
    assert dataset.features.mean == pytest.approx(pixels.mean(axis=0))
    assert dataset.features.std == pytest.approx(pixels.std(axis=0))


def test_a_source_is_read_once(make: SimpleNamespace, tmp_path: Path, cache: Path) -> None:
    source = str(make.idx(tmp_path / "digits"))
    first = open_dataset(source)
    written = (first.path / INDEX).stat().st_mtime_ns
    second = open_dataset(source, seed=9, validation=0.2)
    assert second.path == first.path and len(prepared_folders(cache)) == 1
    assert (second.path / INDEX).stat().st_mtime_ns == written
    assert second.fingerprint == first.fingerprint


def test_a_source_that_changed_is_read_again(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.idx(tmp_path / "digits")
    first = open_dataset(str(folder))
    labels = folder / "train-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[-1] = 0
    labels.write_bytes(content)
    os.utime(labels, ns=(1, 1))
    second = open_dataset(str(folder))
    assert second.splits["train"].labels[-1] == 0
    assert second.fingerprint != first.fingerprint


def test_the_fingerprint_is_of_the_content_not_of_the_place(make: SimpleNamespace, tmp_path: Path) -> None:
    plain = open_dataset(str(make.idx(tmp_path / "a")))
    packed = open_dataset(str(make.idx(tmp_path / "b", packed=True)))
    assert plain.fingerprint == packed.fingerprint and plain.path != packed.path


@pytest.mark.parametrize("damage", ["cut", "gone", "index", "no index", "other format"])
def test_damaged_prepared_data_is_made_again(make: SimpleNamespace, tmp_path: Path, damage: str) -> None:
    source = str(make.idx(tmp_path / "digits"))
    path = open_dataset(source).path
    images, index = path / "train.images.npy", path / INDEX
    if damage == "cut":
        images.write_bytes(images.read_bytes()[:-1])
    elif damage == "gone":
        images.unlink()
    elif damage == "index":
        index.write_text("{")
    elif damage == "no index":
        index.unlink()
    else:
        index.write_text(json.dumps({**json.loads(index.read_text()), "format": 99}))
    again = open_dataset(source)
    np.testing.assert_array_equal(again.splits["train"].inputs, make.digits(60)[0][..., None])


def test_nothing_half_written_stays_when_a_source_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "bad.csv").write_text("1,2,3,4,5\n1,2\n")
    with pytest.raises(DataError, match="line 2"):
        open_dataset(str(tmp_path / "bad.csv"), kind="image")
    assert prepared_folders(cache) == []


def test_two_that_prepare_at_once_both_succeed(make: SimpleNamespace, tmp_path: Path, cache: Path) -> None:
    source = str(make.idx(tmp_path / "digits"))
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(open_dataset(source).fingerprint)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1
    assert len(prepared_folders(cache)) == 1


def test_a_folder_with_bad_images_is_prepared_without_them(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path / "photos", n=10)
    whole = (tmp_path / "photos" / "cat" / "3.png").read_bytes()
    (tmp_path / "photos" / "cat" / "3.png").write_bytes(whole[:-40])
    dataset = open_dataset(str(tmp_path / "photos"), max_bad=0.1)
    train = dataset.splits["train"]
    assert len(train) == 19
    assert [train.id_of(number) for number in (2, 3)] == ["cat/2.png", "cat/4.png"]
    assert any("skipped 1 unreadable: cat/3.png" in note for note in dataset.notes)
    assert not list(dataset.path.glob("*.part"))


def test_a_link_that_leads_nowhere_is_skipped_and_named(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path / "photos")
    (tmp_path / "photos" / "cat" / "9.png").symlink_to(tmp_path / "gone.png")
    dataset = open_dataset(str(tmp_path / "photos"), max_bad=0.2)
    assert len(dataset.splits["train"]) == 10
    assert any("cat/9.png: a link that leads nowhere" in note for note in dataset.notes)


def test_images_are_resized_when_the_recipe_says_so(make: SimpleNamespace, tmp_path: Path) -> None:
    dataset = open_dataset(str(make.idx(tmp_path / "digits")), image_size=(2, 3))
    assert dataset.features.image_shape == (2, 3, 1)
    assert dataset.splits["test"].inputs.shape == (12, 2, 3, 1)


def test_a_cache_that_cannot_be_written_is_refused(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError):
        open_dataset(str(make.idx(tmp_path / "digits")))


def test_arrays_are_opened_like_a_source(make: SimpleNamespace) -> None:
    images, labels = make.digits(60)
    dataset = open_arrays(images / 255, np.array(["ant", "bee", "cat"])[labels], validation=0.2, seed=1)
    train = dataset.splits["train"]
    assert dataset.source == "arrays" and dataset.features.class_names == ("ant", "bee", "cat")
    np.testing.assert_array_equal(train.inputs, images[..., None])
    assert open_arrays(images, labels).path == open_arrays(images.copy(), labels.copy()).path


def test_arrays_may_bring_class_names(make: SimpleNamespace) -> None:
    images, labels = make.digits(60)
    names = ["ant", "bee", "cat", "dog"]
    assert open_arrays(images, labels, class_names=names).features.class_names == tuple(names)
    with pytest.raises(DataError, match=r"label 2 \(example 2\) is not an index of the 2 class names"):
        open_arrays(images, labels, class_names=names[:2])
    with pytest.raises(DataError, match="60 images, but 59 labels"):
        open_arrays(images, labels[:59])


def test_a_name_that_the_system_refuses_is_one_error_line() -> None:
    with pytest.raises(DataError, match="name too long"):
        open_dataset("a" * 300)


def test_a_damaged_label_count_in_the_index_is_not_trusted(make: SimpleNamespace, tmp_path: Path) -> None:
    source = str(make.idx(tmp_path / "digits"))
    index = open_dataset(source).path / INDEX
    content = json.loads(index.read_text())
    content["sides"]["train"]["n"] = 61
    index.write_text(json.dumps(content))
    assert len(open_dataset(source).splits["train"]) == 60


def test_a_link_to_itself_is_an_unreadable_example(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path / "set")
    (tmp_path / "set" / "cat" / "self.png").symlink_to("self.png")
    dataset = open_dataset(str(tmp_path / "set"), max_bad=0.2)
    assert any("cat/self.png" in note for note in dataset.notes)


def test_a_home_that_is_not_there_is_a_path_that_is_not_there() -> None:
    with pytest.raises(NotFound, match="~nobody-of-that-name"):
        open_dataset("~nobody-of-that-name/set")
