"""Taking up a run that stopped, or making one longer: its newest whole checkpoint, and its files brought back to it.

Owns what must be true of a run before it goes on, and which keys of its recipe may change then. Training itself is
`train.py`'s business.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from railcar.artifact.signing import SIGNATURE, sign_run
from railcar.errors import CheckpointError, RunError, UsageError
from railcar.recipe.load import load_recipe
from railcar.recipe.schema import Optimizer, Recipe
from railcar.recipe.writing import recipe_to_yaml
from railcar.runs.index import flatten
from railcar.runs.run_dir import RunDir, now_text, read_json
from railcar.storage.local import write_atomic
from railcar.storage.lock import is_on_own_disk
from railcar.workflows.inputs import Input, Overrides, resolve_input
from railcar.workflows.recorded import is_own_run, read_recipe

if TYPE_CHECKING:
    from railcar.runs.checkpoint import Checkpoint

LENGTH_KEYS = (
    "training.steps",
    "training.epochs",
    "training.early_stop",
    "training.stop_at",
    "training.validate_every",
    "training.checkpoint_every",
    "training.keep_checkpoints",
)
"""What may change when a run goes on: how long, and how often it validates and saves. What is done stays true."""
_NODES_OF_LENGTH = ("training.early_stop.", "training.stop_at.")


@dataclass(frozen=True)
class Stopped:
    """A run as it is taken up again: from `checkpoint`, or from its beginning when that is None. `warnings` are lines
    about what was found damaged; `changes` are those of the recipe, {key: (before, now)}; `n_steps` is the length it
    had before."""

    run: RunDir
    recipe: Recipe
    checkpoint: Checkpoint | None
    n_steps: int | None = None
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def step(self) -> int:
        return self.checkpoint.step if self.checkpoint else 0

    def to_input(self, data: Any) -> Input:
        """`data` is given again for a run that was trained on arrays, which no file keeps."""
        arrays = resolve_input(data).arrays if data is not None else None
        return Input(self.recipe, is_complete=True, arrays=arrays)


def reopen(run: RunDir, overrides: Overrides = (), *, is_leased: bool = False) -> Stopped:
    """Find out where `run`, which this process holds, stopped; `overrides` change its length. `is_leased` says that no
    other computer trains it, whatever its manifest says. Raises `RunError` when it
    cannot go on and `UsageError` for overrides of other keys."""
    from railcar.runs.checkpoint import find_newest

    manifest = run.read_manifest()
    if manifest.get("state") == "finished" and not overrides:
        raise _finished(run, manifest)
    if not is_leased:
        _check_stopped_elsewhere(run, manifest)
    recipe, changes = _change_recipe(run, overrides)
    checkpoint, damaged = find_newest(run.checkpoints)
    if checkpoint is None:
        _check_begun(run)
    warnings = [f"{line}; going back to the one before" for line in damaged]
    if checkpoint and (lost := _find_lost_best(run, checkpoint)):
        warnings.append(f"{lost}; it was the best one, which is sought anew from step {checkpoint.step:,} on")
        checkpoint = _with_state(checkpoint, "best", step=None, value=None)
    if checkpoint and changes.keys() & {"training.early_stop", "training.stop_at"}:
        checkpoint = _with_state(checkpoint, "ending", reason=None)
    return Stopped(run, recipe, checkpoint, manifest.get("steps"), changes, warnings)


def check_goes_on(run: RunDir, overrides: Overrides = ()) -> None:
    """Raise `RunError` or `UsageError` where `run` could not be taken up with `overrides`, before a machine is rented
    for it; also while another process trains it."""
    with run.hold():
        stopped = reopen(run, overrides)
        if steps := stopped.recipe.training.steps:
            check_length(stopped, steps)


def check_length(stopped: Stopped, n_steps: int) -> None:
    """Raise `RunError` when `n_steps` are fewer than are done, or when nothing is left to do of a finished run."""
    run, step = stopped.run, stopped.step
    if n_steps < step:
        raise RunError(
            f"{run.name}: {step:,} steps are done, and it cannot be made {n_steps:,} long",
            hint="name more steps; an earlier checkpoint is measured with: railcar evaluate --checkpoint STEP",
        )
    manifest = run.read_manifest()
    if manifest.get("state") != "finished":
        return
    reason = stopped.checkpoint.state.get("ending", {}).get("reason") if stopped.checkpoint else None
    if reason:
        raise RunError(
            f"{run.name}: it ended because {reason}; more steps alone do not change that",
            hint="add --set training.early_stop=null or --set training.stop_at=null, or give other values",
        )
    if n_steps == step:
        raise _finished(run, manifest)


def _finished(run: RunDir, manifest: dict[str, Any]) -> RunError:
    longer = 2 * int(manifest.get("steps") or 500)
    return RunError(
        f"{run.name}: the run is finished already",
        hint=f"make it longer: railcar train --resume={run.reference} --set training.steps={longer}; "
        f"see it with: railcar runs show {run.reference}",
    )


def _change_recipe(run: RunDir, overrides: Overrides) -> tuple[Recipe, dict[str, tuple[Any, Any]]]:
    """The run's recipe with `overrides` on top, and what that changes."""
    before = read_recipe(run)
    if not overrides:
        return before, {}
    after = load_recipe(before, overrides)
    old, new = flatten(before.model_dump(mode="json")), flatten(after.model_dump(mode="json"))
    names = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    refused = [key for key in names if key not in LENGTH_KEYS and not key.startswith(_NODES_OF_LENGTH)]
    if refused:
        raise UsageError(
            f"a run that goes on keeps its recipe, and {refused[0]} is not one of the keys of its length: "
            f"what is done was trained with {old.get(refused[0])}",
            hint=f"begin a new run with its weights: railcar train --from {run.reference} --set ...; "
            f"a run that goes on may change {', '.join(LENGTH_KEYS)}",
        )
    kept = {key: (_value(before, key), _value(after, key)) for key in LENGTH_KEYS}
    return after, {key: values for key, values in kept.items() if values[0] != values[1]}


def _value(recipe: Recipe, key: str) -> Any:
    return recipe.training.model_dump(mode="json")[key.removeprefix("training.")]


def _with_state(checkpoint: Checkpoint, part: str, **values: Any) -> Checkpoint:
    return replace(checkpoint, state=checkpoint.state | {part: checkpoint.state.get(part, {}) | values})


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


def go_on(stopped: Stopped, n_steps: int) -> list[str]:
    """Mark the run as running again, `n_steps` long, and bring its files back to the checkpoint: rows of later steps
    go, and later checkpoints, which are damaged and must not count among those that are kept. A kill in its midst does
    no harm: the next time it is done again. Returns lines about what could not be brought back."""
    from railcar.runs.checkpoint import drop_after
    from railcar.training.callbacks import BestScore
    from railcar.training.saving import write_pointers

    run, step = stopped.run, stopped.step
    _note_changes(stopped, n_steps)
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


def _note_changes(stopped: Stopped, n_steps: int) -> None:
    """The recipe as it is now, and in the manifest who goes on, and what was changed when."""
    run = stopped.run
    manifest = {key: value for key, value in run.read_manifest().items() if key not in ("reason", "ended_early")}
    if stopped.changes:
        recipe = recipe_to_yaml(stopped.recipe, _comments(stopped)).encode()
        if is_own_run(run):
            manifest[SIGNATURE] = sign_run(recipe)
        write_atomic(run.recipe_path, recipe)
    if stopped.changes or stopped.n_steps not in (None, n_steps):
        change = {"at": now_text(), "step": stopped.step, "steps": [stopped.n_steps, n_steps]}
        change["recipe"] = {key: list(values) for key, values in stopped.changes.items()}
        manifest["changes"] = [*manifest.get("changes", []), change]
    now = {"state": "running", "pid": os.getpid(), "host": socket.gethostname(), "ended": None, "steps": n_steps}
    run.write_manifest({**manifest, **now})


def _comments(stopped: Stopped) -> dict[str, str]:
    """Those that recipe.yaml had behind its keys, as far as they are still true, and what changed ones were before."""
    decisions = read_json(stopped.run.decisions_path) or {}
    flat = flatten(stopped.recipe.model_dump(mode="json"))
    reasons = {key: one["reason"] for key, one in decisions.items() if key in flat and flat[key] == one["value"]}
    before = {key: f"was {old} until step {stopped.step}" for key, (old, _) in stopped.changes.items()}
    return {key: reason for key, reason in reasons.items() if reason != "as the recipe says"} | before


def say_new_rate(stopped: Stopped, node: Optimizer, n_steps: int) -> str | None:
    """What becomes of a falling learning rate when the run's length changes; None when nothing does."""
    from railcar.training.optimizer import Schedule

    if stopped.n_steps in (None, n_steps) or node.schedule == "constant":
        return None
    before, now = (
        Schedule(node.schedule, peak=node.learning_rate, warmup_steps=node.warmup_steps, n_steps=n).value_at(
            stopped.step
        )
        for n in (stopped.n_steps, n_steps)
    )
    return (
        f"the learning rate ({node.schedule}) now reaches zero at step {n_steps:,} instead of {stopped.n_steps:,}: "
        f"it goes on with {now:.3g} where it was {before:.3g}"
    )


def _check_stopped_elsewhere(run: RunDir, manifest: dict[str, Any]) -> None:
    """A run that another computer marked as running: its lock tells nothing through a shared folder."""
    host = manifest.get("host")
    if manifest.get("state") != "running" or host == socket.gethostname() or is_on_own_disk(run.path):
        return
    raise RunError(
        f"{run.name}: the run is still going on at {host}, as far as can be seen from here",
        hint=f'if it has stopped there, write "died" in place of "running" into {run.manifest_path}',
    )


def _check_begun(run: RunDir) -> None:
    """Raise `RunError` for a run that began with another's weights and has no checkpoint: they are not repeated."""
    origin = run.read_manifest().get("origin")
    if origin:
        raise RunError(
            f"{run.name}: it has no whole checkpoint, not even of the weights it began with",
            hint=f"begin again with: railcar train --from {origin.get('run')}",
        )
