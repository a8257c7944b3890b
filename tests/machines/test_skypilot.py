"""A recipe exported for SkyPilot is a task that its own parser takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from railcar.machines.skypilot import RECIPE, TASK
from railcar.recipe.load import load_recipe
from railcar.workflows.export_recipe import export_to_skypilot
from tests.machines.hosts import OUTSIDE

VERSION = "0.14.1"
READ = """
import json, sys
import sky
found = {}
for path in sys.argv[1:]:
    task = sky.Task.from_yaml(path)
    [resources] = list(task.resources)
    found[path] = {"name": task.name, "nodes": task.num_nodes, "spot": resources.use_spot,
                   "accelerators": resources.accelerators, "mounts": task.file_mounts, "run": task.run,
                   "setup": task.setup, "region": resources.region, "disk": resources.disk_size}
print(json.dumps(found))
"""


def export(folder: Path, *overrides: str, recipe: str = "mnist") -> Path:
    return export_to_skypilot(recipe, overrides, folder)


def test_the_folder_has_all_that_the_task_needs(tmp_path):
    path = export(tmp_path / "task", "machine.gpu=T4:2", "machine.provider=aws", "machine.region=us-west-2")
    task = yaml.safe_load(path.read_text())
    names = {one.name for one in path.parent.iterdir()}
    wheel = next(name for name in names if name.endswith(".whl"))
    assert names == {TASK, RECIPE, wheel, "constraints.txt"}
    assert wheel in task["setup"] and "[gpu,buckets]" in task["setup"]
    assert task["resources"]["accelerators"] == "T4:2" and task["resources"]["infra"] == "aws/us-west-2"
    assert task["resources"]["autostop"] == {"idle_minutes": 15, "down": True}
    assert load_recipe(path.parent / RECIPE).name == "mnist"


def test_local_data_is_mounted_where_the_recipe_looks(tmp_path):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    path = export(tmp_path / "task", f"data.source={tmp_path}/photos")
    task = yaml.safe_load(path.read_text())
    assert task["file_mounts"] == {"~/data/photos": f"{tmp_path}/photos"}
    assert load_recipe(path.parent / RECIPE).data.source == "~/data/photos"


def test_several_nodes_get_a_tf_config_that_names_them(tmp_path):
    run = yaml.safe_load(export(tmp_path / "task", "machine.nodes=2").read_text())["run"]
    line = run.split("\n")[0]
    told = subprocess.run(
        ["bash", "-c", f'{line}; printf %s "$TF_CONFIG"'],
        env={**os.environ, "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NODE_RANK": "1"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert json.loads(told) == {
        "cluster": {"worker": ["10.0.0.1:12345", "10.0.0.2:12345"]},
        "task": {"type": "worker", "index": 1},
    }


@pytest.mark.timeout(900)
def test_skypilots_own_parser_takes_it(tmp_path):
    """In an environment of its own: SkyPilot is no dependency of railcar's, not even of its tests."""
    spot = export(tmp_path / "spot", "machine.gpu=L4", "machine.spot=true", "machine.provider=gcp", "name=spotty")
    many = export(tmp_path / "many", "machine.gpu=A100:8", "machine.nodes=4", "machine.disk_gb=300")
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "environment")], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check"]
    pip += ["--no-compile", f"skypilot=={VERSION}"]  # compiling all of it takes longer than reading what is needed
    subprocess.run(pip, check=True, env=OUTSIDE)
    home = {**OUTSIDE, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1", "PYTHONPATH": ""}
    done = subprocess.run([str(python), "-c", READ, str(spot), str(many)], env=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    first, second = found[str(spot)], found[str(many)]
    assert (first["name"], first["nodes"], first["spot"]) == ("spotty", 1, True)
    assert first["accelerators"] == {"L4": 1}
    assert (second["nodes"], second["accelerators"], second["disk"]) == (4, {"A100": 8}, 300)
    assert "railcar train recipe.yaml" in second["run"] and "TF_CONFIG" in second["run"]
