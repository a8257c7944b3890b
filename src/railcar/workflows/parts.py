"""The parts of a training that follow from a job: learning-rate schedule, optimizer, averages, and what is
set before the first step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.pipeline import Batches
from railcar.data.types import Split
from railcar.layers.ngrams import WeighNgrams
from railcar.models.airbench import adapt_whitening
from railcar.models.own import split_preparation
from railcar.models.pretrained import adapt_standardization, list_tuned
from railcar.registry import PRETRAINED
from railcar.runs.run_dir import RunDir
from railcar.training.augment import build_augment, read_augmentation
from railcar.training.average import WeightAverage
from railcar.training.compiled import Steps, compile_steps
from railcar.training.loop import Training
from railcar.training.optimizer import Schedule, SlowPart, build_optimizer
from railcar.training.own import OwnRate, build_own_learning
from railcar.training.progress import Reporter
from railcar.workflows.encoding import find_first_step
from railcar.workflows.job import Job

if TYPE_CHECKING:
    from railcar.training.summaries import Summaries

_N_TELLING = 5000
_BLOCK = 8192


def build_schedule(job: Job) -> Schedule:
    """The recipe's own, to the plan's last step; of a compiled network that of its optimizer."""
    if job.compiled is not None:
        return OwnRate(job.compiled.optimizer)
    node = job.recipe.training.optimizer
    return Schedule(node.schedule, peak=node.learning_rate, warmup_steps=node.warmup_steps, n_steps=job.plan.n_steps)


def build_optimizer_for(job: Job, schedule: Any) -> Any:
    """The recipe's optimizer for the job's network; `schedule` has the recipe's learning rate as its `peak`. Of a
    compiled network its own."""
    if job.compiled is not None:
        return job.compiled.optimizer
    settings = job.recipe.training.optimizer.model_dump(exclude={"schedule", "learning_rate", "warmup_steps"})
    scale_loss = job.runtime.precision.value == "float16"
    node, slow = job.recipe.model.fine_tune, None
    if job.recipe.model.name == PRETRAINED and node:
        slow = SlowPart(list_tuned(job.trained), node.rate, find_first_step(node, job.plan))
    return build_optimizer(
        settings.pop("name"), schedule, model=job.trained, slow=slow, scale_loss=scale_loss, **settings
    )


def build_learning(job: Job) -> Callable[[Any, Any], tuple[Any, Any]] | None:
    """How a compiled network makes a step; None where railcar's own way is taken."""
    if job.compiled is None:
        return None
    features = job.dataset.features
    return build_own_learning(
        job.model,
        job.compiled,
        split_preparation(job.model),
        n_outputs=features.n_outputs,
        is_number=features.task == "regression",
        unit=features.target[1] if features.target else None,
    )


def set_start(job: Job) -> None:
    """Set what a network takes from the statistics of training examples, if it takes anything."""
    split = job.training_data.splits["train"]
    if job.training_data.features.kind == "image":
        adapt_whitening(job.model, lambda: _read_telling(split))
    if job.recipe.model.name == PRETRAINED:
        adapt_standardization(job.trained, lambda: _read_telling(split))
    for layer in job.model.layers:
        if isinstance(layer, WeighNgrams):
            layer.adapt(
                (split.inputs[split.rows[start : start + _BLOCK]], split.label_array()[start : start + _BLOCK])
                for start in range(0, len(split), _BLOCK)
            )


def _read_telling(split: Split) -> NDArray[Any]:
    """Inputs from all over the split, for folders are in the order of their classes; the first ones of a stream, where
    those would be all over the bucket."""
    n = min(len(split), _N_TELLING)
    chosen = np.linspace(0, len(split) - 1, n).astype(np.int64)
    return np.asarray(split.inputs[split.rows[:n] if getattr(split.inputs, "stream", None) else split.rows[chosen]])


def build_trial(job: Job, schedule: Any) -> tuple[Steps, Batches]:
    """What makes steps of `job` that nobody keeps, on one device: the compiled call, and the batches for it. The
    network is changed by them."""
    node, features, split = job.recipe.training, job.training_data.features, job.training_data.splits["train"]
    augmentation = read_augmentation(job.recipe, features.image_shape) if features.kind == "image" else None
    set_start(job)
    steps = compile_steps(
        job.trained,
        build_optimizer_for(job, schedule),
        batch_shape=(node.batch_size, *features.input_shape),
        dtype=features.dtype,
        unit=features.target[1] if features.target else None,
        compile=job.runtime.compile.value,
        label_smoothing=node.label_smoothing,
        learn=build_learning(job),
        augment=build_augment(augmentation, features.mean) if augmentation else None,
    )
    return steps, Batches(split, node.batch_size, job.recipe.seed, job.recipe.data.shuffle, augmentation=augmentation)


def build_training(
    job: Job,
    run: RunDir,
    reporter: Reporter,
    *,
    measure: Callable[[Split], dict[str, float]],
    summaries: Summaries | None,
    on_saved: Callable[[], None] | None = None,
) -> Training:
    """What `training/loop.py` works on."""
    schedule = build_schedule(job)
    averaged = job.recipe.training.average
    with job.replicas.scope() if job.replicas else nullcontext():
        optimizer = build_optimizer_for(job, schedule)
        average = WeightAverage(job.trained, n_steps=job.plan.n_steps, **averaged.model_dump()) if averaged else None
    return Training(
        recipe=job.recipe,
        dataset=job.training_data,
        run=run,
        model=job.trained,
        on_validation=job.on_validation,
        whole=job.model,
        learn=build_learning(job),
        optimizer=optimizer,
        schedule=schedule,
        plan=job.plan,
        reporter=reporter,
        measure=measure,
        summaries=summaries,
        average=average,
        rows_only=job.runtime.data_on.value == "device",
        save_first=job.weights is not None,
        replicas=job.replicas,
        on_saved=on_saved,
    )
