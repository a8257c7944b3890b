"""Taking up a run that stopped: what it was, the newest checkpoint that is whole, and files brought back to it.

Owns what must be true of a run before it goes on. Training itself is `train.py`'s business.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from railcar.errors import CheckpointError, RailcarError, RunError
from railcar.recipe.load import load_recipe
from railcar.recipe.schema import Recipe
from railcar.runs.run_dir import RunDir
from railcar.storage.lock import is_on_own_disk
from railcar.workflows.inputs import Input, resolve_input

if TYPE_CHECKING:
    from railcar.data.types import Dataset
    from railcar.runs.checkpoint import Checkpoint

_NO_BEST = {"step": None, "value": None}


@dataclass(frozen=True)
class Stopped:
    """A run as it is taken up again: from `checkpoint`, or from its beginning when that is None. `warnings` are lines
    about what was found damaged."""

    run: RunDir
    recipe: Recipe
    checkpoint: Checkpoint | None
    warnings: list[str] = field(default_factory=list)

    @property
    def step(self) -> int:
        return self.checkpoint.step if self.checkpoint else 0

    def to_input(self, data: Any) -> Input:
        """`data` is given again for a run that was trained on arrays, which no file keeps."""
        arrays = resolve_input(data).arrays if data is not None else None
        return Input(self.recipe, is_complete=True, arrays=arrays)


def reopen(run: RunDir) -> Stopped:
    """Find out where `run`, which this process holds, stopped. Raises `RunError` when it cannot go on."""
    from railcar.runs.checkpoint import find_newest

    manifest = run.read_manifest()
    if manifest.get("state") == "finished":
        raise RunError(f"{run.name}: the run is finished already", hint=f"see it with: railcar runs show {run.name}")
    _check_stopped_elsewhere(run, manifest)
    recipe = read_recipe(run)
    checkpoint, damaged = find_newest(run.checkpoints)
    warnings = [f"{line}; going back to the one before" for line in damaged]
    if checkpoint and (lost := _find_lost_best(run, checkpoint)):
        warnings.append(f"{lost}; it was the best one, which is sought anew from step {checkpoint.step:,} on")
        checkpoint = replace(checkpoint, state=checkpoint.state | {"best": checkpoint.state["best"] | _NO_BEST})
    return Stopped(run, recipe, checkpoint, warnings)


def _find_lost_best(run: RunDir, checkpoint: Checkpoint) -> str | None:
    """What is wrong with the best checkpoint by the time of `checkpoint`; None when it is whole, or there was none."""
    from railcar.runs.checkpoint import checkpoint_name, read_checkpoint

    step = checkpoint.state["best"]["step"]
    if step is None or step == checkpoint.step:
        return None
    try:
        read_checkpoint(run.checkpoints / checkpoint_name(step))
    except CheckpointError as error:
        return error.what
    return None


def read_recipe(run: RunDir) -> Recipe:
    """The recipe a run was trained by. Raises `RunError` when it is not there or not whole."""
    if not run.recipe_path.is_file():
        raise RunError(
            f"{run.recipe_path}: is missing, so the run cannot go on", hint="restore it from a copy, or train anew"
        )
    try:
        return load_recipe(run.recipe_path)
    except RailcarError as error:
        raise RunError(f"{error.what}; the run cannot go on", hint="restore it from a copy, or train anew") from error


def check_same_data(run: RunDir, dataset: Dataset) -> None:
    """Raise `RunError` when `dataset` is not what the run was trained on."""
    before = run.read_manifest().get("data", {}).get("fingerprint")
    if before is not None and before != dataset.fingerprint:
        raise RunError(
            f"{run.name}: the data at {dataset.source} has changed since this run began",
            hint="restore it, or train anew; new data is measured with: railcar evaluate --data",
        )


def go_on(stopped: Stopped) -> list[str]:
    """Mark the run as running again, and bring its files back to the checkpoint: rows of later steps go, and later
    checkpoints, which are damaged and must not count among those that are kept. A kill in its midst does no harm: the
    next time it is done again. Returns lines about what could not be brought back."""
    from railcar.runs.checkpoint import drop_after
    from railcar.training.callbacks import BestScore
    from railcar.training.saving import write_pointers

    run, step = stopped.run, stopped.step
    manifest = {key: value for key, value in run.read_manifest().items() if key != "reason"}
    now = {"state": "running", "pid": os.getpid(), "host": socket.gethostname(), "ended": None}
    run.write_manifest({**manifest, **now})
    damaged_line = run.keep_metrics_until(step)
    if stopped.checkpoint is None:
        for path in (run.best_path, run.last_path):
            path.unlink(missing_ok=True)
    else:
        # The process may have died between the checkpoint and the pointers to it.
        write_pointers(run, last=step, best=BestScore(**stopped.checkpoint.state["best"]))
    drop_after(run.checkpoints, step)
    if damaged_line is None:
        return []
    return [f"{run.metrics_path}:{damaged_line}: damaged; the history from there to step {step} is lost"]


def _check_stopped_elsewhere(run: RunDir, manifest: dict[str, Any]) -> None:
    """A run that another computer marked as running: its lock tells nothing through a shared folder."""
    host = manifest.get("host")
    if manifest.get("state") != "running" or host == socket.gethostname() or is_on_own_disk(run.path):
        return
    raise RunError(
        f"{run.name}: the run is still going on at {host}, as far as can be seen from here",
        hint=f'if it has stopped there, write "died" in place of "running" into {run.manifest_path}',
    )
