"""CSV files and tables, each with one thing wrong: rows 31 to 55."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.bad_inputs.folders import write_sides
from tests.bad_inputs.row import Finding, Row

DATA = "pets.csv"
N = 120
HEADER = "width,height,label"
SEEN = (
    "pets.csv is a file of rows (csv)",
    "the label is the column 'label', by its name",
    "rows of columns: width, height",
    "the labels are words: 2 different ones",
)
EMPTY_HINT = "the first line names the columns, each further line is an example: text,label"
MORE_HINT = 'mend that line; a value that holds the separator stands in quotes: "a, b"'
FEWER_HINT = "mend that line: write a separator for each field, also for an empty one"
NUMBER_HINT = "write a number, or leave the cell empty if it is missing"
TARGET_HINT = "write a number, or remove that row from the file if it is missing"
NOT_FINITE_HINT = "remove that row from the file if the value is missing"
LINE = 31


def draw_pets(n: int = N) -> list[list[str]]:
    """Rows of width, height and label; the label does not follow from the others."""
    numbers = np.random.default_rng(0).normal(50.0, 9.0, (n, 2))
    return [[f"{width:.1f}", f"{height:.1f}", "cat" if k % 2 else "dog"] for k, (width, height) in enumerate(numbers)]


def pets(lines: Mapping[int, str] | None = None, *, header: str = HEADER, rows: Sequence[Sequence[str]] = ()) -> str:
    """A CSV; `lines` replace those of these numbers, counted from 1."""
    text = [header, *(",".join(row) for row in (rows or draw_pets()))]
    for number, line in (lines or {}).items():
        text[number - 1] = line
    return "\n".join(text) + "\n"


def with_column(name: str, cell: Callable[[int], str]) -> str:
    """The CSV with one column more in front, `cell(k)` being that of row number k."""
    rows = [[cell(k), *row] for k, row in enumerate(draw_pets())]
    return pets(header=f"{name},{HEADER}", rows=rows)


def with_labels(labels: Sequence[str]) -> str:
    return pets(rows=[[*row[:2], labels[k % len(labels)]] for k, row in enumerate(draw_pets())])


def digits(cell: str) -> str:
    """Images of 8x8 pixels, one a line, `cell` being the third pixel of line 31."""
    pixels = np.random.default_rng(0).integers(0, 256, (N, 64)).astype(str).tolist()
    pixels[LINE - 2][2] = cell
    lines = [",".join([str(k % 2), *row]) for k, row in enumerate(pixels)]
    return "\n".join([",".join(["label", *(f"pixel{k}" for k in range(64))]), *lines]) + "\n"


def prices(cell: str) -> str:
    """A regression, `cell` being the target of line 31."""
    rows = [[*row[:2], f"{k * 0.37 + 2:.2f}"] for k, row in enumerate(draw_pets())]
    rows[LINE - 2][2] = cell
    return pets(header="width,height,target", rows=rows)


def text(content: str | bytes) -> Callable[[Path], object]:
    """Writes a file of this content."""
    return lambda path: path.write_bytes(content.encode() if isinstance(content, str) else content)


def write_strange_label(folder: Path) -> None:
    folder.mkdir()
    (folder / "train.csv").write_text(pets())
    (folder / "test.csv").write_text(pets({5: "51.0,49.0,cow"}))


def write_strange_class(folder: Path) -> None:
    write_sides(folder)
    (folder / "test" / "cow").mkdir()
    (folder / "test" / "cow" / "0.png").write_bytes((folder / "test" / "cat" / "0.png").read_bytes())


# ---- rows


def refused(
    number: int, what: str, content: str | bytes, error: str, hint: str, *, data: str = DATA, sets: tuple[str, ...] = ()
) -> Row:
    """Refused as `{data}: error`; what stands before its last colon names the line."""
    named = error.partition(":")[0] if error.startswith("line ") else data
    return Row(number, what, "R", data, text(content), error=f"{{data}}: {error}", hint=hint, named=named, sets=sets)


def accepted(
    number: int,
    what: str,
    content: str | bytes,
    *notes: str,
    findings: tuple[Finding, ...] = (),
    named: str = "",
    classes: tuple[str, ...] = ("cat", "dog"),
) -> Row:
    """Read, with words that name the column, or begin with the file."""
    return Row(
        number,
        what,
        "W",
        DATA,
        text(content),
        notes=notes,
        findings=findings,
        named=named or notes[0],
        n=N,
        classes=classes,
    )


def silent(
    number: int,
    what: str,
    content: str | bytes,
    *,
    seen: tuple[str, ...] = SEEN,
    classes: tuple[str, ...] = ("cat", "dog"),
) -> Row:
    """Read, and nothing said but what is always said."""
    return Row(number, what, "OK", DATA, text(content), notes=seen, n=N, classes=classes)


FORM = (
    refused(
        31,
        "an extra field in line 31",
        pets({LINE: "51.0,49.0,cat,x"}),
        "line 31: 4 fields where line 1 has 3",
        MORE_HINT,
    ),
    refused(
        32,
        "an extra field in every row",
        pets(rows=[[*row, "x"] for row in draw_pets()]),
        "line 2: 4 fields where line 1 has 3",
        MORE_HINT,
    ),
    refused(
        33, "a missing field in line 31", pets({LINE: "51.0,cat"}), "line 31: 2 fields where line 1 has 3", FEWER_HINT
    ),
    refused(34, "an empty file", "", "the file is empty", EMPTY_HINT),
    refused(35, "a header only", f"{HEADER}\n", "a header and no rows", "add rows: each further line is an example"),
    silent(36, "a byte-order mark", b"\xef\xbb\xbf" + pets().encode()),
    accepted(37, "UTF-16", pets().encode("utf-16"), "pets.csv: decoded from UTF-16"),
    accepted(
        37,
        "Latin-1",
        with_labels(("cat", "bär")).encode("latin-1"),
        "pets.csv: decoded from Windows-1252 (line 3 is not UTF-8)",
        classes=("bär", "cat"),
    ),
    accepted(
        38,
        "gzip named .csv",
        gzip.compress(pets().encode()),
        "pets.csv: packed with gzip, though its name does not say so",
    ),
    refused(
        39,
        "a NUL byte in line 31",
        pets({LINE: "51.0,49\0.0,cat"}),
        "line 31: a NUL byte",
        "the file is binary or damaged; export it again",
    ),
    refused(
        40,
        "a quote that opens in line 31",
        pets({LINE: '51.0,49.0,"cat'}),
        "line 31: a quote opens there and is never closed",
        'close it; a quote that belongs to the text is written twice: ""',
    ),
    silent(
        41,
        "a line break in quotes",
        with_column("remark", lambda k: ('"so\nso"', "fine", "old")[k % 3]),
        seen=(*SEEN[:2], "rows of columns: remark, width, height", SEEN[3]),
    ),
    accepted(42, "semicolons", pets().replace(",", ";"), "pets.csv: fields are separated by ';'"),
    accepted(42, "tabs", pets().replace(",", "\t"), r"pets.csv: fields are separated by '\t'"),
    refused(
        43,
        "one name for two columns",
        pets(header="width,width,label"),
        "line 1: two columns are called 'width'",
        "rename one of them",
    ),
    accepted(
        44,
        "no header",
        pets().partition("\n")[2],
        "pets.csv: no header: the columns are called column_1, column_2, column_3",
    ),
)

LABELS = (
    silent(
        45,
        "labels NA, null, None, nan",
        with_labels(("NA", "null", "None", "nan")),
        seen=(*SEEN[:3], "the labels are words: 4 different ones"),
        classes=("NA", "None", "nan", "null"),
    ),
    silent(
        46,
        "labels 01 and 1",
        with_labels(("01", "1")),
        seen=(*SEEN[:3], "the labels are 2 whole numbers, read as classes"),
        classes=("01", "1"),
    ),
    accepted(
        47,
        "spaces around labels",
        pets({LINE: "51.0,49.0, cat", LINE + 1: "51.0,49.5,cat "}),
        "pets.csv: spaces around values are stripped, the first on line 31",
    ),
    Row(
        52,
        "a label that train.csv has not",
        "R",
        "pets",
        write_strange_label,
        error="{data}/test.csv: line 5: the label 'cow', which no training example has",
        hint="remove those examples, or add some of that class to the training side",
        named="line 5",
    ),
    Row(
        52,
        "a class folder train/ has not",
        "R",
        "photos",
        write_strange_class,
        error="{data}/test/cow: the class 'cow' is not in {data}/train",
        hint="give every class a folder among the training images, even if small",
        named="test/cow",
    ),
)

NUMBERS = (
    *(
        refused(
            48,
            f"{cell} in a pixel",
            digits(cell),
            f"line 31, column 4: the pixel {cell!r} is not a finite number",
            "pixels are whole numbers of 0 to 255",
            data="digits.csv",
        )
        for cell in ("nan", "inf", "1e400")
    ),
    *(
        refused(
            48,
            f"{cell} in a numeric target",
            prices(cell),
            f"line 31: column 'target': {cell!r} is not a finite number",
            NOT_FINITE_HINT,
            data="prices.csv",
        )
        for cell in ("NaN", "inf", "1e400")
    ),
    *(
        refused(
            49,
            f"a pixel of {cell}",
            digits(cell),
            f"line 31, column 4: the pixel {cell!r} is out of range",
            "pixels go from 0 to 255",
            data="digits.csv",
        )
        for cell in ("300", "-1")
    ),
    refused(
        50,
        "a word in a declared column",
        pets({LINE: "wide,49.0,cat"}),
        "line 31: column 'width': 'wide' is not a number",
        NUMBER_HINT,
        sets=("data.columns={width: number}",),
    ),
    refused(
        50,
        "a decimal comma there",
        pets({LINE: '"51,5",49.0,cat'}),
        "line 31: column 'width': '51,5' has a decimal comma",
        "write numbers with a point: 1.5",
        sets=("data.columns={width: number}",),
    ),
    refused(
        50,
        "a word in a numeric target",
        prices("cheap"),
        "line 31: column 'target': 'cheap' is not a number",
        TARGET_HINT,
        data="prices.csv",
    ),
    accepted(
        50,
        "numbers and words, undeclared",
        with_column("ticket", lambda k: "A/5" if k % 6 == 0 else str(100 + k % 20)),
        "pets.csv: column 'ticket': 100 of 120 values are numbers, others are not (the first, 'A/5', on line 2): "
        "taken as a category",
        named="'ticket'",
    ),
)

WHOLE = (
    refused(
        51,
        "an HTML page",
        "<!DOCTYPE html>\n<title>Sign in</title>\n",
        "an HTML page, not a CSV",
        "the download was a web page; fetch the file itself",
    ),
    refused(
        51,
        "a git-LFS pointer",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "a git-LFS pointer, not the data",
        "run `git lfs pull` where it came from",
    ),
)

BOAT = "its being empty or not tells 100% of the labels"
COLUMNS = (
    accepted(
        53,
        "a column that gives it away",
        with_column("boat", lambda k: f"B{k % 5}" if k % 2 else ""),
        f"the column 'boat' may give the label away ({BOAT}): leave it out with --set 'data.drop=[boat]'",
        findings=(
            (
                "warning",
                f"the column 'boat' may give the label away: {BOAT}",
                "if it is not known yet when the model is asked, leave it out: --set 'data.drop=[boat]'",
            ),
        ),
        named="'boat'",
    ),
    accepted(
        54,
        "a constant column",
        with_column("farm", lambda k: "north"),
        "pets.csv: column 'farm' is left out: each row has 'north'",
        named="'farm'",
    ),
    accepted(
        54,
        "an id",
        with_column("id", lambda k: str(1000 + k)),
        "pets.csv: column 'id' is left out: whole numbers that count up, like an id",
        named="'id'",
    ),
    silent(
        55, "gaps in width", pets(rows=[["" if k % 4 == 0 else row[0], *row[1:]] for k, row in enumerate(draw_pets())])
    ),
)

ROWS = (*FORM, *LABELS, *NUMBERS, *WHOLE, *COLUMNS)
