"""`railcar report`: parse, call `workflows.report`, say where the page is."""

from __future__ import annotations

from pathlib import Path

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option, trust_option


@click.command()
@click.argument("run", required=False)
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@click.option(
    "--explain",
    is_flag=True,
    help="Make anew what only the model and its data can tell: mistakes and what it looked at, labels in doubt.",
)
@trust_option
@runs_dir_option
@common_options(json=True)
def command(run: str | None, opens: bool, explain: bool, trust: bool, runs_dir: Path | str, console: Console) -> None:
    """Write report.html of RUN: one page that opens without a network.

    RUN is a name, a unique prefix, a folder or an address; the newest if not given. A training writes the page at its
    end; this writes it anew, from the run's files.
    """
    from railcar.workflows.report import report

    path = report(
        run,
        explain=explain,
        trust=trust,
        runs_dir=runs_dir,
        quiet=console.quiet,
        verbose=console.verbose,
        color=console.color,
    )
    if console.json:
        console.json_result({"report": str(path)})
    else:
        console.result(str(path))
    if not (path.parent / "report.json").exists():
        console.note("railcar report --explain adds the worst mistakes, and what the model looked at")
    if opens:
        open_page(path, console)


def open_page(path: Path, console: Console) -> None:
    """Open a file in the user's browser; where there is none, that is told."""
    import webbrowser

    if not webbrowser.open(path.absolute().as_uri()):
        console.note("no browser was found: open the page by hand")
