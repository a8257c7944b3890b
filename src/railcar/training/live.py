"""The live view of a training: a bar, the last numbers, the curve of the loss; and the lines of a terminal it is in.

Owns what the view shows (`TrainingView`) and how lines are drawn over and over without flicker (`Region`). Knows
neither the loop nor files: it is told steps and numbers, by the process that trains or by one that watches it.
Imports no TensorFlow.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from railcar.training.curve import FAINT, TRAIN, VALIDATION, Piece, Series, draw_curve

DRAW_EVERY_S = 0.25
# A curve takes a thousandth of a second, many times what the other lines take.
_CURVE_EVERY_S = 0.5
_CURVE_HEIGHT = 6
# Reports of steps that one call has made come one right after the other.
_WITHIN_CALL_S = 0.2
_HEAD = "head"
_COLORS = {TRAIN: "36", VALIDATION: "33", FAINT: "2", _HEAD: "1"}

Line = list[Piece]


def format_seconds(seconds: float) -> str:
    """12.3 s, 4 min 05 s, 2 h 03 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def rate_text(rate: float, noun: str) -> str:
    """3,131 img/s, 14,214 texts/s."""
    return f"{rate:,.0f} {'img' if noun == 'images' else noun}/s"


def score_text(values: Mapping[str, float | None], prefix: str = "") -> str:
    """`accuracy 97.10%` or `mae 2.31`: what a row says beside the loss; empty where it says neither."""
    accuracy, mae = values.get(f"{prefix}accuracy"), values.get(f"{prefix}mae")
    if accuracy is not None:
        return f"accuracy {accuracy:.2%}"
    return f"mae {mae:.4g}" if mae is not None else ""


class Pace:
    """How long the rest takes, by the steps after the first report: what came before was compiling."""

    def __init__(self, n_steps: int) -> None:
        self._n_steps = n_steps
        self._warm: tuple[float, int] | None = None
        self._last = (0.0, 0)

    @property
    def is_warm(self) -> bool:
        return self._warm is not None

    def note(self, step: int, at_s: float) -> None:
        """`step` steps were done at `at_s` seconds of a clock."""
        if self._warm is None or at_s - self._warm[0] < _WITHIN_CALL_S:
            self._warm = at_s if self._warm is None else self._warm[0], step
        self._last = at_s, step

    def left_s(self, since_s: float = 0.0) -> float | None:
        """Seconds to the last step, `since_s` after the last `note`; None while nothing can be said."""
        if self._warm is None or self._last[1] <= self._warm[1]:
            return None
        step_s = (self._last[0] - self._warm[0]) / (self._last[1] - self._warm[1])
        return max(step_s * (self._n_steps - self._last[1]) - since_s, 0.0)


class TrainingView:
    """What is known of a training, as lines. Any thread may tell it, and any may ask for the lines.

    `noun` is what it trains on (images, texts, rows). Accuracies are shares, 0 to 1.
    """

    def __init__(self, *, n_steps: int, first_step: int = 0, noun: str = "images", is_ascii: bool = False) -> None:
        self._n_steps, self._step, self._noun, self._is_ascii = n_steps, first_step, noun, is_ascii
        self._began = self._advanced = time.monotonic()
        self._pace = Pace(n_steps)
        self._row: dict[str, float | None] = {}
        self._train, self._validation = Series(), Series()
        self._validated: tuple[int, dict[str, float | None]] | None = None
        self._best: tuple[int, dict[str, float | None]] | None = None
        self._phase = ""
        self._drawn: tuple[float, int, int, list[Line]] | None = None
        self._lock = threading.RLock()

    def advance(self, step: int, at_s: float | None = None) -> None:
        """`step` steps are done, at `at_s` seconds of the training's own clock."""
        with self._lock:
            self._advanced = time.monotonic()
            self._pace.note(step, self._advanced if at_s is None else at_s)
            self._step = step

    def update(self, step: int, row: Mapping[str, float | None]) -> None:
        """Since the last row: `row` has loss, accuracy or mae, and examples_per_s. What is not known is None."""
        with self._lock:
            self._row = dict(row)
            self._train.add(step, row.get("loss"))

    def validate(self, step: int, values: Mapping[str, float | None], *, is_best: bool) -> None:
        """What was measured after `step` steps: `values` has val_loss, and val_accuracy or val_mae."""
        with self._lock:
            self._validated = step, dict(values)
            self._validation.add(step, values.get("val_loss"))
            if is_best:
                self._best = self._validated

    def enter(self, phase: str) -> None:
        """Say what goes on in place of the time left."""
        with self._lock:
            self._phase = phase

    def build_lines(self, width: int, height: int) -> list[Line]:
        """At most `height` lines of at most `width` characters."""
        with self._lock:
            lines = [self._build_bar(width), _fit("", self._list_facts(), width)]
            if self._validated:
                lines.append(_fit("val", self._tell_validation(self._validated), width))
            if self._best:
                lines.append(_fit("best", self._tell_validation(self._best), width))
            lines += self._build_curve(width, min(_CURVE_HEIGHT, height - len(lines) - 1))
            return [_clip(line, width) for line in lines[: max(height, 1)]]

    def build_last_lines(self, width: int, height: int) -> list[Line]:
        """What stays when the view ends: the curve."""
        with self._lock:
            self._drawn = None
            return [_clip(line, width) for line in self._build_curve(width, min(_CURVE_HEIGHT, height - 1))]

    def _build_bar(self, width: int) -> Line:
        share = min(self._step / max(self._n_steps, 1), 1.0)
        count = f" {self._step:,}/{self._n_steps:,}"
        room = width - 6 - len(count) - 5
        if room < 4:
            return [("train", _HEAD), (count[: max(width - 5, 0)], "")]
        n_done = round(share * room)
        done, rest = ("=", "-") if self._is_ascii else ("━", "─")
        bar: Line = [(done * n_done, TRAIN), (rest * (room - n_done), FAINT)]
        return [("train ", _HEAD), *bar, (count, ""), (f"{int(share * 100):>4}%", "")]

    def _list_facts(self) -> list[str]:
        """What is said beneath the bar, what matters most first."""
        now = time.monotonic()
        if not self._pace.is_warm:
            return [self._phase or f"compiling the first step, {now - self._began:.0f} s"]
        loss = self._row.get("loss")
        facts = [f"loss {_number(loss)}"] if loss is not None else []
        facts += list(filter(None, [score_text(self._row)]))
        left_s = self._pace.left_s(now - self._advanced)
        if self._phase:
            facts.append(self._phase)
        elif left_s is not None and self._step < self._n_steps:
            facts.append(f"{format_seconds(round(left_s)).replace('.0', '')} left")
        rate = self._row.get("examples_per_s")
        return [*facts, rate_text(rate, self._noun)] if rate else facts

    def _tell_validation(self, measured: tuple[int, dict[str, float | None]]) -> list[str]:
        step, values = measured
        loss = values.get("val_loss")
        told = [f"loss {_number(loss)}"] if loss is not None else []
        return [*told, *filter(None, [score_text(values, "val_")]), f"at step {step:,}"]

    def _build_curve(self, width: int, height: int) -> list[Line]:
        now = time.monotonic()
        if self._drawn and self._drawn[1:3] == (width, height) and now - self._drawn[0] < _CURVE_EVERY_S:
            return self._drawn[3]
        train, validation = self._train.points, self._validation.points
        lines = draw_curve(train, validation, width=width, height=height, is_ascii=self._is_ascii)
        if lines:
            n_left, steps = len(lines[0][0][0]), [step for step, _ in (*train, *validation)]
            legend: Line = [(" " * n_left, ""), (f"{'.' if self._is_ascii else '⠤'} training", TRAIN)]
            if validation:
                legend.append((f"  {'o' if self._is_ascii else '•'} validation", VALIDATION))
            told = f"  loss of steps {min(steps):,.0f} to {max(steps):,.0f}"
            n_told = sum(len(text) for text, _ in legend) + len(told)
            lines.append([*legend, (told, FAINT)] if n_told <= width else legend)
        self._drawn = now, width, height, lines
        return lines


def _number(value: float) -> str:
    """Four digits that count: 0.1234, 12.34, 367.7."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 10 else f"{value:.4g}"


def _fit(head: str, facts: Sequence[str], width: int) -> Line:
    """As many of the facts as there is room for, from the first."""
    line, n = [(f"{head:<6}", _HEAD)], 6
    for index, fact in enumerate(facts):
        text = f"  {fact}" if index else fact
        if n + len(text) > width:
            break
        line.append((text, ""))
        n += len(text)
    return line


def _clip(line: Line, width: int) -> Line:
    clipped, left = [], width
    for text, kind in line:
        clipped.append((text[: max(left, 0)], kind))
        left -= len(text)
    return clipped


class Region:
    """The last lines of a terminal, drawn over and over: only what has changed is written, at most four times a second.

    `build` makes the lines for (width, height). What else is written there is written inside `aside`. A terminal that
    has become narrower has folded the lines that are too long for it now: that many rows are drawn over.
    """

    def __init__(self, stream: TextIO, build: Callable[[int, int], list[Line]], *, color: bool) -> None:
        self._stream, self._build, self._color = stream, build, color
        self._shown: list[tuple[str, int]] = []
        self._width = 0
        self._lock = threading.RLock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="railcar-live", daemon=True)

    def start(self) -> None:
        self._draw()
        self._thread.start()

    def stop(self, build_last: Callable[[int, int], list[Line]]) -> None:
        """End the drawing; `build_last` makes the lines that stay."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._build = build_last
        self._draw()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While entered, the terminal is free for other lines; they stand above the view."""
        with self._lock:
            if not self._is_over.is_set():
                self._write(self._to_top() + "\x1b[J")
                self._shown = []
            try:
                yield
            finally:
                if not self._is_over.is_set():
                    self._draw()

    def _work(self) -> None:
        while not self._is_over.wait(DRAW_EVERY_S):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            columns, rows = _measure_terminal(self._stream)
            # The last column stays free: some terminals fold a line that fills it. So does the last row.
            lines = self._build(columns - 1, rows - 1)
            painted = [(self._paint(line), sum(len(text) for text, _ in line)) for line in lines]
            if columns == self._width and len(painted) == len(self._shown):
                self._draw_changes(painted)
            else:
                body = "".join(f"{text}\x1b[K\n" for text, _ in painted)
                self._write(f"{self._to_top(columns)}{body}\x1b[J")
            self._shown, self._width = painted, columns

    def _draw_changes(self, painted: Sequence[tuple[str, int]]) -> None:
        parts, at = [], len(painted)
        for row, (new, old) in enumerate(zip(painted, self._shown, strict=True)):
            if new != old:
                parts.append(f"{_move(row - at)}{new[0]}\x1b[K\n")
                at = row + 1
        if parts:
            self._write("".join(parts) + _move(len(painted) - at))

    def _to_top(self, columns: int | None = None) -> str:
        width = columns or _measure_terminal(self._stream)[0]
        n_rows = sum(max(-(-n // width), 1) for _, n in self._shown) if _folds() else len(self._shown)
        return _move(-n_rows)

    def _paint(self, line: Line) -> str:
        if not self._color:
            return "".join(text for text, _ in line)
        return "".join(f"\x1b[{_COLORS[kind]}m{text}\x1b[0m" if kind else text for text, kind in line)

    def _write(self, text: str) -> None:
        with suppress(OSError):  # the terminal was closed: training goes on
            self._stream.write(text)
            self._stream.flush()


def can_be_live(stream: TextIO) -> bool:
    """Whether lines can be drawn over there: it is a terminal that knows how, and nobody's log."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not os.environ.get("CI")


def needs_ascii() -> bool:
    """Whether the terminal cannot be trusted with dots of braille: the text console of Linux, and other encodings."""
    encoding = getattr(sys.stderr, "encoding", None) or ""
    return os.environ.get("TERM") == "linux" or "utf" not in encoding.lower()


def _folds() -> bool:
    """Whether the terminal folds what it shows when it becomes narrower. Most do; xterm and rxvt cut it off."""
    is_xterm = "XTERM_VERSION" in os.environ and "TMUX" not in os.environ
    return not is_xterm and not os.environ.get("TERM", "").startswith(("rxvt", "linux"))


def _move(n_rows: int) -> str:
    """To the beginning of the line so many rows further down."""
    return f"\x1b[{n_rows}B\r" if n_rows > 0 else f"\x1b[{-n_rows}A\r" if n_rows else "\r"


def _measure_terminal(stream: TextIO) -> tuple[int, int]:
    """Columns and rows."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns, rows = 0, 0
    if columns > 0 and rows > 0:
        return columns, rows
    columns, rows = shutil.get_terminal_size((80, 24))
    return columns, rows
