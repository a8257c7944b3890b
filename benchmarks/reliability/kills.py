"""Rows 1, 6, 7 and 8: a training is killed or stopped at random moments and goes on."""

from __future__ import annotations

import random
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability import subject
from benchmarks.reliability.children import Child, start_railcar, train
from benchmarks.reliability.run import Outcome

from railcar.runs.checkpoint import find_newest
from railcar.runs.run_dir import RunDir

LIMIT_S = 20.0
_CHANGES = ("data.source=mnist-sample", "training.steps=1000000", "training.checkpoint_every=20")
# A network of 3.3 million parameters.
SIGTERM_WORDS = ["mnist-tutorial", "--name", "subject", *(word for one in _CHANGES for word in ("--set", one))]


@dataclass(frozen=True)
class Whole:
    """The run that nobody stopped. `life_s` is the time from its folder's appearance to the end of its process."""

    run: RunDir
    life_s: float


@dataclass(frozen=True)
class Cut:
    """A run that was killed at `moments` (seconds since it appeared, or was taken up again) and went on to its end."""

    run: RunDir
    moments: list[float]
    status: int
    said: str


def train_whole(folder: Path, recipe: Path) -> Whole:
    runs_dir = folder / "whole"
    child = train([str(recipe), "--runs-dir", str(runs_dir)], folder / "whole.log")
    run = await_run(child, runs_dir)
    appeared = time.monotonic()
    assert child.wait() == 0, child.said()
    return Whole(run, time.monotonic() - appeared)


def cut_and_resume(folder: Path, recipe: Path, life_s: float, chance: random.Random) -> Cut:
    """Train, kill once to three times at random moments, and resume until it ends. A run that was finished at its first
    kill does not count and is begun anew: its process may be at its report still, and nothing is left to go on with."""
    log = folder / "cut.log"
    while True:
        runs_dir = folder / "cut"
        shutil.rmtree(runs_dir, ignore_errors=True)
        child = train([str(recipe), "--runs-dir", str(runs_dir)], log)
        run = await_run(child, runs_dir)
        moments: list[float] = []
        for _ in range(chance.choice((1, 1, 2, 3))):
            moment = chance.uniform(0, life_s)
            if not _kill_after(child, moment) or run.state() == "finished":
                break
            moments.append(round(moment, 3))
            child = train(["--resume", "--runs-dir", str(runs_dir)], log)
        status = child.wait()
        if moments:
            was_finished = status == -signal.SIGKILL and run.state() == "finished"
            return Cut(run, moments, 0 if was_finished else status, child.said())


def measure_weights(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 1: the final variables are those of the uninterrupted run, bit for bit; so are history and evaluation."""
    recipe = subject.write_recipe(folder)
    whole = train_whole(folder, recipe)
    return _compare_trials(folder, recipe, whole, trials or 200, chance)


def measure_memory(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 7: a run that ends by `early_stop` ends at the same step, with the same best checkpoint and the same rows."""
    recipe = subject.write_recipe(
        folder, steps=3000, validate_every=17, early_stop={"patience": 6}, average=None, label_smoothing=0.0
    )
    whole = train_whole(folder, recipe)
    manifest = whole.run.read_manifest()
    assert manifest.get("ended_early"), "the run must end early, else this measures nothing"
    outcome = _compare_trials(folder, recipe, whole, trials or 20, chance)
    note = f"ended early at step {manifest['step']} of {manifest['steps']}; {outcome.note}"
    return Outcome(outcome.passed, outcome.trials, note, outcome.failures)


def _compare_trials(folder: Path, recipe: Path, whole: Whole, trials: int, chance: random.Random) -> Outcome:
    failures, n_kills = [], 0
    for trial in range(trials):
        cut = cut_and_resume(folder, recipe, whole.life_s, chance)
        n_kills += len(cut.moments)
        problem = subject.compare_runs(whole.run, cut.run) if cut.status == 0 else f"exit {cut.status}: {cut.said}"
        if problem:
            failures.append(f"trial {trial}, killed at {cut.moments} s: {problem}")
    return Outcome(trials - len(failures), trials, f"{n_kills} kills", failures)


def measure_steps(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 6: the optimizer counts as many steps as the recipe says, each is in the history once, and the learning rate
    of each is that of the uninterrupted run."""
    recipe, trials = subject.write_recipe(folder), trials or 20
    whole = train_whole(folder, recipe)
    expected = {row["step"]: row["learning_rate"] for row in whole.run.read_metrics()}
    assert list(expected) == list(range(1, subject.N_STEPS + 1)), "every step has a row"
    failures, worst_steps, worst_rate = [], 0, 0.0
    for trial in range(trials):
        cut = cut_and_resume(folder, recipe, whole.life_s, chance)
        rows = cut.run.read_metrics()
        n_done = int(subject.read_variables(cut.run, subject.N_STEPS)["optimizer/0000/iteration"])
        extra = max(abs(n_done - subject.N_STEPS), abs(len(rows) - subject.N_STEPS))
        rate = max(abs(row["learning_rate"] - expected.get(row["step"], 1e9)) for row in rows)
        worst_steps, worst_rate = max(worst_steps, extra), max(worst_rate, rate)
        if extra or rate:
            failures.append(f"trial {trial}, killed at {cut.moments} s: {extra} steps, {rate} of the learning rate")
    note = f"steps extra or missing: {worst_steps}; difference of the learning rate: {worst_rate:g}"
    return Outcome(trials - len(failures), trials, note, failures)


def measure_sigterm(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 8: a process begun from nothing, a network of 3.3 million parameters; from the signal to its end."""
    trials, failures, times, n_steps = trials or 20, [], [], []
    for trial in range(trials):
        runs_dir = folder / f"sigterm-{trial}"
        child = start_railcar(["train", *SIGTERM_WORDS, "--runs-dir", str(runs_dir)], folder / "log")
        run, moment = await_run(child, runs_dir), chance.uniform(0, 8)
        time.sleep(moment)
        sent = time.monotonic()
        child.kill(signal.SIGTERM)
        status = child.wait()
        times.append(time.monotonic() - sent)
        manifest, (newest, damaged) = run.read_manifest(), find_newest(run.checkpoints)
        n_steps.append(manifest["step"])
        saved = newest.step if newest else 0
        told = re.search(rf"railcar train --resume={run.name}", child.said())
        is_right = (status, manifest["state"], saved, damaged) == (143, "interrupted", manifest["step"], [])
        if not (is_right and told and times[-1] <= LIMIT_S):
            problem = f"exit {status}, {manifest['state']}, step {manifest['step']}, saved {saved}, {times[-1]:.1f} s"
            failures.append(f"trial {trial}, after {moment:.2f} s: {problem}")
        shutil.rmtree(runs_dir)
    middle = sorted(times)[len(times) // 2]
    note = f"median {middle:.2f} s, longest {max(times):.2f} s; after {min(n_steps)} to {max(n_steps)} steps"
    return Outcome(trials - len(failures), trials, note, failures)


def await_run(child: Child, runs_dir: Path) -> RunDir:
    """The run in the folder, once it is there."""
    while (run := subject.find_only_run(runs_dir)) is None:
        assert child.poll() is None, child.said()
        time.sleep(0.001)
    return run


def _kill_after(child: Child, seconds: float) -> bool:
    """Kill it in so many seconds; False when it ended before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.002)
    child.kill()
    return child.wait() == -signal.SIGKILL
