"""`railcar doctor`, with TensorFlow and without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from railcar.cli.main import main


def run_doctor(*options: str, blocked: str = "") -> subprocess.CompletedProcess[str]:
    """In a process of its own. `blocked`: a module that this Python then does not have."""
    program = (
        "import importlib.util, sys; from railcar.cli.main import main\n"
        "real = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *rest: None if name == {blocked!r} else real(name, *rest)\n"
        f"sys.exit(main(['doctor', *{list(options)!r}]))"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)


def test_doctor_ends_with_a_verdict_and_fits_eighty_columns() -> None:
    done = run_doctor()

    assert done.returncode == 0, done.stderr
    assert done.stderr == "loading TensorFlow and measuring ...\n"
    assert "railcar would train on the" in done.stdout
    for word in ("TensorFlow", "processor", "memory", "disk", "GPU", "matrix product", "convolution 3x3"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_doctor_as_json_has_measured_rates(capsys: object) -> None:
    done = run_doctor("--json", "--quiet")
    document = json.loads(done.stdout)

    assert done.stderr == ""
    assert document["rates"]["matmul_float32_gflops"] > 0.1
    assert document["tensorflow"]["version"].startswith("2.")
    assert set(document["cpu"]["instruction_sets"]) >= {"avx2", "avx512_bf16", "amx_bf16"}


def test_without_tensorflow_doctor_works_and_names_the_extra() -> None:
    done = run_doctor(blocked="tensorflow")

    assert done.returncode == 0, done.stderr
    assert 'pip install "railcar[cpu]"' in done.stdout
    assert "processor" in done.stdout
    assert "measuring" not in done.stderr


def test_a_runs_folder_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    assert main(["doctor", "--help"]) == 0
    assert not (tmp_path / "runs").exists()
