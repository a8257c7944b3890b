"""`train --find-lr`: a learning rate for a recipe and its data, and a plot of how it was found. Nothing is kept of what
is trained."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from railcar.errors import TrainingError, UsageError
from railcar.registry import check_installed, check_tensorflow
from railcar.runs.place import check_place, find_place
from railcar.storage.remote import write
from railcar.training.tensorflow import quiet_stderr
from railcar.workflows.encoding import encode_images
from railcar.workflows.inputs import Input, Overrides, resolve_input
from railcar.workflows.job import Job, prepare_job
from railcar.workflows.look import Look

if TYPE_CHECKING:
    from railcar.training.find_rate import Found
    from railcar.training.progress import Reporter

_FIRST, _LAST = 1e-6, 10.0
_STEPS_PER_DECADE = 20
_STEPS_PER_CALL = 5


@dataclass(frozen=True)
class LearningRate:
    """`rate` is the learning rate to take; the loss falls fastest at `steepest` and is lowest at `lowest`. `plot` is a
    PNG of the sweep. `model` is the network that was chosen for the data and that this is the rate of; empty where a
    recipe names one."""

    rate: float
    steepest: float
    lowest: float
    plot: Path
    model: str = ""


def find_learning_rate(
    data: Any = None,
    *,
    overrides: Overrides = (),
    runs_dir: str | Path = "runs",
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> LearningRate:
    """Try learning rates from 1e-6 to 10 in some 140 steps of training, and say which to take.

    `data` and `overrides` are as for `train`. Writes one PNG into `runs_dir`. Raises what `train` raises before its
    first step, and `TrainingError` when the loss falls at no rate.
    """
    look = Look(quiet, verbose, color)
    given = resolve_input(data, overrides)
    check_tensorflow("training")
    check_installed("matplotlib", package="matplotlib", extra="cpu", needed_for="drawing the sweep")
    place = find_place(runs_dir)
    check_place(place)
    from railcar.workflows.data import open_data

    with closing(look.reporter()) as reporter, quiet_stderr():
        dataset = open_data(given, reporter)
        with reporter.working("loading TensorFlow"):
            job = prepare_job(_on_one_device(given), dataset, None)
        if job.compiled is not None:
            raise UsageError("--find-lr: a compiled network has a learning rate of its own", hint="leave it out")
        job = encode_images(job, reporter)
        found = _sweep(job, reporter)
        if found is None:
            raise TrainingError(
                "the loss falls at no learning rate between 1e-06 and 10",
                hint="look at the data (railcar train prints what it read), or set data.scale to standard",
            )
        from railcar.reporting.plots import plot_sweep

        path = place.folder / f"{job.recipe.name}-learning-rate.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        plot_sweep(found.rates, found.smoothed, path, rate=found.rate)
        if place.address:
            write(place.address / path.name, path.read_bytes())
    model = "" if given.is_complete else job.recipe.model.name
    return LearningRate(found.rate, found.steepest, found.lowest, path, model)


def _on_one_device(given: Input) -> Input:
    training = given.recipe.training.model_copy(update={"distribution": "none"})
    return replace(given, recipe=given.recipe.model_copy(update={"training": training}))


def _sweep(job: Job, reporter: Reporter) -> Found | None:
    import numpy as np

    from railcar.training.find_rate import Sweep, has_diverged, read_rate
    from railcar.workflows.parts import build_trial

    n_steps = round(_STEPS_PER_DECADE * np.log10(_LAST / _FIRST))
    node = job.recipe.training
    sweep = Sweep(first=_FIRST, last=_LAST, n_steps=n_steps, peak=node.optimizer.learning_rate)
    features = job.dataset.features
    steps, batches = build_trial(job, sweep)
    losses, started = np.empty(0), time.perf_counter()
    with reporter.bar(n_steps=n_steps, first_step=0, noun=features.noun) as bar:
        for step in range(0, n_steps, _STEPS_PER_CALL):
            found, hits = steps(batches.chunk(step, _STEPS_PER_CALL))
            losses = np.concatenate([losses, found.astype(np.float64)])
            rate = len(losses) * node.batch_size / (time.perf_counter() - started)
            row = {features.measure: float(hits.mean()) / node.batch_size, "examples_per_s": rate}
            bar.update(len(losses), {"loss": float(found[-1]), **row})
            if has_diverged(losses):
                break
    rates = np.array([sweep.value_at(step) for step in range(len(losses))])
    return read_rate(rates, losses)
