"""`train --time`: as many steps as fit into a time, found by making some.

Owns how long a training may be; what is trained to find that out is thrown away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from railcar.errors import UsageError
from railcar.workflows.inputs import Input

if TYPE_CHECKING:
    from railcar.data.types import Dataset
    from railcar.training.progress import Reporter
    from railcar.workflows.job import Job

# Of a step's time, what measuring as many examples takes: no backward pass, no update.
_SHARE_OF_MEASURING = 0.4
# Plots, predictions, the artifact and the last checkpoint.
_END_S = 3.0
# A checkpoint and a line for each validation.
_RECORD_S = 0.1
# Machines slow down, and a late result is worse than one of a few steps less.
_SHARE_USED = 0.92
# How much longer than usual more time may make the training of a network for images, which goes on to learn.
_MOST_TIMES = {"image": 4.0}
_LEAST_TIMED_S = 1.0


@dataclass(frozen=True)
class Budget:
    """`seconds` from `began` (of `time.monotonic`) to the written result."""

    seconds: float
    began: float

    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.began)


def fit_into_time(given: Input, dataset: Dataset, job: Job, budget: Budget, reporter: Reporter) -> tuple[Input, str]:
    """`given` with the number of steps that fit, and why so many. `job` is that of `given`; its network is spoilt.
    Raises `UsageError` when not even one step fits."""
    with reporter.working("timing some steps"):
        step_s = time_steps(job, budget)
    example_s = step_s / job.recipe.training.batch_size * _SHARE_OF_MEASURING
    sizes = {name: len(split) for name, split in dataset.splits.items() if name != "train"}
    end_s = _END_S + sum(sizes.values()) * example_s
    validation_s = sizes.get("validation", 0) * example_s + _RECORD_S
    # where passes are short there are about as many validations as before, whatever the length
    n_validations = max(1.0, job.plan.n_steps / job.plan.validate_every)
    left = budget.left() * _SHARE_USED - end_s
    spent_s = step_s + validation_s / job.plan.validate_every
    fitting = int(left / spent_s) if n_validations > 1 else int((left - validation_s) / step_s)
    if fitting < 1:
        needed = budget.seconds - left + job.plan.steps_per_epoch * spent_s
        raise UsageError(
            f"--time {budget.seconds:.0f}s: not one step fits beside what comes before and after",
            hint=f"give it {needed:.0f}s for one pass over the data",
        )
    usual = job.plan.n_steps
    is_ours = not given.is_complete and {"steps", "epochs"}.isdisjoint(given.recipe.training.model_fields_set)
    most = int(usual * _MOST_TIMES.get(dataset.features.kind, 1.0)) if is_ours else usual
    n_steps = min(fitting, most)
    reason = f"a step takes {step_s * 1000:.3g} ms here, and {end_s:.0f} s are kept for the end"
    if n_steps < fitting:
        reason = f"{fitting:,} would fit into {budget.seconds:.0f} s ({reason}); more than {n_steps:,} do not help"
    else:
        reason = f"as many as fit into {budget.seconds:.0f} s: {reason}"
    return _with_steps(given, n_steps), reason


def _with_steps(given: Input, n_steps: int) -> Input:
    training = given.recipe.training
    optimizer = training.optimizer
    if optimizer.warmup_steps >= n_steps:
        optimizer = optimizer.model_copy(update={"warmup_steps": n_steps // 10})
    update = {"steps": n_steps, "epochs": None, "optimizer": optimizer}
    # `model_copy` notes what it updates as set, which the chosen defaults must still be free to choose
    changed = training.model_copy(update=update)
    changed.model_fields_set.intersection_update({*training.model_fields_set, "steps"})
    return replace(given, recipe=given.recipe.model_copy(update={"training": changed}))


def time_steps(job: Job, budget: Budget) -> float:
    """Seconds of a step, when all is compiled: the best of the calls that a hundredth of the time, or a second, has
    room for."""
    from railcar.workflows.parts import build_schedule, build_trial

    steps, batches = build_trial(job, build_schedule(job))
    n_steps, done, best = 1, 0, float("inf")
    steps(batches.chunk(done, n_steps))
    until = time.monotonic() + max(_LEAST_TIMED_S, budget.seconds / 100)
    while time.monotonic() < until:
        done += n_steps
        started = time.perf_counter()
        steps(batches.chunk(done, n_steps))
        seconds = time.perf_counter() - started
        best = min(best, seconds / n_steps)
        if seconds < _LEAST_TIMED_S / 10:
            n_steps = min(2 * n_steps, job.plan.max_steps_per_call)
    return best
