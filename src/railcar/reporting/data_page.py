"""A diagnosis of data as one HTML page: findings, examples of each class, distributions, labels in doubt.

Owns the page's parts. It opens without a network and runs no script; charts are `svg.py`'s, pictures `thumbnails.py`'s,
the frame `page.py`'s, the look `page_style.py`'s. Whatever comes from the data is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import PurePath
from typing import Any

import numpy as np

from railcar.data.findings import Diagnosis, Example, Finding
from railcar.data.summary import ColumnSummary, Spread, Summary, spell_day
from railcar.data.types import Dataset
from railcar.reporting.data_text import UNITS, count_findings, describe_data, say_range, say_values, spell_number
from railcar.reporting.page import cut, render_page, render_section
from railcar.reporting.svg import draw_histogram, draw_stacked_bar
from railcar.reporting.thumbnails import draw_thumbnail

MAX_CLASSES = 24
N_IMAGES = 10
N_ROWS = 3
MAX_TEXT = 280
MAX_CELL = 40
MAX_COLUMNS = 12
MAX_LISTED_COLUMNS = 200
N_PICTURES = 12
_TITLES = {
    "brightness": "Brightness of images",
    "height": "Height of the files",
    "width": "Width of the files",
    "words": "Words in a text",
    "characters": "Characters in a text",
    "target": "What is learnt",
}


def render_data_page(diagnosis: Diagnosis, dataset: Dataset | None) -> str:
    """The whole page. `dataset` is where its pictures, texts and rows are from; without it there are none."""
    parts = [_head(diagnosis), _findings(diagnosis, dataset)]
    summary = diagnosis.summary
    if summary is not None and dataset is not None:
        parts += [
            _class_counts(summary, diagnosis.class_names),
            _samples(dataset),
            _suspects(diagnosis, dataset),
            _spreads(summary),
            _columns(summary.columns),
        ]
    parts.append(_seen(diagnosis.seen))
    name = _find_name(diagnosis.source)
    return render_page(f"{name}: data check", parts, command="railcar data check")


def _head(diagnosis: Diagnosis) -> str:
    verdict = "training would take it" if diagnosis.is_usable else "training would refuse it"
    level = "good" if diagnosis.is_usable else "error"
    name = _find_name(diagnosis.source)
    path = f'<p class="path">{escape(diagnosis.source)}</p>' if name != diagnosis.source else ""
    return (
        f"<header><h1>{escape(name)}</h1>{path}<p>{escape(describe_data(diagnosis))}</p>"
        f'<p class="verdict {level}"><strong>{verdict}</strong> · {count_findings(diagnosis)}</p></header>\n'
    )


def _find_name(source: str) -> str:
    """The last part of a path."""
    return PurePath(source).name or source


def _findings(diagnosis: Diagnosis, dataset: Dataset | None) -> str:
    cards = "".join(_finding(one, dataset) for one in diagnosis.findings)
    return render_section("Findings", cards or '<p class="about">Nothing to complain of.</p>')


def _finding(finding: Finding, dataset: Dataset | None) -> str:
    mend = f'<p class="mend">{escape(finding.hint)}</p>' if finding.hint else ""
    is_shown_below = finding.code == "label_noise"
    examples = "" if is_shown_below else _examples(finding.examples, dataset) + _details(finding.details)
    return (
        f'<article class="finding {finding.level}"><p class="level">{finding.level}</p>'
        f"<div><p>{escape(finding.what)}</p>{mend}{examples}</div></article>"
    )


def _details(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>{len(lines):,} in all</summary><ol>{items}</ol></details>" if items else ""


def _examples(examples: Sequence[Example], dataset: Dataset | None) -> str:
    """Pictures of images; of texts and rows their names, to be unfolded."""
    if not examples or dataset is None:
        return ""
    if dataset.features.kind == "image":
        figures = (
            _figure(one, dataset, _end(one.name), _side_and_class(one, dataset)) for one in examples[:N_PICTURES]
        )
        return f'<div class="grid">{"".join(figures)}</div>'
    items = "".join(f"<li>{escape(one.name)} ({one.split}): {_quote(one, dataset)}</li>" for one in examples)
    return f"<details><summary>{len(examples)} examples</summary><ol>{items}</ol></details>"


def _side_and_class(example: Example, dataset: Dataset) -> str:
    split = dataset.splits[example.split]
    return f"{example.split}, {dataset.features.class_names[int(split.labels[split.rows[example.index]])]}"


def _end(name: str) -> str:
    return name if len(name) <= 28 else "…" + name[-27:]


def _quote(example: Example, dataset: Dataset) -> str:
    """What the example says, escaped."""
    return escape(cut(_raw_text(example, dataset), MAX_TEXT))


def _raw_text(example: Example, dataset: Dataset) -> str:
    split = dataset.splits[example.split]
    if split.raw is None:
        return ""
    row = split.raw.row(int(split.rows[example.index]), named=True)
    if dataset.features.kind == "text":
        return str(row["text"])
    types = _column_types(dataset)
    return ", ".join(f"{name}: {_cell(value, types[name])}" for name, value in row.items() if value is not None)


def _figure(example: Example, dataset: Dataset, caption: str, second: str = "") -> str:
    split = dataset.splits[example.split]
    image = np.asarray(split.inputs[split.rows[example.index]])
    more = f"<small>{_breakable(second)}</small>" if second else ""
    words = f"<figcaption>{_breakable(caption)}{more}</figcaption>"
    return f"<figure>{draw_thumbnail(image, alt=example.name)}{words}</figure>"


def _breakable(name: str) -> str:
    """Escaped; a path may be broken behind its folders."""
    return escape(name).replace("/", "/<wbr>")


# ---- counts


def _class_counts(summary: Summary, names: Sequence[str]) -> str:
    """A bar a class, with a part for each side; of many classes the largest and the smallest."""
    sides = list(summary.n_examples)
    legend = "".join(
        f'<span><i class="part{number}"></i>{side} {summary.n_examples[side]:,}</span>'
        for number, side in enumerate(sides)
    )
    body = f'<p class="legend">{legend}</p>'
    if not names:
        return render_section("Examples", body)
    totals = np.sum([summary.per_class[side] for side in sides], axis=0)
    order = list(np.argsort(-totals, kind="stable")) if len(names) > MAX_CLASSES else list(range(len(names)))
    half = MAX_CLASSES // 2
    shown = order if len(order) <= MAX_CLASSES else order[:half] + order[-half:]
    rows = []
    for at, number in enumerate(shown):
        if len(shown) < len(order) and at == half:
            rows.append(f'<p class="gap">… {len(order) - len(shown):,} classes between these …</p>')
        parts = [summary.per_class[side][number] for side in sides]
        title = ", ".join(f"{side} {n:,}" for side, n in zip(sides, parts, strict=True))
        bar = draw_stacked_bar(parts, int(totals.max()), title=f"{names[number]}: {title}")
        rows.append(f'<span class="name">{escape(cut(names[number], 40))}</span>{bar}<span>{totals[number]:,}</span>')
    return render_section("Examples", f'{body}<div class="counts">{"".join(rows)}</div>')


# ---- samples


def _samples(dataset: Dataset) -> str:
    """The first training examples of each class, evenly drawn from them."""
    features = dataset.features
    if not features.class_names:
        rows = np.linspace(0, len(dataset.splits["train"]) - 1, 2 * N_ROWS).astype(np.int64)
        return render_section("Samples", _sample_table(dataset, [("", np.unique(rows))]))
    labels = dataset.splits["train"].label_array()
    chosen = []
    for number, name in enumerate(features.class_names[:MAX_CLASSES]):
        rows = np.flatnonzero(labels == number)
        n = N_IMAGES if features.kind == "image" else N_ROWS
        chosen.append((name, rows[np.unique(np.linspace(0, len(rows) - 1, n).astype(np.int64))] if len(rows) else rows))
    n_more = len(features.class_names) - MAX_CLASSES
    about = f"The first {MAX_CLASSES} classes of {len(features.class_names):,}." if n_more > 0 else ""
    if features.kind == "image":
        body = "".join(_sample_images(dataset, name, rows) for name, rows in chosen)
        return render_section("Samples", f'<div class="classes">{body}</div>', about=about)
    return render_section("Samples", _sample_table(dataset, chosen), about=about)


def _sample_images(dataset: Dataset, name: str, rows: Any) -> str:
    split = dataset.splits["train"]
    images = (
        draw_thumbnail(np.asarray(split.inputs[split.rows[row]]), alt=f"{name}: {split.id_of(int(row))}")
        for row in rows
    )
    return f'<h3>{escape(cut(name, 40))}</h3><div class="strip">{"".join(images)}</div>'


def _sample_table(dataset: Dataset, chosen: Sequence[tuple[str, Any]]) -> str:
    """Texts in full width, rows of a table in their columns."""
    split, types = dataset.splits["train"], _column_types(dataset)
    if split.raw is None:
        return ""
    is_text = dataset.features.kind == "text"
    columns = ["text"] if is_text else list(types)[:MAX_COLUMNS]
    is_class = bool(dataset.features.class_names)
    heads = [dataset.label if dataset.label != "folder" else "class", *columns]
    labels = split.label_array()
    rows = []
    for name, numbers in chosen:
        for number in numbers:
            raw = split.raw.row(int(split.rows[number]), named=True)
            first = escape(cut(name, MAX_CELL)) if is_class else f"{labels[number]:.6g}"
            cells = [cut(str(raw["text"]), MAX_TEXT)] if is_text else [_cell(raw[one], types[one]) for one in columns]
            rows.append(f"<tr><th>{first}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{escape(cut(one, MAX_CELL))}</th>" for one in heads)
    kind = "texts" if is_text else "cells"
    more = len(types) - len(columns) if not is_text else 0
    note = f'<p class="about">and {more:,} more columns</p>' if more > 0 else ""
    return f'<div class="scroll"><table class="{kind}"><tr>{head}</tr>{"".join(rows)}</table></div>{note}'


def _column_types(dataset: Dataset) -> dict[str, str]:
    return {one["name"]: one["type"] for one in (dataset.features.encoding or {}).get("columns", ())}


def _cell(value: Any, type_: str) -> str:
    if value is None:
        return ""
    if type_ == "boolean":
        return "yes" if value else "no"
    if type_ == "date":
        return spell_day(value)
    return f"{value:.6g}" if isinstance(value, float) else cut(str(value), MAX_CELL)


# ---- labels in doubt


def _suspects(diagnosis: Diagnosis, dataset: Dataset) -> str:
    if not diagnosis.suspects:
        return ""
    about = (
        "A simple model that was not fitted on them gives these examples another label. Candidates, the most certain "
        "first: some are rare, not wrong."
    )
    if diagnosis.kind == "image":
        figures = "".join(
            _figure(one.example, dataset, f"{one.label}, or {one.suggested}?", _end(one.example.name))
            for one in diagnosis.suspects
        )
        return render_section("Labels in doubt", f'<div class="grid">{figures}</div>', about=about)
    rows = "".join(
        f"<tr><th>{escape(cut(one.label, MAX_CELL))}</th><td>{escape(cut(one.suggested, MAX_CELL))}?</td>"
        f"<td>{_quote(one.example, dataset)}<small>{escape(one.example.name)}</small></td></tr>"
        for one in diagnosis.suspects
    )
    head = "<tr><th>label</th><th>or</th><th>example</th></tr>"
    return render_section(
        "Labels in doubt", f'<div class="scroll"><table class="texts">{head}{rows}</table></div>', about=about
    )


# ---- distributions


def _spreads(summary: Summary) -> str:
    cards = "".join(_spread_card(name, one) for name, one in summary.spreads.items())
    return render_section("Distributions", f'<div class="cards">{cards}</div>' if cards else "")


def _spread_card(name: str, spread: Spread) -> str:
    title = _TITLES.get(name, name)
    unit = f" {UNITS[name]}" if name in UNITS else ""
    facts = f"median {spell_number(spread.median)}, 95% below {spell_number(spread.high_95)}{unit}"
    chart = draw_histogram(spread, title=f"{title}: {say_range(spread)}, {facts}")
    ends = f"<span>{spell_number(spread.low)}</span><span>{spell_number(spread.high)}</span>"
    return (
        f'<article class="card"><h3>{title}</h3>{chart}<p class="ends">{ends}</p><p class="about">{facts}</p></article>'
    )


def _columns(columns: Sequence[ColumnSummary]) -> str:
    shown = "".join(_column_row(one) for one in columns[:MAX_LISTED_COLUMNS])
    if not shown:
        return ""
    head = "<tr><th>column</th><th>type</th><th>missing</th><th>distinct</th><th>values</th></tr>"
    more = len(columns) - MAX_LISTED_COLUMNS
    about = f"The first {MAX_LISTED_COLUMNS} of {len(columns):,}." if more > 0 else ""
    return render_section(
        "Columns", f'<div class="scroll"><table class="columns">{head}{shown}</table></div>', about=about
    )


def _column_row(column: ColumnSummary) -> str:
    if column.spread is not None:
        chart = draw_histogram(column.spread, title=f"{column.name}: {say_values(column)}")
    else:
        most = column.frequent[0][1] if column.frequent else 1
        chart = "".join(_frequent(column.frequent, most))
    low_high = f'<p class="ends">{say_values(column)}</p>' if column.spread is not None else ""
    missing = f"{column.missing:.1%}" if column.n_missing else "none"
    return (
        f"<tr><th>{escape(cut(column.name, MAX_CELL))}</th><td>{column.type}</td><td>{missing}</td>"
        f"<td>{column.n_distinct:,}</td><td>{chart}{low_high}</td></tr>"
    )


def _frequent(frequent: Sequence[tuple[str, int]], most: int) -> Iterator[str]:
    yield '<div class="counts">'
    for value, n in frequent:
        bar = draw_stacked_bar([n], most, title=f"{value}: {n:,}")
        yield f'<span class="name">{escape(cut(value, 24)) or "(empty)"}</span>{bar}<span>{n:,}</span>'
    yield "</div>"


def _seen(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return render_section("What was seen", f"<ul>{items}</ul>" if items else "")
