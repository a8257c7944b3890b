"""How commands speak: results to stdout; progress, notes and errors to stderr.

Owns the form of `error:` and `hint:` lines and the question of colour. Does not know any command, and imports neither
click nor rich: it is on the way of `railcar --help`.
"""

from __future__ import annotations

import json as json_module
import os
import sys
from dataclasses import dataclass
from typing import Any

from railcar.errors import Interrupted, RailcarError, RecipeError

VERBOSE_HINT = "`--verbose` shows where this happened"
RED, YELLOW, CYAN = "1;31", "33", "36"


@dataclass(frozen=True)
class Console:
    """`json`: stdout is one JSON document. `quiet`: no notes. `verbose`: details, and tracebacks of errors.
    `color`: escape sequences may be written to stderr."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    color: bool = False

    def result(self, text: str) -> None:
        """Print a result, to stdout."""
        print(text)

    def json_result(self, document: Any) -> None:
        """Print `document` to stdout as JSON (RFC 8259: NaN and infinity are refused with `ValueError`)."""
        print(json_module.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, default=str))

    def note(self, text: str) -> None:
        """Say what happens, on stderr; silent with `--quiet`."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def detail(self, text: str) -> None:
        """Say more, on stderr, with `--verbose` only."""
        if self.verbose:
            print(text, file=sys.stderr)

    def pass_on(self, block: bytes) -> None:
        """What another program has written, to stderr, as it comes; silent with `--quiet`."""
        if not self.quiet:
            sys.stderr.flush()
            sys.stderr.buffer.write(block)
            sys.stderr.buffer.flush()

    def warn(self, text: str) -> None:
        """`warning: text` on stderr, with `--quiet` too."""
        print(f"{paint('warning:', YELLOW, color=self.color)} {one_line(text)}", file=sys.stderr)


def wants_color(*, no_color: bool) -> bool:
    """Whether escape sequences may go to stderr: it is a terminal, and neither `--no-color` nor NO_COLOR says no."""
    return not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and sys.stderr.isatty()


def paint(text: str, code: str, *, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text


def one_line(text: str) -> str:
    """`text` without line breaks and control characters: names of files come from outside and must not steer the
    terminal, and one error is one line."""
    joined = " ".join(text.splitlines())
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in joined)


def print_error(error: RailcarError, *, color: bool = False) -> None:
    """`error: ...` and `hint: ...` on stderr; for a recipe with several faults, one such pair for each fault."""
    if isinstance(error, RecipeError) and error.faults:
        lines = [(str(fault), fault.hint) for fault in error.faults]
    else:
        lines = [(error.what, error.hint)]
    word = "stopped:" if isinstance(error, Interrupted) else "error:"
    for what, hint in lines:
        print(f"{paint(word, RED, color=color)} {one_line(what)}", file=sys.stderr)
        if not hint and word == "error:":
            hint = "`railcar recipe schema` lists all keys" if isinstance(error, RecipeError) else VERBOSE_HINT
        if hint:
            print(f"{paint('hint:', CYAN, color=color)} {one_line(hint)}", file=sys.stderr)
