"""The machine and the versions that a figure was measured with."""

from __future__ import annotations

import datetime
from typing import Any

from harness.environments import list_pins
from railcar.training import hardware
from railcar.workflows.provenance import read_git_commit, read_versions


def describe_machine() -> dict[str, Any]:
    n_cores, n_usable = hardware.count_cores()
    flags = hardware.cpu_flags()
    driver = hardware.describe_driver()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "cpu": hardware.cpu_model(),
        "n_cores": n_usable if n_usable < n_cores else n_cores,
        "instruction_sets": [name for name in hardware.INSTRUCTION_SETS if name in flags],
        "memory_gb": round(hardware.describe_memory()["total_gb"] or 0),
        "gpus": [gpu["name"] for gpu in driver["gpus"]] if driver else [],
        "versions": read_versions(),
        "peers": list_pins(),
        "git_commit": read_git_commit(),
    }


def machine_line(machine: dict[str, Any]) -> str:
    """One sentence of it."""
    sets = [name for name in machine["instruction_sets"] if name in ("avx512_bf16", "amx_bf16")]
    fast = f" ({', '.join(sets)})" if sets else ""
    versions = machine["versions"]
    tensorflow = versions.get("tensorflow-cpu") or versions.get("tensorflow")
    torch = next((pin.removeprefix("torch==") for pin in machine["peers"].get("torch", []) if "torch==" in pin), None)
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
    return (
        f"{machine['date']}: {machine['n_cores']:g} cores of {machine['cpu']}{fast}, {machine['memory_gb']} GB{gpus}; "
        f"TensorFlow {tensorflow}, Keras {versions.get('keras')}, PyTorch {torch}, Python {versions['python']}."
    )
