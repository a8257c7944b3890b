"""A recipe as a task of SkyPilot's, which rents on more clouds, on Kubernetes and on Slurm, and several machines.

SkyPilot is not imported: it is told in its own YAML (docs.skypilot.co, "SkyPilot YAML"). A test has its own parser
read it.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from railcar.machines.wheel import build_wheel, read_constraints
from railcar.recipe.schema import Recipe
from railcar.recipe.writing import recipe_to_yaml
from railcar.storage.local import write_atomic

TASK, RECIPE, CONSTRAINTS = "task.yaml", "recipe.yaml", "constraints.txt"
_PORT = 12345
# What SkyPilot tells each node, as TensorFlow wants it ("Distributed Multi-Node Jobs").
_CLUSTER = (
    "import json, os; ips = os.environ['SKYPILOT_NODE_IPS'].split(); "
    f"print(json.dumps({{'cluster': {{'worker': [ip + ':{_PORT}' for ip in ips]}}, "
    "'task': {'type': 'worker', 'index': int(os.environ['SKYPILOT_NODE_RANK'])}}))"
)


def write_task(recipe: Recipe, folder: Path, paths: dict[str, Path]) -> Path:
    """A folder that SkyPilot takes as `workdir`: task, recipe, railcar's wheel and the tested versions. `paths` are
    local data by the place that the recipe gives it there. Returns the task's file."""
    wheel = build_wheel()
    write_atomic(folder / wheel.name, wheel.content)
    write_atomic(folder / RECIPE, recipe_to_yaml(recipe).encode())
    write_atomic(folder / CONSTRAINTS, read_constraints().encode())
    write_atomic(folder / TASK, _dump(build_task(recipe, wheel.name, folder, paths)))
    return folder / TASK


def build_task(recipe: Recipe, wheel: str, folder: Path, paths: dict[str, Path]) -> dict[str, Any]:
    """The task as plain values."""
    node = recipe.machine
    resources: dict[str, Any] = {"disk_size": node.disk_gb, "use_spot": node.spot}
    resources["autostop"] = {"idle_minutes": max(1, round(node.idle_minutes)), "down": True}
    if node.provider not in (None, "fake"):
        regions = [node.region] if isinstance(node.region, str) else list(node.region or ())
        resources["infra"] = f"{node.provider}/{regions[0]}" if regions else node.provider
    if node.gpu:
        name, _, number = node.gpu.partition(":")
        resources["accelerators"] = f"{name}:{number or 1}"
    if node.machine_type:
        resources["instance_type"] = node.machine_type
    extra = "gpu" if node.gpu else "cpu"
    run = "railcar train recipe.yaml --runs-dir ~/railcar-runs"
    if node.nodes > 1:
        run = f'export TF_CONFIG="$(python3 -c {shlex.quote(_CLUSTER)})"\n{run}'
    task: dict[str, Any] = {
        "name": recipe.name,
        "resources": resources,
        "num_nodes": node.nodes,
        "workdir": str(folder.absolute()),
        "setup": f'pip install -c constraints.txt "./{wheel}[{extra},buckets]"',
        "run": run,
    }
    if paths:
        task["file_mounts"] = {there: str(here) for there, here in paths.items()}
    return task


def _dump(task: dict[str, Any]) -> bytes:
    import yaml

    head = "# Written by railcar. Run it: sky launch task.yaml; fetch the run: rsync -a CLUSTER:railcar-runs/ runs/\n"
    return (head + yaml.safe_dump(task, sort_keys=False, width=1000)).encode()
