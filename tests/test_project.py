"""The project as a whole: versions agree, the wheel holds what it must, files keep their bounds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import warnings
import zipfile
from pathlib import Path

import pytest

import railcar

MEGABYTE = 1_000_000
N_LINES_GOAL = 400
N_LINES_BOUND = 450


def tracked_files(project: Path) -> list[Path]:
    """What git would commit; everything but the usual build outputs where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=project, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := project / name).is_file()]


@pytest.fixture(scope="module")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(project)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_version_of_the_package_heads_the_changelog(project: Path) -> None:
    headings = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (project / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert headings[0] == railcar.__version__


def test_the_wheel_bears_the_version_of_the_package(wheel: zipfile.ZipFile) -> None:
    metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))

    assert f"\nVersion: {railcar.__version__}\n" in wheel.read(metadata).decode()


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile, project: Path) -> None:
    package = project / "src"
    expected = {path.relative_to(package).as_posix() for path in tracked_files(project) if path.is_relative_to(package)}

    assert expected <= set(wheel.namelist())


def test_the_wheel_holds_samples_recipes_types_and_notices(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()

    assert {"railcar/recipes/mnist.yaml", "railcar/recipes/mnist-tutorial.yaml", "railcar/py.typed"} <= set(names)
    assert any(re.fullmatch(r"railcar/samples/NOTICE[^/]*", name) for name in names)
    assert any(re.search(r"\.dist-info/licenses/.*NOTICE", name) for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_samples_take_at_most_three_megabytes_of_the_wheel(wheel: zipfile.ZipFile) -> None:
    sizes = [file.compress_size for file in wheel.infolist() if file.filename.startswith("railcar/samples/")]

    assert 1 * MEGABYTE < sum(sizes) <= 3 * MEGABYTE


def test_no_tracked_file_is_larger_than_three_megabytes(project: Path) -> None:
    large = {path.name: size for path in tracked_files(project) if (size := path.stat().st_size) > 3 * MEGABYTE}

    assert large == {}


def test_every_module_says_what_it_owns(project: Path) -> None:
    silent = [
        path.relative_to(project).as_posix()
        for path in (project / "src").rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert silent == []


def test_no_source_file_is_longer_than_a_reader_holds(project: Path) -> None:
    n_lines = {
        path.relative_to(project).as_posix(): len(path.read_text().splitlines())
        for path in tracked_files(project)
        if path.suffix == ".py" and path.relative_to(project).parts[0] in ("src", "tests", "benchmarks", "docs")
    }
    for name in (name for name, n in n_lines.items() if N_LINES_GOAL < n <= N_LINES_BOUND):
        warnings.warn(f"{name} has {n_lines[name]} lines: look again whether it is one thing", stacklevel=1)

    assert {name: n for name, n in n_lines.items() if n > N_LINES_BOUND} == {}


def test_git_ignores_runs_at_the_top_and_not_the_room_of_that_name(project: Path) -> None:
    lines = (project / ".gitignore").read_text().splitlines()

    assert "/runs/" in lines
    assert "runs/" not in lines


def test_constraints_are_plain_versions(project: Path) -> None:
    lines = (project / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]

    assert pins
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9.-]+==[0-9A-Za-z.]+", pin)] == []


def test_every_dependency_is_constrained(project: Path) -> None:
    metadata = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    requirements = [
        *metadata["dependencies"],
        *(one for of in metadata["optional-dependencies"].values() for one in of),
    ]
    names = {re.split(r"[^A-Za-z0-9-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}
    constrained = set(re.findall(r"^([a-z0-9-]+)==", (project / "constraints.txt").read_text(), re.MULTILINE))

    assert names <= constrained


def test_a_python_that_cannot_be_run_is_passed_over(project: Path, tmp_path: Path) -> None:
    shim = tmp_path / "python3.11"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    (tmp_path / "python3").symlink_to(sys.executable)

    found = subprocess.run(
        ["/bin/sh", str(project / "scripts/find_python.sh")],
        env={"PATH": f"{tmp_path}:/nowhere"},
        capture_output=True,
        text=True,
    )

    assert found.stdout == "python3\n"


def test_without_a_fit_python_make_says_what_to_install(project: Path) -> None:
    found = subprocess.run(
        ["/bin/sh", str(project / "scripts/find_python.sh")], env={"PATH": "/nowhere"}, capture_output=True, text=True
    )

    assert found.returncode == 1
    assert "python3-venv" in found.stderr
