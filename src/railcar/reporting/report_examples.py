"""The parts of a report that show examples: what the model was trained on, its worst mistakes and what it looked at,
labels in doubt, and which columns count. All of it comes from the run's report.json; whatever is from data is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from railcar.reporting.charts import spell_tick
from railcar.reporting.page import cut, render_name, render_section, render_table
from railcar.reporting.report_facts import Facts
from railcar.reporting.svg import draw_stacked_bar
from railcar.reporting.thumbnails import SMALL_PICTURE, draw_heat

_MOST_CLASSES, _MOST_CELLS, _MAX_TEXT, _MAX_CELL = 40, 8, 320, 28
_LEAST_SHARE = 0.005
_MOST_WIDE = 12
_SIDES = ("train", "validation", "test")


def render_data(facts: Facts) -> str:
    """Examples of each class on each side, and some of them."""
    about = facts.extra.get("data") or {}
    per_class = about.get("per_class") or {}
    sizes = ", ".join(f"{facts.data[f'n_{one}']:,} {one}" for one in _SIDES if facts.data.get(f"n_{one}"))
    notes = "".join(f"<li>{escape(str(line))}</li>" for line in about.get("notes") or [])
    body = _class_counts(facts.class_names, per_class) + _samples(facts, about.get("samples") or [])
    body += f"<h3>What was seen</h3><ul>{notes}</ul>" if notes else ""
    body = body or (f"<p>{sizes}</p>" if sizes else "")
    return render_section("Data", body, about=sizes if about else "", anchor="data")


def _class_counts(names: Sequence[str], per_class: dict[str, Sequence[int]]) -> str:
    sides = [one for one in _SIDES if per_class.get(one)]
    totals = [sum(per_class[side][index] for side in sides) for index in range(len(names))] if sides else []
    if not totals:
        return ""
    shown = sorted(range(len(names)), key=lambda index: -totals[index])[:_MOST_CLASSES]
    rows = []
    for index in sorted(shown):
        parts = [per_class[side][index] for side in sides]
        title = f"{names[index]}: " + ", ".join(f"{n:,} {side}" for n, side in zip(parts, sides, strict=True))
        bar = draw_stacked_bar(parts, max(totals), title=title)
        rows.append(f'<span class="name">{render_name(names[index], 40)}</span>{bar}<span>{totals[index]:,}</span>')
    legend = "".join(f'<span><i class="part{number}"></i>{side}</span>' for number, side in enumerate(sides))
    more = len(names) - len(shown)
    note = f'<p class="about">and {more:,} smaller classes</p>' if more else ""
    return f'<p class="legend">{legend}</p><div class="counts">{"".join(rows)}</div>{note}'


def _samples(facts: Facts, samples: Sequence[dict[str, Any]]) -> str:
    """`samples`: {"label", "inputs": as report.json has them}."""
    if not samples:
        return ""
    if facts.kind == "image":
        strips = "".join(
            f"<h3>{render_name(str(one['label']), 40)}</h3>"
            f'<div class="strip">{"".join(_picture(entry, str(one["label"])) for entry in one["inputs"])}</div>'
            for one in samples
        )
        return f'<div class="classes samples">{strips}</div>'
    flat = [(one["label"], entry) for one in samples for entry in one["inputs"]]
    if facts.kind == "text":
        rows = [[escape(_label(label)), escape(cut(entry["text"], _MAX_TEXT))] for label, entry in flat]
        return render_table([facts.data.get("label") or "label", "text"], rows, kind="texts")
    columns = list(flat[0][1]["row"])[:_MOST_CELLS]
    rows = [[escape(_label(label)), *(_cell(entry["row"].get(one)) for one in columns)] for label, entry in flat]
    return render_table([facts.data.get("label") or "label", *(cut(one, _MAX_CELL) for one in columns)], rows)


# ---- mistakes


def render_mistakes(facts: Facts) -> str:
    mistakes = facts.extra.get("mistakes") or []
    n = facts.extra.get("n_mistakes", len(mistakes))
    side = facts.extra.get("split", facts.side)
    notes = "".join(f'<p class="about">{escape(str(one))}</p>' for one in facts.extra.get("notes") or [])
    if not mistakes:
        told = f"<p>None: every one of the {side} {facts.noun} is right.</p>" if n == 0 and facts.extra else ""
        if not facts.extra and facts.shown:
            told = "<p>railcar report --explain shows them, and what the model looked at.</p>"
        return render_section("Mistakes", told + notes, anchor="mistakes")
    mistakes = mistakes if facts.kind == "image" else mistakes[:_MOST_WIDE]
    if facts.is_regression:
        about = f"The {len(mistakes)} {facts.noun} of {side} that it was furthest off."
    else:
        about = f"The worst {len(mistakes)} of {n:,}: where the right label had least probability."
    cards = "".join(_mistake(facts, one) for one in mistakes)
    wide = "" if facts.kind == "image" else " wide"
    body = f'{_say_why(facts, mistakes)}<div class="mistakes{wide}">{cards}</div>{notes}'
    return render_section("The worst mistakes", body, about=about, anchor="mistakes")


def _say_why(facts: Facts, mistakes: Sequence[dict[str, Any]]) -> str:
    """How to read the colours."""
    if not any(one.get("why") for one in mistakes):
        return ""
    said = "what it said"
    how = {
        "image": f"The orange parts are what spoke most for {said}",
        "text": f"Words in blue spoke for {said}, those in orange against it",
        "table": f"Columns with a bar to the right spoke for {said}, to the left against it",
    }.get(facts.kind, "")
    if facts.is_regression:
        parts = "Words in blue" if facts.kind == "text" else "Columns with a bar to the right"
        how = f"{parts} made its number larger, {'those in orange' if facts.kind == 'text' else 'to the left'} smaller"
    methods = {one["why"].get("method") for one in mistakes if one.get("why")} - {None}
    method = f" ({', '.join(sorted(methods))})" if methods else ""
    beside = "; below, the nearest training examples" if any(one.get("neighbours") for one in mistakes) else ""
    return f'<p class="about">{escape(how + method + beside)}.</p>'


def _mistake(facts: Facts, one: dict[str, Any]) -> str:
    doubtful = ' · <span class="doubt">is the label right?</span>' if one.get("is_doubtful") else ""
    head = f'<p class="said">{_verdict(one)}{doubtful}</p>'
    foot = f"<small>{escape(str(one['id']))}</small>"
    neighbours = _neighbours(facts, one.get("neighbours") or [])
    if facts.kind == "image":
        heat = (one.get("why") or {}).get("heat")
        alt = f"{one['id']}: said {_label(one['predicted'])}, is {_label(one['label'])}"
        overlay = f'<img class="heat" src="{draw_heat(heat)}" alt="">' if heat else ""
        pictures = f'<div class="seen">{_picture(one["input"], alt)}</div>'
        pictures += f'<div class="seen">{_picture(one["input"], "what counted")}{overlay}</div>' if heat else ""
        return f'<article class="mistake">{head}<div class="pair">{pictures}</div>{neighbours}{foot}</article>'
    body = _text(one) if facts.kind == "text" else _row(one)
    return f'<article class="mistake">{head}{body}{neighbours}{foot}</article>'


def _verdict(one: dict[str, Any]) -> str:
    said, label = render_name(_label(one["predicted"]), 40), render_name(_label(one["label"]), 40)
    if "p_predicted" not in one:
        return f"said <b>{said}</b>, is <b>{label}</b>"
    of_label = one.get("p_label") or 0.0
    rest = f" ({_share(of_label)})" if of_label >= _LEAST_SHARE else ""
    return f"said <b>{said}</b> ({_share(one['p_predicted'])}), is <b>{label}</b>{rest}"


def _text(one: dict[str, Any]) -> str:
    pieces = (one.get("why") or {}).get("pieces")
    if not pieces:
        return f'<p class="quote">{escape(cut(one["input"]["text"], _MAX_TEXT))}</p>'
    parts, length = [], 0
    for piece, weight in pieces:
        if length > 2 * _MAX_TEXT:
            parts.append("…")
            break
        length += len(piece)
        strength = round(45 * abs(weight))
        sign = "for" if weight > 0 else "against"
        marked = f'<mark class="{sign}" style="--share:{strength}%">{escape(piece)}</mark>'
        parts.append(marked if strength >= 4 else escape(piece))
    return f'<p class="quote">{"".join(parts)}</p>'


def _row(one: dict[str, Any]) -> str:
    columns = (one.get("why") or {}).get("columns")
    if not columns:
        columns = [(name, value, 0.0) for name, value in one["input"]["row"].items()]
    lines = []
    for name, value, weight in columns[:_MOST_CELLS]:
        side = "for" if weight > 0 else "against"
        bar = f'<i class="{side}" style="--share:{50 * abs(weight):.1f}%"></i>'
        lines.append(f"<dt>{escape(cut(str(name), 32))}</dt><dd>{_cell(value)}</dd><dd class=weight>{bar}</dd>")
    more = len(columns) - _MOST_CELLS
    note = f"<small>and {more} columns that count less</small>" if more > 0 else ""
    return f'<dl class="row">{"".join(lines)}</dl>{note}'


def _neighbours(facts: Facts, found: Sequence[dict[str, Any]]) -> str:
    if not found:
        return ""
    named = [(escape(cut(_label(one["label"]), 20)), one) for one in found]
    if facts.kind == "image":
        figures = "".join(
            f"<figure>{_picture(one['input'], one['id'])}<figcaption>{label}</figcaption></figure>"
            for label, one in named
        )
        return f'<div class="near"><p>nearest in training</p><div>{figures}</div></div>'
    items = "".join(f"<li><b>{label}</b> {_in_short(one['input'])}</li>" for label, one in named)
    return f"<details><summary>the nearest training examples</summary><ul>{items}</ul></details>"


def _in_short(entry: dict[str, Any]) -> str:
    """A text's beginning, a row's first columns."""
    if "text" in entry:
        return escape(cut(entry["text"], 140))
    return ", ".join(f"{escape(cut(str(name), 20))} {_cell(value)}" for name, value in list(entry["row"].items())[:6])


def render_doubtful(facts: Facts) -> str:
    found = facts.extra.get("doubtful") or []
    about = (
        "The model is sure of another label than these examples have, and so are the training examples that are most "
        "like them. Candidates: some are rare, not wrong."
    )
    cards = "".join(_mistake(facts, {**one, "is_doubtful": False}) for one in found)
    wide = "" if facts.kind == "image" else " wide"
    body = f'<div class="mistakes{wide}">{cards}</div>' if found else ""
    return render_section("Labels in doubt", body, about=about, anchor="doubtful")


def render_importance(facts: Facts) -> str:
    rows = facts.extra.get("importance") or []
    if not rows:
        return ""
    is_share = facts.extra.get("importance_of") == "accuracy"
    most = max(max(one["drop"] for one in rows), 1e-12)
    lines = []
    for one in rows[:_MOST_CLASSES]:
        drop = f"{one['drop']:.1%}" if is_share else spell_tick(one["drop"])
        spread = f"{one['deviation']:.1%}" if is_share else spell_tick(one["deviation"])
        title = f"{one['column']}: {drop}"
        bar = draw_stacked_bar([max(one["drop"], 0.0)], most, title=title)
        lines.append(f'<span class="name">{escape(cut(one["column"], 40))}</span>{bar}<span>{drop} ± {spread}</span>')
    what = "accuracy falls" if is_share else "the mean error rises"
    about = f"How much {what} when the column's values are shuffled among the rows (permutation importance)."
    return render_section(
        "Which columns count", f'<div class="counts">{"".join(lines)}</div>', about=about, anchor="importance"
    )


# ---- pieces


def _picture(entry: dict[str, Any], alt: str) -> str:
    source = str(entry["picture"])
    if not source.startswith(("data:image/png;", "data:image/jpeg;")):
        return ""
    looks = ' class="pixels"' if source.startswith(SMALL_PICTURE) else ""
    return f'<img{looks} src="{escape(source)}" loading="lazy" alt="{escape(alt)}">'


def _label(value: Any) -> str:
    return spell_tick(value) if isinstance(value, float) else str(value)


def _share(value: float) -> str:
    """99.6%, but 42%: near the end the digits count."""
    return f"{value:.1%}" if 0.99 < value < 0.9995 else f"{value:.0%}"


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "-"
    return escape(f"{value:.6g}" if isinstance(value, float) else cut(str(value), _MAX_CELL))
