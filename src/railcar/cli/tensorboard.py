"""`railcar tensorboard`: starts TensorBoard on the event files of one run or several, or of a search."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option
from railcar.errors import NotFound, OutputError, UsageError
from railcar.registry import check_installed
from railcar.runs.place import open_run
from railcar.runs.run_dir import RunDir

_N_PORTS = 100
# What a run writes is seen after so long; new trials of a search, too.
_RELOAD_S = 2


@click.command("tensorboard")
@click.argument("wanted", metavar="[RUN]...", nargs=-1)
@click.option(
    "--search",
    is_flag=False,
    flag_value="",
    metavar="[SEARCH]",
    help="Show the trials of a search by railcar tune: the newest, or --search=SEARCH, its name or folder.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=6006,
    show_default=True,
    help="The port; the next free one when it is taken.",
)
@runs_dir_option
@common_options()
def command(
    wanted: tuple[str, ...], search: str | None, host: str, port: int, runs_dir: Path | str, console: Console
) -> None:
    """Open runs in TensorBoard: scalars, histograms, the graph, mistakes, what the network finds alike.

    RUN is a run's name, a unique prefix of it, its folder, or its address in a bucket; left out, it is the newest one.
    Several are shown in the same plots. They may still be going on. Ctrl-C ends it.
    """
    check_installed("tensorboard", package="TensorBoard", extra="cpu", needed_for="railcar tensorboard")
    with ExitStack() as stack:
        folder, refresh = _gather(wanted, search, runs_dir, stack)
        free_port = _find_port(host, port)
        if free_port != port:
            console.note(f"port {port} is taken, using {free_port}")
        url = _start(folder, host, free_port)
        console.result(url)
        console.note("Ctrl-C ends it")
        try:
            while True:
                time.sleep(_RELOAD_S)
                refresh()
        except KeyboardInterrupt:
            console.note("\nended")


def _gather(
    wanted: tuple[str, ...], search: str | None, runs_dir: Path | str, stack: ExitStack
) -> tuple[Path, Callable[[], None]]:
    """The folder for TensorBoard, and what adds to it what has come since. A folder of links is gone when `stack` is
    left."""
    if search is None:
        runs = [open_run(name, runs_dir) for name in wanted] or [open_run(None, runs_dir)]
        for run in runs:
            _check_events(run)
        if len(runs) == 1:
            return runs[0].tensorboard, lambda: None
        folder = _make_folder(stack)
        _link(runs, folder)
        return folder, lambda: None
    if wanted:
        raise UsageError("--search shows the trials of a search", hint="leave the runs out, or --search")
    if not isinstance(runs_dir, Path):
        raise UsageError("a search is kept in a folder", hint="leave the bucket out of --runs-dir")
    from railcar.workflows.tune import find_search
    from railcar.workflows.tune_board import link_search

    found = find_search(runs_dir, search or True)
    if not (found / "tensorboard").is_dir():
        raise NotFound(f"{found}: none of its trials has ended", hint="wait for the first one")
    folder = _make_folder(stack)
    link_search(found, folder)
    return folder, lambda: link_search(found, folder)


def _make_folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="railcar-tensorboard-")))


def _check_events(run: RunDir) -> None:
    if not any(run.tensorboard.rglob("*.xplane.pb")) and not any(run.tensorboard.rglob("*tfevents*")):
        raise NotFound(
            f"{run.tensorboard}: the run has nothing for TensorBoard",
            hint="train with training.tensorboard=true, which is the default",
        )


def _link(runs: Sequence[RunDir], folder: Path) -> None:
    """TensorBoard shows the subfolders of one folder as runs."""
    for run in dict.fromkeys(runs):
        (folder / run.name).symlink_to(run.tensorboard.absolute(), target_is_directory=True)


def _find_port(host: str, wanted: int) -> int:
    """`wanted` or the first free one of the hundred above it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(wanted, min(wanted + _N_PORTS, 65536)):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except PermissionError as error:
                raise OutputError(f"port {port}: not allowed", hint="choose --port 1024 or higher") from error
            except OSError as error:
                if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                    raise OutputError(f"{host}: is no address of this computer", hint="try --host 127.0.0.1") from error
                continue
        return port
    raise OutputError(f"ports {wanted} to {wanted + _N_PORTS - 1} are all taken", hint="choose another with --port")


def _start(folder: Path, host: str, port: int) -> str:
    """Start the server in threads of this process. Returns its address."""
    # Where it finds this module, TensorBoard takes a small stand-in of its own for TensorFlow (see its compat package):
    # files on this computer need no more, and it starts seconds sooner.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    warnings.filterwarnings("ignore", module="tensorboard|pkg_resources|google")
    from tensorboard import program

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = program.TensorBoard()
    # Its faster loader is a program of its own, not there on all systems, and announces itself; runs are small.
    options = ["--reload_interval", str(_RELOAD_S), "--load_fast", "false"]
    server.configure(argv=[None, "--logdir", str(folder), "--host", host, "--port", str(port), *options])
    return server.launch()
