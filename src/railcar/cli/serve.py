"""`railcar serve`: parse, call `workflows.serve`, print a line for each model."""

from __future__ import annotations

from pathlib import Path

import click

from railcar.cli.console import Console
from railcar.cli.options import Duration, common_options, runs_dir_option, trust_option

_ENGINES = ("auto", "litert", "onnx", "tensorflow")


@click.command()
@click.argument("sources", nargs=-1, metavar="[NAME=][RUN|ARTIFACT|EXPORT]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="0: one that is free.")
@click.option(
    "--token",
    envvar="RAILCAR_TOKEN",
    show_envvar=True,
    metavar="SECRET",
    help="What every request must bring: Authorization: Bearer SECRET. Needed where others can reach it.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="A name by which it may be asked, besides its own; may be given several times.",
)
@click.option(
    "--engine",
    type=click.Choice(_ENGINES),
    default="auto",
    show_default=True,
    help="What computes; auto: what answers soonest here.",
)
@click.option(
    "--max-batch", type=click.IntRange(1, 1024), default=32, show_default=True, help="Inputs computed at once at most."
)
@click.option(
    "--queue",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Inputs that may wait; more are refused.",
)
@click.option("--timeout", type=Duration(), default="30s", show_default=True, help="For an answer, waiting and all.")
@click.option("--max-body", type=click.IntRange(1, 1024), default=32, show_default=True, help="Of a request, in MiB.")
@click.option("--access-log", metavar="FILE|-", help="A JSON line for each request, to a file, or to stderr.")
@trust_option
@runs_dir_option
@common_options()
def command(
    sources: tuple[str, ...],
    host: str,
    port: int,
    token: str | None,
    allow_hosts: tuple[str, ...],
    engine: str,
    max_batch: int,
    queue: int,
    timeout: float,
    max_body: int,
    access_log: str | None,
    trust: bool,
    runs_dir: Path | str,
    console: Console,
) -> None:
    """Serve models over HTTP: a page to try them at /, TensorFlow Serving's REST API, the Open Inference Protocol, and
    POST /predict for files and JSON.

    Each is a run (the newest if none is given), an artifact's folder, an export of --format litert or onnx, or the
    folder of its versions: a newer one is taken as soon as it is there. NAME= calls it otherwise than it is called.
    Ctrl-C ends it.
    """
    from railcar.workflows.serve import serve

    serve(
        sources,
        host=host,
        port=port,
        token=token,
        allow_hosts=allow_hosts,
        engine=engine,
        max_batch=max_batch,
        queue=queue,
        timeout_s=timeout,
        max_body=max_body << 20,
        access_log=access_log,
        trust=trust,
        runs_dir=runs_dir,
        say=console.note,
    )
