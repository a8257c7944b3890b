"""Rows 3 and 4: from the shell to an evaluated model of 98.0, 99.0 and 99.5% on MNIST's test images, over seeds."""

from __future__ import annotations

import statistics
from typing import Any

from harness.bench import Bench, Skipped, spread

# What is trained to get there: target accuracy, recipe, what is set on top.
SETTINGS: tuple[tuple[float, str, tuple[str, ...]], ...] = (
    (0.98, "mnist", ("training.steps=20",)),
    (0.99, "mnist", ("training.steps=50",)),
    (0.995, "mnist", ("training.steps=200",)),
)
EXAMPLES = {"Keras' example": "keras_mnist", "PyTorch's example": "torch_mnist"}
N_EPOCHS = 20


def measure(bench: Bench) -> dict[str, Any]:
    short = ("training.steps=4", "training.validate_every=4") if bench.is_quick else ()
    ours: dict[str, list[dict[str, Any]]] = {}
    for target, recipe, sets in SETTINGS:
        rows = ours[f"{target:.1%}"] = []
        for seed in range(bench.n_seeds):
            run = bench.train(recipe, "mnist", f"seed={seed}", *(short or sets))
            accuracy = run["evaluation"]["test"]["accuracy"]
            rows.append({"seed": seed, "accuracy": accuracy, "seconds": run["process_s"]})
            bench.say(f"{target:.1%}, seed {seed}: {accuracy:.2%} in {run['process_s']:.1f} s")
    whole = bench.train("mnist-tutorial", "mnist", *short)
    tutorial = {"accuracy": whole["evaluation"]["test"]["accuracy"], "seconds": whole["process_s"]}
    bench.say(f"mnist-tutorial to its end: {tutorial['accuracy']:.2%} in {tutorial['seconds']:.0f} s")
    return {"railcar": ours, "mnist-tutorial": tutorial, "peers": _measure_peers(bench)}


def _measure_peers(bench: Bench) -> dict[str, list[dict[str, Any]]]:
    if not bench.has_peers:
        return {}
    steps = ("--steps", 4, "--every", 2) if bench.is_quick else ()
    peers = {"the tutorial": [bench.peer("keras_tutorial_graph", "mnist", *steps)]}
    epochs = ("--epochs", 1, "--limit", 640) if bench.is_quick else ("--epochs", N_EPOCHS, "--stop-at", 0.995)
    for name, program in EXAMPLES.items():
        peers[name] = []
        for seed in range(bench.n_peer_seeds):
            try:
                peers[name].append(bench.peer(program, "mnist", "--seed", seed, *epochs))
            except Skipped:
                break
            last = peers[name][-1]
            bench.say(f"{name}, seed {seed}: {last['accuracy']:.2%} after {last['epochs']} epochs")
    return peers


def describe(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    lines = []
    for target, _, _ in SETTINGS:
        rows = measured["railcar"][f"{target:.1%}"]
        ours_s = [row["seconds"] for row in rows]
        accuracies = [row["accuracy"] for row in rows]
        n_there = sum(accuracy >= target for accuracy in accuracies)
        ours = f"{spread(ours_s, '.1f')} s: {spread(accuracies, '.2%')}; {n_there} of {len(rows)} seeds there"
        names = ["the tutorial"] if target <= 0.98 else list(EXAMPLES)
        peers = {name: _time_to(target, measured["peers"].get(name, [])) for name in names}
        known = {name: found for name, found in peers.items() if found}
        best = min((statistics.median(seconds) for _, seconds in known.values()), default=None)
        words = "; ".join(f"{name}: {text}" for name, (text, _) in known.items())
        ratio = f"1/{best / statistics.median(ours_s):.1f}" if best else ""
        lines.append((f"shell to evaluated model, {target:.1%} on MNIST", ours, words, ratio))
    return [*lines, _describe_tutorial(measured)]


def _describe_tutorial(measured: dict[str, Any]) -> tuple[str, ...]:
    ours, words, ratio = measured["mnist-tutorial"], "", ""
    if "the tutorial" in measured["peers"]:
        theirs = measured["peers"]["the tutorial"][0]
        words = f"{theirs['accuracy']:.2%} in {theirs['seconds']:.0f} s"
        ratio = f"1/{theirs['seconds'] / ours['seconds']:.1f}"
    return "the tutorial to its end", f"{ours['accuracy']:.2%} in {ours['seconds']:.0f} s", words, ratio


def _time_to(target: float, runs: list[dict[str, Any]]) -> tuple[str, list[float]] | None:
    """Seconds of each run to its first look at or above `target`, all of its seconds when it never got there."""
    if not runs:
        return None
    seconds, n_there = [], 0
    for run in runs:
        there = next((point["seconds"] for point in run["history"] if point["accuracy"] >= target), None)
        n_there += there is not None
        seconds.append(run["history"][-1]["seconds"] if there is None else there)
    missed = "" if n_there == len(runs) else f", {len(runs) - n_there} of {len(runs)} not there at their end"
    return f"{spread(seconds, '.0f')} s{missed}", seconds
