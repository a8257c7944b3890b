"""`railcar train`: parse, call `workflows.train`, print the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option, set_option


@click.command()
@click.argument("data", required=False, metavar="[DATA|RECIPE]")
@set_option
@click.option("--label", metavar="COLUMN", help="The column of the labels, for CSV files.")
@click.option("--name", metavar="NAME", help="Starts the name of the run's folder.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Go on with a run that was stopped: the newest, or --resume=RUN. With --set training.steps=N, make it longer.",
)
@click.option("--from", "from_run", metavar="RUN", help="Begin a new run with the weights of RUN's best checkpoint.")
@runs_dir_option
@common_options(json=True)
def command(
    data: str | None,
    overrides: tuple[str, ...],
    label: str | None,
    name: str | None,
    resume: str | None,
    from_run: str | None,
    runs_dir: Path,
    console: Console,
) -> None:
    """Train a model on DATA, or as RECIPE says, then evaluate and keep it.

    DATA is a folder with one folder of images for each class, a CSV of pixels, an npz, a folder of IDX files, or the
    name of a known set (mnist, mnist-sample). RECIPE is a YAML or Python file, or a bundled recipe's name. With
    neither, the recipe mnist is trained on the embedded sample, without a network.
    """
    from railcar.workflows.inputs import resolve_input, with_name

    if label is not None:
        overrides = (*overrides, f"data.label={label}")
    # A fault of the recipe is told before anything else is imported.
    is_new = resume is None and from_run is None
    given = resolve_input(data, with_name(overrides, name)) if is_new else data

    from railcar.workflows.train import train

    run = train(
        given,
        overrides=() if is_new else overrides,
        name=None if is_new else name,
        resume=False if resume is None else resume or True,
        from_run=from_run,
        runs_dir=runs_dir,
        quiet=console.quiet,
        verbose=console.verbose,
        color=console.color,
    )
    if console.json:
        console.json_result(
            {
                "run": run.name,
                "path": str(run.path),
                "evaluation": run.evaluation,
                "seconds_training": run.seconds_training,
                "examples_per_s": run.examples_per_s,
            }
        )
        return
    console.result(format_result(run))


def format_result(run: Any) -> str:
    """The table at the end of a training, and what to do next."""
    from railcar.reporting.tables import format_evaluation

    lines = [
        "",
        format_evaluation(run.evaluation),
        "",
        f"run   {run.path}",
        "next  railcar predict IMAGE...  ·  railcar runs show  ·  railcar tensorboard",
    ]
    return "\n".join(lines)
