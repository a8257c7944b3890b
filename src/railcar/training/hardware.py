"""What this machine has: processor, memory, disk, GPUs and driver, and how fast it multiplies.

Owns the questions, not the conclusions: `runtime.py` chooses by the answers, `railcar doctor` prints them. Importing
this costs nothing; the functions that need TensorFlow say so, and import it when they are called.
"""

from __future__ import annotations

import functools
import math
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Those that decide how fast oneDNN's kernels are, and which precision pays.
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
OPERATIONS = ("matmul", "convolution")
_NVIDIA_SMI_TIMEOUT_S = 10.0


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The processor's features by the kernel's names ("avx512f", "amx_bf16"); empty where it does not list them."""
    fields = _cpuinfo()
    return frozenset((fields.get("flags") or fields.get("Features") or "").split())


def cpu_model() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def count_cores() -> tuple[int, float]:
    """Cores of the machine, and how many of them this process may use at once (affinity, cgroup quota: maybe 1.5)."""
    n_cores = os.cpu_count() or 1
    n_usable: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else n_cores
    quota = _cgroup_quota()
    return n_cores, n_usable if quota is None else min(n_usable, quota)


def describe_memory() -> dict[str, float | None]:
    """In GiB: `total_gb` of the machine, `available_gb` now, `limit_gb` of this process's cgroup; None for unknown."""
    sizes = {}
    for line in _read(Path("/proc/meminfo")).splitlines():
        name, _, value = line.partition(":")
        sizes[name] = int(value.split()[0]) / 2**20 if value.split() else 0.0
    limit = _cgroup_memory()
    total = sizes.get("MemTotal") or _physical_memory_gb()
    limit_gb = limit / 2**30 if limit else None
    if limit_gb and total and limit_gb >= total:
        limit_gb = None
    return {"total_gb": total, "available_gb": sizes.get("MemAvailable"), "limit_gb": limit_gb}


def memory_bytes() -> int | None:
    """What this process may use: the machine's memory, or the limit of its cgroup; None where neither is known."""
    memory = describe_memory()
    known = [size for size in (memory["limit_gb"], memory["total_gb"]) if size]
    return int(min(known) * 2**30) if known else None


def free_disk_gb(folder: Path) -> float:
    """Free space in GiB where `folder` is, or would be made."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return shutil.disk_usage(existing).free / 2**30


def describe_driver() -> dict[str, Any] | None:
    """What nvidia-smi says: `driver`, `cuda` (the newest CUDA that the driver runs) and `gpus` (name, memory_gb,
    compute_capability). None when there is no nvidia-smi or it finds no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    fields = "name,driver_version,memory.total,compute_cap"
    listing = _run([program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    rows = [[cell.strip() for cell in line.split(",")] for line in listing.splitlines() if line.count(",") == 3]
    if not rows:
        return None
    newest = re.search(r"CUDA Version:\s*([\d.]+)", _run([program]))
    return {
        "driver": rows[0][1],
        "cuda": newest.group(1) if newest else None,
        "gpus": [
            {"name": name, "memory_gb": _number(memory_mb) / 1024, "compute_capability": capability}
            for name, _, memory_mb, capability in rows
        ],
    }


def gpu_memory_bytes() -> int | None:
    """The memory of the smallest GPU that nvidia-smi shows; None when it shows none."""
    driver = describe_driver()
    sizes = [one["memory_gb"] for one in driver["gpus"]] if driver else []
    return int(min(sizes) * 2**30) if sizes else None


def describe_build() -> dict[str, Any]:
    """Of the TensorFlow that is installed: `version`, `keras`, `onednn`, `cuda` and `cudnn` it was built with (None for
    a CPU build). TensorFlow must be importable."""
    import keras
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    return {
        "version": tf.__version__,
        "keras": keras.__version__,
        "onednn": _uses_onednn(),
        "cuda": build.get("cuda_version") if build.get("is_cuda_build") else None,
        "cudnn": build.get("cudnn_version") if build.get("is_cuda_build") else None,
    }


def describe_devices() -> list[dict[str, Any]]:
    """The GPUs that TensorFlow can use, in its order: `device`, `name`, `compute_capability` ("9.0" or None).
    TensorFlow must be importable."""
    import tensorflow as tf

    devices = []
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get("compute_capability")
        devices.append(
            {
                "device": gpu.name.removeprefix("/physical_device:"),
                "name": details.get("device_name", "GPU"),
                "compute_capability": ".".join(map(str, capability)) if capability else None,
            }
        )
    return devices


def explain_unused_gpu(driver: dict[str, Any] | None, build: dict[str, Any], n_devices: int) -> tuple[str, str] | None:
    """When nvidia-smi shows a GPU that TensorFlow does not: the likely cause, and what mends it. None when all is well.

    `driver` from `describe_driver`, `build` from `describe_build`.
    """
    if driver is None or n_devices:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible!r} hides it", "unset CUDA_VISIBLE_DEVICES"
    if build["cuda"] is None:
        return (
            "this TensorFlow is built without CUDA",
            'in a new virtual environment: pip install "railcar[gpu]"',
        )
    if driver["cuda"] and _major(driver["cuda"]) < _major(build["cuda"]):
        return (
            f"driver {driver['driver']} runs CUDA up to {driver['cuda']}, TensorFlow was built with {build['cuda']}",
            "install a newer NVIDIA driver",
        )
    return (
        "its CUDA libraries are not found or do not fit",
        'pip install "railcar[gpu]" brings them; look at LD_LIBRARY_PATH, which can hide them',
    )


def measure_rates(seconds: float = 2.0) -> dict[str, float]:
    """GFLOP/s of a matrix product and a 3x3 convolution in float32 and bfloat16, on the first GPU or else the CPU; the
    best of several, in about `seconds` in all after a warm-up. On a GPU float32 means TF32, as in training.

    TensorFlow must be importable. Keys: `matmul_float32_gflops`, `convolution_bfloat16_gflops`, ...
    """
    device = list_compute_devices()[0]
    return {
        f"{operation}_{dtype}_gflops": measure_rate(operation, dtype, device, seconds / 4)
        for dtype in ("float32", "bfloat16")
        for operation in OPERATIONS
    }


def list_compute_devices() -> list[str]:
    """What training could run on, in TensorFlow's words: the GPUs ("GPU:0", ...), else the CPU. TensorFlow must be
    importable."""
    return [device["device"] for device in describe_devices()] or ["CPU:0"]


def measure_rate(operation: str, dtype: str, device: str, seconds: float) -> float:
    """GFLOP/s of "matmul" or "convolution" (3x3) on `device`: the best of as many runs as fit into `seconds` after a
    warm-up. `dtype` is that of input and result. TensorFlow must be importable."""
    import tensorflow as tf

    is_gpu = device.startswith("GPU")
    side, n_images, size, channels = (8192, 256, 56, 128) if is_gpu else (1024, 64, 28, 64)
    with tf.device(device):
        if operation == "matmul":
            left = tf.cast(tf.random.stateless_uniform((side, side), (1, 2)), dtype)
            right, compute, flop = left, tf.linalg.matmul, 2.0 * side**3
        else:
            left = tf.cast(tf.random.stateless_uniform((n_images, size, size, channels), (3, 4)), dtype)
            right = tf.cast(tf.random.stateless_uniform((3, 3, channels, channels), (5, 6)), dtype)
            compute = functools.partial(tf.nn.conv2d, strides=1, padding="SAME")
            flop = 2.0 * n_images * size**2 * 9 * channels**2
        compiled = tf.function(compute, autograph=False)
        return flop / _best_time(lambda: compiled(left, right), seconds) / 1e9


@functools.cache
def compare_bfloat16() -> float:
    """How many times as fast as in float32 a 3x3 convolution and its gradients are in bfloat16 on this CPU: the best of
    five, in turns, in about a quarter of a second. TensorFlow must be importable.

    The instruction set does not tell: AVX-512 BF16 multiplies twice as fast as float32 on some processors, and at half
    its rate on others.
    """
    import tensorflow as tf

    def build(dtype: Any) -> Callable[[], Any]:
        images = tf.cast(tf.random.stateless_uniform((16, 28, 28, 64), (1, 2)), dtype)
        kernel = tf.cast(tf.random.stateless_uniform((3, 3, 64, 64), (3, 4)), dtype)

        def convolve() -> Any:
            with tf.GradientTape() as tape:
                tape.watch((images, kernel))
                result = tf.nn.conv2d(images, kernel, strides=1, padding="SAME")
            return tape.gradient(result, (images, kernel))

        return tf.function(convolve, autograph=False)

    computations = [build(tf.float32), build(tf.bfloat16)]
    for compute in computations:
        compute()
    times: list[list[float]] = [[], []]
    for _ in range(5):
        for compute, seconds in zip(computations, times, strict=True):
            start = time.perf_counter()
            compute()
            seconds.append(time.perf_counter() - start)
    return min(times[0]) / min(times[1])


def _best_time(compute: Callable[[], Any], budget_s: float) -> float:
    """The shortest of as many runs as fit into the budget, at least two, in seconds; the first is a warm-up."""
    import tensorflow as tf

    compute()
    tf.test.experimental.sync_devices()
    best_s, n_runs, end = math.inf, 0, time.perf_counter() + budget_s
    while n_runs < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        compute()
        tf.test.experimental.sync_devices()
        best_s = min(best_s, time.perf_counter() - start)
        n_runs += 1
    return best_s


def _uses_onednn() -> bool:
    """x86 builds of TensorFlow use oneDNN unless TF_ENABLE_ONEDNN_OPTS is 0."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return is_x86 and os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") not in ("0", "false")


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """The fields of the first processor."""
    first = _read(Path("/proc/cpuinfo")).split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cgroup_quota() -> float | None:
    """Cores that the control group grants (version 2, then 1); None for no limit."""
    quota, _, period = _read(Path("/sys/fs/cgroup/cpu.max")).strip().partition(" ")
    if not quota:
        quota = _read(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")).strip()
        period = _read(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")).strip()
    granted, each = _number(quota), _number(period)
    return granted / each if granted > 0 and each > 0 else None


def _cgroup_memory(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Bytes that the control group of this process and those above it grant (version 2, then 1); None for no limit."""
    limits = []
    for line in _read(membership).splitlines() or ["0::/"]:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        folder = top / group.strip("/")
        while folder == top or top in folder.parents:
            limits.append(_number(_read(folder / name).strip()))
            folder = folder.parent
    return min((limit for limit in limits if limit > 0), default=None)


def _physical_memory_gb() -> float | None:
    """As systems without /proc say it (macOS)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (ValueError, OSError, AttributeError):
        return None


def _number(text: str) -> float:
    """0.0 for what is not a number ("max", "[N/A]", nothing)."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _major(version: str) -> int:
    return int(_number(version.partition(".")[0]))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
