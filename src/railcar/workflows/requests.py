"""What cannot be asked of `train`, by itself or together. Reads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from railcar.errors import UsageError
from railcar.workflows.together import find_cluster


def check_time(time_s: float, resume: str | bool, workers: int) -> None:
    if resume is not False:
        raise UsageError("a resumed run keeps its length: --time cannot change it", hint="leave --time out")
    if workers > 1 or find_cluster("auto"):
        raise UsageError("--time is for one process", hint="leave out --workers, or set training.steps")
    if time_s <= 0:
        raise UsageError(f"--time: {time_s:g} seconds are none", hint="write how long: 90s, 10m, 1h30m")


def check_alone(data: Any, name: str | None, from_run: str | Path | None) -> None:
    if from_run is not None:
        raise UsageError(
            "a resumed run has weights of its own: --resume and --from exclude each other",
            hint="leave out --resume to begin a new run with the weights of the other",
        )
    if name is not None:
        raise UsageError("a resumed run keeps its name: --name cannot change it", hint="leave it out, or train anew")
    if isinstance(data, str | Path):
        raise UsageError(
            f"a resumed run keeps its data: {data} cannot be given",
            hint="leave the data out, or begin a new run with its weights: railcar train DATA --from RUN",
        )


def read_profile(asked: str | tuple[int, int] | None, workers: int) -> tuple[int, int] | None:
    """`asked` is "100:120": (steps done before the first that is traced, steps done after the last)."""
    if asked is None:
        return None
    if workers > 1 or find_cluster("auto"):
        raise UsageError("--profile is for one process", hint="leave out --workers")
    written = asked if isinstance(asked, str) else ":".join(map(str, asked))
    first, _, last = written.partition(":")
    if not (first.isdecimal() and last.isdecimal()):
        what = f"--profile: {written!r} is no range of steps"
        raise UsageError(what, hint="write FIRST:LAST: 100:120 is the twenty steps after the first hundred")
    if int(last) <= int(first):
        hint = f"write it the other way: {last}:{first}" if first != last else f"write {first}:{int(last) + 20}"
        raise UsageError(f"--profile: there is no step between {first} and {last}", hint=hint)
    return int(first), int(last)


def check_profile(span: tuple[int, int] | None, *, n_steps: int, n_done: int) -> None:
    """Raise `UsageError` for steps that are not to come: `n_done` of the run's steps are done already."""
    if span is None or n_done <= span[0] < span[1] <= n_steps:
        return
    if n_done >= n_steps:
        hint = f"make it longer: --set training.steps={n_steps + span[1] - span[0]}"
        raise UsageError(f"--profile: all {n_steps:,} steps are done already", hint=hint)
    first = max(n_done, min(n_steps // 2, n_steps - 20), 0)
    hint = f"write --profile {first}:{min(first + 20, n_steps)}"
    if span[1] > n_steps:
        raise UsageError(f"--profile: the run has {n_steps:,} steps, and {span[1]:,} is beyond them", hint=hint)
    raise UsageError(f"--profile: {n_done:,} steps are done already, and {span[0]:,} is before that", hint=hint)
