"""How many examples a second each runtime answers, of the same model, by the size of the batch.

    python benchmarks/engines.py RUN [--batches 1 8 32 128] [--rounds 3] [--seconds 1]

RUN is the folder of a run. Its exports are made in a temporary folder; the runtimes take turns, and the best round of
each counts. All take the network's own input: images of its size, numbers of words, encoded rows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.machine import describe_machine
from railcar.artifact.artifact import Artifact, read_artifact
from railcar.exporting.core import Core, find_core
from railcar.exporting.formats import export_artifact

N_THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_tensorflow(core: Core) -> Callable[[Any], Any]:
    import tensorflow as tf

    spec = tf.TensorSpec([None, *core.shape], core.dtype)
    compute: Any = tf.function(core.compute, input_signature=[spec], autograph=False)
    return lambda batch: compute(tf.constant(batch)).numpy()


def open_litert(path: Path) -> Callable[[Any], Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=N_THREADS)
    given, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    shape: list[Any] = [None]

    def run(batch: Any) -> Any:
        if shape[0] != batch.shape:
            interpreter.resize_tensor_input(given, batch.shape)
            interpreter.allocate_tensors()
            shape[0] = batch.shape
        interpreter.set_tensor(given, batch)
        interpreter.invoke()
        return interpreter.get_tensor(answer)

    return run


def open_onnx(path: Path) -> Callable[[Any], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = N_THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def open_engines(artifact: Artifact, model: Any, folder: Path) -> tuple[Core, dict[str, Callable[[Any], Any]], dict]:
    """The network's input, the runtimes by name, and how long each took to open."""
    core = find_core(artifact, model)
    paths = {name: export_artifact(artifact, model, name, folder).path for name in ("litert", "onnx")}
    openers: dict[str, Callable[[], Callable[[Any], Any]]] = {
        "TensorFlow": lambda: open_tensorflow(core),
        "LiteRT": lambda: open_litert(paths["litert"] / "model.tflite"),
        "ONNX Runtime": lambda: open_onnx(paths["onnx"] / "model.onnx"),
    }
    engines, opening = {}, {}
    for name, opener in openers.items():
        if name == "LiteRT" and core.recurs:
            continue  # one at a time
        began = time.perf_counter()
        engines[name] = opener()
        engines[name](np.zeros((1, *core.shape), core.dtype))
        opening[name] = time.perf_counter() - began
    return core, engines, opening


def measure_rate(run: Callable[[Any], Any], batch: Any, seconds: float) -> float:
    """Examples a second, after one call that counts nothing."""
    run(batch)
    n, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        run(batch)
        n += len(batch)
    return n / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    artifact = read_artifact(options.run / "artifact")
    model = artifact.load_model()
    with tempfile.TemporaryDirectory() as folder:
        core, engines, opening = open_engines(artifact, model, Path(folder))
        draw = np.random.default_rng(0)
        rates: dict[str, dict[int, float]] = {name: {} for name in engines}
        for size in options.batches:
            batch = draw.integers(0, 200, (size, *core.shape)).astype(core.dtype)
            for _ in range(options.rounds):
                for name, run in engines.items():
                    rate = measure_rate(run, batch, options.seconds)
                    rates[name][size] = max(rates[name].get(size, 0.0), rate)
    if options.json:
        json.dump({"machine": describe_machine(), "rates": rates, "first_answer_s": opening}, sys.stdout)
        return
    print(
        f"{'examples a second':20}" + "".join(f"{f'batch {size}':>12}" for size in options.batches) + "  first answer"
    )
    for name, found in rates.items():
        row = "".join(f"{found[size]:12,.0f}" for size in options.batches)
        print(f"{name:20}{row}{opening[name]:12.2f} s")


if __name__ == "__main__":
    main()
