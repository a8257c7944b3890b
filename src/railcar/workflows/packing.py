"""What a training takes along to another machine: its recipe, data, code and weights, or a run that goes on.

Everything keeps the path that it has here: `RAILCAR_MOVED` tells the training there where it lies.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from railcar.errors import UsageError
from railcar.machines import tasks
from railcar.machines.bootstrap import Ready
from railcar.machines.lease import OWN, Lease
from railcar.machines.shell import Shell, quote
from railcar.machines.sync import send_data
from railcar.machines.tasks import TRAIN, Task
from railcar.recipe.load import load_recipe
from railcar.recipe.schema import Recipe
from railcar.recipe.writing import recipe_to_yaml
from railcar.registry import DATASETS, is_own
from railcar.runs.run_dir import RunDir
from railcar.storage.address import is_remote
from railcar.storage.local import MOVED, cache_dir, expand_home
from railcar.workflows.inputs import Input

# Before its machine ends, a training has so long to save a checkpoint that comes home.
_MARGIN_S = 150.0


@dataclass(frozen=True)
class Load:
    """`argument` is that of `train` there, or `recipe` the text of its recipe, or `run` one that goes on; `paths` are
    files and folders by their path here, `code` the folder of the user's own, `sets` known sets by name.
    `has_addresses`: data is in a bucket."""

    name: str
    argument: str | None = None
    recipe: str | None = None
    run: RunDir | None = None
    paths: tuple[Path, ...] = ()
    code: Path | None = None
    sets: tuple[str, ...] = ()
    has_addresses: bool = False


def pack(given: Input) -> Load:
    """A new training. Raises `UsageError` for what cannot be sent."""
    if given.arrays is not None:
        raise UsageError("arrays in memory cannot be sent to a machine", hint="write them to an .npz file first")
    load, recipe = _find_files(given.recipe)
    if given.is_complete:
        return replace(load, recipe=recipe_to_yaml(recipe))
    return replace(load, argument=recipe.data.source)


def pack_run(run: RunDir) -> Load:
    """A run that goes on."""
    return replace(_find_files(load_recipe(run.recipe_path))[0], run=run)


def _find_files(recipe: Recipe) -> tuple[Load, Recipe]:
    """What the recipe leads to: data and weights, and the folder of the user's code; and the recipe with their absolute
    paths."""
    paths, code = [], None
    data: dict[str, Any] = {}
    sources = {key: getattr(recipe.data, key) for key in ("source", "validation", "test")}
    texts = {key: value for key, value in sources.items() if isinstance(value, str)}
    for key, value in texts.items():
        if value not in DATASETS and (path := _local(value)) is not None:
            paths.append(path)
            data[key] = str(path)
    model: dict[str, Any] = {}
    if is_own(recipe.model.name):
        place, _, function = recipe.model.name.rpartition(":")
        if place.endswith(".py") and (path := _local(place)) is not None:
            code = path.parent  # with what it imports from beside it
            model["name"] = f"{path}:{function}"
    if recipe.model.weights not in ("imagenet", "none") and (path := _local(recipe.model.weights)) is not None:
        paths.append(path)
        model["weights"] = str(path)
    nodes = {"data": recipe.data.model_copy(update=data), "model": recipe.model.model_copy(update=model)}
    load = Load(
        recipe.name,
        paths=tuple(dict.fromkeys(paths)),
        code=code,
        sets=tuple(dict.fromkeys(value for value in texts.values() if value in DATASETS)),
        has_addresses=any(map(is_remote, texts.values())),
    )
    return load, recipe.model_copy(update=nodes)


def _local(text: str) -> Path | None:
    """The absolute path of what is a file or folder here."""
    path = expand_home(text)
    return path.absolute() if not is_remote(text) and path.exists() else None


def send_and_begin(
    load: Load,
    words: list[str],
    lease: Lease,
    shell: Shell,
    ready: Ready,
    runs_dir: Path,
    tell: Callable[[str], None],
    env: Mapping[str, str] | None = None,
) -> Task:
    """Copy what the training takes along, and begin it, with the variables `env`."""
    moved = {}
    for path in load.paths:
        tell(f"copying {path.name} to {lease.name}")
        moved[str(path)] = send_data(shell, ready, path, warn=tell)
    for name in load.sets:
        _send_set(name, lease, shell, ready, tell)
    if load.code is not None:
        moved[str(load.code)] = send_data(shell, ready, load.code, suffix=".py", warn=tell)
    name = f"{load.name[:40]}-{secrets.token_hex(3)}"
    argument = _send_argument(load, name, shell, ready)
    command = ready.command("train", argument, *words, "--runs-dir", "runs")
    what = load.run.name if load.run else load.argument or load.name
    task = Task(
        name=name,
        machine=lease.name,
        kind=TRAIN,
        words=("train", what, *words),
        home=ready.home,
        package=ready.package,
        started_s=time.time(),
        runs_dir=str(runs_dir.absolute()),
    )
    variables = {**(env or {}), **({MOVED: json.dumps(moved)} if moved else {})}
    margin_s = _MARGIN_S if lease.state != OWN else 0.0
    ends_s = lease.ends_s - margin_s if lease.ends_s else None
    return tasks.begin(lease, shell, ready, task, command, env=variables, cwd=task.job.folder, ends_s=ends_s)


def _send_set(name: str, lease: Lease, shell: Shell, ready: Ready, tell: Callable[[str], None]) -> None:
    """A known set that was downloaded here goes along: the machine may have no network. What is not here is downloaded
    there."""
    here, there = cache_dir() / "datasets" / name, f"{ready.root}/cache/datasets/{name}"
    if any(here.glob("*.gz")):
        tell(f"copying {name} to {lease.name}")
        shell.run(f"mkdir -p {quote(there)}")
        shell.send([f"{here}/"], f"{there}/", "--size-only", "--include=*.gz", "--exclude=*")


def _send_argument(load: Load, name: str, shell: Shell, ready: Ready) -> str:
    """What `train` is asked there."""
    if load.run is not None:
        tasks.push(load.run, f"{ready.root}/jobs/{name}", shell)
        return f"--resume={load.run.name}"
    if load.recipe is None:
        return load.argument or ""
    path = f"{ready.root}/recipes/{name}.yaml"
    shell.run(f"mkdir -p '{ready.root}/recipes' && cat > '{path}'", stdin=load.recipe.encode())
    return path
