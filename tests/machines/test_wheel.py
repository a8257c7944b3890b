"""The wheel that a machine gets is a real one, of the very code that runs here, and the same each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import railcar
from railcar.machines.wheel import build_wheel, list_requirements, read_constraints


def test_the_same_code_makes_the_same_bytes():
    assert build_wheel().sha256 == build_wheel().sha256


def test_pip_installs_it_and_it_is_this_code(tmp_path: Path):
    wheel = build_wheel()
    (tmp_path / wheel.name).write_bytes(wheel.content)
    target = tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(tmp_path / wheel.name)], check=True, capture_output=True)

    here = Path(railcar.__file__).parent
    for name in ("__init__.py", "cli/main.py", "machines/onboard/job.py", "recipes/mnist.yaml"):
        assert (target / "railcar" / name).read_bytes() == (here / name).read_bytes()
    command = [sys.executable, "-m", "railcar", "--version"]
    told = subprocess.run(command, env={"PYTHONPATH": str(target)}, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == f"railcar {railcar.__version__}"


def test_it_holds_no_file_of_the_python_that_made_it():
    import io
    import zipfile

    names = zipfile.ZipFile(io.BytesIO(build_wheel().content)).namelist()
    assert len(names) == len(set(names))
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]
    assert "railcar/constraints.txt" in names


def test_requirements_are_those_of_the_extras_alone():
    cpu, gpu = list_requirements("cpu"), list_requirements("gpu", "buckets")
    assert any(one.startswith("tensorflow-cpu") for one in cpu) and not any("and-cuda" in one for one in cpu)
    assert any(one.startswith("tensorflow[and-cuda]") for one in gpu) and any(one.startswith("obstore") for one in gpu)
    assert not any("extra" in one or "pytest" in one for one in cpu + gpu)


def test_the_tested_versions_come_along():
    lines = read_constraints().splitlines()
    assert any(line.startswith("keras==") for line in lines)
