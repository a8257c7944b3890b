"""Which examples are used, and what is on two sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from railcar.data.prepare import open_dataset
from railcar.data.selection import Selection
from railcar.errors import DataError
from tests.synthetic import make_images


def write(folder: Path, images: Any, labels: Any, **more: Any) -> str:
    path = folder / "set.npz"
    np.savez(path, images=images, labels=labels, **more)
    return str(path)


def rows_by_side(dataset: Any) -> dict[str, set[int]]:
    return {name: set(split.rows.tolist()) for name, split in dataset.splits.items()}


def test_chosen_classes_are_renumbered_in_the_order_in_which_they_are_named(tmp_path: Path):
    images, labels = make_images(90)
    source = write(tmp_path, images, labels)
    dataset = open_dataset(source, validation=0.2, selection=Selection(classes=("2", "0")))
    assert dataset.features.class_names == ("2", "0")
    rows = np.concatenate([split.rows for split in dataset.splits.values()])
    found = np.concatenate([split.label_array() for split in dataset.splits.values()])
    assert len(rows) == 60 and np.array_equal(found, np.where(labels[rows] == 2, 0, 1))
    for classes, words in ((("0", "7"), "there is no class '7'"), (("0", "0"), "needs two classes at least")):
        with pytest.raises(DataError, match=words):
            open_dataset(source, selection=Selection(classes=classes))


def test_a_limit_takes_so_many_of_each_class_and_the_same_ones_when_data_is_added(tmp_path: Path):
    images, labels = make_images(120)
    few = open_dataset(write(tmp_path, images[:90], labels[:90]), selection=Selection(limit_per_class=10))
    assert np.bincount(few.splits["train"].label_array()).tolist() == [10, 10, 10]
    more = open_dataset(write(tmp_path, images, labels), selection=Selection(limit_per_class=30))
    assert np.bincount(more.splits["train"].label_array()).tolist() == [30, 30, 30]
    twin = open_dataset(write(tmp_path, images[::-1], labels[::-1]), selection=Selection(limit_per_class=10))
    whole = open_dataset(write(tmp_path, images, labels), selection=Selection(limit_per_class=10))
    assert {119 - row for row in twin.splits["train"].rows.tolist()} == set(whole.splits["train"].rows.tolist())


def test_of_equal_examples_the_first_stays_when_duplicates_are_dropped(tmp_path: Path):
    images, labels = make_images(60)
    source = write(tmp_path, np.concatenate([images, images[:20]]), np.concatenate([labels, labels[:20]]))
    assert len(open_dataset(source).splits["train"]) == 80
    dropped = open_dataset(source, selection=Selection(drop_duplicates=True)).splits["train"]
    assert dropped.rows.tolist() == list(range(60))


@pytest.mark.parametrize("share", [0.3, 20])
def test_equal_examples_never_part(tmp_path: Path, share: float | int):
    images, labels = make_images(60)
    source = write(tmp_path, np.concatenate([images, images]), np.concatenate([labels, labels]))
    for seed in range(5):
        sides = rows_by_side(open_dataset(source, seed=seed, validation=share, test=share))
        assert all({row % 60 for row in one} & {row % 60 for row in other} == set()
                   for one in sides.values() for other in sides.values() if one is not other)  # fmt: skip
        assert sum(map(len, sides.values())) == 120
        if share == 20:
            assert len(sides["validation"]) == len(sides["test"]) == 20


def test_the_same_image_in_train_and_test_is_refused_with_both_places(tmp_path: Path):
    images, labels = make_images(60)
    test = {"test_images": images[40:], "test_labels": labels[40:]}
    source = write(tmp_path, images[:42], labels[:42], **test)
    words = r"the same image is in train and test: train/40 and test/0 \(2 in all\)"
    with pytest.raises(DataError, match=words) as caught:
        open_dataset(source)
    assert "data.allow_leakage" in caught.value.hint
    notes = open_dataset(source, selection=Selection(allow_leakage=True)).notes
    assert notes[-1].endswith("2 of the 20 test examples are known from train")


def test_an_image_under_two_labels_is_told(tmp_path: Path):
    images, labels = make_images(30)
    images[7], labels[7] = images[3], (labels[3] + 1) % 3
    notes = open_dataset(write(tmp_path, images, labels)).notes
    assert "one image is there under two labels: train/3 (0) and train/7 (1)" in notes[-1]


def test_an_image_under_two_labels_is_told_on_a_side_that_is_held_out_too(tmp_path: Path):
    images, labels = make_images(60)
    images[50], labels[50] = images[45], (labels[45] + 1) % 3
    source = write(tmp_path, images[:40], labels[:40], x_test=images[40:], y_test=labels[40:])
    notes = open_dataset(source).notes
    assert "one image is there under two labels: test/5 (0) and test/10 (1)" in notes
