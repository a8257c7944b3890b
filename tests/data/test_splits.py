from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from railcar.data.fingerprint import hash_examples
from railcar.data.prepare import open_arrays, open_dataset
from railcar.data.selection import Selection
from railcar.data.splits import draw_rows, write_splits
from railcar.errors import DataError


def hashes_of(n: int, seed: int = 0) -> NDArray[np.uint64]:
    return hash_examples(np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 1), dtype=np.uint8))


def test_every_row_is_on_one_side_and_in_order() -> None:
    rows = draw_rows(hashes_of(1000), seed=0, shares={"test": 0.2, "validation": 100})
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(1000))
    assert all((np.diff(side) > 0).all() for side in rows.values())


def test_a_fraction_is_about_that_share_of_the_examples() -> None:
    rows = draw_rows(hashes_of(10_000), seed=3, shares={"test": 0.1, "validation": 0.2})
    assert len(rows["test"]) == pytest.approx(1000, abs=120)
    assert len(rows["validation"]) == pytest.approx(2000, abs=160)


def test_nobody_changes_side_when_data_is_added_or_moved() -> None:
    old, new = hashes_of(500), hashes_of(300, seed=1)
    before = draw_rows(old, seed=0, shares={"test": 0.1, "validation": 0.1})
    mixed = np.random.default_rng(2).permutation(np.concatenate([old, new]))
    after = draw_rows(mixed, seed=0, shares={"test": 0.1, "validation": 0.1})
    for side, rows in before.items():
        assert set(old[rows].tolist()) == set(mixed[after[side]].tolist()) & set(old.tolist())


def test_changing_the_test_fraction_leaves_validation_alone() -> None:
    hashes = hashes_of(500)
    few = draw_rows(hashes, seed=0, shares={"test": 0.1, "validation": 0.1})
    many = draw_rows(hashes, seed=0, shares={"test": 0.3, "validation": 0.1})
    np.testing.assert_array_equal(few["validation"], many["validation"])


def test_equal_examples_are_on_one_side() -> None:
    hashes = np.tile(hashes_of(300), 3)
    rows = draw_rows(hashes, seed=0, shares={"test": 0.3})
    assert not set(hashes[rows["test"]].tolist()) & set(hashes[rows["train"]].tolist())


def test_another_seed_draws_others() -> None:
    hashes = hashes_of(500)
    for share in (0.2, 100):
        first, second = (draw_rows(hashes, seed=seed, shares={"test": share})["test"].tolist() for seed in (0, 1))
        assert first != second
        assert first == draw_rows(hashes, seed=0, shares={"test": share})["test"].tolist()


def test_a_count_is_exact() -> None:
    rows = draw_rows(hashes_of(500), seed=0, shares={"test": 60, "validation": 7})
    assert {side: len(found) for side, found in rows.items()} == {"train": 433, "test": 60, "validation": 7}


def test_the_last_n_are_the_last_rows_of_the_file() -> None:
    rows = draw_rows(hashes_of(500), seed=0, shares={"validation": ("last", 50)})
    assert rows["validation"].tolist() == list(range(450, 500))
    assert rows["train"].tolist() == list(range(450))


def test_the_last_n_for_test_come_before_those_for_validation() -> None:
    rows = draw_rows(hashes_of(500), seed=0, shares={"test": ("last", 10), "validation": ("last", 5)})
    assert rows["test"].tolist() == list(range(490, 500))
    assert rows["validation"].tolist() == list(range(485, 490))


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="leave nothing to train on"):
        draw_rows(hashes_of(50), seed=0, shares={"test": 0.5, "validation": 0.5})
    for share in (50, ("last", 50)):
        with pytest.raises(DataError, match=r"data\.test: 50 examples are more than the 50"):
            draw_rows(hashes_of(50), seed=0, shares={"test": share})


def test_a_sides_own_file_wins_over_the_share(make: SimpleNamespace, tmp_path: Path) -> None:
    dataset = open_dataset(str(make.idx(tmp_path)), seed=0, validation=6, test=0.5)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 54, "validation": 6, "test": 12}


def test_sides_that_nobody_asks_for_are_not_there(make: SimpleNamespace) -> None:
    assert list(open_arrays(*make.digits(30)).splits) == ["train"]


def test_a_source_of_its_own_serves_as_validation(make: SimpleNamespace, tmp_path: Path) -> None:
    make.idx(tmp_path / "main")
    (tmp_path / "more.csv").write_text("\n".join(make.csv_lines(9, seed=5)))
    dataset = open_dataset(str(tmp_path / "main"), seed=0, validation=str(tmp_path / "more.csv"))
    images, labels = make.digits(9, seed=5)
    validation = dataset.splits["validation"]
    np.testing.assert_array_equal(validation.inputs[validation.rows], images[..., None])
    np.testing.assert_array_equal(validation.label_array(), labels)


def test_labels_of_another_source_are_renumbered_by_name(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path / "main", classes=("ant", "bee", "cat"))
    make.class_folders(tmp_path / "more", classes=("bee", "cat"), n=2)
    allowed = Selection(allow_leakage=True)  # the two folders have some images in common
    dataset = open_dataset(str(tmp_path / "main"), seed=0, test=str(tmp_path / "more"), selection=allowed)
    assert dataset.splits["test"].label_array().tolist() == [1, 1, 2, 2]


def test_another_source_with_a_strange_class_or_shape_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    main = str(make.class_folders(tmp_path / "main"))
    make.class_folders(tmp_path / "emus", classes=("cat", "emu"))
    make.class_folders(tmp_path / "colors", mode="RGB")
    with pytest.raises(DataError, match=r"data\.test: .*emus has the class 'emu'"):
        open_dataset(main, seed=0, test=str(tmp_path / "emus"))
    with pytest.raises(DataError, match=r"images of shape \(6, 8, 3\), the training side of shape \(6, 8, 1\)"):
        open_dataset(main, seed=0, validation=str(tmp_path / "colors"))


def test_a_class_that_training_does_not_see_is_refused(make: SimpleNamespace) -> None:
    images, _ = make.digits(30)
    labels = np.array([0, 1] * 14 + [2, 2])
    with pytest.raises(DataError, match="the test side has the class '2', which no training example has"):
        open_arrays(images, labels, test=("last", 2))


def test_an_empty_side_is_refused(make: SimpleNamespace) -> None:
    images, labels = make.digits(2)
    with pytest.raises(DataError, match="side is empty") as caught:
        open_arrays(images, labels, validation=0.1, test=0.1)
    assert "data." in caught.value.hint


def test_the_splits_file_names_every_example_once(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path / "photos")
    for dataset in (
        open_dataset(str(tmp_path / "photos"), seed=0, validation=2, test=3),
        open_dataset(str(make.idx(tmp_path / "digits")), seed=0, validation=6),
    ):
        write_splits(dataset, tmp_path / "splits.parquet")
        frame = pl.read_parquet(tmp_path / "splits.parquet")
        assert frame.columns == ["id", "side"]
        assert frame["id"].n_unique() == len(frame) == sum(len(split) for split in dataset.splits.values())
        for name, split in dataset.splits.items():
            expected = [split.id_of(number) for number in range(len(split))]
            assert frame.filter(pl.col("side") == name)["id"].to_list() == expected


def test_chance_leaves_no_side_of_a_small_set_empty():
    for seed in range(200):
        hashes = np.random.default_rng(seed).integers(0, 2**63, 24, dtype=np.uint64)
        rows = draw_rows(hashes, seed=seed, shares={"validation": 0.1, "test": 0.1})
        assert len(rows["validation"]) >= 1 and len(rows["test"]) >= 1 and len(rows["train"]) >= 12
        assert sorted(np.concatenate(list(rows.values()))) == list(range(24))


def test_nobody_changes_side_when_images_of_other_sizes_are_added(tmp_path: Path, make: SimpleNamespace) -> None:
    def sides() -> dict[str, str]:
        dataset = open_dataset(str(tmp_path), seed=0, validation=0.2, test=0.2)
        return {split.id_of(n): name for name, split in dataset.splits.items() for n in range(len(split))}

    def add(first: int, n: int, side: int, mode: str) -> None:
        for number in range(first, first + n):
            pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), dtype=np.uint8)
            path = tmp_path / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).convert(mode).save(path)

    add(0, 60, 8, "L")
    before = sides()
    add(60, 60, 16, "RGB")
    after = sides()
    assert {name: after[name] for name in before} == before
    assert len(after) == 120
