"""What the frozen part of a pre-trained network makes of images: computed once, kept with the prepared data.

Owns when that can be done, and doing it. Ten passes over the data then cost about one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.features import FeatureStore
from railcar.data.pipeline import iterate
from railcar.data.types import Dataset, Split
from railcar.errors import OutputError, UsageError
from railcar.recipe.schema import Augment, FineTune, Recipe
from railcar.registry import PRETRAINED
from railcar.training.live import format_seconds
from railcar.training.runtime import Choice
from railcar.workflows.inputs import begin_afresh

if TYPE_CHECKING:
    from railcar.runs.checkpoint import Checkpoint
    from railcar.training.distribute import Replicas
    from railcar.training.progress import Reporter
    from railcar.training.schedule import StepPlan
    from railcar.workflows.budget import Budget
    from railcar.workflows.job import Job

# Numbers of the images of a batch: enough to keep all cores busy, few enough for their caches.
_BATCH_NUMBERS = 4_000_000
# What of --time this may take, told after some seconds.
_SHARE_OF_TIME = 0.7
_TIMED_S = 1.0
# Weights that a graph may hold as constants: it is a message of at most 2 GB.
_MOST_CONSTANTS = 250_000_000


def choose_encoding(recipe: Recipe, replicas: Replicas | None) -> Choice:
    """Whether what the frozen part gives is "kept", or "recomputed" in each step; and why."""
    if recipe.data.augment != Augment():
        return Choice("recomputed", "data.augment shows each image differently every time")
    if recipe.model.mirror_average or recipe.model.shift_average:
        return Choice("recomputed", "several views of each image are looked at")
    if recipe.training.average:
        return Choice("recomputed", "training.average is of the whole network")
    if replicas:
        return Choice("recomputed", "several devices share each batch")
    return Choice("kept", "the frozen part gives the same for an image every time: it is computed once")


def encode_images(
    job: Job, reporter: Reporter, checkpoint: Checkpoint | None = None, budget: Budget | None = None
) -> Job:
    """`job` with its data as the trained part of its network takes it, where the rest is frozen; of a run that goes on
    `checkpoint` has the weights. Where the pass over the images does not fit into `budget`, that is refused, or another
    network taken if this one was nobody's wish. Raises `UsageError`, `OutputError` when the disk is full, and
    `DataError`."""
    if job.halves is None:
        return job
    try:
        job.encoded = _encode(job, reporter, checkpoint, budget)
    except _NotInTime as error:
        if (other := begin_afresh(job.given)) is None:
            raise
        from railcar.workflows.job import prepare_job

        reporter.warn(f"{error.what}; begun without")
        job = prepare_job(other, job.dataset, None)
        job.reasons["model.name"] = f"begun afresh: {error.what}"
    return job


class _NotInTime(UsageError):
    pass


def _encode(job: Job, reporter: Reporter, checkpoint: Checkpoint | None, budget: Budget | None) -> Dataset:
    from railcar.runs.checkpoint import restore_variables

    if checkpoint is not None:
        restore_variables(checkpoint, {"model": job.model.variables})
    encoder = _build_encoder(job)
    about = _describe_encoder(encoder, job.recipe)
    started = time.monotonic()
    stores: dict[int, NDArray[np.float32]] = {}
    rows: dict[int, list[NDArray[np.int64]]] = {}
    for split in job.dataset.splits.values():
        rows.setdefault(id(split.inputs), []).append(split.rows)
    n_done = 0
    with job.dataset.in_use(reporter.warn):
        for split in job.dataset.splits.values():
            if id(split.inputs) not in stores:
                wanted = np.concatenate(rows[id(split.inputs)])
                stores[id(split.inputs)], n_new = _encode_side(
                    encoder, about, job.dataset.path, split, wanted, reporter, budget
                )
                n_done += n_new
    if n_done:
        seconds = time.monotonic() - started
        reporter.say(
            f"{'features':<17}of {n_done:,} images in {format_seconds(seconds)}, {n_done / seconds:,.0f} img/s; kept "
            "for the next training"
        )
    splits = {name: replace(one, inputs=stores[id(one.inputs)]) for name, one in job.dataset.splits.items()}
    features = replace(job.dataset.features, kind="features", input_shape=encoder.output_shape[1:])
    return replace(job.dataset, splits=splits, features=features)


def _build_encoder(job: Job) -> Any:
    """The frozen part in float32, which is what the finished model computes."""
    from railcar.models.pretrained import split_frozen
    from railcar.workflows.results import build_from_recipe

    model = job.model
    if job.runtime.precision.value != "float32":
        model = build_from_recipe(job.recipe, job.dataset, precision="float32")
        for own, trained in zip(model.variables, job.model.variables, strict=True):
            own.assign(trained)
    parts = split_frozen(model)
    if parts is None:
        raise ValueError("a network without a frozen part")
    return parts[0]


def _encode_side(
    encoder: Any,
    about: str,
    folder: Path,
    split: Split,
    rows: NDArray[np.int64],
    reporter: Reporter,
    budget: Budget | None,
) -> tuple[NDArray[np.float32], int]:
    """float32 [N, ...] for the inputs [N, ...] of `split`, with `rows` filled; and how many of these were computed.
    `about` tells the encoder from others of the same weights."""
    shape, side = (len(split.inputs), *encoder.output_shape[1:]), _name_side(split)
    path = folder / f"{_hash(encoder, f'{about} {side}')}.features" if side and folder.is_dir() else None
    n_numbers = max(prod(encoder.get_layer("scale").output.shape[1:]), prod(encoder.output_shape[1:]))
    batch_size = int(np.clip(_BATCH_NUMBERS // n_numbers, 8, 128))
    with FeatureStore(shape, path) as store, reporter.reading_bar() as show:
        missing, done = store.find_missing(rows), 0
        if not len(missing):
            return store.values, 0
        compute, started = _compile(encoder, split.inputs.shape[1:]), time.monotonic()
        for images, _ in iterate(replace(split, rows=missing), batch_size):
            try:
                store.write(missing[done : done + len(images)], compute(images))
            except OSError as error:
                raise OutputError(
                    f"{folder}: what the network makes of the images cannot be kept ({error.strerror})",
                    hint="make room: railcar data cache clear",
                ) from error
            done += len(images)
            if budget is not None:
                _check_time(budget, done, len(missing), time.monotonic() - started)
            show("features", done, len(missing))
        return store.values, len(missing)


def _check_time(budget: Budget, n_done: int, n: int, seconds: float) -> None:
    left_s = seconds / n_done * (n - n_done)
    if seconds >= _TIMED_S and left_s > _SHARE_OF_TIME * budget.left():
        needed = (budget.seconds - budget.left() + left_s) / _SHARE_OF_TIME
        raise _NotInTime(
            f"--time {format_seconds(budget.seconds)}: what a pre-trained network makes of {n:,} images takes "
            f"{format_seconds(seconds + left_s)} here",
            hint=f"give it {needed:.0f}s, or choose another network: --set model.name=cnn",
        )


def _compile(encoder: Any, image_shape: tuple[int, ...]) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """images uint8 [n, *image_shape] -> float32 [n, ...]."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = [tf.TensorSpec([None, *image_shape], "uint8")]

    def forward(images: Any) -> Any:
        return encoder(images, training=False)

    function: Any = tf.function(forward, input_signature=signature, autograph=False).get_concrete_function()
    if sum(prod(one.shape) for one in encoder.variables) <= _MOST_CONSTANTS:
        # Convolution, normalisation and activation become one kernel: half as much again a second (MobileNetV2).
        function = convert_variables_to_constants_v2(function)

    def compute(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        answer = function(tf.constant(images))
        return (answer[0] if isinstance(answer, list | tuple) else answer).numpy()

    return compute


def find_first_step(node: FineTune, plan: StepPlan) -> int:
    """The number of steps after which the top of a backbone learns, too."""
    return round(node.after * plan.n_steps)


def judge_fine_tuning(recipe: Recipe, plan: StepPlan, kept_step: int) -> str | None:
    """Whether it has made the network better, on validation: `kept_step` is that of the best checkpoint."""
    node = recipe.model.fine_tune
    if recipe.model.name != PRETRAINED or node is None or recipe.training.best == "last":
        return None
    if kept_step > find_first_step(node, plan):
        return f"fine-tuning made it better: step {kept_step:,} is kept"
    return f"fine-tuning made it no better and is undone: step {kept_step:,}, before it, is kept"


def _name_side(split: Split) -> str:
    """What tells these inputs from others; empty for those that are only in memory."""
    inputs: Any = split.inputs
    if isinstance(inputs, np.memmap):
        return str(inputs.filename)
    hashes = getattr(inputs, "hashes", None)
    return "" if hashes is None else hashlib.blake2b(np.asarray(hashes).tobytes(), digest_size=16).hexdigest()


def _describe_encoder(encoder: Any, recipe: Recipe) -> str:
    import keras

    sizes = [list(encoder.get_layer(name).output.shape[1:]) for name in ("resize", "scale")]
    return f"{keras.__version__} {recipe.model.backbone} {sizes} {recipe.data.fit} {encoder.output_shape[1:]}"


def _hash(encoder: Any, about: str) -> str:
    """Of all that the features depend on: what it is `about`, and the weights."""
    found = hashlib.blake2b(about.encode(), digest_size=16)
    for variable in encoder.variables:
        found.update(variable.numpy().tobytes())
    return found.hexdigest()
