"""What a run says of itself, as other workflows need it: its recipe, its data, what its model was told of them.

Owns reading with errors of the run's, naming its file: nobody gave that recipe on the command line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from railcar.artifact import signing
from railcar.errors import ArtifactError, NotFound, RailcarError, RunError
from railcar.recipe.load import load_recipe
from railcar.recipe.schema import Recipe
from railcar.registry import is_own
from railcar.runs.run_dir import RunDir, write_json
from railcar.storage.local import write_atomic

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


def is_own_run(run: RunDir) -> bool:
    """Whether this user began the run on this computer, or brought it home from a machine."""
    try:
        signature = run.read_manifest().get(signing.SIGNATURE)
        return signing.is_own_run(run.recipe_path.read_bytes(), signature)
    except (OSError, NotFound, ArtifactError):
        return False


def check_own_run(run: RunDir, why: str) -> None:
    """Raise `RunError` for a run that somebody else began; `why` says what it would do."""
    if not is_own_run(run):
        raise RunError(
            f"{run.name}: was not begun by you on this machine, and {why}",
            hint="if you know where it comes from: --trust",
        )


def check_code_is_own(run: RunDir, recipe: Recipe) -> None:
    """Raise `RunError` for somebody else's run whose recipe names code: to open its data is enough to run that."""
    if is_own(recipe.model.name):
        check_own_run(run, f"its recipe names code: {recipe.model.name}")


def read_features(run: RunDir) -> Features:
    """What the run's model was told of its data."""
    from railcar.data.types import Features

    try:
        about = run.read_manifest()["data"]
        encoding = None if about["kind"] == "image" else json.loads(run.encoding_path.read_bytes())
        return Features(
            about["kind"],
            tuple(about["image_shape"] if about["kind"] == "image" else about["input_shape"]),
            tuple(about["class_names"]),
            tuple(about.get("mean", ())),
            tuple(about.get("std", ())),
            about.get("task", "classification"),
            tuple(about["target"]) if about.get("target") else None,
            encoding,
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise RunError(
            f"{run.manifest_path}: what the model was trained on is missing", hint="train it again"
        ) from error


def describe_features(features: Features) -> dict[str, Any]:
    """As a run's manifest has them; the encoding of texts and rows is a file of its own."""
    about: dict[str, Any] = {"kind": features.kind, "task": features.task, "class_names": features.class_names}
    if features.kind == "image":
        return {**about, "image_shape": features.input_shape, "mean": features.mean, "std": features.std}
    return {**about, "input_shape": features.input_shape, "target": features.target}


def write_encoding(run: RunDir, features: Features) -> None:
    """encoding.json: how raw texts or rows become what the network takes; nothing for images."""
    if features.encoding is not None:
        write_json(run.encoding_path, dict(features.encoding))


def draw_preprocessing(run: RunDir, features: Features, recipe: Recipe, layers: Sequence[Mapping[str, Any]]) -> None:
    """plots/preprocessing.svg: what becomes of an example before the network, whose `layers` are as the manifest has
    them, sees it."""
    from railcar.reporting.flow import draw_flow
    from railcar.reporting.preprocessing import describe_preprocessing

    run.plots.mkdir(exist_ok=True)
    picture = draw_flow(describe_preprocessing(features, recipe, layers))
    write_atomic(run.plots / "preprocessing.svg", picture.encode(errors="replace"))


def check_same_data(run: RunDir, dataset: Dataset) -> None:
    """Raise `RunError` when `dataset` is not what the run was trained on."""
    before = run.read_manifest().get("data", {}).get("fingerprint")
    if before is not None and before != dataset.fingerprint:
        raise RunError(
            f"{run.name}: the data at {dataset.source} has changed since this run began",
            hint="restore it, or train anew; new data is measured with: railcar evaluate --data",
        )
