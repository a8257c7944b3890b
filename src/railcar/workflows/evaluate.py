"""`evaluate`: a run's model on one of its splits, or on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from railcar.data.types import Dataset, Split
from railcar.errors import DataError
from railcar.recipe.load import load_recipe
from railcar.recipe.schema import Recipe
from railcar.registry import check_tensorflow
from railcar.runs.index import find_run
from railcar.runs.run_dir import RunDir, read_json, write_json
from railcar.training.tensorflow import import_tensorflow, quiet_stderr
from railcar.workflows.data import open_data
from railcar.workflows.inputs import resolve_input
from railcar.workflows.train import Look

SPLITS = ("test", "validation", "train")


def evaluate(
    run: str | Path | None = None,
    *,
    data: Any = None,
    split: str | None = None,
    checkpoint: str | int | None = None,
    runs_dir: str | Path = "runs",
    look: Look = Look(),  # noqa: B008  a frozen value
) -> dict[str, Any]:
    """Measure a run's model; returns what evaluation.json holds: {"checkpoint": ..., split: {"accuracy", ...}}.

    `run` is a name, a unique prefix, a folder, or None for the newest. `split` is test (the default), validation or
    train. `data` measures on other data (anything that `train` takes), all of it unless it has the split. `checkpoint`
    is "best", "last" or a step; None is the artifact's. The figures of the artifact's checkpoint on the run's own data
    are written to evaluation.json, and a missing artifact is made again.

    Raises `NotFound`, `CheckpointError`, `DataError`, and `UsageError` for a split that the data does not have.
    """
    check_tensorflow("evaluating")
    found = find_run(run, runs_dir)
    recipe = load_recipe(found.recipe_path)
    import_tensorflow(needed_for="evaluating", verbose=look.verbose)
    reporter = look.reporter()
    try:
        with quiet_stderr():
            from railcar.workflows.results import Finished, find_checkpoint, write_run_artifact

            which = str(checkpoint) if checkpoint is not None else _artifact_checkpoint(recipe)
            restored, damaged = find_checkpoint(found, which)
            for line in damaged:
                reporter.warn(line)
            own = open_data(recipe, None, reporter) if data is None else _trained_on(found, recipe, data, reporter)
            finished = Finished(recipe, own, restored)
            shown = _choose_split(own, split, data)
            evaluation = {"checkpoint": restored.name, shown.name: finished.evaluate(shown)}
            if data is None and checkpoint is None:
                _remember(found, evaluation)
                if not (found.artifact / "artifact.json").is_file():
                    write_run_artifact(found, finished, shown, evaluation, found.read_manifest())
    finally:
        reporter.close()
    return evaluation


def _artifact_checkpoint(recipe: Recipe) -> str | None:
    return "last" if recipe.training.best == "last" else None


def _choose_split(dataset: Dataset, split: str | None, data: Any) -> Split:
    if split is None:
        split = next((name for name in SPLITS if name in dataset.splits), "train")
        if data is not None and "test" not in dataset.splits:
            split = "train"
    if split not in dataset.splits:
        there = ", ".join(dataset.splits)
        raise DataError(f"{dataset.source}: there is no {split} split", hint=f"splits are: {there}; name one: --split")
    return dataset.splits[split]


def _remember(run: RunDir, evaluation: dict[str, Any]) -> None:
    """Bring evaluation.json up to date, unless it speaks of another checkpoint."""
    before = read_json(run.evaluation_path) or {}
    if before.get("checkpoint") not in (None, evaluation["checkpoint"]):
        before = {}
    write_json(run.evaluation_path, {**before, **evaluation})


def _trained_on(run: RunDir, recipe: Recipe, data: Any, reporter: Any) -> Dataset:
    """Other data as the run's model needs it: its image size, its class names in its order."""
    from dataclasses import replace

    import numpy as np

    trained = run.read_manifest()["data"]["classes"]
    given = resolve_input(data)
    node = given.recipe.data.model_copy(update={"validation": None, "test": None, "image_size": recipe.data.image_size})
    other = open_data(given.recipe.model_copy(update={"data": node}), given.arrays, reporter)
    unknown = [name for name in other.features.class_names if name not in trained]
    if unknown:
        raise DataError(
            f"{other.source}: the class {unknown[0]!r} is not one that the model was trained on",
            hint=f"its classes are: {', '.join(trained[:10])}",
        )
    mapping = np.array([trained.index(name) for name in other.features.class_names], np.int32)
    splits = {name: replace(one, labels=mapping[np.asarray(one.labels)]) for name, one in other.splits.items()}
    own = open_data(recipe, None, reporter).features
    if other.features.image_shape[2] != own.image_shape[2]:
        raise DataError(
            f"{other.source}: images have {other.features.image_shape[2]} channels, the model takes "
            f"{own.image_shape[2]}",
            hint="convert the images to what the model was trained on",
        )
    return replace(other, splits=splits, features=own)
