"""A search, drawn: what was reached when, what decides, and which values the good ones have in common."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from railcar.reporting.plots import _BLUES, BLUE, GREEN, INK, ORANGE, PALE, _figure, _save

_MARKS = {"finished": ("o", BLUE), "pruned": ("v", PALE), "failed": ("x", ORANGE)}


def plot_study(found: dict[str, Any], log_keys: Collection[str], folder: Path) -> None:
    """history.png, importance.png (from a few trials on) and parallel.png. `found` is what `railcar tune --json`
    prints; `log_keys` are those that were searched by factors."""
    folder.mkdir(exist_ok=True)
    _plot_history(found, folder / "history.png")
    if found["importances"]:
        _plot_importance(found["importances"], folder / "importance.png")
    ended = [one for one in found["trials"] if one["state"] == "finished"]
    if len(ended) > 1:
        _plot_parallel(ended, found, log_keys, folder / "parallel.png")


def _plot_history(found: dict[str, Any], path: Path) -> None:
    """Each trial's value, and the best until then."""
    figure = _figure(8.0, 4.0)
    axes = figure.subplots()
    for state, (mark, colour) in _MARKS.items():
        chosen = [one for one in found["trials"] if one["state"] == state and one["value"] is not None]
        if chosen:
            numbers, values = [one["number"] for one in chosen], [one["value"] for one in chosen]
            axes.scatter(numbers, values, marker=mark, color=colour, s=30, label=state, zorder=3)
    numbers, best = _best_until(found)
    axes.step(numbers, best, where="post", color=GREEN, linewidth=1.8, label="best until then")
    way = "higher" if found["is_higher_better"] else "lower"
    axes.set_title(f"{_name(found['measure']).capitalize()} of each trial ({way} is better)", loc="left")
    axes.set_xlabel("trial; the first is the recipe as it was")
    _scale(axes, found)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    _save(figure, path)


def _scale(axes: Any, found: dict[str, Any]) -> None:
    """By factors for losses; of accuracies a trial that went wild shall not hide the differences between others."""
    values = [one["value"] for one in found["trials"] if one["value"] is not None]
    if not found["is_higher_better"] and values and min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif values:
        low, high = np.quantile(values, [0.15, 1.0])
        room = max(high - low, 1e-9) * 0.25
        axes.set_ylim(low - room, high + room)


def _best_until(found: dict[str, Any]) -> tuple[list[int], list[float]]:
    choose = max if found["is_higher_better"] else min
    numbers, best = [], []
    for one in found["trials"]:
        if one["state"] == "finished" and one["value"] is not None:
            numbers.append(one["number"])
            best.append(choose(best[-1], one["value"]) if best else one["value"])
    return numbers, best


def _plot_importance(importances: dict[str, float], path: Path) -> None:
    figure = _figure(8.0, 0.8 + 0.4 * len(importances))
    axes = figure.subplots()
    names = [key.rpartition(".")[2] for key in importances][::-1]
    shares = list(importances.values())[::-1]
    axes.barh(names, shares, color=BLUE, height=0.6)
    for place, share in enumerate(shares):
        axes.text(share + 0.01, place, f"{share:.0%}", va="center", color=INK, fontsize=9)
    axes.set_xlim(0, max(shares) * 1.15 + 0.02)
    axes.set_xticks([])
    axes.set_title("What decides how good a trial is", loc="left")
    for side in axes.spines.values():
        side.set_visible(False)
    _save(figure, path)


def _plot_parallel(
    trials: Sequence[dict[str, Any]], found: dict[str, Any], log_keys: Collection[str], path: Path
) -> None:
    """A line a trial, through its values; the darker, the better."""
    keys = list(trials[0]["settings"])
    figure = _figure(max(8.0, 1.5 * len(keys) + 2), 4.4)
    axes = figure.subplots()
    columns = {key: _place([one["settings"][key] for one in trials], key in log_keys) for key in keys}
    values = np.array([one["value"] for one in trials])
    what = _name(found["measure"])
    ranks = (-values if found["is_higher_better"] else values).argsort().argsort()
    order = ranks.argsort()[::-1]
    for index in order:
        goodness = 1 - ranks[index] / max(len(trials) - 1, 1)
        heights = [columns[key][0][index] for key in keys]
        width, colour = (2.4, ORANGE) if ranks[index] == 0 else (1.2, _BLUES(0.25 + 0.75 * goodness))
        axes.plot(range(len(keys)), heights, color=colour, linewidth=width, zorder=3 if ranks[index] == 0 else 2)
    for place, key in enumerate(keys):
        axes.axvline(place, color=PALE, linewidth=0.8, zorder=1)
        for height, label in columns[key][1]:
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
            axes.text(place + 0.04, height, label, fontsize=8, color=INK, va="center", zorder=4, bbox=paper)
    axes.set_xticks(range(len(keys)), [key.rpartition(".")[2] for key in keys])
    axes.set_yticks([])
    axes.set_xlim(-0.2, len(keys) - 0.4)
    axes.set_title(f"Trials that went to their end: the best in orange, the darker the better ({what})", loc="left")
    for side in axes.spines.values():
        side.set_visible(False)
    _save(figure, path)


def _place(values: Sequence[Any], is_log: bool) -> tuple[list[float], list[tuple[float, str]]]:
    """Heights from 0 to 1, and labels at some of them."""
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        numbers = [math.log(one) if is_log else float(one) for one in values]
        low, high = min(numbers), max(numbers)
        heights = [(one - low) / (high - low) if high > low else 0.5 for one in numbers]
        ends = {round(heights[numbers.index(one)], 3): one for one in (low, high)}
        return heights, [(at, _label(math.exp(one) if is_log else one, values)) for at, one in ends.items()]
    names = sorted({json.dumps(one) for one in values}, key=lambda name: (len(name), name))
    places = {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
    labels = [(place, name.strip("[]").replace(", ", "-").replace('"', "") or "none") for name, place in places.items()]
    return [places[json.dumps(one)] for one in values], labels


def _label(number: float, values: Sequence[Any]) -> str:
    return f"{round(number):,}" if all(isinstance(one, int) for one in values) else f"{number:.3g}"


def _name(measure: str) -> str:
    return {"val_loss": "validation loss", "val_accuracy": "validation accuracy"}[measure]
