from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from railcar.data.column_types import describe_columns
from railcar.data.giveaways import find_giveaways
from railcar.storage.columns import Column, to_typed
from railcar.storage.rows import read_rows

N = 400
LABELS = np.random.default_rng(0).choice(["no", "yes"], N, p=[0.7, 0.3])
IS_YES = LABELS == "yes"
NOISE = np.random.default_rng(1).normal(size=N)


def find(values: list, kind: str, labels: pl.Series | None = None) -> list[str]:
    labels = pl.Series(LABELS) if labels is None else labels
    column = Column("a", kind)  # type: ignore[arg-type]
    return [reason for _, reason in find_giveaways(pl.DataFrame({"a": values}), labels, [column])]


def test_a_column_that_is_filled_in_for_one_label_only_is_named() -> None:
    values = ["x" if yes else None for yes in IS_YES]

    assert find(values, "category") == ["its being empty or not tells 100% of the labels"]


def test_a_value_that_stands_for_a_label_is_named() -> None:
    values = [f"{'ab'[int(yes)]}{n % 5}" for n, yes in enumerate(IS_YES)]

    assert find(values, "category") == ["its value alone tells 100% of the labels"]


def test_a_threshold_that_divides_the_labels_is_named() -> None:
    values = np.where(IS_YES, 5 + NOISE, -5 - NOISE).tolist()

    assert find(values, "number")[0].endswith("tells 100% of the labels")
    assert find(values, "number")[0].startswith("whether it is above ")


def test_a_column_that_only_some_of_one_label_have_is_named() -> None:
    values = ["7" if yes and number % 2 else None for number, yes in enumerate(IS_YES)]

    n = sum(value is not None for value in values)
    assert find(values, "number") == [f"where it is filled in ({n} rows), the label is always 'yes'"]


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_column_that_is_merely_useful_is_not_named(kind: str) -> None:
    agrees = np.random.default_rng(2).random(N) < 0.85

    assert find(np.where(agrees, IS_YES, ~IS_YES).astype(int).astype(str).tolist(), kind) == []


def test_noise_and_ids_are_not_named() -> None:
    assert find(NOISE.tolist(), "number") == []
    assert find([f"w{number}" for number in range(N)], "category") == []
    assert find([None] * N, "number") == []


def test_a_rare_label_is_not_told_by_naming_the_frequent_one() -> None:
    labels = pl.Series(["yes" if number % 50 == 0 else "no" for number in range(N)])

    assert find(NOISE.tolist(), "number", labels) == []


def test_a_copy_of_a_numeric_target_is_named() -> None:
    target = pl.Series(NOISE)

    assert find((3 * NOISE + 1).tolist(), "number", target) == [
        "it is the label, but for its scale (correlation 1.0000)"
    ]
    assert find((NOISE + np.random.default_rng(3).normal(size=N) / 10).tolist(), "number", target) == []


def test_titanic_has_boat_and_body_and_not_sex(shared_data: Path) -> None:
    rows = read_rows(shared_data / "tables" / "titanic.csv")
    columns, _, _ = describe_columns(rows, [name for name in rows.frame.columns if name != "survived"], {})
    for frame in (rows.frame, to_typed(rows.frame, columns, rows.place)):
        found = dict(find_giveaways(frame, rows.frame["survived"], columns))

        assert found == {
            "boat": "its being empty or not tells 97% of the labels",
            "body": "where it is filled in (121 rows), the label is always '0'",
        }


def test_the_score_of_reviews_is_named_and_no_column_of_penguins(shared_data: Path) -> None:
    reviews = read_rows(shared_data / "text" / "reviews.csv")
    found = find_giveaways(reviews.frame, reviews.frame["label"], [Column("score", "number")])
    assert [name for name, _ in found] == ["score"]
    penguins = read_rows(shared_data / "tables" / "penguins.csv")
    columns, _, _ = describe_columns(penguins, penguins.frame.columns[1:], {})
    assert find_giveaways(penguins.frame, penguins.frame["species"], columns) == []
