"""All runs of one folder: find one, list them, compare them, delete one.

Owns what is known of a run from outside, read from its JSON alone: no numpy, polars or TensorFlow, so that listing
takes no time. What is written into a run is `run_dir.py`'s business.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from railcar.errors import NotFound, RunError, UsageError
from railcar.runs.glimpse import is_number, read_glimpse
from railcar.runs.run_dir import RunDir, read_json
from railcar.storage.local import remove_folder

# What makes a folder one of a search (`searches.py`).
STUDY = "study.json"


@dataclass(frozen=True)
class RunSummary:
    """One line of a listing. `state` is that of `RunDir.state`, or `damaged`. `took_s` is the time from start to end,
    to now while it runs, in seconds. `path` is the address of one in a bucket. Accuracies are shares, 0 to 1.
    `curve` has some values of `curve_of` from the whole of the run. What is not known is None.

    `kind` is "run" or "search": of a search, `step` and `steps` count trials, and the values are the best trial's."""

    name: str
    path: Path | str
    state: str
    step: int | None
    steps: int | None
    val_accuracy: float | None
    test_accuracy: float | None
    started: datetime | None
    took_s: float | None
    val_mae: float | None = None
    test_mae: float | None = None
    val_loss: float | None = None
    test_loss: float | None = None
    curve_of: str | None = None
    curve: tuple[float, ...] = ()
    kind: Literal["run", "search"] = "run"


def list_runs(runs_dir: Path | str) -> list[RunSummary]:
    """The runs in the folder, oldest first; none when there is no such folder."""
    return sorted((summarize_run(run) for run in _find_all(Path(runs_dir))), key=age_key)


def find_run(wanted: str | Path | None, runs_dir: Path | str) -> RunDir:
    """The run that `wanted` names: its name, a unique prefix of it, or its folder; the newest one when None.

    Raises `NotFound` when there is none and `UsageError` when a prefix fits several.
    """
    folder = Path(runs_dir)
    if wanted is None:
        return _find_newest(folder)
    path = Path(wanted)
    is_plain_name = len(path.parts) == 1
    if is_plain_name and RunDir(folder / path).is_run():
        return RunDir(folder / path)
    if RunDir(path).is_run():
        return RunDir(path)
    names = [run.name for run in _find_all(folder)]
    begins_one = is_plain_name and any(name.startswith(path.name) for name in names)
    alike = [] if begins_one or not is_plain_name else sorted(folder.glob(f"{glob.escape(path.name)}*"))
    for search in (folder / path, path, *alike):
        if (search / STUDY).is_file():
            raise NotFound(
                f"{search}: is a search of railcar tune, not a run",
                hint=f"its trials are runs: railcar runs list --runs-dir {search / 'trials'}",
            )
    if not is_plain_name:
        raise NotFound(f"{wanted}: there is no such run in {folder}", hint=_nearest(path.name, names, str(folder)))
    return RunDir(folder / choose_name(path.name, names, str(folder)))


def choose_name(wanted: str, names: Sequence[str], place: str) -> str:
    """The one of `names` that `wanted` is, or is the beginning of; whole words count first: `cnn` is cnn-2026..., and
    not cnn2-2026... Raises `NotFound` and `UsageError`."""
    if wanted in names:
        return wanted
    fitting = [name for name in names if name.startswith(f"{wanted}-")]
    fitting = fitting or [name for name in names if name.startswith(wanted)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(f"{wanted}: {len(fitting)} runs begin so", hint=f"write more of one of: {_some(fitting)}")
    raise NotFound(f"{wanted}: there is no such run in {place}", hint=_nearest(wanted, names, place))


def summarize_run(run: RunDir) -> RunSummary:
    """What a listing says of one run. A damaged run is said to be so; nothing is raised."""
    try:
        return _summarize(run, run.read_manifest(), run.state())
    except (RunError, NotFound, OSError, TypeError, AttributeError, ValueError, ArithmeticError):
        return RunSummary(run.name, run.path, "damaged", None, None, None, None, None, None)


def compare_runs(runs: Sequence[RunDir]) -> dict[str, Any]:
    """What differs between runs and what came of each.

    `{"runs": [name], "recipe": {"training.batch_size": [128, 256], ...}, "metrics": {"test.accuracy": [...], ...}}`:
    the recipe's keys that are not the same in all, the metrics of all; None where a run has no such key.
    """
    recipes = [flatten(read_recipe(run)) for run in runs]
    metrics = []
    for run in runs:
        try:
            metrics.append(_metrics_of(run))
        except (TypeError, AttributeError) as error:
            raise foreign_content(run.path) from error
    return {
        "runs": [run.name for run in runs],
        "recipe": {key: values for key, values in _side_by_side(recipes).items() if _differ(values)},
        "metrics": _side_by_side(metrics),
    }


def delete_run(run: RunDir, *, force: bool = False) -> None:
    """Delete the folder of a run. Raises `RunError` for a folder that is not a run's and, unless `force`, for a run
    that is going on; `OutputError` when it cannot be deleted."""
    if not run.is_run() or run.path.is_symlink():
        raise RunError(f"{run.path}: is not the folder of a run", hint="list runs with: railcar runs list")
    if not force and summarize_run(run).state == "running":
        raise RunError(
            f"{run.name}: is running, not deleted", hint="stop it first, or delete it nevertheless with --force"
        )
    remove_folder(run.path.absolute())


def _find_all(folder: Path) -> list[RunDir]:
    try:
        entries = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise NotFound(
            f"{folder}: cannot be read ({(error.strerror or str(error)).lower()})",
            hint="name another folder with --runs-dir (or RAILCAR_RUNS)",
        ) from error
    return [run for run in map(RunDir, entries) if not run.name.startswith(".") and run.is_run()]


def _find_newest(folder: Path) -> RunDir:
    runs = _find_all(folder)
    if not runs:
        raise NotFound(
            f"{folder}: there are no runs yet", hint="make one with: railcar train (or name their folder: --runs-dir)"
        )
    return max(runs, key=lambda run: (_started_of(run), run.name))


def _started_of(run: RunDir) -> datetime:
    """As `age_key` has it, by the manifest alone."""
    try:
        return _read_time(run.read_manifest().get("started")) or datetime.min.replace(tzinfo=UTC)
    except (RunError, NotFound, OSError):
        return datetime.min.replace(tzinfo=UTC)


def age_key(summary: RunSummary) -> tuple[datetime, str]:
    """Sorts runs by when they started."""
    return summary.started or datetime.min.replace(tzinfo=UTC), summary.name


def _summarize(run: RunDir, manifest: dict[str, Any], state: str) -> RunSummary:
    evaluation, seen = read_evaluation(run), read_glimpse(run.metrics_path)
    test, validation = evaluation.get("test", {}), evaluation.get("validation", {})
    if not any(is_number(validation.get(name)) for name in ("accuracy", "mae")):
        validation = {key.removeprefix("val_"): value for key, value in seen.validation.items()}
    step = _number(manifest.get("step"))
    if seen.step is not None and state in ("running", "died"):
        step = max(step or 0, seen.step)
    started, ended = _read_time(manifest.get("started")), _read_time(manifest.get("ended"))
    if ended is None and state == "running":
        ended = datetime.now(UTC)
    return RunSummary(
        name=run.name,
        path=run.path,
        state=state,
        step=step if step is not None else seen.step,
        steps=_number(manifest.get("steps")),
        val_accuracy=_number(validation.get("accuracy")),
        test_accuracy=_number(test.get("accuracy")),
        started=started,
        took_s=(ended - started).total_seconds() if started and ended else None,
        val_mae=_number(validation.get("mae")),
        test_mae=_number(test.get("mae")),
        val_loss=_number(validation.get("loss")),
        test_loss=_number(test.get("loss")),
        curve_of=seen.curve_of,
        curve=seen.curve,
    )


def read_evaluation(run: RunDir) -> dict[str, Any]:
    """evaluation.json, with the sides that were not evaluated left out; empty when nothing was."""
    evaluation = read_json(run.evaluation_path)
    if not isinstance(evaluation, dict | None) or any(
        not isinstance(evaluation.get(side), dict | None) for side in ("test", "validation") if evaluation
    ):
        raise foreign_content(run.evaluation_path)
    return {key: value for key, value in (evaluation or {}).items() if value}


@contextmanager
def explain_content(run: RunDir) -> Iterator[None]:
    """Within it, whatever a run's files lead to that railcar has not written is a `RunError`."""
    try:
        yield
    except (TypeError, LookupError, AttributeError, ValueError, ArithmeticError) as error:
        raise RunError(
            f"{run.path}: its files hold other things than a run's ({type(error).__name__}: {error})",
            hint="railcar evaluate writes its evaluation anew, railcar report --explain its report.json",
        ) from error


def foreign_content(path: Path) -> RunError:
    """The error for a file of a run that can be read, and holds other things than railcar writes."""
    return RunError(f"{path}: is damaged: it holds other things than a run's", hint="restore it, or delete the run")


def _number(value: Any) -> Any:
    """`value` if it is a number, else None: what others wrote into a run must not end a listing of all."""
    return value if is_number(value) else None


def _read_time(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        return moment.astimezone(UTC) if moment else None
    except (ValueError, OverflowError):
        return None


def read_recipe(run: RunDir) -> dict[str, Any]:
    """recipe.yaml as it is, unchecked; empty when there is none. Raises `RunError` when it is not YAML."""
    import yaml  # here, not above: listing does not need it

    try:
        recipe = yaml.load(run.recipe_path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        raise RunError(f"{run.recipe_path}: is damaged, not YAML", hint="restore it, or delete the run") from error
    return recipe if isinstance(recipe, dict) else {}


def flatten(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}: the spelling of --set."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _metrics_of(run: RunDir) -> dict[str, Any]:
    evaluation, manifest = read_evaluation(run), run.read_manifest()
    metrics: dict[str, Any] = {
        f"{side}.{metric}": evaluation.get(side, {}).get(metric)
        for side in ("test", "validation")
        for metric in ("accuracy", "balanced_accuracy", "roc_auc", "mae", "r2", "loss")
    }
    rows = run.read_metrics()
    metrics["step"] = max([manifest.get("step") or 0, *(row.get("step") or 0 for row in rows)])
    metrics["train.loss"] = next((row["loss"] for row in reversed(rows) if row.get("loss") is not None), None)
    metrics["seconds_training"] = manifest.get("seconds_training")
    return metrics


def _side_by_side(flats: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for flat in flats for key in flat)
    return {key: [flat.get(key) for flat in flats] for key in keys}


def _differ(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values[1:])


def _some(names: Sequence[str], n: int = 5) -> str:
    shown = ", ".join(sorted(names, reverse=True)[:n])
    return f"{shown}, ..." if len(names) > n else shown


def _nearest(name: str, names: Sequence[str], place: str) -> str:
    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"there are: {_some(names)}" if names else f"there are no runs in {place}; name their folder: --runs-dir"
