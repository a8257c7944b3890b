"""YAML as a recipe takes it: what is read as what, what is refused, and that writing reads back."""

from __future__ import annotations

import time
from typing import Any

import pytest

from railcar.errors import RecipeError
from railcar.recipe.document import read_document, write_flow


def read(text: str) -> Any:
    return read_document(text, "my.yaml").values


def refuse(text: str | bytes) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        read_document(text, "my.yaml")
    return caught.value


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "y", "n", "12:30:00", "2026-11-22", "1_000", "<<", "=", "nan"]
)
def test_words_that_yaml_1_1_turns_into_something_else_stay_text(word: str) -> None:
    assert read(f"key: {word}") == {"key": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("-2E3", -2000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("010", 10),
        ("0x1F", 31),
        ("+3", 3),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ('"5"', "5"),
        ("'true'", "true"),
    ],
)
def test_plain_scalars_are_read_by_yaml_1_2(text: str, value: object) -> None:
    found = read(f"key: {text}")["key"]

    assert found == value
    assert type(found) is type(value)


def test_every_key_and_item_knows_its_line() -> None:
    document = read_document("a: 1\nb:\n  c: 2\n  d:\n    - 1\n    - 2\n", "my.yaml")

    assert document.place(("b", "c")) == "my.yaml:3"
    assert document.place(("b", "d", 1)) == "my.yaml:6"
    assert document.place(("b", "unheard_of")) == "my.yaml:2"
    assert document.place(("unheard_of",)) == "my.yaml"


def test_a_key_set_twice_is_a_fault_with_both_lines() -> None:
    document = read_document("a: 1\nb: 2\na: 3\n", "my.yaml")

    assert [str(fault) for fault in document.faults] == ["my.yaml:3: a: set twice: first on line 1"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: !!python/object/apply:os.system [ls]", "my.yaml:1: a: !!python/object/apply:os.system: tags are not read"),
        ("a: 1\nb: !!str 5", "my.yaml:2: b: !!str: tags are not read"),
        ("!!set a: 1", "my.yaml:1: a: !!set: tags are not read"),
        ("a: &big [1]\nb: *big", "my.yaml:1: a: &big: anchors and aliases are not read"),
        ("a: *big", "my.yaml:1: a: *big: anchors and aliases are not read"),
        ("? [1, 2]\n: 3", "my.yaml:1: a key must be a word"),
        ("a: 1\n---\nb: 2", "my.yaml:2: a second document begins here"),
        ("a: 1\n\tb: 2", "my.yaml:2: not YAML"),
        ("a: [1, 2", "my.yaml:"),
        ("a: 1\nb: c: d", "my.yaml:2: not YAML"),
        (b"a: caf\xe9", "my.yaml:1: is not UTF-8 text"),
        ("a: 1\nb: \x00", "my.yaml:"),
        ("a: " + "9" * 5000, "my.yaml:1: a: a number of more than 4,000 digits"),
    ],
)
def test_what_a_recipe_needs_not_is_refused_with_its_line(text: str | bytes, what: str) -> None:
    error = refuse(text)

    assert error.what.startswith(what)
    assert error.hint


def test_a_tab_for_indentation_is_named() -> None:
    assert refuse("a:\n\tb: 1").hint == "indent with spaces, not with tabs"


def test_anchors_that_would_explode_are_refused_at_once() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    began = time.perf_counter()

    error = refuse("\n".join(lines))

    assert "anchors and aliases are not read" in error.what
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused_and_does_not_overflow_the_stack(opening: str) -> None:
    error = refuse(opening * 50_000)

    assert "nested more than 20 levels deep" in error.what or "not YAML" in error.what


def test_a_file_of_more_than_a_megabyte_is_refused() -> None:
    assert "larger than 1 MB" in refuse(b"#" * 1_000_001).what


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert read_document(b"\xef\xbb\xbfa: 1", "my.yaml").values == {"a": 1}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -7,
        1e-5,
        1e22,
        0.1,
        5.0,
        "",
        " ",
        "yes",
        "Off",
        "null",
        "1e-4",
        "007",
        "-",
        "- a",
        "a: b",
        "a #b",
        "#a",
        "trailing ",
        "[a",
        "photos/my cats",
        "C:\\photos",
        'say "cat"',
        "caf\u00e9 \U0001f408",
        "line\nbreak\ttab",
        "\u2028\x7f\x1b",
        "&anchor",
        "*alias",
        "!tag",
        "%percent",
        "@at",
        "`tick",
        "?",
        "---",
        [],
        [1, "2", [3.0, None]],
        {},
        {"last": 500},
        {"a b": "c, d", "e]": "{f}"},
    ],
)
def test_what_is_written_reads_back_as_the_same(value: object) -> None:
    assert read(f"key: {write_flow(value)}") == {"key": value}
