"""Rows without a label: skipped, counted and named up to data.max_bad, refused with the first of them above it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from railcar.data.prepare import open_dataset, open_frame
from railcar.data.types import ReadOptions
from railcar.errors import DataError
from railcar.workflows.check import check

N = 200


def make_frame(*gaps: int, is_number: bool = False) -> pl.DataFrame:
    """Rows whose `size` is their number; those of `gaps` have no label."""
    labels = [float(row) if is_number else ("big" if row >= N // 2 else "small") for row in range(N)]
    values = [None if row in gaps else label for row, label in enumerate(labels)]
    sizes = np.random.default_rng(0).permutation(N) + 0.5
    return pl.DataFrame({"size": sizes, "town": ["Ulm", "Bonn"] * (N // 2), "label": values})


def write(path: Path, frame: pl.DataFrame) -> Path:
    if path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path)
    return path


PLACES = {
    "a.csv": "line 3, a.csv: line 52",
    "a.jsonl": "line 2, a.jsonl: line 51",
    "a.parquet": "row 2, a.parquet: row 51",
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("is_number", [False, True])
def test_rows_without_a_label_are_skipped_counted_and_named(tmp_path: Path, name: str, is_number: bool) -> None:
    frame = make_frame(1, 50, is_number=is_number)
    task = "regression" if is_number else None
    dataset = open_dataset(str(write(tmp_path / name, frame)), ReadOptions(task=task))

    assert f"skipped 2 rows without a label: {name}: {PLACES[name]}" in dataset.notes
    assert sum(map(len, dataset.splits.values())) == N - 2
    train = dataset.splits["train"]
    assert train.raw is not None
    expected = frame.filter(pl.col("label").is_not_null())["size"].cast(pl.Float32)
    assert train.raw["size"].to_list() == expected.to_list()


@pytest.mark.parametrize("name", PLACES)
def test_more_rows_without_a_label_than_max_bad_are_refused_with_the_first(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, make_frame(1, 50, 60))
    with pytest.raises(DataError) as caught:
        open_dataset(str(path), ReadOptions())

    first = PLACES[name].partition(",")[0]
    assert caught.value.what == f"{path}: {first}: no label in the column 'label'; 3 of 200 rows have none"
    assert caught.value.hint.endswith("or set data.max_bad to 0.02")
    assert len(open_dataset(str(path), ReadOptions(max_bad=0.02)).splits["train"]) == N - 3


def test_a_cell_of_spaces_is_no_label_and_the_word_na_is_one(tmp_path: Path) -> None:
    rows = [f"{row},{'NA' if row % 2 else 'yes'}" for row in range(N)]
    rows[7] = "7,  "
    path = tmp_path / "a.csv"
    path.write_text("size,label\n" + "\n".join(rows) + "\n")
    dataset = open_dataset(str(path), ReadOptions(columns={"size": "number"}))

    assert dataset.features.class_names == ("NA", "yes")
    assert "skipped 1 row without a label: a.csv: line 9" in dataset.notes


def test_a_frame_is_treated_as_a_file_is() -> None:
    dataset = open_frame(make_frame(1), ReadOptions())
    assert "skipped 1 row without a label: frame: row 2" in dataset.notes
    with pytest.raises(DataError, match="frame: row 1: no label in the column 'label'; 4 of 200 rows have none"):
        open_frame(make_frame(0, 1, 2, 3), ReadOptions())


def test_what_was_skipped_once_for_a_larger_max_bad_is_refused_for_a_smaller_one() -> None:
    frame = make_frame(0, 1, 2, 3)
    assert len(open_frame(frame, ReadOptions(max_bad=0.1)).splits["train"]) == N - 4
    with pytest.raises(DataError, match="4 of 200 rows"):
        open_frame(frame, ReadOptions())


def test_a_file_without_any_label_is_refused_whatever_max_bad_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", make_frame(*range(N)))
    with pytest.raises(DataError, match="no row has a label in the column 'label'"):
        open_dataset(str(path), ReadOptions(max_bad=1.0, label="label", columns={"size": "number"}))


def test_the_check_names_lines_as_they_are_in_the_file_though_rows_were_skipped(tmp_path: Path) -> None:
    frame = make_frame(1)
    twice = pl.concat([frame, frame.slice(N - 1)])
    checked = check(str(write(tmp_path / "a.csv", twice)), quiet=True)

    told = [finding.what for finding in checked.diagnosis.findings if finding.code == "duplicates"]
    assert len(told) == 1 and told[0].endswith("a.csv: line 201 and a.csv: line 202")
