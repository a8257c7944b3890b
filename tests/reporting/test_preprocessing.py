"""The preprocessing of a model in words and as a picture: each step with the numbers that were fitted."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from railcar.data.types import Features
from railcar.recipe.schema import Recipe
from railcar.reporting.flow import MAX_COLUMNS, MAX_DROPPED, WIDTH, cut, draw_flow
from railcar.reporting.preprocessing import Preprocessing, describe_preprocessing, list_lines

SVG = "{http://www.w3.org/2000/svg}"


def make_recipe(**data: Any) -> Recipe:
    return Recipe.model_validate({"data": {"source": "mnist", **data}})


def describe(features: Features, recipe: Recipe | None = None, layers: Any = ()) -> Preprocessing:
    return describe_preprocessing(features, recipe or make_recipe(), layers)


def read_words(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def make_number(name: str, *, has_gaps: bool = False) -> dict[str, Any]:
    return {"name": name, "type": "number", "form": "", "mean": 29.881, "std": 14.41, "has_gaps": has_gaps}


def make_table(columns: list[dict[str, Any]], n_numbers: int, **dropped: str) -> Features:
    return Features("table", (n_numbers,), ("a", "b"), encoding={"columns": columns, "dropped": dropped})


IMAGE = Features("image", (96, 64, 3), ("cat", "dog"), (125.3, 123.0, 113.9), (63.0, 62.1, 66.7))
TOWN = {"name": "town", "type": "category", "form": "", "values": ["Ulm", "Bonn"]}
SOLD = {"name": "sold", "type": "date", "form": "", "mean": 18628.0, "std": 512.0, "has_gaps": False}
TEXT = Features("text", (43,), ("ham", "spam"), encoding={"vocabulary": ["to", "you"], "length": 43, "columns": []})


def test_an_image_is_decoded_resized_changed_in_training_only_and_scaled() -> None:
    flow = describe(IMAGE, make_recipe(augment={"flip": True, "rotate": 0.05}))

    assert [step.name for step in flow.steps][:4] == ["decode", "resize", "change at random", "scale"]
    assert [step.name for step in flow.steps if step.is_training_only] == ["change at random"]
    assert flow.steps[2].facts == ("mirrored in every second epoch", "turned by up to 18 degrees")
    assert flow.steps[3].facts == ("minus 125.3, 123, 113.9, divided by 63, 62.1, 66.7",)
    assert flow.steps[3].result == "float32 [96, 64, 3]"
    assert flow.steps[-1].result == "float32 [2]"


@pytest.mark.parametrize(
    ("scale", "words"),
    [("none", "pixels of 0 to 255 as they are"), ("unit", "divided by 255")],
)
def test_the_scaling_is_that_of_the_recipe(scale: str, words: str) -> None:
    assert [step.facts for step in describe(IMAGE, make_recipe(scale=scale)).steps if step.name == "scale"] == [
        (words,)
    ]


@pytest.mark.parametrize(
    ("fit", "fact", "line"),
    [
        ("crop", "before, the middle part of those proportions is taken", "cropped and resized to 96x64"),
        (
            "pad",
            "before, it is put on the middle of a black canvas of those proportions",
            "padded with black and resized to 96x64",
        ),
    ],
)
def test_what_is_done_with_other_proportions_is_told(fit: str, fact: str, line: str) -> None:
    resize = describe(IMAGE, make_recipe(fit=fit)).steps[1]
    assert resize.facts == ("to 96 x 64 (height x width), bilinear, smoothed", fact)
    assert list_lines(IMAGE, make_recipe(fit=fit))[0].startswith(f"decoded to RGB, {line}, minus")


def test_a_text_becomes_numbers_of_words_and_their_average() -> None:
    layers = [
        {"name": "embedding", "type": "Embedding", "shape": [43, 64]},
        {"name": "average", "type": "AverageWords", "shape": [64]},
    ]
    steps = {step.name: step for step in describe(TEXT, layers=layers).steps}
    assert steps["look up"].facts[0] == "2 words: to, you"
    assert steps["cut or fill"].result == "int32 [43]"
    assert steps["embed"].facts == ("a learnt vector of 64 for each of 4 word numbers",)
    assert steps["average"].result == "float32 [64]"


def test_each_column_has_its_fitted_numbers_and_the_row_its_width() -> None:
    features = make_table([make_number("age", has_gaps=True), SOLD, TOWN], 8, name="like an id")
    flow = describe(features)
    age, sold, town, name = flow.columns

    assert (age.gaps, age.values, age.result) == ("as 29.88, marked", "minus 29.88, divided by 14.41", "1 + 1")
    assert sold.values == "days from 2021-01-01 / 512; year and week" and sold.result == "5"
    assert (town.values, town.result) == ("2 values: Ulm, Bonn", "1 code")
    assert name.dropped == "like an id"
    assert flow.steps[0].facts == ("7 numbers, and 1 code of categories",)
    assert flow.steps[0].result == "float32 [8]"


def test_a_regression_ends_in_the_unit_of_its_label() -> None:
    features = Features(
        "table", (1,), (), task="regression", target=(500.0, 90.5), encoding={"columns": [make_number("age")]}
    )
    assert describe(features).steps[-1].facts == ("x 90.5 + 500: as the label is measured",)


def test_the_lines_for_a_terminal_say_the_same_in_short() -> None:
    assert list_lines(IMAGE, make_recipe(augment={"shift": 0.1})) == [
        "decoded to RGB, resized to 96x64, minus 125.3, 123, 113.9, divided by 63, 62.1, 66.7",
        "in training moved by up to 0.1 of the side",
    ]
    lines = list_lines(make_table([make_number("age", has_gaps=True), TOWN], 3), make_recipe())
    assert lines[0] == "number: age: standardised, gaps filled with the mean; gaps marked: age"
    assert lines[-1] == "together: 2 numbers, and 1 code of categories"


def test_the_picture_has_every_step_and_marks_what_is_for_training_only() -> None:
    picture = draw_flow(describe(IMAGE, make_recipe(augment={"flip": True})))
    words = read_words(picture)

    assert words[0] == "What becomes of an image"
    assert {"decode", "resize", "change at random", "scale", "in training only", "float32 [96, 64, 3]"} <= set(words)
    assert picture.count('class="training"') == 1


def test_a_hundred_columns_do_not_make_a_picture_that_nobody_looks_at() -> None:
    columns = [make_number(f"column {number}") for number in range(60)] + [{**TOWN, "name": "town"}] * 5
    picture = draw_flow(describe(make_table(columns, 65, **{f"id {number}": "like an id" for number in range(40)})))
    words = read_words(picture)

    assert f"column {MAX_COLUMNS - 1}" in words and f"column {MAX_COLUMNS}" not in words
    assert "and 35 more: 30 number, 5 category" in words
    assert f"and {40 - MAX_DROPPED} more are left out" in words
    assert int(ElementTree.fromstring(picture).attrib["height"]) < 1600


def test_names_of_any_kind_are_cut_and_leave_the_picture_whole() -> None:
    names = ["<b>&\"'", "x" * 500, "列" * 100, "tab\tand\x00nul\x1b[31m", "🙂" * 30, ""]
    picture = draw_flow(describe(make_table([make_number(name) for name in names], len(names))))
    words = read_words(picture)

    assert "<b>&\"'" in words and "x" * 20 + "…" in words
    assert "列" * 10 + "…" in words
    assert all("\x00" not in one and "\t" not in one for one in words)
    assert ElementTree.fromstring(picture).attrib["viewBox"].split()[2] == str(WIDTH)


@pytest.mark.parametrize(
    ("words", "n", "shown"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("列列", 3, "列…"), ("", 3, "")]
)
def test_what_is_cut_fits(words: str, n: int, shown: str) -> None:
    assert cut(words, n) == shown
