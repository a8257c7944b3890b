"""The options that several commands share, as decorators, so that they are spelled and explained once.

    @click.command()
    @runs_dir_option                   # runs_dir: Path | str, which is an address
    @trust_option                      # trust: bool
    @set_option                        # overrides: tuple[str, ...]
    @recipe_options                    # the same, with --label and --model
    @common_options(json=True)         # console: Console  (--json, --quiet, --verbose, --no-color)
    def command(runs_dir, overrides, console): ...

`--quiet`, `--verbose` and `--no-color` are understood before the command's name, too (`railcar --quiet train`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from railcar.cli.console import Console, wants_color
from railcar.errors import UsageError
from railcar.storage.address import is_remote

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
Function = TypeVar("Function", bound=Callable[..., Any])


class _RunsDir(click.Path):
    """A folder as a path, an address in a bucket as it is written."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, str) and is_remote(value) else super().convert(value, param, ctx)


class Duration(click.ParamType):
    """Seconds, written as 90s, 10m, 1h30m, 12h, 30d or 2w."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        parts = re.fullmatch(r"(?:\d+(?:\.\d+)?[smhdw])+", value.replace(" ", "").lower())
        if parts is None:
            raise UsageError(
                f"{param.opts[0] if param else 'time'}: {value!r} is no time",
                hint="write numbers and units: 90s, 10m, 1h30m, 30d, 12h, 2w",
            )
        found = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", parts[0])
        return sum(float(number) * _UNITS_S[unit] for number, unit in found)


runs_dir_option = click.option(
    "--runs-dir",
    type=_RunsDir(file_okay=False, path_type=Path),
    metavar="DIR|ADDRESS",
    envvar="RAILCAR_RUNS",
    default=Path("runs"),
    show_default=True,
    show_envvar=True,
    help="Where runs are: a folder, or gs://BUCKET/PREFIX or s3://BUCKET/PREFIX.",
)

trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Take a model that you have not made on this computer, too, once it has been looked at.",
)

set_option = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change one key of the recipe, as in training.batch_size=256. May be given several times.",
)


_SHORT_FORMS = {"label": "data.label", "model": "model.name"}


def recipe_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--set`, and `--label` and `--model`, which are short for it; passes `overrides`, all of them together."""

    @functools.wraps(function)
    def with_overrides(*arguments: Any, overrides: tuple[str, ...], **options: Any) -> Any:
        short = {key: options.pop(name) for name, key in _SHORT_FORMS.items()}
        asked = [f"{key}={value}" for key, value in short.items() if value is not None]
        return function(*arguments, overrides=(*overrides, *asked), **options)

    label = click.option("--label", metavar="COLUMN", help="The column of the labels, for files of rows.")
    model = click.option(
        "--model",
        metavar="NAME|FILE.py:FUNCTION",
        help="The network: one of `railcar recipe list --models`, or a function of yours that returns a keras.Model.",
    )
    return set_option(label(model(with_overrides)))


def _remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    # The context's object is one dict from `railcar` down to the command: `main` reads it when an error ends a command.
    if value:
        context.ensure_object(dict)[parameter.name] = True


def _flag(*names: str, help: str) -> Callable[[Function], Function]:
    return click.option(*names, is_flag=True, is_eager=True, expose_value=False, callback=_remember, help=help)


def verbosity_flags(function: Function) -> Function:
    """`--quiet`, `--verbose` and `--no-color`, kept in the context's object for `current_console`."""
    for flag in (
        _flag("--no-color", help="No colours (nor with NO_COLOR set, nor where stderr is no terminal)."),
        _flag("--verbose", "-v", help="More detail; tracebacks of errors."),
        _flag("--quiet", "-q", help="Nothing on stderr but warnings and errors."),
    ):
        function = flag(function)
    return function


def current_console(context: click.Context) -> Console:
    """The console that the options given so far describe."""
    flags = context.ensure_object(dict)
    return Console(
        json=flags.get("json", False),
        quiet=flags.get("quiet", False),
        verbose=flags.get("verbose", False),
        color=wants_color(no_color=flags.get("no_color", False)),
    )


def common_options(*, json: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds `--quiet`, `--verbose`, `--no-color` (and `--json`); passes `console: Console` to the command."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def with_console(*arguments: Any, **options: Any) -> Any:
            return function(*arguments, console=current_console(click.get_current_context()), **options)

        decorated = verbosity_flags(with_console)
        return _flag("--json", help="Print one JSON document to stdout.")(decorated) if json else decorated

    return decorate
