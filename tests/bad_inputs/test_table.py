"""The table itself: nothing of the list is left out, and every message has the form that all messages have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bad_inputs.page import write_page
from tests.bad_inputs.promises import MEANINGS, PROMISES, SECTIONS
from tests.bad_inputs.row import Row
from tests.bad_inputs.table import ALL_ROWS, ROWS

MAX_LINES = 2
WIDTH = 80
N_LETTERS = 33


def test_the_list_has_every_number_but_those_of_recipes_and_each_is_in_one_section() -> None:
    assert list(PROMISES) == [*range(1, 73), 78, 79, 80]
    assert [number for numbers in SECTIONS.values() for number in numbers] == list(PROMISES)


@pytest.mark.parametrize("number", PROMISES)
def test_every_promise_has_an_input_for_each_of_its_outcomes(number: int) -> None:
    rows = [row for row in ALL_ROWS if row.number == number]

    assert {row.outcome for row in rows if not row.because} == set(PROMISES[number][1])
    assert all(row.outcome not in PROMISES[number][1] for row in rows if row.because)


def test_no_two_inputs_have_one_name() -> None:
    assert len({row.id for row in ALL_ROWS}) == len(ALL_ROWS)
    assert {row.outcome for row in ROWS} == set(MEANINGS)


def test_every_name_fits_into_the_table_that_the_program_prints() -> None:
    assert [row.what for row in ALL_ROWS if len(row.what) > N_LETTERS] == []


def read_design(text: str) -> dict[int, set[str]]:
    """The outcomes of each number in the design's list, which says them in running text."""
    parts = re.split(r"(?:^|(?<=\s))(\d{1,2})\. ", re.sub(r"\[[^\]]*\]", "", text))
    found: dict[int, set[str]] = {}
    for number, words in zip(map(int, parts[1::2]), parts[2::2], strict=True):
        said = " ".join(words.split("\n## ")[0].split()).partition(": ")[2]
        outcomes = set(re.findall(r"\b(R|S|W|OK)\b", said))
        outcomes |= {"stop"} if re.search(r"\bstops?\b", said) else set()
        outcomes |= {"OK"} if re.match("loaded|kept", said) else set()
        found[number] = outcomes
    return found


def test_the_list_is_the_one_of_the_design(project: Path) -> None:
    design = project.parent / "shared" / "design" / "bad-inputs.md"
    if not design.is_file():
        pytest.skip("needs the design beside the project")
    found = read_design(design.read_text())

    assert {number: found[number] for number in PROMISES} == {n: set(one) for n, (_, one) in PROMISES.items()}


@pytest.mark.parametrize("row", [row for row in ALL_ROWS if row.error], ids=lambda row: row.id)
def test_an_error_is_plain_words_and_its_hint_a_mend_of_at_most_two_lines(row: Row) -> None:
    words = row.error.removeprefix("{data}: ")
    assert not words.endswith(".") and not row.hint.endswith(".")
    assert not re.match("[A-Z][a-z]", words) or words.startswith("Python")
    for text in (f"error: {row.error}", f"hint: {row.hint}"):
        shown = re.sub(r"\{runs\}/\{any\}|\{\w+\}", row.data, text)
        assert len(shown) <= MAX_LINES * WIDTH or row.number in (67, 72), len(shown)


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.id)
def test_what_must_be_named_is_in_the_words_that_are_expected(row: Row) -> None:
    words = "\n".join((row.error, *row.notes))
    assert (row.named in words) or row.named == row.data


def test_the_reference_page_is_made_from_the_table_and_fresh(project: Path) -> None:
    page = (project / "docs" / "reference" / "bad-inputs.md").read_text()

    assert page == write_page(), "write it with: make docs"
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == [
        row.number for row in ALL_ROWS
    ]
