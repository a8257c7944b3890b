"""`railcar tune`: parse, call `workflows.tune`, print what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from railcar.cli.console import Console
from railcar.cli.options import Duration, common_options, recipe_options, runs_dir_option
from railcar.errors import UsageError

if TYPE_CHECKING:
    from railcar.workflows.tune import Found


@click.command()
@click.argument("data", required=False, metavar="[DATA|RECIPE]")
@recipe_options
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="How many trainings are made in all: 20.")
@click.option(
    "--time",
    "time_s",
    type=Duration(),
    metavar="TIME",
    help="How long all may take: 90s, 10m, 1h30m.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, metavar="N", help="Trainings that go on at a time.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[SEARCH]",
    help="Go on with a search that was stopped: the newest, or --resume=SEARCH. With --trials, make it longer.",
)
@runs_dir_option
@common_options(json=True)
def command(
    data: str | None,
    overrides: tuple[str, ...],
    trials: int | None,
    time_s: float | None,
    workers: int,
    resume: str | None,
    runs_dir: Path | str,
    console: Console,
) -> None:
    """Search for a better recipe for DATA, or among the values that RECIPE leaves open.

    In a recipe {search: [1.0e-4, 1.0e-2], log: true} stands for a range, and {choose: [3, 5]} for a choice. Where
    nothing is open, length, batch size, learning rate and what the network has of dropout, width and kernel size are
    searched. The best recipe is written, and `railcar train` takes it.
    """
    if resume is not None and (data is not None or overrides):
        raise UsageError(
            "a search that goes on keeps its data and recipe", hint="leave them out, or begin a new search"
        )
    from railcar.workflows.tune import tune

    look: dict[str, Any] = {"quiet": console.quiet, "verbose": console.verbose, "color": console.color}
    found = tune(
        data,
        overrides=overrides,
        n_trials=trials,
        time_s=time_s,
        workers=workers,
        resume=False if resume is None else resume or True,
        runs_dir=runs_dir,
        **look,
    )
    if console.json:
        console.json_result(found.to_dict())
        return
    console.result(format_found(found))


def format_found(found: Found) -> str:
    """The table at the end of a search, and what to do next."""
    from railcar.reporting.tables import format_study

    return format_study(found.to_dict())
