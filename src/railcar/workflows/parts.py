"""The parts of a training that follow from a job: the learning-rate schedule, the optimizer, the whitening."""

from __future__ import annotations

from typing import Any

from railcar.models.airbench import adapt_whitening
from railcar.training.optimizer import Schedule, build_optimizer
from railcar.workflows.job import Job

_N_WHITENING = 5000


def build_schedule(job: Job) -> Schedule:
    """The recipe's own, to the plan's last step."""
    node = job.recipe.training.optimizer
    return Schedule(node.schedule, peak=node.learning_rate, warmup_steps=node.warmup_steps, n_steps=job.plan.n_steps)


def build_optimizer_for(job: Job, schedule: Any) -> Any:
    """The recipe's optimizer for the job's network; `schedule` has the recipe's learning rate as its `peak`."""
    settings = job.recipe.training.optimizer.model_dump(exclude={"schedule", "learning_rate", "warmup_steps"})
    scale_loss = job.runtime.precision.value == "float16"
    return build_optimizer(settings.pop("name"), schedule, model=job.model, scale_loss=scale_loss, **settings)


def set_whitening(job: Job) -> None:
    """Set what a network takes from the statistics of training images, if it takes anything."""
    split = job.dataset.splits["train"]
    adapt_whitening(job.model, split.images[split.rows[:_N_WHITENING]])
