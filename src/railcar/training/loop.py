"""What happens from the first step to the last. The file to read.

    for each chunk of steps                     as many as fit between two things to record
        chunk            <- data/pipeline.py    images, labels, draws, by (seed, epoch, step); read one chunk ahead
        losses, hits     <- train_steps         one compiled call: forward, backward, optimizer, several steps
        record                                  metrics.jsonl, TensorBoard, the bar
        validate, checkpoint                    every so many steps; the best and the last stay
    early_stop, stop_at  -> the loop ends, as finished
    loss or weights that are no numbers -> TrainingError; a spoilt state never becomes a checkpoint
    Ctrl-C, SIGTERM      -> checkpoint, then Interrupted, which says how to go on
    data that is gone    -> checkpoint, then the error

Several workers (training/distribute.py) run this loop side by side, each with its rows of every batch; only the chief
records, and after each chunk all agree whether to go on.

Owns the order of things. Networks, optimizers, data, checkpoints and evaluation are built elsewhere; the evaluation is
handed in. `step` is the number of optimizer steps done.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.data.augment import Augmentation
from railcar.data.balance import oversample, weigh_classes
from railcar.data.pipeline import Batches, Chunk, prefetch
from railcar.data.types import Dataset, Split
from railcar.errors import DataError, TrainingError, Unreachable, WorkerLost
from railcar.recipe.schema import Recipe
from railcar.runs.checkpoint import Checkpoint, restore_variables
from railcar.runs.run_dir import RunDir, read_json, write_json
from railcar.runs.tags import TAGS
from railcar.training.augment import build_augment, read_augmentation
from railcar.training.average import WeightAverage
from railcar.training.callbacks import BestScore, Ending, StopSignals
from railcar.training.compiled import Steps, compile_steps, fall_back
from railcar.training.distribute import Replicas
from railcar.training.guard import Circumstances, explain_bad_loss, explain_bad_weights, find_bad_loss
from railcar.training.optimizer import Schedule
from railcar.training.placement import log_placement
from railcar.training.profile import profiled
from railcar.training.progress import Reporter, TrainingBar
from railcar.training.saving import NotFinite, Saver
from railcar.training.schedule import StepPlan
from railcar.training.state import Progress
from railcar.training.summaries import Summaries

Measure = Callable[[Split], dict[str, float]]
"""A split, through the model in training -> {"loss": ..., "accuracy": ...}; a regression has "mae" in its place."""


@dataclass
class Training:
    """One run in progress: the parts that the functions below work on. `replicas` None is one device. To workers other
    than the chief `run` is no more than a name. `on_saved` is called after each checkpoint, in the thread that
    wrote it. `whole` is the network that checkpoints hold, where `model` is only the part of it that is trained;
    `learn` makes a step where that is not the usual one. `on_validation` is told step, steps in all and what was
    measured, and may return a reason to end."""

    recipe: Recipe
    dataset: Dataset
    run: RunDir
    model: Any
    optimizer: Any
    schedule: Schedule
    plan: StepPlan
    reporter: Reporter
    measure: Measure
    summaries: Summaries | None
    average: WeightAverage | None = None
    rows_only: bool = False
    save_first: bool = False
    replicas: Replicas | None = None
    on_saved: Callable[[], None] | None = None
    whole: Any = None
    learn: Callable[[Any, Any], tuple[Any, Any]] | None = None
    on_validation: Callable[[int, int, Mapping[str, float]], str | None] | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def is_chief(self) -> bool:
        return self.replicas is None or self.replicas.is_chief

    @property
    def sample_inputs(self) -> np.ndarray:
        """[at most 32, ...]: the fixed batch whose activations are drawn."""
        split = self.dataset.splits["train"]
        return np.asarray(split.inputs[split.rows[:32]])

    @property
    def groups(self) -> dict[str, Any]:
        groups = {"model": (self.whole or self.model).variables, "optimizer": self.optimizer.variables}
        return groups | ({"average": self.average.variables} if self.average else {})

    @property
    def augmentation(self) -> Augmentation | None:
        features = self.dataset.features
        return read_augmentation(self.recipe, features.image_shape) if features.kind == "image" else None


def run_training(
    training: Training, *, compile: str, signals: StopSignals, resume_from: Checkpoint | None = None
) -> Progress:
    """Train to the last step of the plan. Raises `Interrupted` after a signal and `TrainingError` for losses or weights
    that are no numbers; what was trained until then is in the run's checkpoints."""
    progress, plan = training.progress, training.plan
    progress.best = BestScore(training.recipe.training.best)
    if resume_from:
        restore_variables(resume_from, training.groups)
        progress.restore(resume_from)
    if training.replicas:
        _begin_together(training, training.replicas)
    keep, saved_step = training.recipe.training.keep_checkpoints, resume_from.step if resume_from else None
    saver = Saver(training.run, keep=keep, saved_step=saved_step, on_saved=training.on_saved)
    try:
        with (
            signals.deferred(),
            _profiled(training, compile) as train_steps,
            training.reporter.bar(
                n_steps=plan.n_steps, first_step=progress.step, noun=training.dataset.features.noun
            ) as bar,
            saver,
        ):
            recorder = Recorder(training, bar, saver) if training.is_chief else Follower(training)
            if training.save_first:  # weights of another run: a seed alone does not bring them back
                recorder.save()
                saver.wait()
            try:
                chunks = () if progress.ending.reason else plan.chunks(progress.step)
                for chunk in prefetch(_batches(training), chunks):
                    losses, hits = train_steps(chunk)
                    recorder.record(losses, hits)
                    if _is_over(training, signals):
                        recorder.save()
                        break
            except DataError as error:
                recorder.save()
                what = f"{error.what}; everything up to step {progress.step} is saved"
                # what else it hints at would begin another run
                mend = "check the network" if isinstance(error, Unreachable) else error.hint
                raise type(error)(what, hint="; then ".join(filter(None, (mend, signals.hint)))) from error
    except WorkerLost as lost:
        step = saver.saved_step
        kept = "no checkpoint was written yet" if step is None else f"the checkpoint of step {step} is kept"
        raise WorkerLost(f"{lost.what}; {kept}", hint=signals.hint) from lost
    if signals.received:
        done = f"step {progress.step} of {plan.n_steps}"
        raise signals.interrupted(f"at {done}; everything up to there is saved")
    return progress


def _begin_together(training: Training, replicas: Replicas) -> None:
    """Every worker starts where the chief does, with its variables."""
    progress = training.progress
    there = replicas.share({"step": progress.step, "ending": asdict(progress.ending)})
    progress.step, progress.ending = there["step"], Ending(**there["ending"])
    replicas.share_variables([variable for group in training.groups.values() for variable in group])
    replicas.part_seeds(training.model)


def _is_over(training: Training, signals: StopSignals) -> bool:
    """Whether to end before the last step: one worker's signal and the chief's `Ending` end all of them."""
    progress, plan, replicas = training.progress, training.plan, training.replicas
    if replicas:
        numbers = replicas.agree([signals.received or 0, progress.ending.reason is not None, plan.adapted])
        received = [int(number) for number in numbers[:, 0] if number]
        if received and not signals.received:
            signals.received = signal.Signals(received[0])
        plan.adapted = int(numbers[0, 2])
        if numbers[0, 1] and not progress.ending.reason:
            progress.ending.reason = "the chief said so"
    return bool(signals.received or progress.ending.reason)


def _profiled(training: Training, compile: str) -> AbstractContextManager[Steps]:
    steps, say = _compile(training, compile), training.reporter.say
    return profiled(steps, training.plan.profile, training.run, training.model, say)


def _compile(training: Training, compile: str) -> Steps:
    steps = _build_steps(training, compile)
    if compile == "xla" and training.recipe.training.compile == "auto":
        steps = fall_back(steps, partial(_build_steps, training, "graph"), partial(_note_no_xla, training))
    if training.replicas:
        steps = _guard(steps, training.replicas)
    if not training.reporter.verbose:
        return steps
    return log_placement(steps, write=training.reporter.log_only, summarise=training.reporter.detail)


def _note_no_xla(training: Training, why: str) -> None:
    reason = f"XLA cannot compile this network: {why}"
    training.reporter.warn(f"training.compile: graph; {reason}")
    decisions = read_json(training.run.decisions_path) or {}
    write_json(training.run.decisions_path, decisions | {"training.compile": {"value": "graph", "reason": reason}})


def _build_steps(training: Training, compile: str) -> Steps:
    features, augmentation, replicas = training.dataset.features, training.augmentation, training.replicas
    n_workers = replicas.n_workers if replicas else 1
    return compile_steps(
        training.model,
        training.optimizer,
        batch_shape=(training.recipe.training.batch_size // n_workers, *features.input_shape),
        dtype=features.dtype,
        unit=features.target[1] if features.target else None,
        class_weights=_weigh_classes(training),
        compile=compile,
        label_smoothing=training.recipe.training.label_smoothing,
        augment=build_augment(augmentation, features.mean) if augmentation else None,
        average=training.average,
        learn=training.learn,
        source=tf.constant(np.asarray(training.dataset.splits["train"].inputs)) if training.rows_only else None,
        replicas=replicas,
    )


def _weigh_classes(training: Training) -> tuple[float, ...] | None:
    if training.recipe.data.balance != "weights":
        return None
    return weigh_classes(training.dataset.splits["train"].label_array(), training.dataset.features.n_classes)


def _guard(steps: Steps, replicas: Replicas) -> Steps:
    def call(chunk: Chunk) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with replicas.guarded():
            return steps(chunk)

    return call


def _batches(training: Training) -> Batches:
    recipe, split = training.recipe, training.dataset.splits["train"]
    if recipe.data.balance == "oversample":
        split = oversample(split, training.dataset.features.n_classes, seed=recipe.seed)
    return Batches(
        split,
        recipe.training.batch_size,
        recipe.seed,
        recipe.data.shuffle,
        augmentation=training.augmentation,
        rows_only=training.rows_only,
        part=training.replicas.part(recipe.training.batch_size) if training.replicas else slice(None),
    )


class Follower:
    """What a worker does that is not the chief: it counts."""

    def __init__(self, training: Training) -> None:
        self._progress = training.progress

    def record(self, losses: NDArray[np.float32], hits: NDArray[np.float32]) -> None:
        if (bad := find_bad_loss(losses)) is not None:
            raise TrainingError(f"step {self._progress.step + bad + 1}: the loss is no number; the chief says more")
        self._progress.step += len(losses)

    def save(self) -> None:
        pass


class Recorder:
    """Turns what a chunk of steps returned into records, and validates and saves when it is time.

    Its clock runs from its making: `seconds_training` is all of the time since, whatever it went into. The examples a
    second of a row are those of the steps themselves, waiting for data included, validation and saving left out.
    """

    def __init__(self, training: Training, bar: TrainingBar, saver: Saver) -> None:
        self._training = training
        self._bar = bar
        self._saver = saver
        self._recent: deque[float] = deque(maxlen=100)
        self._window = training.progress.window
        self._seconds_before = training.progress.seconds_training
        self._started = self._recorded = time.perf_counter()

    def record(self, losses: NDArray[np.float32], hits: NDArray[np.float32]) -> None:
        """`losses` and `hits` [n]: mean loss and number of right answers (or sum of errors) of each of the last n
        steps."""
        progress, plan = self._training.progress, self._training.plan
        if (bad := find_bad_loss(losses)) is not None:
            self._recent.extend(losses[:bad].tolist())
            raise explain_bad_loss(progress.step + bad + 1, float(losses[bad]), self._look_around())
        self._recent.extend(losses.tolist())
        seconds = time.perf_counter() - self._recorded
        plan.learn_duration(len(losses), seconds)
        for loss, n_hits in zip(losses.tolist(), hits.tolist(), strict=True):
            progress.step += 1
            self._window.add(loss, n_hits, seconds / len(losses))
            if plan.is_log(progress.step) or plan.is_validation(progress.step):
                self._write_row()
        self._bar.advance(progress.step)
        if plan.is_checkpoint(progress.step) or progress.best.step == progress.step:
            self.save()
        self._recorded = time.perf_counter()

    def save(self) -> None:
        """A checkpoint of now, written in the background."""
        self._tick()
        try:
            self._saver.save(self._training.progress, self._training.groups)
        except NotFinite as error:
            raise explain_bad_weights(self._training.progress.step, str(error), self._look_around()) from error

    def _look_around(self) -> Circumstances:
        self._saver.wait()
        decisions = read_json(self._training.run.decisions_path) or {}
        return Circumstances(
            run=self._training.run.name,
            peak_rate=self._training.recipe.training.optimizer.learning_rate,
            precision=decisions.get("training.precision", {}).get("value", ""),
            scale=decisions.get("data.scale", {}).get("value", ""),
            recent=list(self._recent),
            saved_step=self._saver.saved_step,
        )

    def _tick(self) -> None:
        self._training.progress.seconds_training = self._seconds_before + time.perf_counter() - self._started

    def _write_row(self) -> None:
        """One line of metrics.jsonl, validated if it is time; the window begins anew."""
        training, progress = self._training, self._training.progress
        step = progress.step
        row = self._window.to_row(training.recipe.training.batch_size, training.dataset.features.measure)
        self._bar.update(step, row)
        self._window.clear()
        if training.plan.is_validation(step):
            row |= self._validate(step)
        self._tick()
        head = {"step": step, "epoch": round(step / training.plan.steps_per_epoch, 4)}
        row |= {
            "learning_rate": training.schedule.value_at(step - 1),
            "seconds": round(progress.seconds_training, 3),
        }
        training.run.append_metrics(head | row)
        if training.summaries:
            training.summaries.scalars(step, {TAGS[key]: value for key, value in row.items() if key in TAGS})

    def _validate(self, step: int) -> dict[str, float]:
        training = self._training
        if training.summaries:
            training.summaries.activations(training.model, training.sample_inputs, step)
            training.summaries.weights(training.model, step)
        if "validation" not in training.dataset.splits:
            return {}
        with training.average.in_place() if training.average else nullcontext():
            measured = training.measure(training.dataset.splits["validation"])
        values = {f"val_{name}": value for name, value in measured.items()}
        node, progress = training.recipe.training, training.progress
        is_best = progress.best.improves(step, values)
        progress.ending.note(values, early_stop=node.early_stop, stop_at=node.stop_at)
        if training.on_validation and (reason := training.on_validation(step, training.plan.n_steps, values)):
            progress.ending.reason = progress.ending.reason or reason
        self._bar.validated(step, values, is_best=is_best)
        return values
