"""`railcar serve`: parse, call `workflows.serve`, print a line for each model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from railcar.cli.console import Console
from railcar.cli.options import Duration, common_options, runs_dir_option, trust_option
from railcar.cli.rental import make_rental, rental_options
from railcar.errors import UsageError
from railcar.registry import ENGINES


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
    type=click.Choice(ENGINES),
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
@rental_options(with_on=True, deed="serve")
@click.option(
    "--ssh-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --on: for OpenSSH to read in place of ~/.ssh/config.",
)
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
    rental: dict[str, Any] | None,
    ssh_config: Path | None,
    runs_dir: Path | str,
    console: Console,
) -> int:
    """Serve models over HTTP: a page to try them at /, TensorFlow Serving's REST API, the Open Inference Protocol, and
    POST /predict for files and JSON.

    Each is a run (the newest if none is given), an artifact's folder, an export of --format litert or onnx, or the
    folder of its versions: a newer one is taken as soon as it is there. NAME= calls it otherwise than it is called.
    Ctrl-C ends it. With --on it is done on another machine, and reached here.
    """
    if rental is not None:
        words = [f"--allow-host={one}" for one in allow_hosts] + [f"--max-batch={max_batch}", f"--queue={queue}"]
        words += [f"--timeout={timeout:g}s", f"--max-body={max_body}"]
        words += ["--access-log=-"] if access_log == "-" else []
        if host not in ("127.0.0.1", "localhost"):
            raise UsageError(f"--host {host}: with --on it is reached on 127.0.0.1 here", hint="leave --host out")
        if access_log not in (None, "-"):
            raise UsageError("with --on the requests are logged there", hint="write --access-log -: they appear here")
        chosen = {"port": port, "token": token, "engine": engine, "trust": trust, "runs_dir": runs_dir}
        return _serve_on({**rental, "ssh_config": ssh_config}, sources, words, chosen, console)
    if ssh_config is not None:
        raise UsageError("--ssh-config is for serving on a machine", hint="say on which with --on")
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
    return 0


def _serve_on(
    given: dict[str, Any], sources: tuple[str, ...], words: list[str], chosen: dict[str, Any], console: Console
) -> int:
    from dataclasses import replace

    from railcar.recipe.schema import Recipe
    from railcar.workflows.serve_away import serve_on

    rental = replace(make_rental(given, Recipe()), ssh_config=given["ssh_config"])
    served = serve_on(rental, sources, words, **chosen, tell=console.note, show=console.pass_on)
    if served.status is not None:
        return served.status
    name, here = served.machine, chosen["port"] or 8501
    console.result(
        f"it goes on, on {name}, until: railcar machine stop {name}\n"
        f"next  railcar machine ssh {name} --tunnel {here}:{served.port}  ·  railcar machine logs {name}"
    )
    return 0
