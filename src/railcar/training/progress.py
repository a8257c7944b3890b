"""What a person sees while a run goes on: lines, and one progress bar on a terminal. Everything also goes to log.txt.

Speaks to stderr only; results are printed by the command line, on stdout.
"""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

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
            self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, *, n_steps: int, first_step: int, noun: str = "images") -> Iterator[TrainingBar]:
        """The bar of a training on what is called `noun`; lines said meanwhile appear above it."""
        bar = TrainingBar(self, n_steps=n_steps, first_step=first_step, noun=noun, live=self._console.is_terminal)
        try:
            yield bar
        finally:
            bar.close()

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
        if not self._stream.closed:
            self._stream.close()


class TrainingBar:
    """On a terminal a live bar; elsewhere a plain line at each validation and at least every ten seconds."""

    _PLAIN_EVERY_S = 10.0

    def __init__(self, reporter: Reporter, *, n_steps: int, first_step: int, noun: str, live: bool) -> None:
        self._reporter = reporter
        self._rate = "img/s" if noun == "images" else f"{noun}/s"
        self._n_steps = n_steps
        self._printed = time.monotonic()
        # (time, step) of the first report: what came before was compiling, and says nothing of the time left.
        self._warm: tuple[float, int] | None = None
        self._progress: Progress | None = None
        if live and not reporter.quiet:
            self._progress = self._build_live()
            self._task = self._progress.add_task("train", total=n_steps, completed=first_step, facts="")
            self._progress.start()

    def _build_live(self) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        return self._reporter.build_progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(compact=True),
        )

    def update(self, step: int, row: Mapping[str, float]) -> None:
        """Show the state after `step` steps: `row` has loss, accuracy (0 to 1) or mae, and examples_per_s."""
        told = f"acc {row['accuracy']:.1%}" if "accuracy" in row else f"mae {row['mae']:.3g}"
        facts = f"loss {row['loss']:.3f} {told} {row['examples_per_s']:,.0f} {self._rate}"
        if self._progress:
            self._progress.update(self._task, completed=step, facts=facts)
        elif time.monotonic() - self._printed >= self._PLAIN_EVERY_S:
            self._printed = time.monotonic()
            self._reporter.say(f"  step {step:>6}/{self._n_steps}  {facts}{self._say_left(step)}")
        if self._warm is None:
            self._warm = time.monotonic(), step

    def _say_left(self, step: int) -> str:
        if self._warm is None or step <= self._warm[1]:
            return ""
        began, first = self._warm
        return f"  {format_seconds((self._printed - began) / (step - first) * (self._n_steps - step))} left"

    def close(self) -> None:
        if self._progress:
            self._progress.stop()


def _open_stderr() -> TextIO:
    try:
        return os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    except OSError:  # it is closed: nobody listens
        return Path(os.devnull).open("w", encoding="utf-8")


def format_seconds(seconds: float) -> str:
    """12.3 s, 4 min 05 s, 2 h 03 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
