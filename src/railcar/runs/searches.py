"""The searches of `railcar tune` in a folder of runs, each as one line of a listing.

Owns reading what a search has written (`workflows/tune.py` says what that is), and nothing of how one is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from railcar.errors import RunError
from railcar.runs.glimpse import is_number, spread
from railcar.runs.index import STUDY, RunSummary, flatten
from railcar.runs.run_dir import read_json
from railcar.storage.lock import is_held


def list_searches(runs_dir: Path | str) -> list[RunSummary]:
    """The searches right below the folder, in no order; none when there is no such folder."""
    return [_summarize(path.parent) for path in Path(runs_dir).glob(f"*/{STUDY}")]


def read_search_recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a search, as dotted keys."""
    recipe = _read(folder / STUDY).get("recipe")
    return flatten(recipe) if isinstance(recipe, dict) else {}


def _summarize(folder: Path) -> RunSummary:
    plan = _read(folder / STUDY)
    trials = _list_trials(folder)
    measure = str(plan.get("measure", "val_loss"))
    values = [one["value"] for one in trials if is_number(one.get("value"))]
    best = None if not values else max(values) if measure == "val_accuracy" else min(values)
    n_trials = plan.get("n_trials")
    return RunSummary(
        name=folder.name,
        path=folder,
        state=_state(folder, len(trials), n_trials) if plan else "damaged",
        step=len(trials),
        steps=n_trials if is_number(n_trials) else None,
        val_accuracy=best if measure == "val_accuracy" else None,
        test_accuracy=None,
        started=_read_start(folder.name),
        took_s=sum(one["seconds"] for one in trials if is_number(one.get("seconds"))) or None,
        val_loss=best if measure == "val_loss" else None,
        curve_of=measure if values else None,
        curve=spread(values),
        kind="search",
    )


def _state(folder: Path, n_done: int, n_trials: object) -> str:
    """`best.yaml` is written last, also where time ended the search before the last trial."""
    if is_held(folder / "lock"):
        return "running"
    try:
        is_concluded = (folder / "best.yaml").stat().st_mtime >= (folder / "trials.json").stat().st_mtime
    except OSError:
        is_concluded = False
    return "finished" if is_concluded or (is_number(n_trials) and n_done == n_trials) else "interrupted"


def _list_trials(folder: Path) -> Sequence[dict[str, Any]]:
    try:
        trials = read_json(folder / "trials.json")
    except (RunError, OSError):
        return []
    return [one for one in trials if isinstance(one, dict)] if isinstance(trials, list) else []


def _read(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except (RunError, OSError):
        return {}
    return document if isinstance(document, dict) else {}


def _read_start(name: str) -> datetime | None:
    """From the folder's name, which is in UTC: the files of a search that is gone on with are younger."""
    found = re.search(r"-tune-(\d{8}-\d{6})-", name)
    try:
        return datetime.strptime(found[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None
