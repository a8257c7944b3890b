"""`evaluate`: a run's model on one of its splits, or on other data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from railcar.artifact.artifact import Artifact, read_artifact
from railcar.data.types import Dataset, Split
from railcar.errors import ArtifactError, DataError, ForeignArtifact, NotFound, UsageError
from railcar.recipe.schema import Recipe
from railcar.registry import check_tensorflow, is_own
from railcar.runs.checkpoint import Checkpoint, find_checkpoint
from railcar.runs.index import read_evaluation
from railcar.runs.place import open_run
from railcar.runs.run_dir import RunDir, write_json
from railcar.storage.mirror import send_files
from railcar.training.progress import Reporter
from railcar.training.tensorflow import import_tensorflow, quiet_stderr
from railcar.workflows.data import encode, list_columns, read_data
from railcar.workflows.groups import keep_groups, measure_by_groups, name_columns, read_groups
from railcar.workflows.inputs import Input, resolve_input
from railcar.workflows.look import Look
from railcar.workflows.pages import write_pages
from railcar.workflows.recorded import check_code_is_own, check_same_data, read_features, read_recipe

if TYPE_CHECKING:
    from railcar.workflows.results import Finished

SPLITS = ("test", "validation", "train")


def evaluate(
    run: str | Path | None = None,
    *,
    data: Any = None,
    split: str | None = None,
    checkpoint: str | int | None = None,
    by: str | Sequence[str] | None = None,
    calibrate: bool = False,
    trust: bool = False,
    runs_dir: str | Path = "runs",
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> dict[str, Any]:
    """Measure a run's model; returns what evaluation.json holds: {"checkpoint": ..., split: {"accuracy", ...}}.

    `run` is a name, a unique prefix, a folder, an address, or None for the newest. `split` is test (the default),
    validation or train. `data` measures on other data (anything that `train` takes), all of it unless it has the split.
    `checkpoint` is "best", "last" or a step; None is the artifact itself. The artifact's figures on the run's own data
    are written to evaluation.json, those on other data are returned under "data". A missing or damaged artifact is made
    again; so is one that you have not made on this computer, unless `trust` says that it may be loaded. `trust` also
    lets a run that you have not begun here build its network by code that its recipe names.

    `by` names a column of the data's file, or several, which the model need not know: the split has then "groups", the
    figures for each of the column's values, and whether they differ by more than luck.

    `calibrate` divides the logits of a classification by the temperature that suits the validation side best (Guo et
    al., 2017), which changes no answer and mends its probability, measures both sides, and writes the artifact anew;
    "temperature" is then what they are divided by in all.

    Raises `NotFound`, `CheckpointError`, `DataError` (a split that is not there, too), and `RunError` when the run's
    own data has changed since or, without `trust`, a run of somebody else's names code to run. `UsageError` for what
    cannot be calibrated.
    """
    check_tensorflow("evaluating")
    if calibrate and (data is not None or checkpoint is not None):
        raise UsageError(
            "--calibrate is for a run's artifact, on its own data", hint="leave --data and --checkpoint out"
        )
    look = Look(quiet, verbose, color)
    found = open_run(run, runs_dir, checkpoints=checkpoint is not None)
    recipe = read_recipe(found)
    if calibrate:
        _check_calibrated(recipe.model.name, read_features(found).task)
    if not trust:
        check_code_is_own(found, recipe)
    artifact, reason = read_whole_artifact(found, trust) if checkpoint is None else (None, "")
    if artifact is None and checkpoint is None and found.address:
        found = open_run(found.reference, runs_dir, checkpoints=True)
    source: Artifact | Checkpoint
    with closing(look.reporter()) as reporter, quiet_stderr():
        if reason:
            reporter.warn(reason)
        if artifact is None:
            source, damaged = find_checkpoint(found, _choose_checkpoint(recipe, checkpoint))
            for line in damaged:
                reporter.warn(line)
        else:
            source = artifact
        given = Input(recipe, is_complete=True) if data is None else resolve_input(data)
        measured = open_own_data(found, recipe, reporter) if data is None else _open_other(found, given, reporter)
        shown = _choose_split(measured, split)
        groups = read_groups(given, measured, shown, name_columns(by))
        where = measured.source if data is not None else f"its {shown.name} split"
        reporter.say(f"measuring {found.name} on {where}: {len(shown):,} {measured.features.noun}")
    import_tensorflow(needed_for="evaluating")
    # the reporter first: stderr is turned away then
    with closing(look.reporter()) as reporter, quiet_stderr():
        from railcar.workflows.calibrate import describe_temperature

        finished = _load(source, recipe, measured, {} if checkpoint is not None else read_evaluation(found))
        name = shown.name if data is None else "data"
        evaluation: dict[str, Any] = {"checkpoint": finished.checkpoint_name, name: finished.evaluate(shown)}
        if calibrate:
            finished, evaluation = _calibrate(found, finished, evaluation)
        evaluation[name] |= measure_by_groups(finished, shown, groups)
        if "per_class" in evaluation[name] and not is_own(recipe.model.name):
            evaluation |= describe_temperature(finished)
        if data is None and checkpoint is None:
            makes_artifact = artifact is None or calibrate
            _keep(found, finished, shown, evaluation, makes_artifact=makes_artifact, reporter=reporter)
    return evaluation


def _keep(
    run: RunDir,
    finished: Finished,
    shown: Split,
    evaluation: dict[str, Any],
    *,
    makes_artifact: bool,
    reporter: Reporter,
) -> None:
    """Write down what the artifact's figures are on the run's own data; and the artifact, if it is to be made."""
    from railcar.workflows.results import write_run_artifact

    _remember(run, evaluation)
    if makes_artifact and (note := write_run_artifact(run, finished, shown, evaluation).note):
        reporter.warn(note)
    write_pages(run, reporter)
    _send_back(run, reporter)


def _load(source: Artifact | Checkpoint, recipe: Recipe, measured: Dataset, known: dict[str, Any]) -> Finished:
    """The model of an artifact; or of a checkpoint, calibrated as it is `known` to have been."""
    from railcar.workflows.calibrate import set_temperature
    from railcar.workflows.results import Finished

    if isinstance(source, Artifact):
        return Finished(source.load_model(), measured, source.manifest["checkpoint"])
    finished = Finished.restore(recipe, measured, source)
    if known.get("checkpoint") == source.name and "temperature" in known:
        return set_temperature(finished, known["temperature"])
    return finished


def _check_calibrated(model_name: str, task: str) -> None:
    """Raise `UsageError` for what has no logits to divide."""
    if task == "regression":
        raise UsageError("--calibrate is for probabilities, and this model gives numbers", hint="leave --calibrate out")
    if is_own(model_name):
        raise UsageError(
            "--calibrate is for railcar's networks, and this one is your own",
            hint="divide its logits in your own code, or leave --calibrate out",
        )


def _calibrate(run: RunDir, finished: Finished, before: dict[str, Any]) -> tuple[Finished, dict[str, Any]]:
    """The calibrated model, and what it says of the test and the validation split and of what was measured `before`."""
    from railcar.workflows.calibrate import calibrate
    from railcar.workflows.results import write_predictions

    splits = finished.dataset.splits
    found = calibrate(finished)
    if "test" in splits:
        write_predictions(run.predictions_path, found, splits["test"])
    names = [name for name in splits if name != "train" or name in before]
    evaluation = {name: found.evaluate(splits[name]) for name in names}
    return found, {"checkpoint": found.checkpoint_name, **evaluation}


def _send_back(run: RunDir, reporter: Reporter) -> None:
    """What was written of a run in a bucket; one that may only be read keeps what it has."""
    if run.address is None:
        return
    try:
        paths = (run.evaluation_path, run.artifact, run.predictions_path, run.report_path, run.card_path)
        written = [one.name for one in paths]
        send_files(run.path, run.address, [name for name in written if (run.path / name).exists()])
    except DataError as error:
        reporter.warn(f"the result is not kept in the bucket: {error.what}")


def read_whole_artifact(run: RunDir, trust: bool) -> tuple[Artifact | None, str]:
    """The run's artifact, None when it is missing, damaged or not to be trusted, and must be made again from a
    checkpoint; and a line about it, where there is something to say."""
    try:
        artifact = read_artifact(run.artifact, trust=trust)
        return artifact, artifact.note
    except ForeignArtifact as error:
        return None, f"{error.what}; it is made anew"
    except (NotFound, ArtifactError):
        return None, ""


def _choose_checkpoint(recipe: Recipe, checkpoint: str | int | None) -> str | None:
    if checkpoint is not None:
        return str(checkpoint)
    return "last" if recipe.training.best == "last" else None


def open_own_data(run: RunDir, recipe: Recipe, reporter: Reporter) -> Dataset:
    """The data that the run was trained on; `RunError` when it has changed since."""
    features = read_features(run)
    dataset = encode(read_data(recipe, None, reporter), features, reporter)
    check_same_data(run, dataset)
    return replace(dataset, features=features)


def _choose_split(dataset: Dataset, split: str | None) -> Split:
    split = split or next(name for name in SPLITS if name in dataset.splits)
    if split not in dataset.splits:
        there = ", ".join(dataset.splits)
        raise DataError(f"{dataset.source}: there is no {split} split", hint=f"splits are: {there}; name one: --split")
    return dataset.splits[split]


def _remember(run: RunDir, evaluation: dict[str, Any]) -> None:
    """Bring evaluation.json up to date, unless it speaks of another checkpoint."""
    before = read_evaluation(run)
    if before.get("checkpoint") not in (None, evaluation["checkpoint"]):
        before = {}
    write_json(run.evaluation_path, {**before, **keep_groups(before, evaluation)})


def _open_other(run: RunDir, given: Input, reporter: Reporter) -> Dataset:
    """Other data as the run's model needs it: its image size and fit, its class names in its order."""
    features = read_features(run)
    update: dict[str, Any] = {"validation": None, "test": None}
    if features.kind == "image":
        update |= {"image_size": features.image_shape[:2], "fit": read_recipe(run).data.fit}
    else:
        about = run.read_manifest()["data"]
        update |= {"kind": features.kind, "task": features.task, "label": about["label"]}
    node = given.recipe.data.model_copy(update=update)
    recipe = given.recipe.model_copy(update={"data": node})
    read = read_data(recipe, given.arrays, reporter, known=list_columns(features))
    if read.features.kind != features.kind:
        raise DataError(
            f"{read.source}: {read.features.noun}, and the model was trained on {features.noun}",
            hint="give data of the kind that it was trained on",
        )
    other = encode(read, features, reporter)
    if features.task == "regression":
        return replace(other, features=features)
    names = features.class_names
    found = read.features.class_names
    unknown = [name for name in found if name not in names]
    if unknown:
        raise DataError(
            f"{other.source}: the class {unknown[0]!r} is not one that the model was trained on",
            hint=f"its classes are: {', '.join(names[:10])}",
        )
    if features.kind == "image" and read.features.image_shape != features.image_shape:
        raise DataError(
            f"{other.source}: images of {read.features.image_shape} do not fit the model, which takes "
            f"{features.image_shape} (height, width, channels)",
            hint="convert the images to what the model was trained on",
        )
    mapping = np.array([names.index(name) for name in found], np.int32)
    splits = {name: replace(one, labels=mapping[np.asarray(one.labels)]) for name, one in other.splits.items()}
    return replace(other, splits=splits, features=features)
