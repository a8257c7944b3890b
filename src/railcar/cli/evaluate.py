"""`railcar evaluate`: parse, call `workflows.evaluate`, print the table."""

from __future__ import annotations

from pathlib import Path

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option, trust_option


@click.command()
@click.argument("run", required=False)
@click.option("--data", metavar="DATA", help="Other data to measure on: a path or the name of a known set.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), help="Which split; test if there is one.")
@click.option("--checkpoint", metavar="best|last|STEP", help="Which checkpoint; the artifact's if not given.")
@click.option(
    "--by",
    metavar="COLUMN",
    multiple=True,
    help="The figures for each value of a column of the data, used by the model or not; may be repeated.",
)
@click.option(
    "--calibrate", is_flag=True, help="Make its probabilities believable, by the validation split; answers stay."
)
@trust_option
@runs_dir_option
@common_options(json=True)
def command(
    run: str | None,
    data: str | None,
    split: str | None,
    checkpoint: str | None,
    by: tuple[str, ...],
    calibrate: bool,
    trust: bool,
    runs_dir: Path | str,
    console: Console,
) -> None:
    """Measure the model of RUN (a name, a unique prefix, a folder or an address; the newest if not given) on
    its test split."""
    from railcar.reporting.group_tables import format_groups
    from railcar.reporting.tables import format_details, format_evaluation
    from railcar.workflows.evaluate import evaluate

    evaluation = evaluate(
        run,
        data=data,
        split=split,
        checkpoint=checkpoint,
        by=by,
        calibrate=calibrate,
        trust=trust,
        runs_dir=runs_dir,
        quiet=console.quiet,
        verbose=console.verbose,
        color=console.color,
    )
    if console.json:
        console.json_result(evaluation)
    else:
        parts = [format_evaluation(evaluation), format_details(evaluation), *format_groups(evaluation)]
        console.result("\n\n".join(parts))
