"""The file of what a network makes of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from railcar.data.features import FeatureStore

ROWS = np.array([7, 2, 3, 2])


def values_of(rows: np.ndarray) -> np.ndarray:
    return (rows[:, None] + np.array([0.25, 0.5])).astype(np.float32)


def test_rows_are_kept_for_the_next_one_who_needs_them(tmp_path: Path):
    with FeatureStore((9, 2), tmp_path / "some.features") as store:
        missing = store.find_missing(ROWS)
        assert missing.tolist() == [2, 3, 7]
        store.write(missing, values_of(missing))
        np.testing.assert_array_equal(store.values[ROWS], values_of(ROWS))
    with FeatureStore((9, 2), tmp_path / "some.features") as store:
        assert store.find_missing(np.arange(9)).tolist() == [0, 1, 4, 5, 6, 8]
        np.testing.assert_array_equal(store.values[ROWS], values_of(ROWS))


def test_what_was_written_before_an_error_counts(tmp_path: Path):
    def fail() -> None:
        with FeatureStore((9, 2), tmp_path / "some.features") as store:
            store.write(np.array([1]), values_of(np.array([1])))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with FeatureStore((9, 2), tmp_path / "some.features") as store:
        assert 1 not in store.find_missing(np.arange(9))


def test_two_who_write_at_once_lose_nothing(tmp_path: Path):
    first = FeatureStore((9, 2), tmp_path / "some.features")
    second = FeatureStore((9, 2), tmp_path / "some.features")
    with first, second:
        first.write(np.array([0, 1]), values_of(np.array([0, 1])))
        second.write(np.array([4]), values_of(np.array([4])))
    with FeatureStore((9, 2), tmp_path / "some.features") as store:
        there = np.array([0, 1, 4])
        assert not len(store.find_missing(there))
        np.testing.assert_array_equal(store.values[there], values_of(there))


@pytest.mark.parametrize("damage", ["short", "rows"])
def test_a_damaged_file_is_not_believed(tmp_path: Path, damage: str):
    path = tmp_path / "some.features"
    with FeatureStore((9, 2), path) as store:
        store.write(np.arange(9), values_of(np.arange(9)))
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-4])
    else:
        path.with_suffix(".rows.npy").write_bytes(b"no array")
    with FeatureStore((9, 2), path) as store:
        assert len(store.find_missing(np.arange(9))) == 9
        store.write(np.arange(9), values_of(np.arange(9)))
        np.testing.assert_array_equal(store.values, values_of(np.arange(9)))


def test_without_a_folder_that_takes_it_all_is_in_memory(tmp_path: Path):
    for path in (None, tmp_path / "gone" / "some.features"):
        with FeatureStore((9, 2), path) as store:
            store.write(np.array([3]), values_of(np.array([3])))
            assert store.values[3].tolist() == [3.25, 3.5]
            assert len(store.find_missing(np.arange(9))) == 8
