"""A data set in numbers: counts, spreads and columns are those of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from railcar.data.prepare import open_arrays, open_dataset
from railcar.data.summary import measure_pixels, spell_day, spread_of, summarize
from tests.synthetic import make_images


def test_examples_are_counted_by_side_and_class() -> None:
    images, labels = make_images(90)
    dataset = open_arrays(images, labels, test=20)
    summary = summarize(dataset, measure_pixels(dataset))

    assert summary.n_examples == {"train": 70, "test": 20}
    assert np.sum(list(summary.per_class.values()), axis=0).tolist() == [30, 30, 30]
    assert summary.shape == (12, 12, 1)
    assert summary.spreads["brightness"].median == pytest.approx(np.median(images.mean(axis=(1, 2, 3))))


def test_columns_have_types_gaps_ranges_and_frequent_values(tmp_path: Path) -> None:
    rows = [
        f"{i % 5},{'red' if i % 3 else 'blue'},{'' if i % 4 else i / 2},2024-01-{i % 28 + 1:02},{i % 2}"
        for i in range(80)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["n,color,gaps,day,label", *rows]) + "\n")
    columns = {one.name: one for one in summarize(open_dataset(str(tmp_path / "t.csv"), test=0.2)).columns}

    assert columns["color"].frequent == (("red", 53), ("blue", 27))
    assert (columns["gaps"].n_missing, columns["gaps"].missing, columns["gaps"].n_distinct) == (60, 0.75, 20)
    assert columns["n"].n_distinct == 5
    number, day = columns["n"].spread, columns["day"].spread
    assert number is not None and number.counts == (16, 16, 16, 16, 16)
    assert day is not None and (spell_day(day.low), spell_day(day.high)) == ("2024-01-01", "2024-01-28")


def test_a_histogram_counts_every_value_and_one_far_out_does_not_squeeze_the_others() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=2000), [1e9]])
    spread = spread_of(values)

    assert sum(spread.counts) == 2001
    assert spread.high == 1e9
    assert max(spread.counts) < 500


def test_one_value_over_and_over_is_one_bar() -> None:
    spread = spread_of(np.full(10, 7.5))

    assert (spread.low, spread.median, spread.high) == (7.5, 7.5, 7.5)
    assert sum(spread.counts) == max(spread.counts) == 10
