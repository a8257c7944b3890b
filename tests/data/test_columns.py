from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from railcar.data.columns import choose_kind, choose_label, choose_task, find_image_column, find_text_column
from railcar.errors import DataError
from railcar.storage.rows import Rows, read_rows

TEXTS = ["the film was a joy from start to end", "a dull and far too long affair", "we left before the end of it"]


def table(folder: Path, **columns: list) -> Rows:
    path = folder / "data.csv"
    pl.DataFrame(columns).write_csv(path)
    return read_rows(path)


@pytest.mark.parametrize("name", ["label", "Labels", "class", "TARGET", "y", "category", "sentiment"])
def test_a_usual_name_is_the_label(tmp_path: Path, name: str) -> None:
    rows = table(tmp_path, **{"number": [1, 2, 1, 2], name: list("abcd"), "kind": list("xyxy")})

    assert choose_label(rows, None) == (name, f"the label is the column '{name}', by its name")


def test_the_column_asked_for_is_the_label(tmp_path: Path) -> None:
    rows = table(tmp_path, species=["a", "b"], label=["x", "y"])

    assert choose_label(rows, "species")[0] == "species"
    with pytest.raises(DataError, match="no column 'specie'") as caught:
        choose_label(rows, "specie")
    assert caught.value.hint == "did you mean 'species'?"


def test_the_only_column_with_few_values_is_the_label(tmp_path: Path) -> None:
    rows = table(tmp_path, kind=["a", "b"] * 20, size=[n / 7 for n in range(40)], n=list(range(40)))

    name, reason = choose_label(rows, None)
    assert (name, reason) == ("kind", "the label is 'kind', the only column with few different values (2)")


def test_the_last_column_of_words_is_the_label_among_numbers(tmp_path: Path) -> None:
    rows = table(tmp_path, doors=[2, 4] * 20, size=[n / 7 for n in range(40)], kind=["a", "b"] * 20)

    assert choose_label(rows, None)[0] == "kind"


def test_without_a_likely_label_the_last_columns_are_offered(tmp_path: Path) -> None:
    rows = table(tmp_path, a=[n / 7 for n in range(40)], **{"b c": [n / 9 for n in range(40)]})

    with pytest.raises(DataError, match="which column is the label") as caught:
        choose_label(rows, None)
    assert caught.value.hint == "say --label 'b c' or --label a"


def test_a_lone_column_has_no_label(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one column only, 'kind'"):
        choose_label(table(tmp_path, kind=["a", "b", "a", "b"]), None)


@pytest.mark.parametrize(
    ("name", "label"), [("text/sms_spam.csv", "label"), ("text/reviews.csv", "label"), ("tables/penguins.csv", None)]
)
def test_the_label_of_real_files(shared_data: Path, name: str, label: str | None) -> None:
    rows = read_rows(shared_data / name)

    if label is not None:
        assert choose_label(rows, None)[0] == label
        return
    with pytest.raises(DataError, match=r"penguins\.csv: which column is the label\?") as caught:
        choose_label(rows, None)
    assert caught.value.hint == "say --label sex, --label species, --label island or --label year"


def test_titanic_asks_for_the_label_and_offers_survived(shared_data: Path) -> None:
    with pytest.raises(DataError, match=r"titanic\.csv: which column is the label\?") as caught:
        choose_label(read_rows(shared_data / "tables" / "titanic.csv"), None)

    assert "--label survived" in caught.value.hint
    assert caught.value.hint.count("--label") == 6


@pytest.mark.parametrize(
    ("name", "label", "kind"),
    [
        ("text/sms_spam.csv", "label", "text"),
        ("text/reviews.csv", "label", "text"),
        ("tables/titanic.csv", "survived", "table"),
        ("tables/penguins.csv", "species", "table"),
    ],
)
def test_the_kind_of_real_files(shared_data: Path, name: str, label: str, kind: str) -> None:
    found, reason = choose_kind(read_rows(shared_data / name), label)

    assert found == kind
    assert reason


def test_the_text_of_reviews_is_found_and_the_rest_left_aside(shared_data: Path) -> None:
    column, reason = find_text_column(read_rows(shared_data / "text" / "reviews.csv"), "label")

    assert column == "text"
    assert reason.endswith("'id' and 'score' are left aside")


def test_short_texts_alone_are_text_and_beside_numbers_a_table(tmp_path: Path) -> None:
    titles = ["Star Wars", "The Birds", "Jaws", "Blade Runner", "Casablanca", "Stand by Me"]
    labels = ["a", "b"] * 3

    assert choose_kind(table(tmp_path, title=titles, label=labels), "label")[0] == "text"
    assert choose_kind(table(tmp_path, id=list(range(6)), title=titles, label=labels, n=[3, 1, 4, 1, 5, 9]), "label")[
        0
    ] == ("table")
    assert choose_kind(table(tmp_path, word=["w1", "w2", "w3"], label=["a", "b", "a"]), "label")[0] == "text"


def test_numbers_and_words_are_a_table(tmp_path: Path) -> None:
    kind, reason = choose_kind(table(tmp_path, n=[1, 2], w=["x", "y"], label=["a", "b"]), "label")

    assert (kind, reason) == ("table", "rows of columns: n, w")


def test_pixels_are_known_by_their_range_and_number(tmp_path: Path) -> None:
    pixels = {f"pixel{number}": [0, number, 255] for number in range(49)}

    kind, reason = choose_kind(table(tmp_path, label=["a", "b", "a"], **pixels), "label")
    assert (kind, reason) == ("pixels", "49 columns of whole numbers of 0 to 255: images of 7x7x1")
    assert (
        choose_kind(table(tmp_path, label=["a", "b", "a"], **{**pixels, "pixel7": [0, 1, 256]}), "label")[0] == "table"
    )
    assert choose_kind(table(tmp_path, label=["a", "b", "a"], **pixels, more=[1, 2, 3]), "label")[0] == "table"


def test_paths_of_images_beside_the_file_are_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "photos" / "a.png")
    rows = table(tmp_path, image=["photos/a.png", "photos/b.JPG"], n=[1, 2], label=["x", "y"])

    assert choose_kind(rows, "label")[0] == "image_paths"
    assert find_image_column(rows, "label")[0] == "image"


def test_a_lone_column_of_image_names_that_lead_nowhere_is_refused(tmp_path: Path) -> None:
    rows = table(tmp_path, image=["a.png", "b.png"], label=["x", "y"])

    with pytest.raises(DataError, match=r"data\.csv: line 2: column 'image': no such image: .*a\.png"):
        choose_kind(rows, "label")


def test_a_label_without_anything_to_learn_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column but the label 'label'"):
        choose_kind(table(tmp_path, label=["x", "y"]), "label")
    with pytest.raises(DataError, match="no column of text"):
        find_text_column(read_rows_of_numbers(tmp_path), "label")


def read_rows_of_numbers(folder: Path) -> Rows:
    pl.DataFrame({"n": [1, 2], "label": ["x", "y"]}).write_parquet(folder / "data.parquet")
    return read_rows(folder / "data.parquet")


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["a", "b", "a"], "classification"),
        (["0", "1", "1", None], "classification"),
        ([1, 2, 3, 3], "classification"),
        ([True, False], "classification"),
        ([1.0, 2.0, 2.0], "classification"),
        ([str(n % 15) for n in range(90)], "classification"),
        ([f"w{n}" for n in range(100)], "classification"),
        (["1.5", "2"], "regression"),
        ([0.5, 1.5, 0.5], "regression"),
        ([str(n) for n in range(90)], "regression"),
        (["twelve", *map(str, range(90))], "regression"),
    ],
)
def test_the_task_follows_from_the_labels(labels: list, task: str) -> None:
    found, reason = choose_task(pl.Series(labels), "table", None)

    assert found == task
    assert reason


def test_whole_numbers_that_could_be_either_say_how_to_change_it() -> None:
    _, reason = choose_task(pl.Series([str(n % 15) for n in range(90)]), "table", None)

    assert reason == "the labels are 15 whole numbers, read as classes; --set data.task=regression to change it"


def test_only_tables_have_regression() -> None:
    labels = pl.Series(["1.5", "2.5"])

    assert choose_task(labels, "text", None)[0] == "classification"
    assert choose_task(labels, "table", "classification") == ("classification", "data.task says so")
    with pytest.raises(DataError, match="no regression with data of kind text"):
        choose_task(labels, "text", "regression")
    with pytest.raises(DataError, match="'ranking' is no task"):
        choose_task(labels, "table", "ranking")


def test_texts_of_several_columns_take_the_longest(tmp_path: Path) -> None:
    rows = table(tmp_path, title=["one two", "three four", "five six"], body=TEXTS, label=["a", "b", "a"])

    assert choose_kind(rows, "label")[0] == "text"
    assert find_text_column(rows, "label")[0] == "body"
