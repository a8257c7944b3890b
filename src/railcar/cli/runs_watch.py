"""`railcar runs watch`: parse and print. What is new of a run comes from `runs/follow.py`, how it looks is
`training/live.py`'s."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option
from railcar.cli.runs_list import steps_text, to_plain
from railcar.cli.text import format_duration, result_text
from railcar.errors import RunError
from railcar.runs.follow import Followed, follow
from railcar.runs.index import RunSummary, read_recipe
from railcar.runs.run_dir import AWAY, read_json

if TYPE_CHECKING:
    from railcar.training.callbacks import BestScore
    from railcar.training.progress import Reporter, TrainingBar

_NOUNS = {"text": "texts", "table": "rows"}


@click.command("watch")
@click.argument("wanted", metavar="[RUN]", required=False)
@click.option("--json", "as_lines", is_flag=True, help="Print each row of metrics as a line of JSON, the result last.")
@runs_dir_option
@common_options()
def command(wanted: str | None, as_lines: bool, runs_dir: Path | str, console: Console) -> None:
    """Follow a run that another process trains, until it ends.

    Left out, RUN is the newest one that goes on. Ctrl-C ends the watching, not the run. The status is 0 when the run
    has finished.
    """
    with follow(wanted, runs_dir) as followed:
        try:
            summary = _pass_on(followed) if as_lines else _show(followed, console)
        except KeyboardInterrupt:
            console.note(f"{followed.run.name} goes on; watch it again with: railcar runs watch {followed.reference}")
            raise
        if as_lines:
            _print_line(to_plain(summary))
        _conclude(summary, followed, console, is_told=not as_lines)


def _pass_on(followed: Followed) -> RunSummary:
    while True:
        summary = followed.summary()
        for row in followed.read_rows():
            _print_line(row)
        if summary.state != "running":
            return summary
        time.sleep(followed.poll_every_s)


def _print_line(document: Mapping[str, Any]) -> None:
    print(json.dumps(document, ensure_ascii=False, default=str), flush=True)


def _show(followed: Followed, console: Console) -> RunSummary:
    from railcar.training.callbacks import BestScore
    from railcar.training.progress import Reporter

    with closing(Reporter(quiet=console.quiet, color=console.color)) as reporter:
        summary = _wait_for_length(followed)
        _say_what(followed, reporter)
        data = followed.run.read_manifest().get("data") or {}
        best = BestScore(_read_best(followed))
        n_steps = summary.steps or summary.step or 1
        with reporter.bar(n_steps=n_steps, first_step=0, noun=_NOUNS.get(str(data.get("kind")), "images")) as bar:
            bar.enter("no step is done yet")
            is_past = True
            while True:
                summary = followed.summary()
                rows = followed.read_rows()
                for row in rows:
                    _tell(row, bar, best, is_told=not is_past)
                if rows and is_past and summary.state == "running":
                    bar.tell(int(rows[-1]["step"]), rows[-1])
                is_past = is_past and not rows
                if summary.state != "running":
                    return summary
                if (summary.step or 0) >= n_steps:
                    bar.enter("trained; evaluating")
                time.sleep(followed.poll_every_s)


def _wait_for_length(followed: Followed) -> RunSummary:
    """A run has its folder a moment before it says how many steps it will have."""
    while True:
        summary = followed.summary()
        if summary.state != "running" or summary.steps is not None:
            return summary
        time.sleep(followed.poll_every_s)


def _say_what(followed: Followed, reporter: Reporter) -> None:
    reporter.say(f"run   {followed.reference}")
    away = read_json(followed.run.path / AWAY)
    if away:
        reporter.say(f"      on {away.get('machine')}: its rows come with what is brought home from there", indent=6)


def _read_best(followed: Followed) -> str:
    training = read_recipe(followed.run).get("training")
    best = training.get("best") if isinstance(training, dict) else None
    return best if best in ("val_loss", "val_accuracy") else "last"


def _tell(row: dict[str, Any], bar: TrainingBar, best: BestScore, *, is_told: bool) -> None:
    step = int(row["step"])
    bar.enter("")
    bar.update(step, row, at_s=row.get("seconds"))
    values = {key: value for key, value in row.items() if key.startswith("val_")}
    if values:
        is_best = values.get(best.metric) is not None and best.improves(step, values)
        bar.validated(step, values, is_best=is_best, is_told=is_told)


def _conclude(summary: RunSummary, followed: Followed, console: Console, *, is_told: bool) -> None:
    """Print what came of it. Raises `RunError` unless it has finished."""
    if summary.state != "finished":
        reason = followed.run.read_manifest().get("reason") if summary.state != "damaged" else None
        why = f": {reason}" if isinstance(reason, str) else ""
        mend = f"go on with: railcar train --resume={followed.reference}"
        raise RunError(f"{summary.name}: {summary.state} at step {steps_text(summary)}{why}", hint=mend)
    if not is_told:
        return
    lines = [f"{summary.name}: finished, {steps_text(summary)} steps, took {format_duration(summary.took_s)}"]
    results = {
        "test": result_text(summary.test_accuracy, summary.test_mae, summary.test_loss),
        "validation": result_text(summary.val_accuracy, summary.val_mae, summary.val_loss),
    }
    lines += [f"{side:<11}{text}" for side, text in results.items() if text != "-"]
    console.result("\n".join(lines))
