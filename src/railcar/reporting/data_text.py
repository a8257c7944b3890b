"""A diagnosis of data as plain text, at most 80 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from railcar.data.findings import LEVELS, Diagnosis
from railcar.data.summary import ColumnSummary, Spread, Summary, spell_day

WIDTH = 80
_INDENT = 9
_MAX_CLASSES = 5
_MAX_COLUMNS = 40
_MAX_SUSPECTS = 5
NOUNS = {"image": "images", "text": "texts", "table": "rows"}
UNITS = {"brightness": "of 255", "height": "pixels", "width": "pixels"}


def format_diagnosis(diagnosis: Diagnosis) -> str:
    """What the data is, the findings with their mends, what was seen, and the numbers."""
    sections = [_head(diagnosis)]
    summary = diagnosis.summary
    if summary is not None:
        sections.append(_count_examples(summary, diagnosis.class_names))
    sections.append(_list_findings(diagnosis))
    if summary is not None:
        sections += [_list_suspects(diagnosis), _list_spreads(summary), _list_columns(summary.columns)]
    if diagnosis.seen:
        sections.append("\n".join(["Seen", *(_wrap(line, 2, first=2) for line in diagnosis.seen)]))
    return "\n\n".join(section for section in sections if section)


def describe_data(diagnosis: Diagnosis) -> str:
    """ "344 rows of a table, 3 classes (column 'species')"."""
    if diagnosis.summary is None:
        return "cannot be used as it is"
    n = sum(diagnosis.summary.n_examples.values())
    of = {"table": " of a table"}.get(diagnosis.kind, "")
    shape = "x".join(map(str, diagnosis.summary.shape))
    parts = [f"{n:,} {NOUNS[diagnosis.kind]}{of}" + (f" of {shape}" if shape else "")]
    parts.append("a number to learn" if diagnosis.task == "regression" else f"{len(diagnosis.class_names):,} classes")
    column = f" (column {diagnosis.label!r})" if diagnosis.label not in ("", "folder") else ""
    return ", ".join(parts) + column


def count_findings(diagnosis: Diagnosis) -> str:
    """ "1 error, 2 warnings, no notes"."""
    counts = [(diagnosis.count(level), level) for level in LEVELS]
    return ", ".join(f"{n or 'no'} {level}{'' if n == 1 else 's'}" for n, level in counts)


def _head(diagnosis: Diagnosis) -> str:
    verdict = "training would take it" if diagnosis.is_usable else "training would refuse it"
    lines = [f"{diagnosis.source}: {describe_data(diagnosis)}", f"{count_findings(diagnosis)}: {verdict}"]
    return "\n".join(_wrap(line, 2) for line in lines)


def _count_examples(summary: Summary, names: Sequence[str]) -> str:
    """A line a side; the classes beside it while there are few, else the smallest and the largest."""
    is_listed = 0 < len(names) <= _MAX_CLASSES
    shown = [_cut(name, 11) for name in names] if is_listed else []
    rows = [["side", "examples", *shown]]
    for side, n in summary.n_examples.items():
        counts = summary.per_class.get(side, ())
        rows.append([side, f"{n:,}", *(f"{one:,}" for one in counts if is_listed)])
        if counts and not is_listed:
            rows[-1].append(_say_range_of_classes(counts, names))
    if names and not is_listed:
        rows[0].append("")
    return align(rows)


def _say_range_of_classes(counts: Sequence[int], names: Sequence[str]) -> str:
    order = sorted(range(len(counts)), key=counts.__getitem__)
    least, most = (f"{counts[number]:,} ({_cut(names[number], 15)})" for number in (order[0], order[-1]))
    return f"{least} to {most} a class" if min(counts) < max(counts) else f"{counts[0]:,} a class"


def _list_findings(diagnosis: Diagnosis) -> str:
    lines = []
    for one in diagnosis.findings:
        lines.append(_wrap(one.what, _INDENT, head=one.level))
        if one.hint:
            lines.append(_wrap(one.hint, _INDENT + 2, first=_INDENT, mark="> "))
    return "\n".join(lines) or "nothing to complain of"


def _list_suspects(diagnosis: Diagnosis) -> str:
    if not diagnosis.suspects:
        return ""
    lines = ["Labels in doubt"]
    for one in diagnosis.suspects[:_MAX_SUSPECTS]:
        sure = f" ({min(one.confidence, 0.99):.0%})" if one.confidence is not None else ""
        lines.append(_wrap(f"{one.example.name}: {one.label!r}, or {one.suggested!r}{sure}?", 4, first=2))
    if len(diagnosis.suspects) > _MAX_SUSPECTS:
        lines.append("  … more with --html FILE, with pictures, and with --json")
    return "\n".join(lines)


def _list_spreads(summary: Summary) -> str:
    if not summary.spreads:
        return ""
    rows = [["", "least", "median", "95%", "most", ""]]
    for name, one in summary.spreads.items():
        numbers = [spell_number(value) for value in (one.low, one.median, one.high_95, one.high)]
        rows.append([name, *numbers, UNITS.get(name, "")])
    return align(rows)


def _list_columns(columns: Sequence[ColumnSummary]) -> str:
    if not columns:
        return ""
    rows = [["column", "type", "missing", "distinct", "range, or most frequent"]]
    for one in columns[:_MAX_COLUMNS]:
        missing = f"{one.missing:.0%}" if one.n_missing else "-"
        rows.append([_cut(one.name, 20), one.type, missing, f"{one.n_distinct:,}", _cut(say_values(one), 31)])
    text = align(rows, left=(0, 1, 4))
    more = len(columns) - _MAX_COLUMNS
    return text + (f"\n… and {more:,} more columns: --json lists them all" if more > 0 else "")


def say_values(column: ColumnSummary) -> str:
    """The range of numbers and dates, else the most frequent values with their numbers of rows."""
    if column.spread is not None:
        return say_range(column.spread, is_date=column.type == "date")
    return ", ".join(f"{value} ({n:,})" for value, n in column.frequent)


def spell_number(value: float) -> str:
    """Four digits at least, none of them noise: 28,174, 0.1667, 512.3, 3e+20."""
    if abs(value) >= 1e15:
        return f"{value:.4g}"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.4g}"


def say_range(spread: Spread, *, is_date: bool = False) -> str:
    low, high = (spell_day(one) if is_date else spell_number(one) for one in (spread.low, spread.high))
    return f"{low} to {high}"


def align(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Columns two blanks apart, flush right but for those of `left` and texts that end a line."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left or " " in cell else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _wrap(text: str, indent: int, *, head: str = "", first: int = 0, mark: str = "") -> str:
    """Folded; `head` stands before the text, in the indent; long names of files are broken where they must be."""
    begin = f"{head:<{indent}}" if head else " " * first + mark
    plain = "".join(_printable(text))
    return textwrap.fill(plain, WIDTH, initial_indent=begin, subsequent_indent=" " * indent, break_on_hyphens=False)


def _printable(text: str) -> Iterator[str]:
    """Names of files come from outside: they must not steer the terminal."""
    for character in text:
        yield character if character.isprintable() or character == " " else repr(character)[1:-1]


def _cut(text: str, width: int) -> str:
    plain = "".join(_printable(text))
    return plain if len(plain) <= width else plain[: width - 1] + "…"
