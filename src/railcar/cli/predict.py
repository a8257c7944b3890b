"""`railcar predict`: parse, call `predict_each`, print a line (or a JSON line) for each input."""

from __future__ import annotations

import json
from pathlib import Path

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option
from railcar.errors import DataError, UsageError


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
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="How many classes to show.")
@runs_dir_option
@common_options(json=True)
def command(
    inputs: tuple[str, ...],
    run: str | None,
    artifact: Path | None,
    texts: tuple[str, ...],
    top: int,
    runs_dir: Path | str,
    console: Console,
) -> None:
    """Say what each INPUT is: image files, folders of images, text files, or files of rows (CSV, JSONL, Parquet, Arrow)
    of pixels, texts or a table's columns.

    With --json, one JSON line for each example.
    """
    from railcar.workflows.predict import predict_each

    if not inputs and not texts:
        raise UsageError("nothing to predict", hint="give files, a folder or --text: railcar predict cat.jpg")
    if run is not None and artifact is not None:
        raise UsageError("--run and --artifact exclude each other", hint="give one of the two")
    unreadable: list[DataError] = []
    n_done = 0
    for one in predict_each(inputs, run=run, artifact=artifact, runs_dir=runs_dir, top=top, texts=texts):
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
