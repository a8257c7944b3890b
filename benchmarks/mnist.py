"""MNIST, whole process: railcar's recipes against the tutorial's graph code and plain Keras, in one run.

    python benchmarks/mnist.py --data FOLDER accuracy [--seeds 5] [--peer-steps 10000]
    python benchmarks/mnist.py --data FOLDER rate [--rounds 3]
    python benchmarks/mnist.py --data FOLDER tutorial

`accuracy`: time from the shell to an evaluated model, and test accuracy over seeds, of `mnist` and of a longer setting,
beside the tutorial's 10,000 iterations. `rate`: images a second of `mnist-tutorial` and of Keras' `fit`, in turns.
`tutorial`: `mnist-tutorial` to its end. FOLDER holds the four IDX files. Each command is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent / "peers"
LONGER = ("training.epochs=8", "training.validate_every=epoch", "training.checkpoint_every=epoch")


def run_json(command: list[str]) -> dict[str, Any]:
    """Run to the end; the last line of stdout (or all of it) is JSON. Adds `process_s`."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    text = done.stdout.strip()
    document = json.loads(text if text.startswith("{\n") else text.splitlines()[-1])
    return {**document, "process_s": seconds}


def train(recipe: str, data: Path, runs: str, *sets: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "railcar", "train", recipe, "--set", f"data.source={data}"]
    for one in sets:
        command += ["--set", one]
    return run_json([*command, "--runs-dir", runs, "--json", "--quiet"])


def run_peer(name: str, data: Path, steps: int) -> dict[str, Any]:
    return run_json([sys.executable, str(PEERS / f"{name}.py"), "--data", str(data), "--steps", str(steps)])


def describe(values: list[float], form: str) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def compare_accuracy(data: Path, runs: str, n_seeds: int, peer_steps: int) -> None:
    settings = {"mnist": (), f"mnist, {LONGER[0]}": LONGER}
    times: dict[str, list[float]] = {}
    for name, sets in settings.items():
        rows = [train("mnist", data, runs, f"seed={seed}", *sets) for seed in range(n_seeds)]
        times[name] = [row["process_s"] for row in rows]
        accuracies = [row["evaluation"]["test"]["accuracy"] for row in rows]
        training = [row["seconds_training"] for row in rows]
        print(f"{name}: test accuracy {describe(accuracies, '.2%')}, mean {statistics.mean(accuracies):.3%}")
        print(f"  whole process {describe(times[name], '.1f')} s, training {describe(training, '.1f')} s", flush=True)
    if not peer_steps:
        return
    peer = run_peer("tutorial_graph", data, peer_steps)
    print(
        f"tutorial, {peer_steps} iterations: {peer['accuracy']:.2%}, {peer['seconds']:.0f} s, "
        f"{peer['images_per_s']:.0f} images/s"
    )
    for point in peer["history"]:
        print(f"  {point['step']:>6} iterations  {point['seconds']:>7.1f} s  {point['accuracy']:.2%}")
    for name, seconds in times.items():
        print(f"{name}: whole process 1/{peer['seconds'] / statistics.median(seconds):.1f} of the tutorial's")


def compare_rates(data: Path, runs: str, n_rounds: int) -> None:
    ours, theirs = [], []
    for number in range(n_rounds):
        sets = ("training.steps=300", "training.log_every=50", "training.validate_every=300")
        ours.append(train("mnist-tutorial", data, runs, *sets)["examples_per_s"])
        theirs.append(run_peer("keras_fit", data, 300)["images_per_s"])
        print(f"round {number + 1}: railcar {ours[-1]:,.0f}, Keras fit {theirs[-1]:,.0f} images/s", flush=True)
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    print(f"railcar / Keras fit: {describe(ratios, '.2f')}")


def follow_tutorial(data: Path, runs: str) -> None:
    row = train("mnist-tutorial", data, runs)
    test = row["evaluation"]["test"]
    print(f"mnist-tutorial: {test['accuracy']:.2%} on {test['n']:,} test images after 10,000 steps")
    print(
        f"  {row['examples_per_s']:,.0f} images/s, training {row['seconds_training']:.0f} s, "
        f"process {row['process_s']:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("what", choices=["accuracy", "rate", "tutorial"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peer-steps", type=int, default=10_000, help="0: without the tutorial's run")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    data = arguments.data.resolve()
    with tempfile.TemporaryDirectory() as runs:
        if arguments.what == "accuracy":
            compare_accuracy(data, runs, arguments.seeds, arguments.peer_steps)
        elif arguments.what == "rate":
            compare_rates(data, runs, arguments.rounds)
        else:
            follow_tutorial(data, runs)


if __name__ == "__main__":
    main()
