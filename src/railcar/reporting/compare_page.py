"""Runs side by side on one page: whether one is better or only luckier, what differs in their recipes, their metrics,
their curves in one chart, and how well each tells the classes apart.

A pure function of what `runs compare --json` prints and of the runs' own files, read by `workflows/compare.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from railcar.reporting.charts import N_COLOURS, Axis, Line, Point, build_accuracy_axis, build_loss_axis, draw_lines
from railcar.reporting.page import cut, render_name, render_page, render_section, render_table
from railcar.training.live import format_seconds

_SIDES = ("test", "validation")
_HIGHER = ("accuracy", "balanced_accuracy", "roc_auc", "r2")
_LOWER = ("mae", "loss")
_SHARES = ("accuracy", "balanced_accuracy")
_NAMES = {"roc_auc": "ROC area", "mae": "mean error", "r2": "R2", "step": "steps", "seconds_training": "training"}
_MOST_CLASSES = 40
_TESTS = {
    "mcnemar": "McNemar's exact test of who got which examples right",
    "sign": "the sign test of who came nearer",
}


@dataclass(frozen=True)
class Compared:
    """One of the runs: `manifest`, `recipe` and `evaluation` as their files have them, `rows` of metrics.jsonl."""

    name: str
    manifest: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()

    @property
    def data(self) -> Mapping[str, Any]:
        return self.manifest.get("data") or {}

    def series(self, key: str) -> list[Point]:
        """(step, value) of the rows that have it."""
        return [(float(row["step"]), float(row[key])) for row in self.rows if row.get(key) is not None]


def render_comparison(runs: Sequence[Compared], comparison: Mapping[str, Any]) -> str:
    """The whole page. `comparison` is what `workflows.compare.compare` says of the same runs, in their order."""
    letters = name_letters(len(runs))
    parts = [
        _head(runs, letters),
        render_section("Is one better?", _verdict(comparison["pairs"], letters), anchor="verdict"),
        _metrics(runs, comparison, letters),
        _curves(runs, letters),
        _recipe(comparison["recipe"], letters),
        _classes(runs, letters),
    ]
    title = cut(f"{len(runs)} runs: {', '.join(run.name for run in runs)}", 80)
    return render_page(title, parts, command="railcar runs compare")


def name_letters(n: int) -> list[str]:
    """A, B, ... Z, then 27, 28, ..."""
    return [chr(ord("A") + index) if index < 26 else str(index + 1) for index in range(n)]


# ---- which runs


def _head(runs: Sequence[Compared], letters: Sequence[str]) -> str:
    rows = "".join(
        f'<dt class="legend"><span><i class="{_look(index)}"></i>{letter}</span></dt>'
        f"<dd><strong>{escape(run.name)}</strong><br>{escape(_say_what(run))}</dd>"
        for index, (letter, run) in enumerate(zip(letters, runs, strict=True))
    )
    return f'<header><h1>{len(runs)} runs side by side</h1></header><dl class="facts">{rows}</dl>\n'


def _look(index: int) -> str:
    return f"fill{index % N_COLOURS}{' dashed' if _is_dashed(index) else ''}"


def _is_dashed(index: int) -> bool:
    """The colours come round again, in dashed lines."""
    return index % (2 * N_COLOURS) >= N_COLOURS


def _say_what(run: Compared) -> str:
    model, data = (run.recipe.get("model") or {}).get("name", "a model"), run.data
    n, source, step = data.get("n_train"), data.get("source"), run.manifest.get("step")
    trained = f", trained on {n:,} examples" if n else ""
    of = f" of {_spell_value(str(source))}" if source else ""
    state = run.manifest.get("state")
    return (
        f"{model}{trained}{of}"
        + (f", {step:,} steps" if step else "")
        + (f"; it is {state}" if state not in (None, "finished") else "")
    )


# ---- whether one is better


def _verdict(pairs: Sequence[Mapping[str, Any]], letters: Sequence[str]) -> str:
    """In words, and the counts as a table."""
    words = [f"<li>{escape(line)}</li>" for line in describe_pairs(pairs, letters)]
    tested = [pair for pair in pairs if "p" in pair]
    if not tested:
        return f"<ul>{''.join(words)}</ul>"
    rows = []
    for pair in tested:
        one, other = letters[int(pair["one"])], letters[int(pair["other"])]
        counts = (f"{pair['n_only_one']:,}", f"{pair['n_only_other']:,}", f"{pair['n']:,}")
        rows.append([f"{one},&nbsp;{other}", _judge(pair, one, other), f"{pair['p']:.2g}", *counts])
    what = "only the first right" if tested[0]["test"] == "mcnemar" else "the first nearer"
    head = ["runs", "verdict", "p", what, what.replace("first", "second"), "of"]
    corrected = ", corrected for the number of comparisons as Holm did" if len(letters) > 2 else ""
    about = (
        f"By {_TESTS[tested[0]['test']]}, on the same test examples{corrected}. p is how often luck alone makes such a "
        "difference; below 0.05 it is called one. The verdict is on these models: another seed makes another model."
    )
    return f'<ul>{"".join(words)}</ul><p class="about">{about}</p>{render_table(head, rows)}'


def _judge(pair: Mapping[str, Any], one: str, other: str) -> str:
    if not pair["is_real"]:
        return "no difference seen"
    return f"<strong>{one if pair['n_only_one'] > pair['n_only_other'] else other} is better</strong>"


def describe_pairs(pairs: Sequence[Mapping[str, Any]], letters: Sequence[str]) -> list[str]:
    """A sentence for each run that is better than others, one for the pairs that are alike, one for each that could not
    be compared."""
    better: dict[str, list[str]] = {}
    alike: dict[str, list[str]] = {}
    lines = []
    for pair in pairs:
        one, other = letters[int(pair["one"])], letters[int(pair["other"])]
        if "p" not in pair:
            lines.append(f"{one} and {other} cannot be compared: {pair['reason']}.")
        elif not pair["is_real"]:
            alike.setdefault(one, []).append(other)
        else:
            winner, loser = (one, other) if pair["n_only_one"] > pair["n_only_other"] else (other, one)
            better.setdefault(winner, []).append(f"{loser}{_say_by_how_much(pair)}")
    found = [f"{winner} is better than {_join(losers)}." for winner, losers in better.items()]
    if alike:
        told = [f"between {one} and {_join(others, ' or ')}" for one, others in alike.items()]
        found.append(f"B{_join(told)[1:]} no difference is seen that is more than luck.")
    return [*found, *lines]


def _say_by_how_much(pair: Mapping[str, Any]) -> str:
    if pair["test"] != "mcnemar":
        return ""
    points = 100 * abs(pair["n_only_one"] - pair["n_only_other"]) / pair["n"]
    return f" (by {points:.2f} points of accuracy)"


def _join(words: Sequence[str], mark: str = " and ") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])}{mark}{words[-1]}"


# ---- figures


def _metrics(runs: Sequence[Compared], comparison: Mapping[str, Any], letters: Sequence[str]) -> str:
    is_same_data = len({str(run.data.get("fingerprint")) for run in runs}) == 1
    rows = []
    for key, values in comparison["metrics"].items():
        if all(value is None for value in values):
            continue
        best = _find_best(key, values) if is_same_data else set()
        cells = [escape(_spell_metric(key, value)) for value in values]
        cells = [f"<strong>{cell}</strong>" if at in best else cell for at, cell in enumerate(cells)]
        rows.append([escape(_name_metric(key)), *cells])
    about = (
        "The best of each line is in bold; whether that is more than luck is said above."
        if is_same_data
        else "Not all of them learnt from the same data: the figures of one say little of another."
    )
    table = render_table(["metric", *letters], rows) if rows else ""
    return render_section("Metrics", table, about=about, anchor="metrics")


def _find_best(key: str, values: Sequence[Any]) -> set[int]:
    """Of a metric that has a better side, those that have the best value, unless all have it."""
    name = key.rpartition(".")[2]
    known = [value for value in values if isinstance(value, int | float)]
    if not key.startswith(_SIDES) or len(known) < 2 or name not in (*_HIGHER, *_LOWER):
        return set()
    best = max(known) if name in _HIGHER else min(known)
    found = {at for at, value in enumerate(values) if value == best}
    return found if len(found) < len(known) else set()


def _name_metric(key: str) -> str:
    side, _, name = key.rpartition(".")
    spelled = _NAMES.get(name, name.replace("_", " "))
    return f"{side} {spelled}".strip()


def _spell_metric(key: str, value: Any) -> str:
    name = key.rpartition(".")[2]
    if value is None:
        return ""
    if not isinstance(value, int | float):
        return str(value)
    if name in _SHARES:
        return f"{value:.2%}"
    if name == "seconds_training":
        return format_seconds(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _recipe(recipe: Mapping[str, Sequence[Any]], letters: Sequence[str]) -> str:
    rows = [[escape(key), *map(_render_value, values)] for key, values in recipe.items()]
    body = render_table(["key", *letters], rows) if rows else "<p>No key differs.</p>"
    return render_section("What differs in their recipes", body, anchor="recipe")


def _render_value(value: Any) -> str:
    return render_name(value, 40) if isinstance(value, str) else escape(_spell_value(value))


def _spell_value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_spell_value, value))}]"
    if isinstance(value, float):
        return f"{value:.4g}"
    return cut(str(value).rstrip("/").rpartition("/")[2] or str(value), 40)


# ---- curves


def _curves(runs: Sequence[Compared], letters: Sequence[str]) -> str:
    """Losses of all runs in one chart, and what else they were measured by in another."""
    charts = [
        _draw(runs, letters, "loss", "loss (lower is better)"),
        _draw(runs, letters, "accuracy", "accuracy (higher is better)"),
        _draw(runs, letters, "mae", "mean absolute error (lower is better)"),
    ]
    body = "".join(f"<div>{chart}</div>" for chart in charts if chart)
    about = "Validation in full lines, training in thin ones of the same colour."
    return render_section("Curves", f'<div class="charts">{body}</div>' if body else "", about=about, anchor="curves")


def _draw(runs: Sequence[Compared], letters: Sequence[str], key: str, label: str) -> str:
    lines, values = [], []
    for at, (run, letter) in enumerate(zip(runs, letters, strict=True)):
        held, train = run.series(f"val_{key}"), run.series(key)
        colour, is_dashed = at % N_COLOURS, _is_dashed(at)
        lines.append(Line("" if held else letter, train, colour, is_dashed, is_pale=bool(held)))
        lines.append(Line(letter if held else "", held, colour, is_dashed))
        values += [value for _, value in [*held, *train]]
    x = Axis("step", spell=lambda value: f"{value:,.0f}")
    y = build_accuracy_axis(label, values) if key == "accuracy" else build_loss_axis(label, values)
    return draw_lines(lines, x=x, y=y, title=f"{label.partition(' (')[0].capitalize()} of all runs over the steps")


# ---- classes


def _classes(runs: Sequence[Compared], letters: Sequence[str]) -> str:
    """F1 of each class, those that differ most first, where all runs have the same classes on one side."""
    side = next((side for side in _SIDES if all(_class_rows(run, side) for run in runs)), "")
    if not side:
        return ""
    found = [{str(row["class"]): row for row in _class_rows(run, side)} for run in runs]
    if any(set(one) != set(found[0]) for one in found):
        return ""
    gaps = {name: _gap([one[name]["f1"] for one in found]) for name in found[0]}
    shown = sorted(gaps, key=lambda name: -gaps[name])[:_MOST_CLASSES]
    cells = []
    for name in shown:
        scores = [one[name]["f1"] for one in found]
        best = max(scores) if gaps[name] else math.inf
        meters = [_meter(score, is_best=score == best) for score in scores]
        cells.append([escape(cut(name, 40)), *meters, f"{gaps[name]:.3f}", f"{found[0][name]['n']:,}"])
    more = f"; the {len(shown)} of {len(gaps):,} that differ most" if len(shown) < len(gaps) else ""
    about = f"F1 on the {side} side, the classes that differ most first{more}. One class alone has few examples."
    table = render_table(["class", *letters, "apart by", "n"], cells, kind="classes-table")
    return render_section("Each class", table, about=about, anchor="classes")


def _class_rows(run: Compared, side: str) -> Sequence[Mapping[str, Any]]:
    return (run.evaluation.get(side) or {}).get("per_class") or ()


def _gap(scores: Sequence[float]) -> float:
    return max(scores) - min(scores)


def _meter(share: float, *, is_best: bool) -> str:
    text = f"<strong>{share:.3f}</strong>" if is_best else f"{share:.3f}"
    return f'<span class="meter" style="--share:{100 * share:.1f}%">{text}</span>'
