"""Several worker processes on this computer that train one model: speed, loss curves, and a killed worker.

    python benchmarks/workers.py rate [--network tutorial|deep] [--workers 2] [--batch-size 128] [--rounds 3]
    python benchmarks/workers.py curves [--counts 1 2 4]
    python benchmarks/workers.py kill [--times 5]
    all with [--data FOLDER|mnist-sample] [--precision auto|float32|bfloat16] [--quick] [--json]

`rate`: images a second of N workers of one thread each, against N times one such process alone; beside it the control,
N such processes at once that have nothing to do with each other, which is what the computer allows. Each worker takes
`--batch-size` images a step, as the process alone does; `shared` is the same with one process' batch split among them.
In turns, best of the rounds. `curves`: the largest difference between the loss curves of one and of several workers.
`kill`: worker 1 is killed at a random step; seconds until the command has ended, and whether the resumed run ends with
the same bits as one that was left alone. Each training is a `railcar train` of its own.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
NETWORKS: dict[str, dict[str, Any]] = {
    # The tutorial's: 3.3 million parameters, nearly all in one dense layer, so heavy on what workers must exchange.
    "tutorial": {"filters": [32, 64], "kernel_size": 5, "dense": [1024], "dropout": 0.5},
    # 640,000 parameters and four times the arithmetic.
    "deep": {"filters": [64, 128, 128], "kernel_size": 5, "batch_norm": True, "initializer": "he_normal"},
}
PLAIN = {
    "mnist recipe's network, without dropout and batch normalisation": {"filters": [16, 32, 64], "kernel_size": 3},
    "tutorial's network, without dropout": {"filters": [32, 64], "kernel_size": 5, "dense": [1024]},
}


def make_recipe(data: str, model: dict[str, Any], **training: Any) -> dict[str, Any]:
    quiet = {"tensorboard": False, "best": "last", "validate_every": 10**6, "checkpoint_every": 10**6}
    node = {**quiet, "log_every": 1, "optimizer": {"name": "adam", "learning_rate": 1e-3}, **training}
    return {
        "name": "bench",
        "data": {"source": data, "validation": 500},
        "model": {"name": "cnn", **model},
        "training": node,
    }


class Training:
    """One `railcar train` as a process of its own, with a runs folder of its own."""

    def __init__(
        self, recipe: dict[str, Any], folder: Path, *words: str, threads: dict[str, str] | None = None
    ) -> None:
        self.runs = Path(tempfile.mkdtemp(dir=folder))
        path = self.runs / "recipe.yaml"
        path.write_text(json.dumps(recipe))
        self._start([str(path), *words], threads or {})

    def _start(self, words: list[str], threads: dict[str, str]) -> None:
        command = [sys.executable, "-m", "railcar", "train", *words, "--runs-dir", str(self.runs), "--quiet"]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, env={**os.environ, **threads}, text=True, **pipes)  # type: ignore[call-overload]

    def resume(self, *words: str) -> Training:
        self._start(["--resume", *words], {})
        return self.finish()

    def finish(self) -> Training:
        _, err = self.process.communicate()
        if self.process.returncode:
            sys.exit(f"railcar train ended with status {self.process.returncode}:\n{err[-2000:]}")
        return self

    @property
    def run(self) -> Path:
        return next(self.runs.glob("bench-*"))

    def rows(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in (self.run / "metrics.jsonl").read_text().splitlines(keepends=False)]
        except (StopIteration, FileNotFoundError, ValueError):
            return []

    def losses(self) -> np.ndarray:
        return np.array([row["loss"] for row in self.rows()])

    def rate(self) -> float:
        """Images a second, the median of the second half: by then calls have found their length."""
        rates = [row["examples_per_s"] for row in self.rows()]
        return statistics.median(rates[len(rates) // 2 :])

    def variables(self) -> dict[str, np.ndarray]:
        newest = max((self.run / "checkpoints").glob("step-*"))
        with np.load(newest / "variables.npz") as stored:
            return dict(stored)

    def precision(self) -> str:
        return json.loads((self.run / "decisions.json").read_text())["training.precision"]["value"]


def measure_rates(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    n, batch_size = given.workers, given.batch_size
    n_steps, precision = 20 if given.quick else 150, given.precision
    found: dict[str, list[float]] = {"alone": [], "control": [], "workers": [], "shared": []}
    for _ in range(1 if given.quick else given.rounds):

        def start(batch_size: int, *words: str, precision: str = precision) -> Training:
            training = {"batch_size": batch_size, "steps": n_steps, "precision": precision, "log_every": 5}
            recipe = make_recipe(given.data, NETWORKS[given.network], **training)
            return Training(recipe, folder, *words, threads=ONE_THREAD)

        alone = start(batch_size).finish()
        if precision == "auto":  # what the first one chose is for all
            precision = alone.precision()
            start = functools.partial(start, precision=precision)
        found["alone"].append(alone.rate())
        found["control"].append(sum(one.finish().rate() for one in [start(batch_size) for _ in range(n)]))
        found["workers"].append(start(batch_size * n, "--workers", str(n)).finish().rate())
        if batch_size % n == 0:
            found["shared"].append(start(batch_size, "--workers", str(n)).finish().rate())
    best = {name: max(rates) for name, rates in found.items() if rates}
    shares = {f"{name}_efficiency": rate / (n * best["alone"]) for name, rate in best.items() if name != "alone"}
    shares["workers_of_control"] = best["workers"] / best["control"]
    about = {"network": given.network, "workers": n, "batch_size": batch_size, "precision": precision}
    return {**about, **{f"{name}_images_per_s": rate for name, rate in best.items()}, **shares, "all": found}


def compare_curves(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    result = {}
    for name, model in PLAIN.items():
        training = {"batch_size": 128, "steps": 30 if given.quick else 300, "precision": "float32"}
        recipe = make_recipe(given.data, model, **training)
        curves = {n: Training(recipe, folder, "--workers", str(n)).finish().losses() for n in given.counts}
        first = curves[given.counts[0]]
        result[name] = {
            "first_loss": float(first[0]),
            "last_loss": float(first[-10:].mean()),
            "differences": {
                n: {
                    "largest": float(np.abs(curve - first).max()),
                    "largest_in_100_steps": float(np.abs(curve - first)[:100].max()),
                    "largest_of_means_of_20": float(np.abs(_smooth(curve) - _smooth(first)).max()),
                }
                for n, curve in curves.items()
                if n != given.counts[0]
            },
        }
    return result


def _smooth(curve: np.ndarray) -> np.ndarray:
    return np.convolve(curve, np.full(20, 1 / 20), mode="valid")


def kill_and_resume(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    n_steps = 200
    model = {"filters": [16, 32], "kernel_size": 3, "batch_norm": True, "dropout": 0.3}
    training = {"batch_size": 32, "steps": n_steps, "checkpoint_every": 25, "steps_per_call": 5}
    recipe = make_recipe(given.data, model, **training)
    whole = Training(recipe, folder, "--workers", "2").finish()
    rows = []
    for seed in range(1 if given.quick else given.times):
        victim = random.Random(seed).choice((0, 1))
        at = random.Random(seed + 1000).randrange(30, n_steps - 20)
        cut = Training(recipe, folder, "--workers", "2")
        while cut.process.poll() is None and (not (rows_now := cut.rows()) or rows_now[-1]["step"] < at):
            time.sleep(0.01)
        os.kill(find_worker(cut.process.pid, victim), signal.SIGKILL)
        killed = time.perf_counter()
        _, err = cut.process.communicate()
        seconds, status = time.perf_counter() - killed, cut.process.returncode
        said = re.search(r"worker \d.* was killed by SIGKILL.*", err)
        cut.resume("--workers", "2")
        expected, values = whole.variables(), cut.variables()
        is_same = expected.keys() == values.keys() and all(np.array_equal(values[key], expected[key]) for key in values)
        row = {"victim": victim, "step": at, "seconds_to_end": seconds, "status": status, "said": said and said[0]}
        rows.append({**row, "same_bits_after_resume": is_same})
    return {"kills": rows, "same": sum(row["same_bits_after_resume"] for row in rows), "of": len(rows)}


def find_worker(parent: int, index: int) -> int:
    """The process of a worker, a child of `parent` (Linux)."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_text().split("\0")
            found = (path / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if found == str(parent) and words[-2] == str(index):
            return int(path.name)
    sys.exit(f"worker {index} is not there")


def show(what: str, result: dict[str, Any]) -> None:
    if what == "rate":
        n = result["workers"]
        print(f"{result['network']}, {n} workers, {result['batch_size']} images each, {result['precision']}")
        print(f"  one thread alone     {result['alone_images_per_s']:>8,.0f} images/s")
        for name, words in (("control", "processes apart"), ("workers", "workers"), ("shared", "workers, one batch")):
            if f"{name}_efficiency" in result:
                rate, share = result[f"{name}_images_per_s"], result[f"{name}_efficiency"]
                print(f"  {f'{n} {words}':<20} {rate:>8,.0f} images/s, {share:.1%} of {n} times that")
        print(f"  workers against processes apart: {result['workers_of_control']:.1%}")
    elif what == "curves":
        for name, one in result.items():
            print(f"{name}: loss {one['first_loss']:.3f} to {one['last_loss']:.4f}")
            for n, difference in one["differences"].items():
                words = ", ".join(f"{key.replace('_', ' ')} {value:.2g}" for key, value in difference.items())
                print(f"  {n} workers: {words}")
    else:
        for row in result["kills"]:
            same = "the same bits" if row["same_bits_after_resume"] else "OTHER BITS"
            print(f"step {row['step']}: {row['said']}; ended after {row['seconds_to_end']:.1f} s; resumed: {same}")
        print(f"{result['same']} of {result['of']} the same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rate", "curves", "kill"])
    parser.add_argument("--network", choices=NETWORKS, default="tutorial")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--data", default="mnist-sample")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    measure = {"rate": measure_rates, "curves": compare_curves, "kill": kill_and_resume}[given.what]
    with tempfile.TemporaryDirectory() as folder:
        result = measure(given, Path(folder))
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        show(given.what, result)


if __name__ == "__main__":
    main()
