from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from railcar.data.sources.image_list import clean_path, find_image_root, read_image_list
from railcar.data.types import ReadOptions
from railcar.errors import DataError


def test_each_row_becomes_an_example_with_its_label(make: SimpleNamespace, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "c.png"
    paths = [Path("a.png"), Path("sub/b.png"), elsewhere]
    for seed, path in enumerate(paths):
        make.image(tmp_path / "root" / path, seed=seed)
    raw = read_image_list(paths, ["10", "9", "10"], tmp_path / "root")
    train = raw.sides["train"]

    assert raw.class_names == ("10", "9") and train.labels.tolist() == [0, 1, 0]
    assert list(train.ids) == ["a.png", "sub/b.png", elsewhere.as_posix()]
    np.testing.assert_array_equal(train.images[2, ..., 0], np.asarray(Image.open(elsewhere)))


def test_a_file_in_two_rows_is_two_examples(make: SimpleNamespace, tmp_path: Path) -> None:
    make.image(tmp_path / "a.png")
    raw = read_image_list([Path("a.png"), Path("a.png")], ["x", "y"], tmp_path)
    assert list(raw.sides["train"].ids) == ["a.png", "a.png#2"]
    assert raw.sides["train"].hashes is not None and len(set(raw.sides["train"].hashes.tolist())) == 1


def test_missing_files_are_skipped_by_name_and_refused_when_they_are_many(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    for name in "abcdef":
        make.image(tmp_path / f"{name}.png", seed=ord(name))
    paths = [Path(f"{name}.png") for name in "abcdefg"]
    labels = list("xyxyxyx")
    raw = read_image_list(paths, labels, tmp_path, ReadOptions(max_bad=0.2))
    assert len(raw.sides["train"].labels) == 6
    assert "skipped 1 unreadable: g.png: not there" in raw.warnings
    with pytest.raises(DataError, match=r"g\.png: not there; 1 of 7 images cannot be read"):
        read_image_list(paths, labels, tmp_path)


def test_a_table_without_images_or_with_one_class_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    make.image(tmp_path / "a.png")
    with pytest.raises(DataError, match="names no images"):
        read_image_list([], [], tmp_path)
    with pytest.raises(DataError, match="1 images, but 2 labels"):
        read_image_list([Path("a.png")], ["x", "y"], tmp_path)
    with pytest.raises(DataError, match="only the class 'x'"):
        read_image_list([Path("a.png")], ["x"], tmp_path)


def test_paths_start_where_the_first_of_them_is_found(make: SimpleNamespace, tmp_path: Path) -> None:
    make.image(tmp_path / "set" / "images" / "cat" / "a.png")
    assert find_image_root(["cat/a.png"], tmp_path / "set") == tmp_path / "set" / "images"
    assert find_image_root(["images\\cat\\a.png"], tmp_path / "set") == tmp_path / "set"
    assert find_image_root(["nowhere.png"], tmp_path / "set") == tmp_path / "set"
    assert clean_path("cat\\a.png") == Path("cat/a.png")
