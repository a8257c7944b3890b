"""`railcar predict`: parse, call `predict_each`, print a line (or a JSON line) for each input."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option, trust_option
from railcar.cli.text import format_table
from railcar.errors import DataError, UsageError

if TYPE_CHECKING:
    from railcar.serving.predictor import Prediction


@click.command()
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option(
    "--run",
    metavar="RUN",
    help="Whose model: a run's name, a unique prefix, a folder or an address; the newest if not given.",
)
@click.option(
    "--artifact", type=click.Path(path_type=Path), metavar="DIR", help="The folder of an artifact, in place of a run."
)
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="A text to judge; may be given several times.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.parquet",
    help="Write all predictions there; interrupted, the same command goes on.",
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="How many classes to show.")
@trust_option
@runs_dir_option
@common_options(json=True)
def command(
    inputs: tuple[str, ...],
    run: str | None,
    artifact: Path | None,
    texts: tuple[str, ...],
    output: Path | None,
    top: int,
    trust: bool,
    runs_dir: Path | str,
    console: Console,
) -> None:
    """Say what each INPUT is: image files, folders of images, text files, or files of rows (CSV, JSONL, Parquet, Arrow)
    of pixels, texts or a table's columns; or the address of any of them.

    With --json, one JSON line for each example.
    """
    from railcar.workflows.predict import predict_each

    if not inputs and not texts:
        raise UsageError("nothing to predict", hint="give files, a folder or --text: railcar predict cat.jpg")
    if run is not None and artifact is not None:
        raise UsageError("--run and --artifact exclude each other", hint="give one of the two")
    where = {"run": run, "artifact": artifact, "runs_dir": runs_dir, "trust": trust}
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest: console.warn(str(message))
        if output is not None:
            _write_all(inputs, texts, output, where, console)
        else:
            _show_all(predict_each(inputs, **where, top=top, texts=texts), console)


def _show_all(found: Iterable[Prediction | DataError], console: Console) -> None:
    unreadable: list[DataError] = []
    n_done = 0
    for one in found:
        if isinstance(one, DataError):
            unreadable.append(one)
            console.warn(f"{one.what}; skipped")
            continue
        n_done += 1
        if console.json:
            console.result(json.dumps(one.to_dict(), ensure_ascii=False))
        elif one.value is not None:
            console.result(f"{one.input}  {one.value:.6g}")
        else:
            others = "  ".join(f"{label} {value:.1%}" for label, value in one.top[1:])
            console.result(
                f"{one.input}  {one.label} {one.probability:.1%}  ({others})" if others else f"{one.input}  {one.label}"
            )
    if unreadable:
        total = n_done + len(unreadable)
        raise DataError(f"{len(unreadable)} of {total} images could not be read", hint="the warnings above name them")


def _write_all(
    inputs: tuple[str, ...], texts: tuple[str, ...], output: Path, where: dict[str, Any], console: Console
) -> None:
    from railcar.workflows.predict_to_file import predict_to_file

    if texts:
        raise UsageError("--output is for files", hint="leave --text out, or put the texts into a .csv")
    look: dict[str, Any] = {"quiet": console.quiet, "verbose": console.verbose, "color": console.color}
    found = predict_to_file(inputs, output, **where, **look)
    if console.json:
        console.json_result({**asdict(found), "path": str(found.path)})
        return
    kept = f", {found.n_kept:,} of them by an earlier call" if found.n_kept else ""
    failed = f"; {found.n_failed:,} could not be read, see the column error" if found.n_failed else ""
    rows = [[label, f"{n:,}", f"{n / max(found.n - found.n_failed, 1):.1%}"] for label, n in found.counts.items()]
    shown = [format_table([["label", "examples", "share"], *rows[:20]], right_from=1)] if rows else []
    console.result("\n".join([*shown, f"{found.n:,} predictions in {found.path}{kept}{failed}"]))
