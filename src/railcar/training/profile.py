"""A profile of some steps of a training, on demand (`train --profile 100:120`): TensorFlow's trace of them, and in
words which operations took the longest.

Owns the trace (`tensorboard/plugins/profile/` in the run, in the form that TensorBoard's profile tab reads) and
`profile.txt`. That calls of several steps begin and end where the trace does is `schedule.py`'s business.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from railcar.data.pipeline import Chunk
from railcar.errors import OutputError
from railcar.runs.run_dir import RunDir
from railcar.storage.local import write_atomic
from railcar.training.compiled import Steps

_N_SHOWN, _N_SAID = 10, 3
_MARK = "train"
_VIEWER = "xprof"
# What graphs and gradients put around the names of layers.
_SCOPES = re.compile(r"(while|body|cond|then|else|gradient_tape|_\d+)")
# An operation on a GPU says with one of these which one it is; the first that is there counts.
_NAMES_ON_GPU = ("tf_op", "kernel_annotation", "hlo_op")


@contextmanager
def profiled(
    steps: Steps, span: tuple[int, int] | None, run: RunDir, model: keras.Model, say: Callable[[str], None]
) -> Iterator[Steps]:
    """The same steps, of which those after `span[0]` steps until `span[1]` are done are traced; with None, none are.
    At the end, however it comes, what was traced is written and `say` is told where it is, and what took longest."""
    if span is None:
        yield steps
        return
    trace = _Trace(span, run)
    try:
        yield trace.around(steps)
    finally:
        for line in trace.finish(model):
            say(line)


class _Trace:
    """A training is never ended because it could not be traced: what stands in the way is told by `finish`."""

    def __init__(self, span: tuple[int, int], run: RunDir) -> None:
        self._span, self._run = span, run
        self._n_steps = 0
        self._is_going = False
        self._failure = f"the training ended before step {span[0] + 1:,}"

    def around(self, steps: Steps) -> Steps:
        def call(chunk: Chunk) -> Any:
            before, after = chunk.first_step, chunk.first_step + len(chunk)
            if before == self._span[0]:
                self._start()
            if not self._is_going:
                return steps(chunk)
            with tf.profiler.experimental.Trace(_MARK, step_num=after, _r=1):
                result = steps(chunk)
            self._n_steps += len(chunk)
            if after == self._span[1]:
                self._stop()
            return result

        return call

    def finish(self, model: keras.Model) -> list[str]:
        """End what still goes on and write `profile.txt`. Lines: where it is, its beginning, what shows the trace."""
        self._stop()
        folders = self._run.tensorboard.glob("plugins/profile/*")
        if not self._n_steps or (folder := max(folders, default=None)) is None:
            return [f"profile: nothing was traced: {self._failure}"]
        path = self._run.path / "profile.txt"
        steps = f"{self._span[0] + 1:,} to {self._span[0] + self._n_steps:,}"
        names = {layer.name for layer in model._flatten_layers(include_self=False)}
        costs, seconds = read_costs(sorted(folder.glob("*.xplane.pb")), names)
        head = f"Steps {steps} of {self._run.name}, {seconds / self._n_steps * 1000:.3g} ms each"
        table = format_costs(costs, self._n_steps)
        try:
            write_atomic(path, f"{head}\n\n{table}".encode())
        except OutputError as error:
            return [f"profile: {error.what}"]
        how = "" if find_spec(_VIEWER) else f"pip install {_VIEWER}, then "
        first = [f"  {line}" for line in table.splitlines()[: 1 + _N_SAID]]
        return [f"profile of steps {steps}: {path}", *first, f"  as a timeline: {how}railcar tensorboard"]

    def _start(self) -> None:
        try:
            tf.profiler.experimental.start(str(self._run.tensorboard))
            self._is_going = True
        except tf.errors.OpError as error:
            self._failure = error.message

    def _stop(self) -> None:
        if not self._is_going:
            return
        self._is_going = False
        try:
            tf.profiler.experimental.stop()
        except tf.errors.OpError as error:
            self._failure, self._n_steps = error.message, 0


@dataclass
class Cost:
    """What operations of one kind and layer took in all calls. `layer` is empty where the name tells none."""

    kind: str
    layer: str
    n: int = 0
    seconds: float = 0.0


def read_costs(files: Sequence[Path], layers: set[str]) -> tuple[list[Cost], float]:
    """Of the traces in `files` (XSpace messages) each kind of operation in each of `layers`, the longest first, and the
    seconds that the calls took in all.

    Only what began within a call counts, and of an operation that waits for others on its thread only the time without
    them. Where a GPU was at work its kernels count, and not what the processor did to start them.
    """
    # TensorFlow keeps no public name for it.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    planes = []
    for file in files:
        space: Any = xplane_pb2.XSpace()  # pyright: ignore[reportAttributeAccessIssue]
        space.ParseFromString(file.read_bytes())
        planes += space.planes
    calls = sorted(call for plane in planes for call in _find_calls(plane))
    on_gpu = [
        plane for plane in planes if plane.name.startswith("/device:GPU") and any(one.events for one in plane.lines)
    ]
    costs: dict[tuple[str, str], Cost] = {}
    for plane in on_gpu or planes:
        namer = _Namer(plane, layers, takes_all=bool(on_gpu))
        for line in plane.lines:
            for name, seconds in _time_alone(line, namer, calls):
                cost = costs.setdefault(name, Cost(*name))
                cost.n += 1
                cost.seconds += seconds
    return sorted(costs.values(), key=lambda one: -one.seconds), sum(end - start for start, end in calls) / 1e12


def format_costs(costs: Sequence[Cost], n_steps: int) -> str:
    """A table of the longest, in milliseconds a step."""
    whole = sum(one.seconds for one in costs) or 1.0
    shown = costs[:_N_SHOWN]
    rows = [("ms a step", "share", "times", "operation", "layer")]
    rows += [
        (
            f"{one.seconds / n_steps * 1000:.3g}",
            f"{one.seconds / whole:.1%}",
            f"{one.n / n_steps:.3g}",
            one.kind,
            one.layer,
        )
        for one in shown
    ]
    if rest := costs[_N_SHOWN:]:
        seconds = sum(one.seconds for one in rest)
        rows.append((f"{seconds / n_steps * 1000:.3g}", f"{seconds / whole:.1%}", "", f"{len(rest)} others", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for row in rows:
        numbers = "  ".join(word.rjust(width) for word, width in zip(row[:3], widths[:3], strict=True))
        lines.append(f"{numbers}  {row[3].ljust(widths[3])}  {row[4]}".rstrip())
    return "\n".join([*lines, "", "Several may run at a time: together they can take longer than a step.", ""])


def _find_calls(plane: Any) -> list[tuple[int, int]]:
    """Beginning and end of each marked call, in picoseconds since the trace began."""
    marks = {key for key, one in plane.event_metadata.items() if one.name == _MARK}
    return [_when(line, event) for line in plane.lines for event in line.events if event.metadata_id in marks]


def _when(line: Any, event: Any) -> tuple[int, int]:
    start = line.timestamp_ns * 1000 + event.offset_ps
    return start, start + event.duration_ps


class _Namer:
    """What an event is called: kind of the operation and layer; None for what is no operation."""

    def __init__(self, plane: Any, layers: set[str], *, takes_all: bool) -> None:
        self._events, self._layers, self._takes_all = plane.event_metadata, layers, takes_all
        self._stats = {key: one.name for key, one in plane.stat_metadata.items()}
        self._known: dict[int, tuple[str, str] | None] = {}

    def __call__(self, event: Any) -> tuple[str, str] | None:
        if self._takes_all:
            return self._read(event)
        if event.metadata_id not in self._known:
            self._known[event.metadata_id] = self._read(event)
        return self._known[event.metadata_id]

    def _read(self, event: Any) -> tuple[str, str] | None:
        about = self._events[event.metadata_id]
        told = {
            self._stats.get(one.metadata_id, ""): one.str_value or self._stats.get(one.ref_value, "")
            for one in event.stats
        }
        if self._takes_all:
            return self._split(next((told[key] for key in _NAMES_ON_GPU if told.get(key)), about.name))
        if about.display_name:  # TensorFlow's operations have their kind as that
            return self._split(about.name)
        return ("XLA " + about.name, "") if told.get("hlo_op") else None

    def _split(self, name: str) -> tuple[str, str]:
        """`while/body/_1/gradient_tape/while/airbench_1/conv1_1/Conv2DBackpropFilter:Conv2DBackpropFilter`, say."""
        path, _, kind = name.rpartition(":")
        for part in reversed(path.split("/")):
            for plain in (part, re.sub(r"_\d+$", "", part)):
                if plain in self._layers and not _SCOPES.fullmatch(plain):
                    return kind, plain
        return kind, ""


def _time_alone(line: Any, namer: _Namer, calls: Sequence[tuple[int, int]]) -> Iterator[tuple[tuple[str, str], float]]:
    """Name and seconds of each operation of a thread that began within a call, without the operations inside it."""
    found, starts = [], [start for start, _ in calls]
    for event in line.events:
        if (name := namer(event)) is not None:
            start, end = _when(line, event)
            call = bisect_right(starts, start) - 1
            if call >= 0 and start <= calls[call][1]:
                found.append((start, -end, name))
    open_ones: list[list[Any]] = []  # end, name, picoseconds alone
    for start, minus_end, name in sorted(found):
        while open_ones and open_ones[-1][0] <= start:
            _, ended, alone = open_ones.pop()
            yield ended, alone / 1e12
        if open_ones:
            open_ones[-1][2] -= min(-minus_end, open_ones[-1][0]) - start
        open_ones.append([-minus_end, name, -minus_end - start])
    for _, name, alone in open_ones:
        yield name, alone / 1e12
