"""The command `railcar`: finds the command that was asked for, runs it, and turns every error into words and a status.

Owns the table of commands, exit statuses and the last line of defence against tracebacks. Does not know what any
command does: its file in this folder is imported when it is run, and for `--help` not at all.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import click

from railcar import __version__
from railcar.cli.console import Console, print_error, wants_color
from railcar.cli.options import verbosity_flags
from railcar.errors import RailcarError, UsageError

# name -> the line that `railcar --help` shows; the command is `command` of `railcar.cli.<name>`
COMMANDS = {
    "train": "Train a model on a data set, or as a recipe says.",
    "tune": "Search for a better recipe.",
    "evaluate": "Measure a run's model on its test split.",
    "report": "Write a page about a run: results, mistakes, curves, advice.",
    "predict": "Say what is on images, or in the rows of a CSV file.",
    "export": "Write a run's model for other runtimes.",
    "serve": "Serve models over HTTP, with a page to try them.",
    "data": "Check data, prepare it, and look after the cache.",
    "machine": "Use other machines: your own over ssh, or rented ones.",
    "runs": "List, watch, show, compare and delete runs.",
    "tensorboard": "Open runs in TensorBoard.",
    "recipe": "List, show and check recipes.",
    "bench": "Measure how fast this machine trains, and how fast it could.",
    "doctor": "Show what this machine has and how fast it computes.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported only to be run; listing and completing them reads the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"railcar.cli.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise UsageError(f"there is no command {args[0]!r}", hint=_nearest_command(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def _nearest_command(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, COMMANDS, n=1)
    return f"did you mean {close[0]!r}?" if close else f"commands: {', '.join(COMMANDS)}"


def _print_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        print(f"railcar {__version__}")
        context.exit()


def _install_completion(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell is not None and not context.resilient_parsing:
        from railcar.cli.completion import install

        print(install(railcar, shell))
        context.exit()


def _show_completion(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell is not None and not context.resilient_parsing:
        from railcar.cli.completion import script_of

        print(script_of(railcar, shell), end="")
        context.exit()


def _completion_option(name: str, callback: Any, help: str) -> Any:
    return click.option(
        name,
        metavar="[bash|zsh|fish]",
        is_flag=False,
        flag_value="auto",
        is_eager=True,
        expose_value=False,
        callback=callback,
        help=help,
    )


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="The version."
)
@_completion_option("--install-completion", _install_completion, "Let the shell complete commands and options.")
@_completion_option("--show-completion", _show_completion, "Print the completion script instead.")
@verbosity_flags
def railcar() -> None:
    """From labelled data to a trained, evaluated and usable model.

    `railcar train` alone trains on embedded data, without a network.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM. As Ctrl-C, it passes every `except Exception`, and what is half-written is removed on the way out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `railcar` with `arguments` (`sys.argv[1:]` when None). Returns the exit status; prints every error.

    A command may return an int: its exit status.
    """
    _open_closed_streams()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _start_fast()
    flags: dict[str, Any] = {}
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        result = railcar.main(given, prog_name="railcar", standalone_mode=False, obj=flags)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        return _close_broken_pipe()
    except (KeyboardInterrupt, click.Abort) as error:
        # click makes an Abort of every KeyboardInterrupt
        is_terminated = isinstance(error, Terminated) or isinstance(error.__cause__, Terminated)
        print(f"stopped: {'terminated' if is_terminated else 'interrupted'}", file=sys.stderr)
        return 143 if is_terminated else 130
    except Exception as error:
        return _report(error, flags)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _open_closed_streams() -> None:
    # A stream that the caller closed (`>&-`) is None in Python, and the first `flush` would be our fault.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  open to the end


def _start_fast() -> None:
    """Spare a short command what only a long-lived program needs: together a third of the time that a fault takes."""
    # Collections while modules are imported find nothing, and the last ones at exit free what the system frees anyway.
    # Ten thousand, not more: in a training, arrays may hang on cycles that only a collection takes apart.
    gc.set_threshold(10_000, 10, 10)
    atexit.register(gc.freeze)
    # Plugins of pydantic are none of ours, and it would look through every installed package for them.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Of Keras, commands need less than it imports (`training/tensorflow.py`).
    os.environ.setdefault("RAILCAR_COMMAND", "1")


def _report(error: Exception, flags: dict[str, Any]) -> int:
    console = Console(verbose=flags.get("verbose", False), color=wants_color(no_color=flags.get("no_color", False)))
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    if console.verbose:
        import traceback

        traceback.print_exception(error)
    known = as_railcar_error(error)
    print_error(known, color=console.color)
    return known.exit_status


def as_railcar_error(error: Exception) -> RailcarError:
    """`error` in our words: those of click and of the operating system are the user's to mend, the rest is ours."""
    if isinstance(error, RailcarError):
        return error
    if isinstance(error, click.ClickException):
        return _from_click(error)
    if type(error).__name__ in ("ResourceExhaustedError", "MemoryError"):
        return RailcarError(
            "out of memory", hint="close other programs, use a machine with more, or give it fewer or smaller examples"
        )
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        return RailcarError(f"{place}{error.strerror}", hint="`--verbose` shows where this happened")
    return RailcarError(
        f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        hint="this is a fault of railcar: run it again with --verbose and report what it prints",
    )


def _from_click(error: click.ClickException) -> RailcarError:
    if not isinstance(error, click.UsageError):
        return RailcarError(error.format_message())
    possibilities = getattr(error, "possibilities", None)
    message = (error.message if possibilities else error.format_message()).rstrip(".")
    path = error.ctx.command_path if error.ctx is not None else "railcar"
    hint = f"did you mean {' or '.join(possibilities)}?" if possibilities else f"`{path} --help` shows what there is"
    return UsageError(message[:1].lower() + message[1:], hint=hint)


def _close_broken_pipe() -> int:
    # Whoever read our output (`| head`) has seen enough. Python flushes stdout once more when it ends: give it a place.
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    return 141


if __name__ == "__main__":
    sys.exit(main())
