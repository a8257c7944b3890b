"""The parts of a report that are figures and charts: curves of the training, what is confused with what, each class,
whether the probabilities can be believed; of a regression what was said beside what is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.summary import spread_of
from railcar.evaluation.curves import count_above, precision_recall_curve, roc_curve
from railcar.reporting.advice import Result
from railcar.reporting.charts import (
    Axis,
    Line,
    build_accuracy_axis,
    build_loss_axis,
    draw_bars,
    draw_dots,
    draw_lines,
    spell_share,
    spell_tick,
)
from railcar.reporting.group_tables import describe_difference
from railcar.reporting.page import cut, render_name, render_section, render_table
from railcar.reporting.report_facts import Facts, Predictions

_MOST_CELLS, _MOST_CLASSES, _MOST_PAIRS, _MOST_CURVES, _MOST_DOTS = 20, 40, 20, 6, 1500
_FEWEST = 10
_STEPS = Axis("step", spell=lambda value: f"{value:,.0f}")


def render_curves(facts: Facts) -> str:
    """Loss and accuracy over the steps, and how fast it went."""
    result = facts.result
    measure = "mae" if facts.is_regression else "accuracy"
    charts = [_draw_loss(result), _draw_measure(result, measure)]
    rates = result.series("learning_rate")
    if rates and min(value for _, value in rates) < max(value for _, value in rates):
        title = "Learning rate over the steps"
        charts.append(draw_lines([Line("", rates)], x=_STEPS, y=Axis("learning rate", 0.0), title=title))
    kept = result.kept_step
    about = f"The dot marks step {kept:,}, whose weights are the model." if kept else ""
    return render_section("Training", _side_by_side(charts), about=about, anchor="training")


def _side_by_side(charts: Sequence[str]) -> str:
    drawn = [f"<div>{one}</div>" for one in charts if one]
    kind = "charts three" if len(drawn) == 3 else "charts"
    return f'<div class="{kind}">{"".join(drawn)}</div>' if drawn else ""


def _draw_loss(result: Result) -> str:
    lines = _train_and_held(result, "loss")
    y = build_loss_axis("loss (lower is better)", _list_values(lines))
    return draw_lines(lines, x=_STEPS, y=y, title="Loss over the steps, in training and on validation")


def _draw_measure(result: Result, measure: str) -> str:
    lines = _train_and_held(result, measure)
    if measure == "mae":
        y = Axis("mean absolute error (lower is better)", 0.0)
        return draw_lines(lines, x=_STEPS, y=y, title="Mean absolute error over the steps")
    y = build_accuracy_axis("accuracy (higher is better)", _list_values(lines))
    return draw_lines(lines, x=_STEPS, y=y, title="Accuracy over the steps, in training and on validation")


def _list_values(lines: Sequence[Line]) -> list[float]:
    return [value for line in lines for _, value in line.points]


def _train_and_held(result: Result, key: str) -> list[Line]:
    train, held = result.series(key), result.series(f"val_{key}")
    kept = next((one for one in held if one[0] == result.kept_step), None)
    return [Line("training", train, 0, is_pale=bool(held)), Line("validation", held, 1, marked=kept)]


# ---- classification


def render_confusion(facts: Facts) -> str:
    """The matrix of few classes, the most frequent mistakes of many."""
    confusion = np.asarray(facts.shown.get("confusion") or [], np.int64)
    names = facts.class_names
    if confusion.ndim != 2 or not len(confusion):
        return ""
    wrong = confusion * (1 - np.eye(len(confusion), dtype=np.int64))
    n_wrong = int(wrong.sum())
    if not n_wrong:
        body = f"<p>Nothing: all {confusion.sum():,} are right.</p>"
        return render_section("What is confused", body, anchor="confused")
    row, column = divmod(int(wrong.argmax()), len(names))
    times = "once" if wrong.max() == 1 else f"{wrong.max():,} times"
    most = f"most often {names[row]}, called {names[column]} ({times})"
    about = f"{n_wrong:,} of {confusion.sum():,} are wrong; {most}."
    is_small = len(names) <= _MOST_CELLS
    about += " A row for what it is, a column for what the model said." if is_small else ""
    body = _matrix(confusion, wrong, names) if is_small else _pairs(confusion, wrong, names)
    return render_section("What is confused", body, about=about, anchor="confused")


def _matrix(confusion: NDArray[np.int64], wrong: NDArray[np.int64], names: Sequence[str]) -> str:
    most = int(wrong.max())
    heads = "".join(f'<th scope="col">{render_name(name, 14)}</th>' for name in names)
    lines = []
    for row, name in enumerate(names):
        cells = []
        for column, n in enumerate(confusion[row].tolist()):
            if row == column:
                cells.append(f'<td class="right">{n:,}</td>')
            else:
                share = round(100 * (0.15 + 0.85 * n / most)) if n else 0
                cells.append(f'<td style="--share:{share}%">{f"{n:,}" if n else ""}</td>')
        lines.append(f'<tr><th scope="row">{render_name(name, 24)}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll" tabindex="0"><table class="confusion">'
        f"<tr><td></td>{heads}</tr>{''.join(lines)}</table></div>"
    )


def _pairs(confusion: NDArray[np.int64], wrong: NDArray[np.int64], names: Sequence[str]) -> str:
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    rows = []
    for row, column in (divmod(int(one), len(names)) for one in order):
        n = int(wrong[row, column])
        if n:
            share = n / max(confusion[row].sum(), 1)
            rows.append([render_name(names[row], 40), render_name(names[column], 40), f"{n:,}", f"{share:.1%}"])
    return render_table(["it is", "the model said", "times", "of that class"], rows, kind="pairs")


def render_classes(facts: Facts) -> str:
    rows = facts.shown.get("per_class") or []
    if not rows:
        return ""
    tested = [row for row in rows if row["n"]]
    shown = tested if len(tested) <= _MOST_CLASSES else sorted(tested, key=lambda one: one["f1"])[:_MOST_CLASSES]
    about = f"The {len(shown)} that are found worst, of {len(tested):,}." if len(tested) > len(shown) else ""
    if len(tested) < len(rows):
        missing = ", ".join(cut(row["class"], 30) for row in rows if not row["n"])
        about = f"{about} Not tested, as {facts.side} has none of them: {cut(missing, 300)}.".strip()
    cells = []
    for row in shown:
        area = "" if row.get("roc_auc") is None else f"{row['roc_auc']:.4f}"
        figures = [_meter(row[key]) for key in ("precision", "recall", "f1")]
        cells.append([render_name(row["class"], 40), *figures, area, f"{row['n']:,}"])
    head = ["class", "precision", "recall", "F1", "ROC area", f"{facts.side} {facts.noun}"]
    return render_section("Each class", render_table(head, cells, kind="classes-table"), about=about, anchor="classes")


def _meter(share: float) -> str:
    return f'<span class="meter" style="--share:{100 * share:.1f}%">{share:.3f}</span>'


def render_groups(facts: Facts) -> str:
    """The figures for each value of the columns that `railcar evaluate --by` was asked for."""
    body = ""
    for column, found in (facts.shown.get("groups") or {}).items():
        words = escape(describe_difference(found))
        form = ", by its quartiles" if found["form"] == "quartiles" else ""
        table = _group_table(facts, found["groups"])
        body += f"<h3>{escape(cut(column, 40))}{form}</h3>{table}<p class=about>{words}</p>"
    return render_section("Is it as good for all?", body, anchor="groups")


def _group_table(facts: Facts, rows: Sequence[dict[str, Any]]) -> str:
    names = [escape(cut(str(row["group"]), 40)) for row in rows]
    if facts.is_regression:
        head = ["group", "mean error", "root of squares", "bias", facts.noun]
        figures = [[f"{row[key]:.5g}" for key in ("mae", "rmse", "bias")] for row in rows]
    else:
        head = ["group", "accuracy", "95% interval", facts.noun]
        figures = [[_meter(row["accuracy"]), "{:.1%} to {:.1%}".format(*row["accuracy_95"])] for row in rows]
    return render_table(
        head, [[name, *one, f"{row['n']:,}"] for name, one, row in zip(names, figures, rows, strict=True)]
    )


def render_probabilities(facts: Facts) -> str:
    """The reliability diagram, and ROC and precision-recall curves."""
    bins = (facts.shown.get("calibration") or {}).get("bins") or []
    charts = list(_calibration_charts(facts, bins))
    if facts.predictions is not None and facts.predictions.probabilities is not None:
        charts += _class_curves(facts)
    about = _say_calibration(facts)
    return render_section(
        "Can its probabilities be believed?", _side_by_side(charts), about=about, anchor="probabilities"
    )


def _say_calibration(facts: Facts) -> str:
    error = (facts.shown.get("calibration") or {}).get("ece")
    if error is None:
        return ""
    temperature = facts.evaluation.get("temperature")
    few = any(0 < one["n"] < _FEWEST for one in facts.shown["calibration"]["bins"])
    hidden = f" Shares of fewer than {_FEWEST} {facts.noun} are not drawn." if few else ""
    mended = f" Its logits are divided by a temperature of {temperature:.3f}." if temperature else ""
    return f"On average they are off by {error:.2%} (expected calibration error).{mended}{hidden}"


def _calibration_charts(facts: Facts, bins: Sequence[dict[str, Any]]) -> Iterator[str]:
    known = [one for one in bins if one["n"]]
    if not known:
        return
    n_least = min(_FEWEST, max(one["n"] for one in known))  # the share of a few says nothing
    points = [(one["confidence"], one["accuracy"]) for one in known if one["n"] >= n_least]
    low = min(*(min(point) for point in points), known[0]["low"])
    axis = Axis("how sure the model is", max(0.0, low - 0.05), 1.0, spell=spell_share)
    yield draw_lines(
        [Line("", points)],
        x=axis,
        y=Axis("share that is right", axis.low, 1.0, spell=spell_share),
        title="Reliability: the share that is right over how sure the model is",
        diagonal=True,
    )
    counts = [(one["low"], one["high"], one["n"]) for one in known]
    title = "How many examples the model is how sure of"
    yield draw_bars(counts, x=axis, y=Axis(facts.noun, is_whole=True), title=title)


def _class_curves(facts: Facts) -> list[str]:
    """Of two classes the curve of the second; of more those of the classes that are told apart worst."""
    found = facts.predictions
    if found is None or found.probabilities is None:
        return []
    names = facts.class_names
    rows = list(enumerate(facts.shown.get("per_class") or []))
    known = [(index, row) for index, row in rows if row.get("roc_auc") is not None]
    chosen = known[1:] if len(names) == 2 else sorted(known, key=lambda one: one[1]["roc_auc"])[:_MOST_CURVES]
    roc, precision = [], []
    for colour, (index, row) in enumerate(chosen):
        counts = count_above(found.probabilities[:, index], found.labels == index)
        curves = roc_curve(counts), precision_recall_curve(counts)
        name = cut(str(row["class"]), 24)
        if curves[0] is not None:
            roc.append(Line(f"{name} ({row['roc_auc']:.3f})", _thin(*curves[0]), colour))
        if curves[1] is not None:
            precision.append(Line(f"{name} ({row['average_precision']:.3f})", _thin(*curves[1]), colour))
    x = Axis("false alarms: share of the others that is taken for the class", 0.0, 1.0, spell=spell_share)
    y = Axis("ROC: share of the class that is found", 0.0, 1.0, spell=spell_share)
    recall = Axis("share of the class that is found (recall)", 0.0, 1.0, spell=spell_share)
    share = Axis("precision: share of what is called so that is", 0.0, 1.0, spell=spell_share)
    return [
        draw_lines(roc, x=x, y=y, title="ROC curves of the classes told apart worst", diagonal=True),
        draw_lines(precision, x=recall, y=share, title="Precision-recall curves of the classes told apart worst"),
    ]


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[tuple[float, float]]:
    """At most 200 points, evenly along the curve."""
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, along[-1], min(len(x), 200))
    rows = np.unique(np.clip(np.searchsorted(along, wanted), 0, len(x) - 1))
    return [(float(x[row]), float(y[row])) for row in rows]


# ---- regression


def render_regression(facts: Facts) -> str:
    """What was said over what is right, and the errors."""
    found = facts.predictions
    if found is None or not facts.is_regression:
        return ""
    is_known = np.isfinite(found.labels) & np.isfinite(found.predicted)
    if facts.shown.get("mae") is None or not is_known.any():
        return render_section("What it says, and what is right", "<p>It says what is no number.</p>", anchor="errors")
    found = Predictions(found.labels[is_known], found.predicted[is_known])
    rows = np.linspace(0, len(found.labels) - 1, min(len(found.labels), _MOST_DOTS)).astype(np.int64)
    points = [(float(found.labels[row]), float(found.predicted[row])) for row in rows]
    name = facts.data.get("label") or "target"
    dots = draw_dots(
        points,
        x=Axis(f"what {name} is"),
        y=Axis(f"what the model said {name} is"),
        title=f"What the model said over what is right, of {len(points):,} {facts.noun}",
        diagonal=True,
    )
    spread = spread_of(found.predicted.astype(np.float64) - found.labels)
    title = "How far off the model is, and how often"
    bins = list(zip(spread.edges[:-1], spread.edges[1:], spread.counts, strict=True))
    bars = draw_bars(bins, x=Axis("said minus right"), y=Axis(facts.noun, is_whole=True), title=title)
    shown = facts.shown
    quantiles = shown.get("error_quantiles") or {}
    about = f"Off by {spell_tick(shown['mae'])} on average; R2 {shown['r2']:.3f}."
    if quantiles:
        about += f" Nine in ten errors lie between {quantiles['0.05']:+.4g} and {quantiles['0.95']:+.4g}."
    return render_section("What it says, and what is right", _side_by_side([dots, bars]), about=about, anchor="errors")
