"""Which device, and which kernel, each operation of a training step runs on: for the log, with `--verbose`.

Reads the graphs as TensorFlow ran them, after placement and optimisation, so that fused kernels and oneDNN's
(`_Mkl...`) are named as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context  # pyright: ignore[reportMissingImports]  no public way to these graphs

from railcar.data.pipeline import Chunk
from railcar.training.compiled import Steps

_BOOKKEEPING = {"_Arg", "_Retval", "_DeviceArg", "_DeviceRetval", "Const", "Identity", "NoOp"} | {
    "Enter",
    "Exit",
    "Merge",
    "Switch",
    "NextIteration",
    "LoopCond",
}


def log_placement(steps: Steps, *, write: Callable[[str], None], summarise: Callable[[str], None]) -> Steps:
    """The same steps; the first call writes one line an operation ("conv1/Conv2D  _MklNativeConv2D  CPU:0") and a
    summary by device."""
    is_done = False

    def call(chunk: Chunk) -> Any:
        nonlocal is_done
        if is_done:
            return steps(chunk)
        is_done = True
        tf.summary.trace_on(graph=True, profiler=False)
        try:
            result = steps(chunk)
            running: Any = context.context()
            operations = _read_operations(running.export_run_metadata())
        finally:
            tf.summary.trace_off()
        for name, kernel, device in operations:
            write(f"  {name}  {kernel}  {device}")
        counts = Counter(device for _, _, device in operations)
        summarise("placement: " + ", ".join(f"{n} operations on {device}" for device, n in counts.most_common()))
        return result

    return call


def _read_operations(metadata: Any) -> list[tuple[str, str, str]]:
    """(name, kernel, device) of each operation of the largest graph that ran: the training steps."""
    graphs = [graph for function in metadata.function_graphs for graph in [list(function.partition_graphs)] if graph]
    if not graphs:
        return []
    largest = max(graphs, key=lambda parts: sum(len(part.node) for part in parts))
    return [
        (node.name.removeprefix("while/body/_1/while/"), node.op, node.device.rpartition("device:")[2])
        for part in largest
        for node in part.node
        if node.op not in _BOOKKEEPING
    ]
