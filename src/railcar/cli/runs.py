"""`railcar runs list|watch|show|compare|delete`: parse and print. What is known of runs is `railcar.runs.index`'s."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option
from railcar.cli.runs_compare import command as compare_command
from railcar.cli.runs_list import command as list_command
from railcar.cli.runs_list import steps_text, to_plain
from railcar.cli.runs_watch import command as watch_command
from railcar.cli.text import format_age, format_duration, format_size, share_text, value_text
from railcar.errors import RailcarError, UsageError
from railcar.runs.index import (
    RunSummary,
    foreign_content,
    read_evaluation,
    read_recipe,
)
from railcar.runs.place import measure_run, name_run, open_run, remove_run, summarize_at
from railcar.runs.run_dir import RunDir, read_json


@click.group("runs")
def command() -> None:
    """List, watch, show, compare and delete runs.

    RUN is a run's name, a unique prefix of it, its folder, or its address in a bucket; left out, it is the newest one.
    """


command.add_command(list_command)
command.add_command(watch_command)


@command.command("show")
@click.argument("wanted", metavar="[RUN]", required=False)
@runs_dir_option
@common_options(json=True)
def show_command(wanted: str | None, runs_dir: Path | str, console: Console) -> None:
    """One run: what it was, what was decided and why, what came of it, and its files."""
    run = open_run(wanted, runs_dir)
    summary, manifest, recipe = summarize_at(run), run.read_manifest(), read_recipe(run)
    decisions, evaluation = read_json(run.decisions_path) or {}, read_evaluation(run)
    if summary is None or summary.state == "damaged":
        raise foreign_content(run.path)
    if console.json:
        document = {"manifest": manifest, "recipe": recipe, "decisions": decisions, "evaluation": evaluation}
        console.json_result({**to_plain(summary), **document, "files": _files(run)})
        return
    try:
        parts = [
            _heading(summary, manifest),
            _section("Recipe", _recipe_lines(recipe)),
            _section("Decided automatically", _decision_lines(decisions)),
            _section("Result", _result_lines(evaluation)),
            _section("Files", [f"{name:<22} {size}" for name, size in _files(run).items()]),
        ]
    except (TypeError, ValueError, AttributeError) as error:
        raise foreign_content(run.path) from error
    console.result("\n\n".join(part for part in parts if part))


command.add_command(compare_command)


@command.command("delete")
@click.argument("wanted", metavar="RUN...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Delete a run that is going on, too.")
@runs_dir_option
@common_options()
def delete_command(wanted: tuple[str, ...], yes: bool, force: bool, runs_dir: Path | str, console: Console) -> None:
    """Delete runs with all their files."""
    runs = list(dict.fromkeys(name_run(name, runs_dir) for name in wanted))
    if not yes:
        _ask(runs)
    for run in runs:
        remove_run(run, force=force)
        console.note(f"deleted {run.address or run.path}")


def _ask(runs: Sequence[RunDir]) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked whether to delete: there is no terminal", hint="add --yes")
    for run in runs:
        click.echo(f"{run.address or run.path}  ({format_size(measure_run(run))})", err=True)
    what = "this run" if len(runs) == 1 else f"these {len(runs)} runs"
    if not click.confirm(f"Delete {what} with all files?", default=False, err=True):
        raise RailcarError("nothing was deleted", hint="answer y to delete")


def _heading(summary: RunSummary, manifest: dict[str, Any]) -> str:
    lines = [summary.name]
    took = f", took {format_duration(summary.took_s)}" if summary.took_s is not None else ""
    lines.append(f"{summary.state} at step {steps_text(summary)}, started {format_age(summary.started)} ago{took}")
    data = manifest.get("data") or {}
    sizes = [f"{data[f'n_{side}']:,} {side}" for side in ("train", "validation", "test") if data.get(f"n_{side}")]
    if data.get("source"):
        lines.append(f"data: {data['source']} ({', '.join(sizes)})" if sizes else f"data: {data['source']}")
    if manifest.get("devices"):
        devices = manifest["devices"]
        lines.append(f"devices: {', '.join(map(str, devices)) if isinstance(devices, list) else devices}")
    return "\n".join(lines)


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""


def _recipe_lines(recipe: dict[str, Any]) -> list[str]:
    """The keys that say most; all of them are in recipe.yaml."""
    model, training = recipe.get("model") or {}, recipe.get("training") or {}
    optimizer = training.get("optimizer") or {}
    shown = {
        "seed": recipe.get("seed"),
        **{f"model.{key}": model.get(key) for key in ("name", "filters", "kernel_size", "dense", "dropout")},
        **{f"training.{key}": training.get(key) for key in ("steps", "epochs", "batch_size")},
        **{
            f"training.optimizer.{key}": optimizer.get(key)
            for key in ("name", "learning_rate", "schedule", "weight_decay")
        },
    }
    return [f"{key:<33} {value_text(value)}" for key, value in shown.items() if value is not None and value != []]


def _decision_lines(decisions: dict[str, Any]) -> list[str]:
    lines = []
    for key, decision in decisions.items():
        if isinstance(decision, dict):
            text = f"{value_text(decision.get('value'))}: {decision.get('reason', '')}"
            lines += textwrap.wrap(f"{key:<25} {text}", 77, subsequent_indent=" " * 26, break_long_words=False)
    return lines


def _result_lines(evaluation: dict[str, Any]) -> list[str]:
    lines = [f"checkpoint {evaluation['checkpoint']}"] if evaluation.get("checkpoint") else []
    for side in ("test", "validation"):
        found = evaluation.get(side)
        if not found:
            continue
        interval = found.get("accuracy_95")
        between = f" (95%: {interval[0]:.2%} to {interval[1]:.2%})" if interval else ""
        n_images = f" of {found['n']:,}" if found.get("n") else ""
        if "mae" in found:
            lines.append(f"{side:<11}mean error {found['mae']:.5g}, R2 {found['r2']:.4f}{n_images}")
        else:
            lines.append(f"{side:<11}accuracy {share_text(found.get('accuracy'))}{n_images}{between}")
        if found.get("loss") is not None:
            lines.append(f"{'':<11}loss {found['loss']:.4g}")
    return lines


def _files(run: RunDir) -> dict[str, str]:
    """What lies in the run's folder, folders with a slash, and how big each is."""
    entries = sorted(path for path in run.path.iterdir() if not path.name.startswith("."))
    return {path.name + ("/" if path.is_dir() else ""): format_size(_size(path)) for path in entries}


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_dir():
        return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
    return path.lstat().st_size
