"""What is to be learnt from which columns of a table: the label, the kind of data, the task; each with its reason.

Owns guesses from names and from a look at the values; what the recipe says goes before them. Types of feature columns
are `column_types.py`'s.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING

from railcar.data.column_types import is_id
from railcar.errors import DataError
from railcar.storage.columns import check_columns, find_missing
from railcar.storage.images import SUFFIXES
from railcar.storage.rows import Rows

if TYPE_CHECKING:
    import polars as pl

LABEL_NAMES = ("label", "labels", "class", "target", "y", "category", "sentiment")
TASKS = ("classification", "regression")
SAMPLE_ROWS = 1000
MAX_CLASSES = 30
MAX_NAMED = 6
MAX_MISSING_LABELS = 0.2
MIN_ROWS_PER_CLASS = 3
MAX_NUMERIC_CLASSES = 20
SURE_NUMERIC_CLASSES = 10
MIN_TEXT_WORDS = 6
MAX_TABLE_COLUMNS_BESIDE_TEXT = 3
MIN_PIXELS = 49


@dataclass(frozen=True)
class TextFacts:
    """What a String column's texts are like: means of `n_words` and `n_characters`, and the share of different ones."""

    n_words: float
    n_characters: float
    distinct: float


def choose_label(rows: Rows, asked: str | None) -> tuple[str, str]:
    """The column of the labels, and the reason. `asked` is what the user says.

    Raises `DataError` when there is no such column, and when several could be it and none has a usual name.
    """
    names = rows.frame.columns
    if asked is not None:
        check_columns(names, [asked], str(rows.path))
        return asked, f"the label is the column {asked!r}, as asked for"
    if len(names) == 1:
        raise DataError(f"{rows.path}: one column only, {names[0]!r}", hint="a label needs a column of its own")
    for usual in LABEL_NAMES:
        for name in names:
            if name.lower() == usual:
                return name, f"the label is the column {name!r}, by its name"
    candidates = _find_label_candidates(rows)
    words = [name for name, _, is_text in candidates if is_text]
    if len(candidates) == 1:
        name, n, _ = candidates[0]
        return name, f"the label is {name!r}, the only column with few different values ({n})"
    if words == names[-1:]:
        return names[-1], f"the label is the last column, {names[-1]!r}, the only one with few different words"
    likely = [name for name, _, _ in candidates][:MAX_NAMED] or list(reversed(names))[:MAX_NAMED]
    options = [f"--label {shlex.quote(name)}" for name in likely]
    raise DataError(f"{rows.path}: which column is the label?", hint=f"say {', '.join(options[:-1])} or {options[-1]}")


def _find_label_candidates(rows: Rows) -> list[tuple[str, int, bool]]:
    """(name, number of different values, whether they are words) of columns that could be classes, those of words and
    of the fewest different values first."""
    import polars as pl

    n = rows.frame.height
    found = []
    for name in rows.frame.columns:
        values = rows.frame[name]
        present = values.drop_nulls()
        if len(present) < (1 - MAX_MISSING_LABELS) * n or values.dtype in (pl.Date, pl.Datetime):
            continue
        n_distinct = present.n_unique()
        if 2 <= n_distinct <= max(2, min(MAX_CLASSES, n // MIN_ROWS_PER_CLASS)) and not _has_fractions(present):
            is_text = present.dtype == pl.String and present.cast(pl.Float64, strict=False).null_count() > 0
            found.append((name, n_distinct, is_text))
    return sorted(found, key=lambda one: (not one[2], one[1]))


def _has_fractions(values: pl.Series) -> bool:
    import polars as pl

    numbers = values.cast(pl.Float64, strict=False)
    return numbers.null_count() == 0 and bool((numbers != numbers.floor()).any())


def choose_kind(rows: Rows, label: str) -> tuple[str, str]:
    """What the columns other than `label` are: "image_paths", "pixels", "text" or "table"; and the reason.

    Raises `DataError` when there are none, and for a lone column of image names that leads to no file.
    """
    names = [name for name in rows.frame.columns if name != label]
    if not names:
        raise DataError(f"{rows.path}: no column but the label {label!r}", hint="add columns to learn from")
    for name in names:
        if _is_image_column(rows, name, alone=len(names) == 1):
            return "image_paths", f"the column {name!r} holds paths of image files"
    if reason := _find_pixels(rows, names):
        return "pixels", reason
    facts = _find_texts(rows, names)
    n_others = sum(name not in facts and not is_id(rows.frame[name]) for name in names)
    if facts:
        longest = max(facts, key=lambda name: facts[name].n_characters)
        n_words = facts[longest].n_words
        if n_others == 0 or (n_words >= MIN_TEXT_WORDS and n_others <= MAX_TABLE_COLUMNS_BESIDE_TEXT):
            return "text", f"the column {longest!r} holds free text ({n_words:.0f} words on average)"
    shown = ", ".join(names[:MAX_NAMED]) + (f", … ({len(names)} in all)" if len(names) > MAX_NAMED else "")
    return "table", f"rows of columns: {shown}"


def find_image_column(rows: Rows, label: str) -> tuple[str, str]:
    """For data of kind image: the first column of paths of image files beside the file, and the reason."""
    for name in rows.frame.columns:
        if name != label and _is_image_column(rows, name, alone=False):
            return name, f"the column {name!r} holds paths of image files"
    raise DataError(
        f"{rows.path}: no column of paths of image files", hint=f"paths are read from {rows.path.parent} on"
    )


def find_text_column(rows: Rows, label: str) -> tuple[str, str]:
    """For data of kind text: the column with the longest texts, and a reason that names what was left aside."""
    import polars as pl

    names = [name for name in rows.frame.columns if name != label]
    facts = {name: _measure_text(rows.frame[name]) for name in names if rows.frame[name].dtype == pl.String}
    if not facts:
        raise DataError(f"{rows.path}: no column of text", hint="the text stands in a column of its own")
    best = max(facts, key=lambda name: facts[name].n_characters)
    reason = f"the text is the column {best!r} ({facts[best].n_words:.0f} words on average)"
    others = [repr(name) for name in names if name != best]
    if not others:
        return best, reason
    listed = f"{', '.join(others[:-1])} and {others[-1]} are" if len(others) > 1 else f"{others[0]} is"
    return best, f"{reason}; {listed} left aside"


def choose_task(labels: pl.Series, kind: str, asked: str | None) -> tuple[str, str]:
    """ "classification" or "regression", and the reason. `kind` is that of the data, `asked` what the recipe says.

    Only tables have regression. Raises `DataError` when it is asked for with other data.
    """
    if asked is not None:
        if asked not in TASKS:
            raise DataError(f"data.task: {asked!r} is no task", hint=f"it is {' or '.join(TASKS)}")
        if asked == "regression" and kind != "table":
            raise DataError(f"data.task: no regression with data of kind {kind}", hint="regression is for tables")
        return asked, "data.task says so"
    if kind != "table":
        return "classification", f"data of kind {kind} has classes"
    import polars as pl

    present = labels.filter(~find_missing(labels)) if labels.dtype == pl.String else labels.drop_nulls()
    n, n_distinct = len(present), present.n_unique()
    if present.dtype == pl.Boolean:
        return "classification", "the labels are true and false"
    numbers = present.cast(pl.Float64, strict=False)
    if n == 0 or numbers.null_count() > 0.05 * n or (numbers.null_count() and n_distinct <= MAX_CLASSES):
        n_words = labels.drop_nulls().n_unique()  # as labels, NA and null are words like any other
        return "classification", f"the labels are words: {n_words:,} different ones"
    if _has_fractions(numbers.drop_nulls()):
        return "regression", f"the labels are numbers with fractions ({n_distinct:,} different ones)"
    if n_distinct <= SURE_NUMERIC_CLASSES or (n_distinct <= MAX_NUMERIC_CLASSES and n >= 2 * n_distinct):
        reason = f"the labels are {n_distinct} whole numbers, read as classes"
        return "classification", f"{reason}; --set data.task=regression to change it" if n_distinct > 2 else reason
    return "regression", f"the labels are {n_distinct:,} different numbers; --set data.task=classification to change it"


def _is_image_column(rows: Rows, name: str, *, alone: bool) -> bool:
    """Whether most values look like paths of images, and the first of them leads to a file."""
    import polars as pl

    values = rows.frame[name]
    if values.dtype != pl.String:
        return False
    sample = values.head(SAMPLE_ROWS)
    found = [row for row, cell in enumerate(sample.to_list()) if cell and cell.lower().endswith(SUFFIXES)]
    if not found or len(found) < 0.9 * len(sample.drop_nulls()):
        return False
    if any((rows.path.parent / sample[row]).is_file() for row in found[:MAX_NAMED]):
        return True
    if alone:
        raise DataError(
            f"{rows.place(found[0])}: column {name!r}: no such image: {rows.path.parent / sample[found[0]]}",
            hint=f"paths are read from the folder of {rows.path.name} on",
        )
    return False


def _find_pixels(rows: Rows, names: Sequence[str]) -> str:
    """The reason why the columns are the pixels of square images; empty when they are not."""
    import polars as pl

    n = len(names)
    sides = {n_channels: isqrt(n // n_channels) for n_channels in (1, 3) if n % n_channels == 0}
    shape = next(((side, side, c) for c, side in sides.items() if side * side * c == n), None)
    if shape is None or (n < MIN_PIXELS and not all(name.lower().startswith("pixel") for name in names)):
        return ""
    sample = rows.frame.select(names).head(SAMPLE_ROWS // 5)
    numbers = sample.select(pl.all().cast(pl.Float64, strict=False))
    whole = numbers.select(
        pl.all_horizontal((pl.all() >= 0) & (pl.all() <= 255) & (pl.all() == pl.all().floor())).fill_null(False).all()
    ).item()
    return f"{n:,} columns of whole numbers of 0 to 255: images of {shape[0]}x{shape[1]}x{shape[2]}" if whole else ""


def _find_texts(rows: Rows, names: Sequence[str]) -> dict[str, TextFacts]:
    """The columns of free text: most texts different, of two words and more; a lone column may have single words."""
    import polars as pl

    facts = {name: _measure_text(rows.frame[name]) for name in names if rows.frame[name].dtype == pl.String}
    n_words = 1 if len(names) == 1 else 2
    return {name: found for name, found in facts.items() if found.distinct > 0.5 and found.n_words >= n_words}


def _measure_text(values: pl.Series) -> TextFacts:
    """Facts on the first texts; of numbers, no words."""
    import polars as pl

    present = values.head(SAMPLE_ROWS).drop_nulls()
    if len(present) == 0 or present.cast(pl.Float64, strict=False).null_count() < len(present) / 2:
        return TextFacts(0.0, 0.0, 0.0)
    words, characters = present.str.count_matches(r"\S+"), present.str.len_chars()
    n = len(present)
    return TextFacts(int(words.sum()) / n, int(characters.sum()) / n, present.n_unique() / n)
