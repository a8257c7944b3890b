"""What a run says of itself, as other workflows need it: its recipe, its data, what its model was told of them.

Owns reading with errors of the run's, naming its file: nobody gave that recipe on the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from railcar.errors import RailcarError, RunError
from railcar.recipe.load import load_recipe
from railcar.recipe.schema import Recipe
from railcar.runs.run_dir import RunDir

if TYPE_CHECKING:
    from railcar.data.types import Dataset, Features


def read_recipe(run: RunDir) -> Recipe:
    """The recipe a run was trained by. Raises `RunError` when it is not there or not whole."""
    hint = "restore it from a copy, or train anew"
    if not run.recipe_path.is_file():
        raise RunError(f"{run.recipe_path}: is missing; without it the run is of no use", hint=hint)
    try:
        return load_recipe(run.recipe_path)
    except RailcarError as error:
        raise RunError(f"the run's recipe is damaged: {error.what}", hint=hint) from error


def read_features(run: RunDir) -> Features:
    """What the run's model was told of its data."""
    from railcar.data.types import Features

    try:
        about = run.read_manifest()["data"]
        height, width, channels = about["image_shape"]
        return Features(
            about["kind"],
            (height, width, channels),
            tuple(about["class_names"]),
            tuple(about["mean"]),
            tuple(about["std"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.manifest_path}: what the model was trained on is missing", hint="train it again"
        ) from error


def check_same_data(run: RunDir, dataset: Dataset) -> None:
    """Raise `RunError` when `dataset` is not what the run was trained on."""
    before = run.read_manifest().get("data", {}).get("fingerprint")
    if before is not None and before != dataset.fingerprint:
        raise RunError(
            f"{run.name}: the data at {dataset.source} has changed since this run began",
            hint="restore it, or train anew; new data is measured with: railcar evaluate --data",
        )
