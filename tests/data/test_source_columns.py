"""Columns that no model reads, for the examples of a split: each cell is that of its example."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from railcar.data.prepare import open_dataset, open_frame
from railcar.data.source_columns import Origin, read_source_column
from railcar.data.types import Dataset, ReadOptions
from railcar.errors import DataError


def write_table(path: Path, n: int = 120, *, shift: int = 0) -> Path:
    """`size` tells the row: row k has size k; every tenth row has no label. `person` and `number` follow from the row,
    too."""
    rows = range(shift, shift + n)
    frame = pl.DataFrame(
        {
            "number": [row + 1 for row in rows],
            "size": [float(row) for row in rows],
            "tint": ["red" if row % 3 else "blue" for row in rows],
            "person": [f"p{row % 7}" for row in rows],
            "day": [f"2024-0{1 + row % 4}-11" for row in rows],
            "label": [None if row % 10 == 0 else "even" if row % 2 == 0 else "odd" for row in rows],
        }
    )
    frame.write_csv(path)
    return path


def check_all(origin: Origin, dataset: Dataset) -> None:
    for split in dataset.splits.values():
        assert split.raw is not None
        rows = split.raw["size"].gather(split.rows.tolist()).cast(pl.Int64).to_list()
        person = read_source_column(origin, dataset, split, "person")
        assert person.type == "category" and person.cells.to_list() == [f"p{row % 7}" for row in rows]
        number = read_source_column(origin, dataset, split, "number")
        assert number.type == "number" and number.cells.to_list() == [row + 1 for row in rows]


def test_each_example_has_its_cell_of_columns_used_left_out_and_grouped_by(tmp_path: Path):
    path = write_table(tmp_path / "rows.csv")
    settings = {"label": "label", "group": "person", "max_bad": 0.2}
    dataset = open_dataset(str(path), validation=0.2, test=0.2, **settings)
    check_all(Origin(str(path)), dataset)
    test = dataset.splits["test"]
    day = read_source_column(Origin(str(path)), dataset, test, "day")
    assert day.type == "date" and set(day.cells.to_list()) <= {19733.0, 19764.0, 19793.0, 19824.0}
    assert read_source_column(Origin(str(path)), dataset, test, "label").cells.unique().sort().to_list() == [
        "even",
        "odd",
    ]


def test_sides_of_their_own_archives_and_frames_have_theirs(tmp_path: Path):
    train = write_table(tmp_path / "rows.csv")
    other = write_table(tmp_path / "other.csv", 60, shift=500)
    dataset = open_dataset(str(train), validation=0.2, test=str(other), label="label", max_bad=0.2, drop=("person",))
    check_all(Origin(str(train), others={"test": str(other)}), dataset)

    folder = tmp_path / "sides"
    folder.mkdir()
    write_table(folder / "train.csv")
    write_table(folder / "test.csv", 40, shift=900)
    dataset = open_dataset(str(folder), validation=0.2, label="label", max_bad=0.2, drop=("person",))
    check_all(Origin(str(folder)), dataset)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.write(folder / "train.csv", "train.csv")
        archive.write(folder / "test.csv", "test.csv")
    packed = str(tmp_path / "packed.zip")
    check_all(Origin(packed), open_dataset(packed, validation=0.2, label="label", max_bad=0.2, drop=("person",)))

    frame = pl.read_csv(train)
    dataset = open_frame(frame, ReadOptions(label="label", drop=("person",), max_bad=0.2), test=0.3)
    check_all(Origin("", frame), dataset)


def test_images_that_a_table_names_have_its_columns(tmp_path: Path):
    draw = np.random.default_rng(0)
    lines = ["file,kind,camera"]
    for number in range(40):
        if number != 7:  # one file is not there
            pixels = draw.integers(0, 255, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
        lines.append(f"{number:02}.png,{'ab'[number % 2]},c{number % 3}")
    path = tmp_path / "list.csv"
    path.write_text("\n".join(lines) + "\n")
    dataset = open_dataset(str(path), test=0.3, label="kind", max_bad=0.1)
    for split in dataset.splits.values():
        camera = read_source_column(Origin(str(path), label="kind"), dataset, split, "camera")
        expected = [f"c{int(split.id_of(index)[:2]) % 3}" for index in range(len(split))]
        assert camera.cells.to_list() == expected


def test_what_is_not_there_is_refused_with_what_is_near(tmp_path: Path):
    path = write_table(tmp_path / "rows.csv")
    dataset = open_dataset(str(path), test=0.2, label="label", max_bad=0.2)
    with pytest.raises(DataError, match="no column 'persom'") as caught:
        read_source_column(Origin(str(path)), dataset, dataset.splits["test"], "persom")
    assert caught.value.hint == "did you mean 'person'?"
    for kind in ("cat", "dog"):
        for number in range(8):
            (tmp_path / "photos" / kind).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number + len(kind) + ord(kind[0])).integers(0, 255, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{number}.png")
    photos = open_dataset(str(tmp_path / "photos"), test=0.3)
    with pytest.raises(DataError, match="its images have no columns"):
        read_source_column(Origin(str(tmp_path / "photos")), photos, photos.splits["test"], "camera")
