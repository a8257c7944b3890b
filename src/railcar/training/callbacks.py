"""What watches a training from the side: signals that ask it to stop, the best score, and scores that end it."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from railcar.errors import Interrupted, RailcarError
from railcar.recipe.schema import EarlyStop, StopAt

_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


class StopSignals:
    """While entered, Ctrl-C and SIGTERM raise `Interrupted` with `hint`; inside `deferred` the first one only sets
    `received`, so that the loop saves and ends by itself."""

    def __init__(self, hint: str) -> None:
        self.received: signal.Signals | None = None
        self.hint = hint
        self._is_deferred = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for one in _STATUS:
                self._before[one] = signal.signal(one, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)
        self._before = {}

    @contextmanager
    def deferred(self) -> Iterator[None]:
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def interrupted(self, what: str) -> Interrupted:
        """The error that ends a run after a signal."""
        return Interrupted(what, hint=self.hint, exit_status=_STATUS[self.received or signal.SIGINT])

    def explain(self, error: BaseException) -> BaseException:
        """`error`, or what the signal raised where TensorFlow has made another one of it: its C++ does so when the
        handler runs in a function that it calls back."""
        if self.received is None or isinstance(error, RailcarError | KeyboardInterrupt):
            return error
        return self.interrupted(f"{self.received.name} ended the run; its checkpoints are kept")

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_first, self.received = self.received is None, signal.Signals(number)
        if not (is_first and self._is_deferred):
            raise self.interrupted(f"{self.received.name} ended the run; its checkpoints are kept")


@dataclass
class BestScore:
    """Remembers the best validation. `metric` is val_loss (lower is better), val_accuracy (higher) or last (none)."""

    metric: str
    step: int | None = None
    value: float | None = None

    def improves(self, step: int, values: dict[str, float]) -> bool:
        """Note the values of a validation after `step` steps; True when they are the best so far."""
        if self.metric == "last":
            return False
        if not is_better(self.metric, values[self.metric], self.value):
            return False
        self.step, self.value = step, values[self.metric]
        return True


def is_better(metric: str, value: float, than: float | None) -> bool:
    """Lower for a loss, higher for an accuracy. A value that is no number is better than none."""
    if not math.isfinite(value):
        return False
    return than is None or (value < than if metric == "val_loss" else value > than)


@dataclass
class Ending:
    """Ends a training by its validations: when one reaches `stop_at`, or when `early_stop.patience` of them in a row
    were no better than the best before. `best` and `n_worse` are what it remembers of them; part of a checkpoint."""

    best: float | None = None
    n_worse: int = 0
    reason: str | None = None

    def note(self, values: dict[str, float], *, early_stop: EarlyStop | None, stop_at: StopAt | None) -> None:
        """Take in the values of a validation; `reason` says afterwards why the training ends, if it does."""
        if early_stop is not None:
            value = values[early_stop.metric]
            if is_better(early_stop.metric, value, self.best):
                self.best, self.n_worse = value, 0
            else:
                self.n_worse += 1
            if self.n_worse >= early_stop.patience:
                self.reason = f"{early_stop.metric} has not become better in {self.n_worse} validations"
        if stop_at is not None:
            value = values[stop_at.metric]
            if value == stop_at.value or is_better(stop_at.metric, value, stop_at.value):
                self.reason = f"{stop_at.metric} reached {value:.4f}, and training.stop_at is {stop_at.value:g}"
