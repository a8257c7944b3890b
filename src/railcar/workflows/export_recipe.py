"""`recipe export`: a recipe as another program's task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from railcar.machines.skypilot import write_task
from railcar.recipe.load import load_recipe
from railcar.storage.address import is_remote
from railcar.storage.local import expand_home


def export_to_skypilot(recipe: str, overrides: Any, folder: Path) -> Path:
    """Write what SkyPilot needs into `folder`; returns the task's file. Local data is mounted under `~/data`."""
    found, paths = load_recipe(recipe, overrides), {}
    moved: dict[str, str] = {}
    for key in ("source", "validation", "test"):
        value = getattr(found.data, key)
        if isinstance(value, str) and not is_remote(value) and expand_home(value).exists():
            path = expand_home(value).absolute()
            moved[key] = f"~/data/{path.name}"
            paths[moved[key]] = path
    if moved:
        found = found.model_copy(update={"data": found.data.model_copy(update=moved)})
    return write_task(found, folder, paths)
