"""`railcar runs list`: parse and print. What is known of runs is in `runs/index.py`, who is shown in `filters.py`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option
from railcar.cli.text import draw_sparkline, format_age, format_duration, format_table, result_text
from railcar.runs.filters import SORTS, parse_condition, select, sort_runs
from railcar.runs.index import RunSummary
from railcar.runs.place import find_place, list_runs_at
from railcar.runs.searches import list_searches

_STATES = ("running", "finished", "interrupted", "failed", "died", "damaged")


@click.command("list")
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only runs in this state.")
@click.option(
    "--name", metavar="PART|PATTERN", help="Only runs with this in their names, or whose names fit: 'mnist-*'."
)
@click.option(
    "--where",
    metavar="KEY=VALUE",
    multiple=True,
    help="Only runs that are so, by a key of the recipe or a result: model.name=cnn, 'test.accuracy>0.97'. "
    "May be given several times.",
)
@click.option(
    "--sort", type=click.Choice(SORTS), default="age", show_default=True, help="Ascending; best results last."
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N of them.")
@runs_dir_option
@common_options(json=True)
def command(
    states: tuple[str, ...],
    name: str | None,
    where: tuple[str, ...],
    sort: str,
    reverse: bool,
    last: int | None,
    runs_dir: Path | str,
    console: Console,
) -> None:
    """Runs and searches, oldest first: state, steps, results, how validation went, age and time taken."""
    conditions = [parse_condition(text) for text in where]
    place = find_place(runs_dir)
    found = list_runs_at(place) + ([] if place.address else list_searches(place.folder))
    kept = select(found, states=states, name=name, conditions=conditions)
    shown = sort_runs(kept, sort, is_reverse=reverse)[-last if last else None :]
    if console.json:
        console.json_result([to_plain(summary) for summary in shown])
    elif not found:
        console.note(f"there are no runs in {runs_dir}; make one with: railcar train")
    elif not shown:
        console.note(f"none of the {len(found)} runs in {runs_dir} fits")
    else:
        console.result(_build_table(shown, keeps={"age": "", "steps": "step"}.get(sort, sort)))


def to_plain(summary: RunSummary) -> dict[str, Any]:
    """A summary as JSON has it."""
    started = summary.started.isoformat() if summary.started else None
    return {**asdict(summary), "path": str(summary.path), "started": started}


def steps_text(summary: RunSummary) -> str:
    """468, 120/468 or 12/20 trials."""
    if summary.step is None:
        return "-"
    steps = str(summary.step) if summary.steps in (None, summary.step) else f"{summary.step}/{summary.steps}"
    return f"{steps} trials" if summary.kind == "search" else steps


_COLUMNS: dict[str, Callable[[RunSummary], str]] = {
    "name": lambda one: one.name,
    "state": lambda one: one.state,
    "step": steps_text,
    "val": lambda one: result_text(one.val_accuracy, one.val_mae, one.val_loss),
    "test": lambda one: result_text(one.test_accuracy, one.test_mae, one.test_loss),
    "curve": lambda one: draw_sparkline(one.curve),
    "age": lambda one: format_age(one.started),
    "took": lambda one: format_duration(one.took_s),
}
# Too narrow a terminal takes them in this order; names never: they are there to be copied.
_DISPENSABLE = ("took", "age", "curve", "step", "val")


def _build_table(summaries: Sequence[RunSummary], keeps: str) -> str:
    """As wide as the terminal: what matters least is left out first, the column that it `keeps` never."""
    columns, width = list(_COLUMNS), shutil.get_terminal_size().columns
    dispensable = [one for one in _DISPENSABLE if one != keeps]
    if "utf" not in (sys.stdout.encoding or "utf").lower():
        columns.remove("curve")
        dispensable.remove("curve")
    while True:
        rows = [columns, *([_COLUMNS[column](one) for column in columns] for one in summaries)]
        text = format_table(rows, right_from=2)
        if not dispensable or max(map(len, text.splitlines())) <= width:
            return text
        columns.remove(dispensable.pop(0))
