"""`railcar doctor`: asks `railcar.training.hardware` what this machine has, and prints it."""

from __future__ import annotations

import importlib.util
import os
import platform
import textwrap
from pathlib import Path
from typing import Any

import click

from railcar import __version__
from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option
from railcar.errors import RailcarError
from railcar.runs.place import find_place
from railcar.storage.local import cache_dir
from railcar.training import hardware

_LABEL_WIDTH = 14


@click.command("doctor")
@runs_dir_option
@common_options(json=True)
def command(runs_dir: Path | str, console: Console) -> None:
    """Show what this machine has and how fast it computes.

    Versions, processor, memory, disk, GPUs and driver, and measured rates of float32 and bfloat16. Takes some seconds.
    """
    document = describe_machine(runs_dir, console)
    if console.json:
        console.json_result(document)
    else:
        console.result(_text(document))


def describe_machine(runs_dir: Path | str, console: Console) -> dict[str, Any]:
    """All that is printed. `tensorflow`, `rates` and `verdict` are None where TensorFlow cannot be used, and `problem`
    and `hint` then say why; they name a GPU that TensorFlow does not use, too."""
    n_cores, n_usable = hardware.count_cores()
    flags = hardware.cpu_flags()
    document: dict[str, Any] = {
        "railcar": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": {
            "model": hardware.cpu_model(),
            "n_cores": n_cores,
            "n_usable_cores": n_usable,
            "instruction_sets": {name: name in flags for name in hardware.INSTRUCTION_SETS},
        },
        "memory": hardware.describe_memory(),
        "disk": {str(folder): hardware.free_disk_gb(folder) for folder in (find_place(runs_dir).folder, cache_dir())},
        "driver": hardware.describe_driver(),
        "gpus": [],
        "tensorflow": None,
        "rates": None,
        "verdict": None,
        "problem": None,
        "hint": None,
    }
    try:
        _ask_tensorflow(document, console)
    except RailcarError as error:
        document["problem"], document["hint"] = error.what, error.hint
    return document


def _ask_tensorflow(document: dict[str, Any], console: Console) -> None:
    from railcar.training.tensorflow import import_tensorflow, quiet_stderr

    if importlib.util.find_spec("tensorflow") is not None:
        console.note("loading TensorFlow and measuring ...")
    import_tensorflow(needed_for="training")
    from railcar.training.runtime import choose_runtime

    with quiet_stderr():
        document["tensorflow"] = hardware.describe_build()
        document["gpus"] = hardware.describe_devices()
        unused = hardware.explain_unused_gpu(document["driver"], document["tensorflow"], len(document["gpus"]))
        document["rates"] = hardware.measure_rates()
        runtime = choose_runtime(precision="auto", compile="auto", steps_per_call="auto")
    if unused:
        document["problem"], document["hint"] = f"TensorFlow does not use the GPU: {unused[0]}", unused[1]
    device, precision, mode = runtime.device, runtime.precision, runtime.compile
    document["verdict"] = (
        f"railcar would train on the {device.value.upper()} in {precision.value}, compiled as {mode.value}: "
        f"{precision.reason}"
    )


def _text(document: dict[str, Any]) -> str:
    sections = [
        _versions(document),
        _processor(document["cpu"]),
        _line("memory", _memory_text(document["memory"])),
        "\n".join(
            _line("disk" if index == 0 else "", f"{free:.0f} GB free for {folder}")
            for index, (folder, free) in enumerate(document["disk"].items())
        ),
        _gpus(document),
        _rates(document["rates"]),
    ]
    end = []
    if document["problem"]:
        end += [f"problem: {document['problem']}", f"mend it: {document['hint']}"]
    if document["verdict"]:
        end.append(document["verdict"])
    wrapped = [textwrap.fill(line, 79, break_long_words=False, break_on_hyphens=False) for line in end]
    return "\n".join([*(section for section in sections if section), "", *wrapped])


def _line(label: str, value: str) -> str:
    indent = " " * _LABEL_WIDTH
    return textwrap.fill(
        value, 79, initial_indent=label.ljust(_LABEL_WIDTH), subsequent_indent=indent, break_on_hyphens=False
    )


def _versions(document: dict[str, Any]) -> str:
    lines = [
        _line("railcar", f"{document['railcar']} on Python {document['python']}, {document['system']}"),
    ]
    build = document["tensorflow"]
    if build is None:
        return "\n".join([*lines, _line("TensorFlow", "cannot be used, see below")])
    words = [f"CUDA {build['cuda']}, cuDNN {build['cudnn']}" if build["cuda"] else "a build without CUDA"]
    if build["onednn"]:
        words.append("oneDNN on")
    return "\n".join([*lines, _line("TensorFlow", f"{build['version']}, Keras {build['keras']}; {', '.join(words)}")])


def _processor(cpu: dict[str, Any]) -> str:
    n_usable = cpu["n_usable_cores"]
    limit = f", {n_usable:g} of them usable here" if n_usable < cpu["n_cores"] else ""
    has = [name for name, is_there in cpu["instruction_sets"].items() if is_there]
    lacks = [name for name, is_there in cpu["instruction_sets"].items() if not is_there]
    lines = [_line("processor", f"{cpu['model']}, {cpu['n_cores']} cores{limit}")]
    lines.append(_line("", "has " + (", ".join(has) or "none of the instruction sets that matter")))
    if has and lacks:
        lines.append(_line("", "lacks " + ", ".join(lacks)))
    return "\n".join(lines)


def _memory_text(memory: dict[str, float | None]) -> str:
    total, available, limit = memory["total_gb"], memory["available_gb"], memory["limit_gb"]
    if total is None:
        return "not known on this system"
    words = f"{total:.1f} GB" + (f", {available:.1f} GB available" if available is not None else "")
    return words + (f"; this process is limited to {limit:.1f} GB" if limit else "")


def _gpus(document: dict[str, Any]) -> str:
    driver, devices = document["driver"], document["gpus"]
    lines = [
        f"{device['device']} {device['name']}"
        + (f", compute capability {device['compute_capability']}" if device["compute_capability"] else "")
        for device in devices
    ] or ["none that TensorFlow can use" if document["tensorflow"] else "none asked for without TensorFlow"]
    if driver:
        runs = f", runs CUDA up to {driver['cuda']}" if driver["cuda"] else ""
        lines.append(f"NVIDIA driver {driver['driver']}{runs}; it shows:")
        lines += [
            f"{gpu['name']}, {gpu['memory_gb']:.0f} GB, compute capability {gpu['compute_capability']}"
            for gpu in driver["gpus"]
        ]
    else:
        lines.append("no NVIDIA driver (nvidia-smi finds none)")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        lines.append(f"CUDA_VISIBLE_DEVICES is {hidden!r}")
    return "\n".join(_line("GPU" if index == 0 else "", line) for index, line in enumerate(lines))


def _rates(rates: dict[str, float] | None) -> str:
    if rates is None:
        return ""
    lines = [_line("speed", f"{'GFLOP/s':<22}{'float32':>9}{'bfloat16':>10}")]
    for operation, name in (("matmul", "matrix product"), ("convolution", "convolution 3x3")):
        slow, fast = rates[f"{operation}_float32_gflops"], rates[f"{operation}_bfloat16_gflops"]
        lines.append(f"{'':<{_LABEL_WIDTH}}{name:<22}{slow:>9,.0f}{fast:>10,.0f}   {fast / slow:.1f} times float32")
    return "\n".join(lines)
