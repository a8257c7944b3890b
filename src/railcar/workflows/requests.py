"""What cannot be asked of `train` together. Reads nothing."""

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
