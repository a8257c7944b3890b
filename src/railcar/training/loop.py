"""What happens from the first step to the last. The file to read.

    for each chunk of steps                     as many as fit between two things to record
        images, labels   <- data/pipeline.py    addressed by (seed, epoch, step), read one chunk ahead
        losses, hits     <- train_steps         one compiled call: forward, backward, optimizer, several steps
        record                                  metrics.jsonl, TensorBoard, the bar
        validate, checkpoint                    every so many steps; the best and the last stay
    Ctrl-C, SIGTERM      -> checkpoint, then Interrupted, which says how to go on

Owns the order of things. Networks, optimizers, data, checkpoints and evaluation are built elsewhere; the evaluation is
handed in. `step` is the number of optimizer steps done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from railcar.data.pipeline import Batches, prefetch
from railcar.data.types import Dataset, Split
from railcar.errors import Interrupted
from railcar.recipe.schema import Recipe
from railcar.runs.checkpoint import (
    Checkpoint,
    checkpoint_name,
    prune_checkpoints,
    restore_variables,
    write_checkpoint,
)
from railcar.runs.run_dir import RunDir, write_json
from railcar.training.callbacks import BestScore, StopSignals, check_losses
from railcar.training.compiled import compile_steps
from railcar.training.optimizer import build_optimizer
from railcar.training.placement import log_placement
from railcar.training.progress import Reporter, TrainingBar
from railcar.training.schedule import StepPlan
from railcar.training.summaries import Summaries

_TAGS = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "val_loss": "validation/loss",
    "val_accuracy": "validation/accuracy",
    "learning_rate": "learning_rate",
    "examples_per_s": "examples_per_s",
}

Measure = Callable[[Split], dict[str, float]]
"""A split, through the model in training -> {"loss": ..., "accuracy": ...}."""


def build_training_optimizer(recipe: Recipe, model: Any, n_steps: int, precision: str) -> Any:
    """The recipe's optimizer for a training of `n_steps`; float16 gets loss scaling."""
    node = recipe.training.optimizer
    return build_optimizer(**node.model_dump(), n_steps=n_steps, model=model, scale_loss=precision == "float16")


@dataclass
class Progress:
    """Where a training is: all that must survive a stop, apart from the variables."""

    step: int = 0
    seconds_training: float = 0.0
    best: BestScore = field(default_factory=lambda: BestScore("last"))
    saved_step: int | None = None

    def to_state(self) -> dict[str, Any]:
        best = {"metric": self.best.metric, "step": self.best.step, "value": self.best.value}
        return {"seconds_training": self.seconds_training, "best": best}

    def restore(self, checkpoint: Checkpoint) -> None:
        self.step = self.saved_step = checkpoint.step
        self.seconds_training = float(checkpoint.state["seconds_training"])
        self.best = BestScore(**checkpoint.state["best"])


@dataclass
class Training:
    """One run in progress: the parts that the functions below work on."""

    recipe: Recipe
    dataset: Dataset
    run: RunDir
    model: Any
    optimizer: Any
    plan: StepPlan
    reporter: Reporter
    measure: Measure
    summaries: Summaries | None
    progress: Progress = field(default_factory=Progress)

    @property
    def sample_images(self) -> np.ndarray:
        """uint8 [at most 32, height, width, channels]: the fixed batch whose activations are drawn."""
        split = self.dataset.splits["train"]
        return np.asarray(split.images[split.rows[:32]])

    @property
    def groups(self) -> dict[str, Any]:
        return {"model": self.model.variables, "optimizer": self.optimizer.variables}


def run_training(training: Training, *, compile: str, resume_from: Checkpoint | None = None) -> Progress:
    """Train to the last step of the plan. Raises `Interrupted` after a signal and `TrainingError` for a loss that is no
    number; what was trained until then is in the run's checkpoints."""
    progress, plan = training.progress, training.plan
    progress.best = BestScore(training.recipe.training.best)
    if resume_from:
        restore_variables(resume_from, training.groups)
        progress.restore(resume_from)
    train_steps = compile_steps(training.model, training.optimizer, batch_shape=_batch_shape(training), compile=compile)
    if training.reporter.verbose:
        train_steps = log_placement(train_steps, write=training.reporter.log_only, summarise=training.reporter.detail)
    with (
        StopSignals() as signals,
        training.reporter.bar(n_steps=plan.n_steps, first_step=progress.step) as bar,
    ):
        recorder = Recorder(training, bar)
        for first_step, images, labels in prefetch(_batches(training), plan.chunks(progress.step)):
            started = time.perf_counter()
            losses, hits = train_steps(images, labels)
            seconds = time.perf_counter() - started
            plan.learn_duration(len(losses), seconds)
            progress.step = first_step + len(losses)
            check_losses(
                losses,
                first_step,
                saved_step=progress.saved_step,
                learning_rate=training.recipe.training.optimizer.learning_rate,
            )
            recorder.record(losses, hits, seconds)
            if signals.received:
                break
    if progress.step < plan.n_steps:
        _save(training)
        raise Interrupted(
            f"stopped at step {progress.step} of {plan.n_steps}; everything up to there is saved",
            hint=f"go on with: railcar train --resume={training.run.name}",
            exit_status=signals.exit_status,
        )
    return progress


def _batch_shape(training: Training) -> tuple[int, ...]:
    return (training.recipe.training.batch_size, *training.dataset.features.image_shape)


def _batches(training: Training) -> Batches:
    recipe = training.recipe
    return Batches(training.dataset.splits["train"], recipe.training.batch_size, recipe.seed, recipe.data.shuffle)


class Recorder:
    """Turns what a chunk of steps returned into records, and validates and saves when it is time."""

    def __init__(self, training: Training, bar: TrainingBar) -> None:
        self._training = training
        self._bar = bar
        self._losses: list[float] = []
        self._hits = 0.0
        self._seconds = 0.0

    def record(self, losses: np.ndarray, hits: np.ndarray, seconds: float) -> None:
        """`losses` and `hits` [n]: mean loss and number of right answers of each of the last n steps."""
        training, step = self._training, self._training.progress.step
        training.progress.seconds_training += seconds
        self._losses.extend(losses.tolist())
        self._hits += float(hits.sum())
        self._seconds += seconds
        row = self._row(step)
        self._bar.update(step, loss=row["loss"], accuracy=row["accuracy"], examples_per_s=row["examples_per_s"])
        plan = training.plan
        if plan.is_log(step) or plan.is_validation(step):
            if plan.is_validation(step):
                row |= self._validate(step)
            training.run.append_metrics(row)
            if training.summaries:
                training.summaries.scalars(
                    step, {key: value for key, value in row.items() if key not in ("step", "seconds")}
                )
            self._losses, self._hits, self._seconds = [], 0.0, 0.0
        improved = training.progress.best.step == step
        if plan.is_checkpoint(step) or (improved and plan.is_validation(step)):
            _save(training)

    def _row(self, step: int) -> dict[str, Any]:
        training = self._training
        n_examples = len(self._losses) * training.recipe.training.batch_size
        return {
            "step": step,
            "epoch": round(step / training.plan.steps_per_epoch, 4),
            "loss": float(np.mean(self._losses)),
            "accuracy": self._hits / n_examples,
            "learning_rate": float(np.asarray(training.optimizer.learning_rate)),
            "examples_per_s": round(n_examples / max(self._seconds, 1e-9), 1),
            "seconds": round(training.progress.seconds_training, 3),
        }

    def _validate(self, step: int) -> dict[str, float]:
        training = self._training
        if training.summaries:
            training.summaries.activations(training.model, training.sample_images, step)
            training.summaries.weights(training.model, step)
        if "validation" not in training.dataset.splits:
            return {}
        started = time.perf_counter()
        measured = training.measure(training.dataset.splits["validation"])
        training.progress.seconds_training += time.perf_counter() - started
        values = {f"val_{name}": value for name, value in measured.items()}
        mark = " (best)" if training.progress.best.improves(step, values) else ""
        training.reporter.say(
            f"  step {step:>6}/{training.plan.n_steps}  "
            f"val loss {values['val_loss']:.4f}  val accuracy {values['val_accuracy']:.2%}{mark}"
        )
        return values


def _save(training: Training) -> None:
    """A checkpoint of now; then `last.json`, `best.json` and the older ones that may go."""
    run, progress = training.run, training.progress
    started = time.perf_counter()
    if progress.saved_step != progress.step:
        write_checkpoint(run.checkpoints, progress.step, training.groups, progress.to_state())
        progress.saved_step = progress.step
    write_json(run.last_path, {"checkpoint": checkpoint_name(progress.step), "step": progress.step})
    if progress.best.step is not None:
        best = {"checkpoint": checkpoint_name(progress.best.step), "step": progress.best.step}
        write_json(run.best_path, best | {progress.best.metric: progress.best.value})
    prune_checkpoints(run.checkpoints, keep=training.recipe.training.keep_checkpoints, best_step=progress.best.step)
    progress.seconds_training += time.perf_counter() - started
