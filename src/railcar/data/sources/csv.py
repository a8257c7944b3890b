"""MNIST-style CSV files: one image a line, its label and its pixels as numbers of 0 to 255.

Owns headers, finding the label, and errors with line numbers. The fast way for plain digits is in `digits.py`; what is
unusual (quotes, spaces, 12.0) is read by the careful way here, line by line, which also finds the words for a fault.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from railcar.data.classes import index_labels
from railcar.data.sources.digits import parse_digits
from railcar.data.sources.npz import FEWEST_PIXELS, MAX_LABEL, find_image_shape
from railcar.data.types import RawData, RawSplit, ReadOptions
from railcar.errors import DataError
from railcar.storage.content import HEAD_BYTES, Content, count_lines, read_content

CSV_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
SIDE_NAMES = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
LABEL_NAMES = ("label", "labels", "class", "target")
SEPARATORS = (",", ";", "\t")
LINE_HINT = "each line is a label and its pixels: 5,0,0,12,255,..."
MAX_CELL = 30


def find_csv_sides(path: Path, suffixes: Sequence[str] = CSV_SUFFIXES) -> dict[str, Path]:
    """`train.csv`, `mnist_train.csv` and the like in a folder, by side; only with a training file."""
    sides: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        name = file.name.lower()
        suffix = next((suffix for suffix in sorted(suffixes, key=len, reverse=True) if name.endswith(suffix)), None)
        if suffix is None or name.startswith(".") or not file.is_file():
            continue
        side = SIDE_NAMES.get(name.removesuffix(suffix).replace("-", "_").rpartition("_")[2])
        if side is not None:
            sides.setdefault(side, file)
    return sides if "train" in sides else {}


def holds_pixels(path: Path) -> bool:
    """Whether the first lines of a CSV are as long as those of images, and pixels: then it is read here, and its faults
    are told in terms of pixels."""
    try:
        content, _ = read_content(path)
    except DataError:
        return False
    lines = bytes(content[:HEAD_BYTES]).decode("utf-8", "replace").splitlines()[:2]
    rows = [line.split(max(SEPARATORS, key=line.count)) for line in lines]
    if not rows or len(rows[0]) <= FEWEST_PIXELS:
        return False
    n_pixels = max(sum(field.isdecimal() and len(field) <= 3 for field in fields) for fields in rows)
    return 10 * n_pixels > 9 * len(rows[0])


def read_csv_source(path: Path, options: ReadOptions | None = None) -> RawData:
    """Read one CSV, or a folder's train.csv and test.csv. Raises `DataError` with file, line and column."""
    options = options or ReadOptions()
    files = find_csv_sides(path) if path.is_dir() else {"train": path}
    sides: dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
    notes: list[str] = []
    for side, file in files.items():
        images, labels, file_notes = read_csv(file, options.label)
        notes += file_notes
        sides[side] = (images, labels)
        if images.shape[1:] != sides[next(iter(sides))][0].shape[1:]:
            raise DataError(f"{file}: other images than in {files['train'].name}", hint="give both as many columns")
    labels_by_side = {side: labels for side, (_, labels) in sides.items()}
    class_names, indices = index_labels(labels_by_side, where=str(path))
    splits = {side: RawSplit(images, indices[side], side) for side, (images, _) in sides.items()}
    return RawData("csv", class_names, splits, tuple(notes))


def read_csv(path: Path, label: str | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
    """Images uint8 [n, height, width, channels], labels int64 [n], and notes. `label` names the label's column."""
    content, notes = read_content(path, hint=LINE_HINT)
    first = _first_line(content)
    separator = max(SEPARATORS, key=first.count)
    if separator not in first:
        raise DataError(f"{path}: line 1 has no commas", hint=LINE_HINT)
    if separator != ",":
        notes.append(f"{path.name}: fields are separated by {separator!r}")
    fields = _split_header(path, first, separator)
    has_header = _is_header(path, fields)
    column, why = _find_label(path, fields, has_header, label)
    notes.append(f"{path.name}: {'with' if has_header else 'no'} header; {why}")
    shape = find_image_shape(len(fields) - 1, f"{path}: line 1 has {len(fields)} columns")
    table = read_plain_table(content, len(fields), has_header=has_header) if separator == "," else None
    if table is None:
        table, labels = _read_carefully(path, content, separator, has_header, len(fields), column)
    else:
        labels = table[:, column].astype(np.int64)
    pixels = table[:, 1:] if column == 0 else np.delete(table, column, axis=1)
    return np.ascontiguousarray(pixels).reshape(len(table), *shape), labels, notes


def read_pixel_rows(path: Path, image_shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], int]:
    """Images uint8 [n, *image_shape] to predict, and the line of the first one. A column of labels is passed over.

    Raises `DataError` when lines have neither as many fields as `image_shape` (height, width, channels) has pixels, nor
    one more.
    """
    content, _ = read_content(path, hint=LINE_HINT)
    first = _first_line(content)
    separator = max(SEPARATORS, key=first.count)
    fields = _split_header(path, first, separator)
    has_header = _is_header(path, fields)
    n_pixels = int(np.prod(image_shape))
    if len(fields) == n_pixels + 1:
        images, _, _ = read_csv(path)
    elif len(fields) == n_pixels:
        table = read_plain_table(content, n_pixels, has_header=has_header) if separator == "," else None
        images = _read_carefully(path, content, separator, has_header, n_pixels, None)[0] if table is None else table
    else:
        raise DataError(
            f"{path}: line 1 has {len(fields)} fields, and the model's images have {n_pixels} pixels",
            hint=f"each line is {n_pixels} pixels of 0 to 255, with or without a label",
        )
    return images.reshape(-1, *image_shape), 2 if has_header else 1


def read_plain_table(content: Content, n_fields: int, *, has_header: bool) -> NDArray[np.uint8] | None:
    """uint8 [n_lines, n_fields] when every line is digits and commas; None when it is not, or when there are none."""
    if content.find(b"\r\n", 0, HEAD_BYTES) >= 0:
        content = bytes(content).replace(b"\r\n", b"\n")
    start = 0
    if has_header:
        start = content.find(b"\n") + 1
        if start == 0:
            return None
    return parse_digits(content, start, n_fields)


def _first_line(content: Content) -> str:
    end = content.find(b"\n")
    return content[: end if end >= 0 else len(content)].decode("utf-8", "replace").rstrip("\r")


def _split_header(path: Path, first: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([first], delimiter=separator, strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise DataError(f"{path}: line 1: {error}", hint="a quote on that line is never closed") from error


def _is_number(field: str) -> bool:
    try:
        _to_number(field)
    except ValueError:
        return False
    return True


def _to_number(field: str) -> float:
    """`float`, without the underscores that Python allows. Raises `ValueError`."""
    if "_" in field:
        raise ValueError(field)
    return float(field)


def _is_header(path: Path, fields: list[str]) -> bool:
    """Whether the first line names the columns. A line that is mostly pixels is an example with a fault in it, and the
    numbers 0, 1, 2, ... are what pandas writes for columns without names."""
    if any("\0" in field for field in fields):
        raise DataError(f"{path}: line 1: a NUL byte", hint="the file is binary or damaged; export it again")
    if len(fields) > 2 and fields == [str(number) for number in range(len(fields))]:
        return True
    numbers = [int(field) for field in fields if field.isdecimal() and len(field) <= MAX_CELL]
    n_words = sum(not _is_number(field) for field in fields)
    rising = numbers == sorted(set(numbers))
    return n_words > 0 and (rising or 2 * len(numbers) < len(fields))


def _find_label(path: Path, fields: list[str], has_header: bool, label: str | None) -> tuple[int, str]:
    """The label's column, from 0, and the reason."""
    if not has_header:
        if label is not None:
            raise DataError(f"{path}: no header, so no column {label!r}", hint="remove data.label: the first is taken")
        return 0, "the label is the first column"
    names = [field.strip() for field in fields]
    repeated = next((name for number, name in enumerate(names) if name and name in names[:number]), None)
    if repeated is not None:
        raise DataError(f"{path}: line 1: two columns are called {repeated!r}", hint="rename one of them")
    if label is not None:
        if label not in names:
            raise DataError(f"{path}: no column {label!r}", hint=f"it starts with {', '.join(names[:5])}")
        return names.index(label), f"the label is the column {label!r}"
    for number, name in enumerate(names):
        if name.lower() in LABEL_NAMES:
            return number, f"the label is the column {name!r}"
    return 0, f"the label is the first column, {names[0]!r}"


def _read_carefully(
    path: Path, content: Content, separator: str, has_header: bool, n_fields: int, column: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """uint8 [n, n_fields] (the label's column is 0; `column` None: there is none) and labels, one line at a time.
    Raises `DataError` with the line."""
    if (nul := content.find(b"\0")) >= 0:
        line = count_lines(content, nul)
        raise DataError(f"{path}: line {line}: a NUL byte", hint="the file is binary or damaged; export it again")
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="replace", newline="")
    reader = csv.reader(text, delimiter=separator, strict=True, skipinitialspace=True)
    rows, labels, line = [], [], 0
    try:
        for number, fields in enumerate(reader):
            start, line = line + 1, reader.line_num
            if (number == 0 and has_header) or not any(field.strip() for field in fields):
                continue
            if len(fields) != n_fields:
                raise DataError(
                    f"{path}: line {start}: {len(fields)} fields where line 1 has {n_fields}",
                    hint="mend or remove that line; every line needs a label and all of its pixels",
                )
            if column is not None:
                labels.append(_parse_label(fields[column], f"{path}: line {start}, column {column + 1}"))
                fields[column] = "0"
            rows.append(_parse_pixels(fields, f"{path}: line {start}"))
    except csv.Error as error:
        raise DataError(
            f"{path}: line {line + 1}: {error}",
            hint="a quote that opens on that line is never closed, or stands inside",
        ) from error
    if not rows:
        raise DataError(f"{path}: a header and no examples", hint="add lines: each is a label and its pixels")
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), n_fields), np.array(labels, np.int64)


def _parse_label(field: str, where: str) -> int:
    try:
        value = _to_number(field)
        label = int(value)
    except (ValueError, OverflowError):
        label, value = -1, 0.5
    if label != value:
        raise DataError(f"{where}: the label {_cut(field)} is not an integer", hint="labels are class numbers from 0")
    if not 0 <= label <= MAX_LABEL:
        raise DataError(
            f"{where}: the label {label} is out of range", hint=f"labels are class numbers of 0 to {MAX_LABEL}"
        )
    return label


def _parse_pixels(fields: list[str], where: str) -> bytes:
    try:
        if "_" not in "".join(fields):  # int() takes 1_0 for 10
            return bytes(map(int, fields))
        raise ValueError(where)
    except ValueError:
        return bytes(_parse_pixel(field, f"{where}, column {number + 1}") for number, field in enumerate(fields))


def _parse_pixel(field: str, where: str) -> int:
    try:
        value = _to_number(field)
    except ValueError:
        what = "an empty field" if not field.strip() else f"{_cut(field)} is not a number"
        raise DataError(f"{where}: {what}", hint="pixels are whole numbers of 0 to 255") from None
    if not isfinite(value):
        raise DataError(
            f"{where}: the pixel {_cut(field)} is not a finite number", hint="pixels are whole numbers of 0 to 255"
        )
    if not 0 <= value <= 255:
        raise DataError(f"{where}: the pixel {_cut(field)} is out of range", hint="pixels go from 0 to 255")
    if value != int(value):
        raise DataError(f"{where}: the pixel {_cut(field)} is not whole", hint="pixels are whole numbers of 0 to 255")
    return int(value)


def _cut(field: str) -> str:
    return repr(field if len(field) <= MAX_CELL else field[:MAX_CELL] + "…")
