"""The processes that make the trials of a search, and the conversation with each. Imports no TensorFlow.

Owns starting them, who gets which trial, and ending them. What to try and what to give up is `tuning/study.py`'s.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from railcar.errors import Interrupted
from railcar.training.hardware import count_cores
from railcar.tuning.study import FAILED, FINISHED, PRUNED, Study

# From the signal to the end of a process that saves what it has.
_GRACE_S = 20.0
# Graphs of many trials add up in one process.
_MOST_TRIALS = 25
HOPELESS, TIME_OVER = "no better than half of the trials at this point", "the time of the search is over"


class _Stopped(BaseException):
    def __init__(self, number: int) -> None:
        self.number = number


class Workers:
    """`n_workers` processes that make trials of `study` until there are `n_trials`, or `until` (of `time.monotonic`).
    `describe` gives what a process is told of a trial; `measure` reads from what was measured the value that counts;
    `on_end` is called after each trial."""

    def __init__(
        self,
        study: Study,
        *,
        n_workers: int,
        n_trials: int,
        until: float | None,
        log: Path,
        describe: Callable[[int, dict[str, Any]], dict[str, Any]],
        measure: Callable[[list[dict[str, float]]], float | None],
        on_end: Callable[[], None],
    ) -> None:
        self._study, self._n_workers, self._n_trials, self._until = study, n_workers, n_trials, until
        self._log, self._describe, self._measure, self._on_end = log, describe, measure, on_end
        self._lock = threading.RLock()
        self._n_going = 0
        self._is_over = False
        self._processes: set[subprocess.Popen[str]] = set()
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Until all is tried. Raises `Interrupted` after a signal; what was going on then is tried again later."""
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._n_workers)]
        try:
            with _signals():
                for thread in threads:
                    thread.start()
                for thread in threads:
                    while thread.is_alive():
                        thread.join(0.1)
        except _Stopped as stopped:
            self._is_over = True
            self._end_all(signal.SIGTERM)
            raise Interrupted("stopped", exit_status=128 + stopped.number) from None
        finally:
            self._is_over = True
            self._end_all(signal.SIGKILL)
        if self._errors:
            raise self._errors[0]

    def _work(self) -> None:
        process, n_made = None, 0
        try:
            while (trial := self._take()) is not None:
                if process is None or process.poll() is not None or n_made == _MOST_TRIALS:
                    if process is not None:
                        self._end(process)
                    process, n_made = self._start(), 0
                n_made += 1
                self._converse(process, *trial)
        except BaseException as error:
            if not self._is_over:
                self._errors.append(error)
        finally:
            if process is not None and not self._is_over:
                self._end(process)

    def _take(self) -> tuple[int, dict[str, Any]] | None:
        with self._lock:
            is_late = self._until is not None and time.monotonic() >= self._until
            if self._is_over or is_late or len(self._study.trials) + self._n_going >= self._n_trials:
                return None
            self._n_going += 1
            return self._study.ask()

    def _converse(self, process: subprocess.Popen[str], number: int, settings: dict[str, Any]) -> None:
        started, seen, ended = time.monotonic(), [], None
        message: dict[str, Any] = {}
        with contextlib.suppress(BrokenPipeError):
            self._send(process, self._describe(number, settings))
            for line in process.stdout or ():
                message = json.loads(line)
                if message["event"] != "validated":
                    break
                seen.append(message["values"])
                ended = ended or self._judge(number, message["share"], seen)
                self._send(process, {"end": ended})
        if self._is_over:
            return
        state = {"finished": PRUNED if ended else FINISHED}.get(message.get("event", ""), FAILED)
        if message.get("event") not in ("finished", "failed"):
            message = {"note": f"its process ended with status {process.wait()}"}
        with self._lock:
            facts = {"run": message.get("run", ""), "seconds": round(time.monotonic() - started, 1)}
            note = message.get("note", "") or (ended or "")
            self._study.tell(number, state, self._measure(seen), note=note, **facts)
            self._n_going -= 1
            self._on_end()

    def _judge(self, number: int, share: float, seen: list[dict[str, float]]) -> str | None:
        """Why a trial is to end, if it is."""
        with self._lock:
            value = self._measure(seen)
            is_hopeless = value is not None and self._study.report(number, share, value)
        if self._until is not None and time.monotonic() >= self._until and share < 1:
            return TIME_OVER
        return HOPELESS if is_hopeless else None

    def _start(self) -> subprocess.Popen[str]:
        environment = dict(os.environ)
        if self._n_workers > 1:
            n_threads = str(max(int(count_cores()[1]) // self._n_workers, 1))
            environment |= {"TF_NUM_INTRAOP_THREADS": n_threads, "TF_NUM_INTEROP_THREADS": n_threads}
        with self._log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "railcar.workflows.tune_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,
            )
        self._processes.add(process)
        return process

    def _send(self, process: subprocess.Popen[str], message: dict[str, Any]) -> None:
        if process.stdin:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()

    def _end(self, process: subprocess.Popen[str]) -> None:
        """One that waits for a trial."""
        with contextlib.suppress(OSError):
            if process.stdin:
                process.stdin.close()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _close(process)
        self._processes.discard(process)

    def _end_all(self, number: signal.Signals) -> None:
        for process in list(self._processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        until = time.monotonic() + _GRACE_S
        for process in list(self._processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(until - time.monotonic(), 0.1))
                _close(process)


def _close(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what was not sent yet
            if stream:
                stream.close()


@contextmanager
def _signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
