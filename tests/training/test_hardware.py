"""What the machine says of itself, and TensorFlow brought in quietly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from railcar.errors import RailcarError
from railcar.training import hardware, tensorflow

GPU_PROGRAM = """#!/bin/sh
case "$*" in
*--query-gpu*) echo "NVIDIA L4, 535.161.08, 23034, 8.9" ;;
*) echo "| NVIDIA-SMI 535.161.08   Driver Version: 535.161.08   CUDA Version: 12.2     |" ;;
esac
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name that answers as the real one does on a machine with an L4."""
    program = tmp_path / "nvidia-smi"
    program.write_text(GPU_PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return program


def test_cores_memory_and_disk_are_positive() -> None:
    n_cores, n_usable = hardware.count_cores()

    assert 0 < n_usable <= n_cores
    assert hardware.free_disk_gb(Path("no/such/folder")) > 0
    assert hardware.cpu_model()


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"memory.max": "max"}, None),
        ("0::/\n", {"memory.max": "1000"}, 1000),
        ("0::/user/job\n", {"user/job/memory.max": "max", "user/memory.max": "500"}, 500),
        ("0::/user/job\n", {"user/job/memory.max": "400", "user/memory.max": "500"}, 400),
        ("4:cpu:/a\n3:memory:/a\n", {"memory/a/memory.limit_in_bytes": "300", "cpu/a/memory.limit_in_bytes": "1"}, 300),
        ("", {"memory.max": "700"}, 700),
    ],
)
def test_the_limit_of_memory_is_the_smallest_of_the_groups_that_hold_this_process(
    tmp_path: Path, membership: str, files: dict[str, str], limit: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    own = tmp_path / "membership"
    own.write_text(membership)

    assert hardware._cgroup_memory(tmp_path, own) == limit


def test_the_driver_is_read_from_nvidia_smi(nvidia_smi: Path) -> None:
    driver = hardware.describe_driver()

    assert driver == {
        "driver": "535.161.08",
        "cuda": "12.2",
        "gpus": [{"name": "NVIDIA L4", "memory_gb": 23034 / 1024, "compute_capability": "8.9"}],
    }


def test_an_nvidia_smi_that_finds_no_driver_counts_as_none(nvidia_smi: Path) -> None:
    nvidia_smi.write_text("#!/bin/sh\necho 'could not communicate with the NVIDIA driver'\nexit 9\n")

    assert hardware.describe_driver() is None


@pytest.mark.parametrize(
    ("build", "visible", "cause"),
    [
        ({"cuda": None}, None, "without CUDA"),
        ({"cuda": "13.0"}, None, "driver 535.161.08 runs CUDA up to 12.2"),
        ({"cuda": "12.5"}, None, "libraries"),
        ({"cuda": "12.5"}, "-1", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_a_gpu_that_tensorflow_does_not_use_gets_a_cause_and_a_mend(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, build: dict[str, Any], visible: str | None, cause: str
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    driver = hardware.describe_driver()
    explained = hardware.explain_unused_gpu(driver, build, 0)

    assert explained is not None
    assert cause in explained[0]
    assert explained[1]
    assert hardware.explain_unused_gpu(driver, build, 1) is None


def test_no_gpu_at_all_needs_no_explanation() -> None:
    assert hardware.explain_unused_gpu(None, {"cuda": None}, 0) is None


def test_rates_are_measured_for_both_types_and_operations() -> None:
    tensorflow.import_tensorflow()
    rates = hardware.measure_rates(seconds=0.2)

    assert set(rates) == {
        f"{operation}_{dtype}_gflops" for operation in ("matmul", "convolution") for dtype in ("float32", "bfloat16")
    }
    assert all(rate > 0.1 for rate in rates.values())


def test_tensorflow_says_nothing_to_the_user_and_all_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    program = (
        "import sys; from railcar.training.tensorflow import import_tensorflow\n"
        f"tf = import_tensorflow({str(log)!r}); tf.matmul(tf.ones((8, 8)), tf.ones((8, 8)))\n"
        "print('still here', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stderr == "still here\n"
    assert log.exists()


def test_a_broken_tensorflow_is_an_error_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libcudart.so.12: cannot open\\nmore lines')\n")
    program = (
        "from railcar.errors import RailcarError; from railcar.training.tensorflow import import_tensorflow\n"
        "try: import_tensorflow()\n"
        "except RailcarError as error: print(error.what, '|', error.hint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tmp_path)}
    )

    assert "cannot be loaded: ImportError: libcudart.so.12: cannot open |" in done.stdout
    assert "pip install" in done.stdout


def test_a_processor_without_avx_is_refused_before_tensorflow_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")

    with pytest.raises(RailcarError, match="no AVX"):
        tensorflow._check_processor(frozenset({"sse2"}))
    tensorflow._check_processor(frozenset({"sse2", "avx"}))
    tensorflow._check_processor(frozenset())
