"""`report`: report.html from a run's files; and report.json, what only the model and the data can tell for it.

report.json is written at the end of a training, or by `--explain`: examples of the data, the worst mistakes and what
the model looked at, labels in doubt. The page itself needs neither TensorFlow nor the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from railcar.errors import ArtifactError, DataError, RunError
from railcar.recipe.schema import Recipe
from railcar.runs.index import explain_content, read_evaluation
from railcar.runs.index import read_recipe as read_recipe_as_it_is
from railcar.runs.place import open_run
from railcar.runs.run_dir import RunDir, read_json, write_json
from railcar.storage.local import write_atomic
from railcar.storage.mirror import send_files
from railcar.workflows.look import Look

if TYPE_CHECKING:
    from railcar.reporting.report_facts import Facts, Predictions
    from railcar.workflows.results import Finished

_N_CLASSES, _N_PICTURES, _N_ROWS, _N_NUMBERS = 12, 10, 2, 6
_ASKED_S = 30.0
"""Explaining takes at most so long, where somebody has asked for it."""


def report(
    run: str | Path | None = None,
    *,
    explain: bool = False,
    trust: bool = False,
    runs_dir: str | Path = "runs",
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> Path:
    """Write report.html of a run, one page that opens without a network, and return its path.

    `run` is a name, a unique prefix, a folder, an address, or None for the newest. The page is drawn from the run's
    files. `explain` makes anew what only the model and its data can tell (the worst mistakes and what the model looked
    at, the nearest training examples, labels in doubt), which the end of a training does, too; `trust` as in
    `evaluate`. Raises `NotFound`, `RunError` for damaged files, and with `explain` what `evaluate` raises.
    """
    look = Look(quiet, verbose, color)
    found = open_run(run, runs_dir)
    if explain:
        _explain_anew(found, trust, look)
    path = write_report(found)
    if found.address is not None:
        try:
            names = [path.name, found.explained_path.name]
            send_files(found.path, found.address, [name for name in names if (found.path / name).exists()])
        except DataError as error:
            with closing(look.reporter()) as reporter:
                reporter.warn(f"the report is not kept in the bucket: {error.what}")
    return path


def write_report(run: RunDir) -> Path:
    """report.html, from the run's files as they are."""
    from railcar.reporting.report_page import render_report

    with explain_content(run):
        page = render_report(_read_facts(run))
    write_atomic(run.report_path, page.encode(errors="replace"))
    return run.report_path


def explain_run(run: RunDir, finished: Finished, recipe: Recipe, seconds: float) -> None:
    """Write report.json, in so many seconds at most."""
    from railcar.workflows.explain import explain

    found = explain(finished, recipe, seconds=seconds)
    write_json(run.explained_path, {**found, "data": describe_data(finished)})


def _explain_anew(run: RunDir, trust: bool, look: Look) -> None:
    from railcar.training.tensorflow import import_tensorflow, quiet_stderr
    from railcar.workflows.evaluate import open_own_data, read_whole_artifact
    from railcar.workflows.recorded import read_recipe

    recipe = read_recipe(run)
    with closing(look.reporter()) as reporter, quiet_stderr():
        artifact, reason = read_whole_artifact(run, trust)
        if artifact is None:
            raise ArtifactError(
                reason or f"{run.artifact}: is missing or damaged",
                hint=f"make it anew: railcar evaluate {run.reference}",
            )
        dataset = open_own_data(run, recipe, reporter)
        reporter.say(f"explaining {run.name}")
    import_tensorflow(needed_for="explaining")
    with quiet_stderr():
        from railcar.workflows.results import Finished

        finished = Finished(artifact.load_model(), dataset, artifact.manifest["checkpoint"])
        explain_run(run, finished, recipe, _ASKED_S)


def _read_facts(run: RunDir) -> Facts:
    from railcar.reporting.report_facts import Facts

    try:
        extra = read_json(run.explained_path)
    except RunError as error:
        raise RunError(error.what, hint=f"make it anew: railcar report --explain {run.reference}") from error
    manifest = run.read_manifest()
    return Facts(
        name=run.name,
        manifest=manifest,
        recipe=read_recipe_as_it_is(run),
        decisions=read_json(run.decisions_path) or {},
        evaluation=read_evaluation(run),
        rows=run.read_metrics(),
        extra=extra if isinstance(extra, dict) else {},
        predictions=_read_predictions(run, (manifest.get("data") or {}).get("class_names") or []),
        architecture=_read_text(run.architecture_path),
        recipe_text=_read_text(run.recipe_path),
        reference=run.reference if run.address else f"{run.path.absolute().parent.name}/{run.name}",
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _read_predictions(run: RunDir, class_names: list[str]) -> Predictions | None:
    """None where there are none that can be read: a report goes without their charts."""
    import polars as pl

    from railcar.reporting.report_facts import Predictions

    try:
        frame = pl.read_parquet(run.predictions_path)
        if not class_names:
            return Predictions(frame["label"].to_numpy(), frame["predicted"].to_numpy())
        numbers = pl.Enum(class_names)
        labels, predicted = (frame[name].cast(numbers).to_physical().to_numpy() for name in ("label", "predicted"))
        probabilities = frame["probabilities"].to_numpy()
        is_whole = probabilities.shape == (len(labels), len(class_names))
        return Predictions(labels, predicted, probabilities) if is_whole else None
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError, IndexError):
        return None


# ---- what the data is


def describe_data(finished: Finished) -> dict[str, Any]:
    """The number of examples of each class on each side, some training examples, and what was seen while reading."""
    dataset = finished.dataset
    features, splits = dataset.features, dataset.splits
    found: dict[str, Any] = {"notes": list(dataset.notes), "samples": list(_sample(finished))}
    if features.class_names:
        n_classes = features.n_classes
        found["per_class"] = {
            name: np.bincount(split.label_array(), minlength=n_classes).tolist() for name, split in splits.items()
        }
    return found


def _sample(finished: Finished) -> Iterator[dict[str, Any]]:
    """Training examples of each of the first classes; of a regression from the lowest number to the highest."""
    from railcar.workflows.why import show_inputs

    split, features = finished.dataset.splits["train"], finished.dataset.features
    labels = split.label_array()
    if not features.class_names:
        order = np.argsort(labels, kind="stable")
        chosen = order[np.unique(np.linspace(0, len(order) - 1, _N_NUMBERS).astype(np.int64))]
        mean, std = features.target or (0.0, 1.0)
        for row, entry in zip(chosen, show_inputs(finished, split, chosen), strict=True):
            yield {"label": float(labels[row] * std + mean), "inputs": [entry]}
        return
    n = _N_PICTURES if features.kind == "image" else _N_ROWS
    for number, name in enumerate(features.class_names[:_N_CLASSES]):
        rows = np.flatnonzero(labels == number)
        if len(rows):
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, n).astype(np.int64))]
            yield {"label": name, "inputs": show_inputs(finished, split, rows)}
