"""`train --estimate`: is a GPU worth it? Some steps timed here, and what each GPU of the table would need for all.

A GPU is not at hand when this is asked, so its time is a range: from the arithmetic of a step and what networks reach
of a GPU's peak, at best and at worst, and from what a step costs however small it is.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from railcar.machines.prices import list_prices, table_date, tflops
from railcar.registry import check_tensorflow
from railcar.training.flops import count_step_flop
from railcar.training.tensorflow import quiet_stderr
from railcar.workflows.budget import Budget, time_steps
from railcar.workflows.inputs import Input
from railcar.workflows.job import prepare_job
from railcar.workflows.look import Look

# Of a GPU's peak in 16 bits: what wide convolutions and matrix products reach, and what narrow networks do.
_SHARE = (0.35, 0.03)
# What a step costs however small it is: several in one compiled call, and one by one.
_LEAST_STEP_S = (0.0002, 0.003)
# From the request to the first step: a machine that boots, TensorFlow for its GPU installed.
_SETUP_S = (150.0, 480.0)


@dataclass(frozen=True)
class OnGpu:
    """A machine of the table: seconds of training, from and to; what that costs with the time before it, in dollars."""

    provider: str
    gpu: str
    machine_type: str
    training_s: tuple[float, float]
    usd: tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """`step_s` was timed here, `here_s` is that for all steps; `flop` of a step, None when it cannot be counted."""

    n_steps: int
    step_s: float
    here_s: float
    flop: float | None
    setup_s: tuple[float, float]
    date: str
    gpus: tuple[OnGpu, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def verdict(self) -> str:
        """One line: what to do."""
        best = min(self.gpus, key=lambda one: one.training_s[1])
        if self.here_s < self.setup_s[0] + best.training_s[0]:
            return "train here: by the time that a GPU is ready, this computer is done"
        cheap = min(self.gpus, key=lambda one: one.usd[1])
        if self.here_s > self.setup_s[1] + cheap.training_s[1]:
            return f"worth it: railcar train ... --on {cheap.provider} --gpu {cheap.gpu}"
        return "perhaps: a GPU may be sooner, or not; try --time 5m on one, or train here"


def estimate(given: Input, *, quiet: bool = False, verbose: bool = False, color: bool | None = None) -> Estimate:
    """What a training here and on each single GPU of the table would take. Reads and prepares the data as a training
    does, and times a second of steps. Raises what `train` raises before its first step."""
    look = Look(quiet, verbose, color)
    check_tensorflow("timing steps")
    from railcar.workflows.data import open_data

    with closing(look.reporter()) as reporter, quiet_stderr():
        dataset = open_data(given, reporter)
        with reporter.working("loading TensorFlow"):
            job = prepare_job(given, dataset, None)
            flop = count_step_flop(job.model)
        with reporter.working("timing some steps"):
            step_s = time_steps(job, Budget(60.0, time.monotonic()))
    n_steps, batch_size = job.plan.n_steps, job.recipe.training.batch_size
    per_step = flop * batch_size if flop else None
    return look_at_gpus(n_steps, step_s, per_step)


def look_at_gpus(n_steps: int, step_s: float, flop: float | None) -> Estimate:
    """`step_s` seconds here and `flop` floating-point operations make a step."""
    gpus = []
    for price in list_prices():
        if price.gpu is None or price.n_gpus != 1 or price.provider == "fake":
            continue
        peak = tflops(price.gpu) * 1e12
        # not counted, the arithmetic is taken from what a computer without a GPU does at most: half a TFLOP/s
        work = flop if flop else step_s * 0.5e12
        bounds = [max(work / (peak * share), least) for share, least in zip(_SHARE, _LEAST_STEP_S, strict=True)]
        training_s = (bounds[0] * n_steps, bounds[1] * n_steps)
        usd = tuple(price.usd_per_hour * (setup + s) / 3600 for setup, s in zip(_SETUP_S, training_s, strict=True))
        gpus.append(OnGpu(price.provider, price.gpu, price.machine_type, training_s, (usd[0], usd[1])))
    gpus.sort(key=lambda one: one.usd[1])
    return Estimate(n_steps, step_s, step_s * n_steps, flop, _SETUP_S, table_date(), tuple(gpus))
