"""Row 5: CIFAR-10. The usual first CNN beside plain Keras, in turns; the best recipe beside airbench94's method."""

from __future__ import annotations

import statistics
from itertools import product
from typing import Any

from harness.bench import Bench, Skipped, ratios, spread
from harness.processes import Failed

TUTORIAL = "cifar10-tutorial"
# What is trained to get there: its name, recipe, what is set on top.
SETTINGS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("to 90%", "cifar10", ("training.epochs=3",)),
    ("as well as it can", "cifar10", ()),
)


def measure(bench: Bench) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    for name, part in (("tutorial", _measure_tutorial), ("best", _measure_best), ("airbench", _measure_airbench)):
        try:
            measured[name] = part(bench)
        except Skipped as reason:
            bench.say(f"cifar10, {name}: skipped, {reason}")
    if not measured:
        raise Skipped("nothing of it can be measured here")
    return measured


def _measure_tutorial(bench: Bench) -> dict[str, Any]:
    short = ("training.steps=4",) if bench.is_quick else ()
    options = ("--epochs", 1, "--limit", 640) if bench.is_quick else ()
    rounds = []
    for number in range(bench.n_rounds):
        run = bench.train(TUTORIAL, "cifar10", f"seed={number}", *short)
        row = {
            "railcar": {
                "seconds": run["process_s"],
                "images_per_s": run["examples_per_s"],
                "accuracy": run["evaluation"]["test"]["accuracy"],
            }
        }
        if bench.has_peers:
            row["keras"] = bench.peer("keras_cifar10", "cifar10", "--seed", number, *options)
        bench.say(f"round {number + 1}: {row}")
        rounds.append(row)
    return {"rounds": rounds, "seconds_preparing": bench.source("cifar10").seconds_preparing}


def _measure_best(bench: Bench) -> dict[str, Any]:
    short = ("training.steps=4", "training.batch_size=64") if bench.is_quick else ()
    found: dict[str, Any] = {}
    for name, recipe, sets in SETTINGS:
        found[name] = []
        for seed in range(bench.n_seeds):
            run = bench.train(recipe, "cifar10", f"seed={seed}", *(short or sets))
            accuracy = run["evaluation"]["test"]["accuracy"]
            row = {"seed": seed, "accuracy": accuracy, "seconds": run["process_s"]}
            found[name].append({**row, "seconds_training": run["seconds_training"]})
            bench.say(f"{name}, seed {seed}: {accuracy:.2%} in {run['process_s']:.0f} s")
    return found


def _measure_airbench(bench: Bench) -> dict[str, Any]:
    """The fastest of its ways on this machine, found in a few steps, then in full."""
    trials = {}
    limit = ("--limit", 2048) if bench.is_quick else ()
    for precision, *compiled in product(("bfloat16", "float32"), ((), ("--compile",))):
        options = ("--precision", precision, *compiled[0])
        try:
            trials[options] = bench.peer("torch_airbench", "cifar10", "--steps", 3 if limit else 8, *limit, *options)
        except Failed as error:  # no compiler
            bench.say(f"airbench {' '.join(options)}: {str(error).splitlines()[-1]}")
            continue
        bench.say(f"airbench {' '.join(options)}: {trials[options]['images_per_s']:,.0f} images/s")
    best = max(trials, key=lambda options: trials[options]["images_per_s"])
    runs = []
    for seed in range(0 if bench.is_quick else bench.n_peer_seeds):
        runs.append(bench.peer("torch_airbench", "cifar10", "--seed", seed, *best))
        bench.say(f"airbench, seed {seed}: {runs[-1]['accuracy']:.2%} in {runs[-1]['seconds']:.0f} s")
    return {"trials": [{"options": " ".join(options), **trial} for options, trial in trials.items()], "runs": runs}


def describe(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    lines = []
    if "tutorial" in measured:
        lines += _describe_tutorial(measured["tutorial"]["rounds"])
    airbench = measured.get("airbench", {}).get("runs", [])
    theirs_s = [run["seconds"] for run in airbench]
    for name, runs in measured.get("best", {}).items():
        seconds, accuracies = [run["seconds"] for run in runs], [run["accuracy"] for run in runs]
        ours = f"{spread(accuracies, '.2%')}, mean {statistics.mean(accuracies):.2%}, in {spread(seconds, '.0f')} s"
        words, ratio = "", ""
        if airbench:
            theirs = [run["accuracy"] for run in airbench]
            words = f"airbench94's method in PyTorch: {spread(theirs, '.2%')} in {spread(theirs_s, '.0f')} s"
            ratio = f"1/{statistics.median(theirs_s) / statistics.median(seconds):.1f}"
        lines.append((f"shell to evaluated model, CIFAR-10 {name}", ours, words, ratio))
    return lines


def _describe_tutorial(rounds: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    lines = []
    for key, what, form, unit in (
        ("seconds", "the usual first CNN for CIFAR-10, 10 epochs, in turns", ".1f", " s"),
        ("images_per_s", "images a second of that", ",.0f", ""),
    ):
        ours = [row["railcar"][key] for row in rounds]
        theirs = [row["keras"][key] for row in rounds if "keras" in row]
        shown = spread(ours, form) + unit
        if key == "seconds":
            shown += f": {spread([row['railcar']['accuracy'] for row in rounds], '.2%')}"
        words, ratio = "", ""
        if theirs:
            words = f"Keras `fit`: {spread(theirs, form)}{unit}"
            if key == "seconds":
                words += f": {spread([row['keras']['accuracy'] for row in rounds], '.2%')}"
            ratio = spread(ratios(*((theirs, ours) if key == "seconds" else (ours, theirs))), ".2f")
        lines.append((what, shown, words, ratio))
    return lines
