"""What a training takes along to another machine: its recipe, data, code and weights, or a run that goes on.

Everything keeps the path that it has here: `RAILCAR_MOVED` tells the training there where it lies.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from railcar.errors import UsageError
from railcar.machines import tasks
from railcar.machines.bootstrap import Ready
from railcar.machines.lease import OWN, Lease
from railcar.machines.shell import Shell
from railcar.machines.sync import send_data
from railcar.machines.tasks import TRAIN, Task
from railcar.recipe.load import load_recipe
from railcar.recipe.schema import Recipe
from railcar.recipe.writing import recipe_to_yaml
from railcar.registry import is_own
from railcar.runs.run_dir import RunDir
from railcar.storage.address import is_remote
from railcar.storage.local import MOVED, expand_home
from railcar.workflows.inputs import Input

# Before its machine ends, a training has so long to save a checkpoint that comes home.
_MARGIN_S = 150.0


@dataclass(frozen=True)
class Load:
    """`argument` is that of `train` there, or `recipe` the text of its recipe, or `run` one that goes on; `paths` are
    files and folders by their path here, `code` the folder of the user's own. `has_addresses`: data is in a bucket."""

    name: str
    argument: str | None = None
    recipe: str | None = None
    run: RunDir | None = None
    paths: tuple[Path, ...] = ()
    code: Path | None = None
    has_addresses: bool = False


def pack(given: Input) -> Load:
    """A new training. Raises `UsageError` for what cannot be sent."""
    if given.arrays is not None:
        raise UsageError("arrays in memory cannot be sent to a machine", hint="write them to an .npz file first")
    recipe, paths, code = _find_files(given.recipe)
    has_addresses = _has_addresses(recipe)
    if given.is_complete:
        text = recipe_to_yaml(recipe)
        return Load(recipe.name, recipe=text, paths=paths, code=code, has_addresses=has_addresses)
    argument = recipe.data.source
    return Load(recipe.name, argument=argument, paths=paths, code=code, has_addresses=has_addresses)


def pack_run(run: RunDir) -> Load:
    """A run that goes on."""
    recipe, paths, code = _find_files(load_recipe(run.recipe_path))
    return Load(recipe.name, run=run, paths=paths, code=code, has_addresses=_has_addresses(recipe))


def _find_files(recipe: Recipe) -> tuple[Recipe, tuple[Path, ...], Path | None]:
    """The recipe with absolute paths, and what they lead to: data and weights, and the folder of the user's code."""
    paths, code = [], None
    data: dict[str, Any] = {}
    for key in ("source", "validation", "test"):
        value = getattr(recipe.data, key)
        if isinstance(value, str) and (path := _local(value)) is not None:
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
    return recipe.model_copy(update=nodes), tuple(dict.fromkeys(paths)), code


def _has_addresses(recipe: Recipe) -> bool:
    values = (recipe.data.source, recipe.data.validation, recipe.data.test)
    return any(isinstance(value, str) and is_remote(value) for value in values)


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
