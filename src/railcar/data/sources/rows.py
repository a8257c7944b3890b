"""Files of rows, CSV, JSONL, Parquet or Arrow: texts with labels, tables, or lists of image files.

Owns the way from a file's cells to examples: which column is the label, what the others are, what is left aside.
Reading is `storage/rows.py`'s, the questions to columns are `data/columns.py`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from railcar.data.classes import check_classes
from railcar.data.column_types import describe_columns, read_target
from railcar.data.columns import choose_kind, choose_label, choose_task, find_image_column, find_text_column
from railcar.data.giveaways import find_giveaways
from railcar.data.sources.image_list import clean_path, find_image_root, read_image_lists
from railcar.data.sources.notes import name_some
from railcar.data.types import RawData, RawRows, ReadOptions, RowsSide
from railcar.errors import DataError
from railcar.storage.columns import Column, check_columns, to_typed
from railcar.storage.rows import Rows, read_rows

TEXT = "text"
_BLOCK_ROWS = 1 << 16
_GAP = "\x00"


def read_row_files(files: dict[str, Path], options: ReadOptions) -> RawData | RawRows:
    """Examples of the files of each side. What the columns are is found in the training side's. Raises `DataError`."""
    return find_examples({side: read_rows(path) for side, path in files.items()}, options)


def read_frame(frame: pl.DataFrame, options: ReadOptions) -> RawData | RawRows:
    """Examples of a frame in memory."""
    return find_examples({"train": Rows(frame, "frame", (), None, Path("frame"))}, options)


def find_examples(sides: dict[str, Rows], options: ReadOptions) -> RawData | RawRows:
    """What `read_row_files` does, of rows that are read."""
    train = sides["train"]
    label, label_reason = choose_label(train, options.label)
    kind, kind_reason = _choose_kind(train, label, options)
    notes = [*(note for rows in sides.values() for note in rows.notes), label_reason, kind_reason]
    if kind == "pixels":
        raise DataError(
            f"{train.path}: {kind_reason}, but not as a CSV of whole numbers",
            hint="save it as CSV, each line a label and its pixels of 0 to 255",
        )
    _check_columns(sides, label, options)
    sides, skipped = skip_unlabelled(sides, label, options.max_bad)
    train, notes = sides["train"], [*notes, *skipped]
    if kind == "image_paths":
        return _read_listed_images(sides, label, options, notes)
    task, task_reason = choose_task(train.frame[label], kind, options.task)
    notes.append(task_reason)
    columns, dropped, more = _choose_columns(train, label, kind, options)
    for rows in sides.values():
        check_columns(rows.frame.columns, [one.name for one in columns], str(rows.path))
    class_names, labels = _read_labels(sides, label, task)
    if kind == "table" and not options.known:
        more += _warn_of_giveaways(train, columns, label)
    frames = {side: _read_inputs(rows, kind, columns) for side, rows in sides.items()}
    raw = {}
    for side, rows in sides.items():
        groups = _hash_column(rows, options.group) if options.group else None
        hashes = hash_rows(rows.frame.select([one.name for one in columns]))
        raw[side] = RowsSide(frames[side], labels[side], side, hashes, groups)
    return RawRows(train.form, kind, task, label, tuple(columns), class_names, raw, (*notes, *more), dropped)


def skip_unlabelled(sides: dict[str, Rows], label: str, max_bad: float = 1.0) -> tuple[dict[str, Rows], list[str]]:
    """The sides without the rows that have no label, and a line that counts and names those. Raises `DataError` with
    the first when they are more than the share `max_bad`, or all of a side."""
    is_missing = {side: _find_unlabelled(rows.frame[label]) for side, rows in sides.items()}
    bad = [sides[side].place(int(row)) for side, found in is_missing.items() for row in np.flatnonzero(found)]
    if not bad:
        return sides, []
    n_rows = sum(map(len, is_missing.values()))
    if len(bad) > max_bad * n_rows:
        share = min(1.0, len(bad) / n_rows + 0.005)
        raise DataError(
            f"{bad[0]}: no label in the column {label!r}; {len(bad):,} of {n_rows:,} rows have none",
            hint=f"fill them in or remove those rows, or set data.max_bad to {share:.2f}",
        )
    for side, found in is_missing.items():
        if found.all():
            raise DataError(
                f"{sides[side].path}: no row has a label in the column {label!r}",
                hint="name the column of the labels with --label",
            )
    kept = {side: rows.select(np.flatnonzero(~is_missing[side])) for side, rows in sides.items()}
    folder = sides["train"].path.parent
    named = name_some([place.removeprefix(f"{folder}/") for place in bad])
    return kept, [f"skipped {len(bad):,} row{'s'[: len(bad) != 1]} without a label: {named}"]


def _find_unlabelled(labels: pl.Series) -> NDArray[np.bool_]:
    is_empty = (labels == "").fill_null(True) if labels.dtype == pl.String else labels.is_null()
    return is_empty.to_numpy()


def _choose_kind(train: Rows, label: str, options: ReadOptions) -> tuple[str, str]:
    """The kind as the user says it, else as the columns look."""
    named = [name for name, kind in options.columns.items() if kind == "text"]
    if options.known and options.kind:
        return options.kind, "as the data that it must be like"
    if named:
        return "text", f"the texts are the column {named[0]!r}, as data.columns says"
    kind, reason = choose_kind(train, label)
    if options.kind is not None and options.kind != kind.partition("_")[0]:
        return options.kind, "as data.kind says"
    return kind, reason


def hash_rows(frame: pl.DataFrame) -> NDArray[np.uint64]:
    """uint64 [n]: a hash of each row's cells, equal for equal rows wherever they stand."""
    cells = [pl.col(name).cast(pl.String).fill_null(_GAP) for name in frame.columns]
    hashes = np.empty(len(frame), np.uint64)
    for start in range(0, len(frame), _BLOCK_ROWS):  # as strings of Python they take several times the room
        block = frame[start : start + _BLOCK_ROWS]
        joined = block.select(pl.concat_str(cells, separator="\x1f").alias("row"))["row"].to_list()
        digests = b"".join(hashlib.blake2b(row.encode(), digest_size=8).digest() for row in joined)
        hashes[start : start + len(block)] = np.frombuffer(digests, "<u8")
    return hashes


def _hash_column(rows: Rows, name: str) -> NDArray[np.uint64]:
    """Of a column whose values keep examples on one side; a gap keeps its row for itself."""
    if name not in rows.frame.columns:
        raise DataError(
            f"data.group: there is no column {name!r}", hint=f"it has: {', '.join(rows.frame.columns[:10])}"
        )
    values = rows.frame[name].cast(pl.String)
    own = [value if value is not None else f"{_GAP}{row}" for row, value in enumerate(values.to_list())]
    return hash_rows(pl.DataFrame({name: own}, schema={name: pl.String}))


def _check_columns(sides: dict[str, Rows], label: str, options: ReadOptions) -> None:
    for side, rows in sides.items():
        if label not in rows.frame.columns:
            raise DataError(f"{rows.place(0)}: no column {label!r}, the label", hint=f"the {side} side needs it, too")
    unknown = [name for name in (*options.drop, *options.columns) if name not in sides["train"].frame.columns]
    if unknown:
        known = ", ".join(sides["train"].frame.columns[:10])
        raise DataError(f"data.drop, data.columns: there is no column {unknown[0]!r}", hint=f"it has: {known}")


def _choose_columns(
    train: Rows, label: str, kind: str, options: ReadOptions
) -> tuple[list[Column], dict[str, str], list[str]]:
    """What is learnt from; what is left out, with the reason; and notes."""
    if options.known:
        return list(options.known), {}, []
    if kind == "text":
        named = [name for name, type_ in options.columns.items() if type_ == "text"]
        name, reason = (named[0], "") if named else find_text_column(train, label)
        return [Column(name, "text", reason)], {}, [reason] if reason else []
    asked = dict.fromkeys(options.drop, "data.drop says so")
    if options.group:
        asked[options.group] = "data.group keeps its rows together"
    aside = {label, *asked}
    features = [name for name in train.frame.columns if name not in aside]
    columns, dropped, notes = describe_columns(train, features, options.columns)
    if not columns:
        raise DataError(
            f"{train.place(0)}: no column is left to learn from",
            hint="; ".join(f"{name}: {reason}" for name, reason in list(dropped.items())[:3]) or "add columns",
        )
    return columns, {**asked, **dropped}, notes


def _read_inputs(rows: Rows, kind: str, columns: Sequence[Column]) -> pl.DataFrame:
    if kind == "text":
        return rows.frame.select(pl.col(columns[0].name).cast(pl.String).fill_null("").alias(TEXT))
    return to_typed(rows.frame, columns, rows.place)


def _read_labels(sides: dict[str, Rows], label: str, task: str) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """Class names and int32 indices of each side; of a regression no names and float32 targets."""
    if task == "regression":
        targets = {}
        for side, rows in sides.items():
            targets[side] = read_target(rows, label).to_numpy().astype(np.float32)
        return (), targets
    values = {}
    for side, rows in sides.items():
        values[side] = rows.frame[label].cast(pl.String)
    known = _sort_names(values["train"].unique().to_list())
    path = sides["train"].path
    where = str(path if len(sides) == 1 else path.parent)
    numbers = {name: number for number, name in enumerate(known)}
    check_classes(tuple(known), where=where)
    codes = {}
    for side, cells in values.items():
        found = cells.replace_strict(numbers, default=-1, return_dtype=pl.Int32).to_numpy()
        if (strange := np.flatnonzero(found < 0)).size:
            row = int(strange[0])
            raise DataError(
                f"{sides[side].place(row)}: the label {cells[row]!r}, which no training example has",
                hint="remove those examples, or add some of that class to the training side",
            )
        codes[side] = found
    return tuple(known), codes


def _check_whole(rows: Rows, cells: pl.Series, label: str) -> None:
    if cells.null_count():
        row = int(np.flatnonzero(cells.is_null().to_numpy())[0])
        raise DataError(
            f"{rows.place(row)}: column {label!r} is empty",
            hint=f"fill it in or remove the row ({cells.null_count():,} of {len(cells):,} have none)",
        )


def _sort_names(names: list[str]) -> list[str]:
    """Whole numbers in the order of numbers, all else in that of letters."""
    if all(name.lstrip("-").isdecimal() and name.isascii() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _warn_of_giveaways(train: Rows, columns: Sequence[Column], label: str) -> list[str]:
    frame = train.frame.select([one.name for one in columns])
    return [
        f"the column {name!r} may give the label away ({reason}): leave it out with --set 'data.drop=[{name}]'"
        for name, reason in find_giveaways(frame, train.frame[label], columns)
    ]


def _read_listed_images(sides: dict[str, Rows], label: str, options: ReadOptions, notes: list[str]) -> RawData:
    name, reason = find_image_column(sides["train"], label)
    root = find_image_root(sides["train"].frame[name].drop_nulls().to_list(), sides["train"].path.parent)
    lists = {}
    for side, rows in sides.items():
        labels, paths = rows.frame[label].cast(pl.String), rows.frame[name].cast(pl.String)
        _check_whole(rows, paths.replace("", None), name)
        lists[side] = ([clean_path(path) for path in paths.to_list()], labels.to_list())
    raw = read_image_lists(lists, root, options)
    return replace(raw, warnings=(*notes, reason, *raw.warnings))
