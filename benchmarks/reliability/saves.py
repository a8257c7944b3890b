"""Rows 2 and 3: a process is killed while it saves. Neither needs TensorFlow: what is saved are plain arrays."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.reliability.children import fork
from benchmarks.reliability.run import Outcome
from benchmarks.reliability.tracing import run_until_call
from numpy.typing import NDArray

from railcar.recipe.load import load_recipe
from railcar.recipe.writing import recipe_to_yaml
from railcar.runs.checkpoint import Checkpoint, read_checkpoint
from railcar.runs.run_dir import RunDir, read_json
from railcar.training.callbacks import BestScore
from railcar.training.saving import Saver
from railcar.workflows.resume import go_on, reopen

_KEEP = 2
_N_STEPS = 10_000
_N_SMALL = 5_000


class Values:
    """An array that is asked for its value as a Keras variable is."""

    def __init__(self, name: str, value: NDArray[Any]) -> None:
        self.name = name
        self.value = value
        self.shape = value.shape

    def assign(self, value: NDArray[Any]) -> None:
        self.value = value

    def numpy(self) -> NDArray[Any]:
        return self.value

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return self.value


@dataclass
class Moment:
    """What a saver asks of a training's progress."""

    step: int
    best: BestScore
    window: list[float] = field(default_factory=list)

    def to_state(self) -> dict[str, Any]:
        return {"best": vars(self.best), "window": self.window}


def make_variables(step: int, n: int) -> dict[str, list[Values]]:
    """Variables whose every number tells the step: three of `n` floats, two small ones."""
    large = [Values(f"kernel{index}", np.full(n, step + index / 10, np.float32)) for index in range(3)]
    return {
        "model": [*large, Values("bias", np.full(7, step, np.float32))],
        "optimizer": [Values("at", np.array(step, np.int64))],
    }


def save(saver: Saver, step: int, best_step: int, n: int) -> None:
    best = BestScore("val_loss", best_step, 1.0 / best_step)
    saver.save(Moment(step, best, [0.5] * 20), make_variables(step, n))


def check_after_kill(run: RunDir, steps: set[int], n: int, *, may_warn: bool = False) -> tuple[int | None, str | None]:
    """What the next start finds: the step it goes on from, and what is wrong with that, if anything is. It must be one
    of `steps` and hold that step's numbers; afterwards `last.json` and `best.json` name checkpoints that are whole, the
    next save works, and nothing half-written is left."""
    stopped = reopen(run)
    if stopped.warnings and not may_warn:
        return None, "; ".join(stopped.warnings)
    checkpoint = stopped.checkpoint
    if checkpoint is None or checkpoint.step not in steps:
        return None, f"goes on from {checkpoint and checkpoint.step}, not from one of {sorted(steps)}"
    if not _has_numbers_of_its_step(checkpoint, n):
        return checkpoint.step, f"the numbers of step {checkpoint.step} are not those that were saved"
    go_on(stopped, _N_STEPS)
    problem = _check_pointers(run)
    with Saver(run, keep=_KEEP, saved_step=checkpoint.step) as saver:
        save(saver, checkpoint.step + 1, checkpoint.step + 1, n)
    left = [path.name for path in run.checkpoints.iterdir() if path.name.startswith(".")]
    return checkpoint.step, problem or _check_pointers(run) or (f"left behind: {left}" if left else None)


def _has_numbers_of_its_step(checkpoint: Checkpoint, n: int) -> bool:
    expected = make_variables(checkpoint.step, n)
    with np.load(checkpoint.path / "variables.npz") as stored:
        found = {key: stored[key] for key in stored.files}
    wanted = {
        f"{group}/{index:04d}/{one.name}": one.value for group in expected for index, one in enumerate(expected[group])
    }
    return found.keys() == wanted.keys() and all(np.array_equal(found[key], wanted[key]) for key in found)


def _check_pointers(run: RunDir) -> str | None:
    for path in (run.last_path, run.best_path):
        pointer = read_json(path)
        if pointer is None:
            return f"{path.name} is missing"
        read_checkpoint(run.checkpoints / pointer["checkpoint"])
    return None


def make_run(folder: Path, n: int, best_steps: dict[int, int]) -> RunDir:
    """A run with the checkpoints of the steps 1 to 3 saved, whose process is gone."""
    recipe = recipe_to_yaml(load_recipe({"name": "saves"}))
    run = RunDir.create(folder, "saves", lambda made: _fill(made, recipe))
    with Saver(run, keep=_KEEP) as saver:
        for step, best_step in best_steps.items():
            save(saver, step, best_step, n)
    run.append_metrics({"step": max(best_steps), "loss": 0.5})
    return run


def _fill(run: RunDir, recipe: str) -> None:
    run.recipe_path.write_text(recipe)


def measure_every_call(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 2: before each call that can change files, from the first of a save to the last. Once with a save that is the
    new best and pushes out an older one, once with one that is not the best; and of taking up a run whose newest
    checkpoint is damaged."""
    failures, counts, n_trials = [], [], 0
    seen: Counter[str] = Counter()
    for name, best_steps, work, before, after in (
        ("a new best", {1: 1, 2: 2, 3: 2}, lambda run: _save_fourth(run, 4), 3, 4),
        ("not the best", {1: 1, 2: 1, 3: 1}, lambda run: _save_fourth(run, 1), 3, 4),
        ("taking up", {1: 1, 2: 2, 3: 3}, lambda run: go_on(reopen(run), _N_STEPS), 2, 2),
    ):
        template = make_run(folder / "templates", _N_SMALL, best_steps)
        if before == 2:
            (template.checkpoints / "step-00000003" / "state.json").write_text("damaged")
        is_whole, n, step_before = False, 0, before
        while not is_whole:
            n += 1
            runs_dir = folder / "runs"
            shutil.rmtree(runs_dir, ignore_errors=True)
            run = RunDir(shutil.copytree(template.path, runs_dir / template.name))
            calls, is_whole = run_until_call(lambda run=run, work=work: work(run), n, folder / "log")
            allowed = {after} if is_whole else {step_before, after}
            step, problem = check_after_kill(run, allowed, _N_SMALL, may_warn=before == 2)
            n_trials += 1
            if problem:
                failures.append(f"{name}, before call {n} ({calls[-1]}): {problem}")
            step_before = step or step_before  # once the new one is there, a later kill does not take it away
        seen.update(calls)
        counts.append(len(calls))
    kinds = ", ".join(f"{count} {name}" for name, count in seen.most_common())
    note = f"{counts[0]} and {counts[1]} calls a save, {counts[2]} to take up a run ({kinds})"
    return Outcome(n_trials - len(failures), n_trials, note, failures)


def _save_fourth(run: RunDir, best_step: int) -> None:
    with Saver(run, keep=_KEEP, saved_step=3) as saver:
        save(saver, 4, best_step, _N_SMALL)


def measure_random_kills(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 3: saves one after the other, 6 MB each, killed within half a second."""
    trials, failures, n_saves, n = trials or 200, [], 0, 500_000
    for trial in range(trials):
        runs_dir = folder / "runs"
        shutil.rmtree(runs_dir, ignore_errors=True)
        run = make_run(runs_dir, n, {1: 1})
        reader, writer = os.pipe()
        child = fork(lambda run=run, writer=writer: _save_for_ever(run, writer, n), folder / "log")
        os.close(writer)
        time.sleep(chance.uniform(0.0, 0.5))
        child.kill()
        status = child.wait()
        with os.fdopen(reader, "rb") as pipe:
            told = [1, *map(int, pipe.read().split())]
        n_saves += told[-1] - 1
        # The last save may be whole without having been told.
        _, problem = check_after_kill(run, {told[-1], told[-1] + 1}, n)
        if problem or status != -signal.SIGKILL:
            failures.append(f"trial {trial}: {problem or child.said()}")
    return Outcome(trials - len(failures), trials, f"{n_saves} saves before the kills", failures)


def _save_for_ever(run: RunDir, writer: int, n: int) -> int:
    step = best_step = 1
    with Saver(run, keep=_KEEP, saved_step=1) as saver:
        while True:
            step += 1
            best_step = step if step % 3 == 0 else best_step
            save(saver, step, best_step, n)
            saver.wait()
            os.write(writer, f"{step}\n".encode())
