"""The lines before the first step: run, data, network, length, and each choice with its reason. Owns the words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from railcar.registry import is_own
from railcar.runs.run_dir import RunDir
from railcar.workflows.habits import explain_scarcity
from railcar.workflows.job import Job

if TYPE_CHECKING:
    from railcar.data.types import Features
    from railcar.training.progress import Reporter


def say_what(job: Job, run: RunDir | None, reporter: Reporter) -> None:
    """The lines before the first step: run, if there is to be one, data, network, length, and each choice with its
    reason."""
    from railcar.reporting.preprocessing import list_lines
    from railcar.training.own import describe_compiled

    dataset, features, node = job.dataset, job.dataset.features, job.recipe.training
    counts = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    look = describe_look(features)
    rows = [("run", f"{run.address}, here in {run.path}" if run.address else short_path(run.path))] if run else []
    rows.append(("data", f"{short_path(dataset.source)}: {counts}; {look}"))
    rows += [("", note) for note in dataset.notes]
    rows += [("input", line) for line in list_lines(features, job.recipe)]
    rows += _describe_network(job)
    if job.weights:
        rows.append(("weights", job.weights))
    epochs = f"{job.plan.n_steps / job.plan.steps_per_epoch:.3g} epochs"
    optimizer = f"{node.optimizer.name} {node.optimizer.learning_rate:g} {node.optimizer.schedule}"
    if job.compiled is not None:
        optimizer = f"as it is compiled: {describe_compiled(job.compiled)}"
    rows.append(("training", f"{job.plan.n_steps:,} steps of {node.batch_size} ({epochs}), {optimizer}"))
    for key, one in job.decisions().items():
        rows.append((f"  {key.rpartition('.')[2]}", f"{_plain(one['value'])}: {one['reason']}"))
    for name, words in rows:
        reporter.say(f"{name:<17}{words}", indent=17)
    if scarce := explain_scarcity(len(dataset.splits["train"]), len(features.class_names), features.noun):
        reporter.warn(scarce)


def _describe_network(job: Job) -> list[tuple[str, str]]:
    """Its size, and a line for each layer with a kernel: name, output, parameters, operations."""
    from railcar.reporting.architecture import fold_layers, format_count, sum_operations
    from railcar.workflows.architecture import describe_architecture

    layers = describe_architecture(job.model)
    total = sum_operations(layers)
    cost = "" if total is None else f", {format_count(total)} operations an example"
    name = job.recipe.model.name
    lines = [
        f"{short_path(name) if is_own(name) else name}: {job.model.count_params():,} parameters{cost}",
        *fold_layers(layers),
    ]
    return [("" if number else "model", line) for number, line in enumerate(lines)]


def describe_look(features: Features) -> str:
    """What the examples are, in a few words."""
    classes = "a number to predict" if features.task == "regression" else f"{features.n_classes} classes"
    if features.kind == "image":
        height, width, channels = features.image_shape
        return f"{classes}, {height}x{width} {'gray' if channels == 1 else 'RGB'}"
    if features.kind == "text":
        return f"{classes}, texts"
    return f"{classes}, {len((features.encoding or {})['columns'])} columns"


def short_path(path: str | Path) -> str:
    """As seen from the working folder, where that is shorter."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)
    return relative if Path(path).is_absolute() and len(relative) < len(str(path)) else str(path)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(value) or "own"
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
