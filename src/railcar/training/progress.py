"""What a person sees while a run goes on: lines, and a live view on a terminal. Every line also goes to log.txt.

Speaks to stderr only; results are printed by the command line, on stdout. What the live view shows is `live.py`'s.
"""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from railcar.training.live import (
    Pace,
    Region,
    TrainingView,
    can_be_live,
    format_seconds,
    needs_ascii,
    rate_text,
    score_text,
)

if TYPE_CHECKING:
    from rich.progress import Progress


class Reporter:
    """`quiet` prints nothing but warnings; `verbose` prints details, too. `log_path` None keeps no log."""

    def __init__(
        self, log_path: Path | None = None, *, quiet: bool = False, verbose: bool = False, color: bool | None = None
    ) -> None:
        from rich.console import Console

        self.quiet = quiet
        self.verbose = verbose
        # A descriptor of its own: stderr itself is turned away while TensorFlow's C++ talks (`quiet_stderr`).
        self._stream = _open_stderr()
        self._console = Console(file=self._stream, highlight=False, no_color=None if color is None else not color)
        self._log = log_path.open("a", encoding="utf-8") if log_path else None
        self._region: Region | None = None

    def say(self, line: str = "", *, indent: int = 0) -> None:
        """A line for everybody, folded at the terminal's width; what follows the first line is indented."""
        width = max(self._console.width, 40)
        for part in textwrap.wrap(line, width, subsequent_indent=" " * indent, break_long_words=False) or [""]:
            self._write(part, shown=not self.quiet)

    def detail(self, line: str) -> None:
        """A line for the log, and for those who asked for it."""
        self._write(line, shown=self.verbose and not self.quiet)

    def warn(self, line: str) -> None:
        """A line that is shown even with `quiet`."""
        self._write(f"warning: {line}", shown=True)

    def log_only(self, line: str) -> None:
        self._write(line, shown=False)

    def _write(self, line: str, *, shown: bool) -> None:
        if self._log:
            self._log.write(f"{line}\n")
            self._log.flush()
        if shown:
            # a terminal that was closed ends no training
            with suppress(OSError), self._region.aside() if self._region else nullcontext():
                self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, *, n_steps: int, first_step: int, noun: str = "images") -> Iterator[TrainingBar]:
        """The view of a training on what is called `noun`; lines said meanwhile appear above it."""
        view = TrainingView(n_steps=n_steps, first_step=first_step, noun=noun, is_ascii=needs_ascii())
        if self.quiet or not can_be_live(self._stream):
            yield TrainingBar(self, view, n_steps=n_steps, noun=noun, is_live=False)
            return
        color = not self._console.no_color and self._console.color_system is not None
        self._region = Region(self._stream, view.build_lines, color=color)
        self._region.start()
        try:
            yield TrainingBar(self, view, n_steps=n_steps, noun=noun, is_live=True)
        finally:
            self._region.stop(view.build_last_lines)
            self._region = None

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """On a terminal, a sign that something goes on for some seconds."""
        if self.quiet or not self._console.is_terminal:
            yield
            return
        with self._console.status(what):
            yield

    @contextmanager
    def reading_bar(self) -> Iterator[Callable[[str, int, int], None]]:
        """A function (what is done, how many are done, of how many) that draws while data is read. What fetching has
        to say is said here."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        from railcar.storage.fetch import heard_by

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with self.build_progress(*columns) as progress, heard_by(self.say):
            tasks: dict[str, Any] = {}

            def show(what: str, n_done: int, n: int) -> None:
                if what not in tasks:
                    tasks[what] = progress.add_task(what, total=n)
                progress.update(tasks[what], completed=n_done)

            yield show

    def build_progress(self, *columns: Any) -> Progress:
        from rich.progress import Progress

        hidden = self.quiet or not self._console.is_terminal
        return Progress(*columns, console=self._console, transient=True, disable=hidden)

    def close(self) -> None:
        if self._log:
            self._log.close()
            self._log = None
        with suppress(OSError):  # the terminal is gone, and what was not written with it
            self._stream.close()


class TrainingBar:
    """What tells the live view, on a terminal; elsewhere it says a plain line at least every ten seconds. Each
    validation is a line in either case."""

    _PLAIN_EVERY_S = 10.0

    def __init__(self, reporter: Reporter, view: TrainingView, *, n_steps: int, noun: str, is_live: bool) -> None:
        self._reporter, self._view, self._is_live = reporter, view, is_live
        self._noun = noun
        self._n_steps = n_steps
        self._printed = time.monotonic()
        self._pace = Pace(n_steps)

    def advance(self, step: int) -> None:
        """`step` steps are done."""
        if self._is_live:
            self._view.advance(step)

    def update(self, step: int, row: Mapping[str, float | None], at_s: float | None = None) -> None:
        """Show the state after `step` steps, at `at_s` seconds of `time.monotonic` (None: now): `row` has loss,
        accuracy (0 to 1) or mae, and examples_per_s."""
        if self._is_live:
            self._view.advance(step, at_s)
            self._view.update(step, row)
            return
        now = time.monotonic()
        self._pace.note(step, now if at_s is None else at_s)
        if now - self._printed >= self._PLAIN_EVERY_S:
            self._printed = now
            self.tell(step, row)

    def tell(self, step: int, row: Mapping[str, float | None]) -> None:
        """Say a plain line of the state after `step` steps, where there is no live view."""
        if self._is_live:
            return
        loss, rate, left_s = row.get("loss"), row.get("examples_per_s"), self._pace.left_s()
        facts = [f"step {step:>6}/{self._n_steps} "] + ([f"loss {loss:.3f}"] if loss is not None else [])
        facts += list(filter(None, [score_text(row)])) + ([rate_text(rate, self._noun)] if rate else [])
        left = f"  {format_seconds(left_s)} left" if left_s else ""
        self._reporter.say(f"  {' '.join(facts)}{left}")

    def validated(self, step: int, values: Mapping[str, float | None], *, is_best: bool, is_told: bool = True) -> None:
        """Show what was measured after `step` steps, and say it if `is_told`: `values` has val_loss, and val_accuracy
        or val_mae."""
        self._view.validate(step, values, is_best=is_best)
        if not is_told:
            return
        loss, score = values.get("val_loss"), score_text(values, "val_")
        told = [f"  step {step:>6}/{self._n_steps}"] + ([f"val loss {loss:.4f}"] if loss is not None else [])
        told += [f"val {score}{' (best)' if is_best else ''}"] if score else []
        self._reporter.say("  ".join(told))

    def enter(self, phase: str) -> None:
        """Say in the live view what goes on in place of the time left."""
        self._view.enter(phase)


def _open_stderr() -> TextIO:
    try:
        return os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    except OSError:  # it is closed: nobody listens
        return Path(os.devnull).open("w", encoding="utf-8")
