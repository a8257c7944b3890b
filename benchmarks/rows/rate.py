"""Row 2: images a second of the tutorial's CNN, beside Keras' `fit` and PyTorch, and the share of the ceiling."""

from __future__ import annotations

import statistics
from typing import Any

from harness.bench import Bench, Skipped, ratios, spread
from harness.processes import railcar_command, run_json

RECIPE = "mnist-tutorial"
PEERS = {
    "Keras `fit`, its defaults": ("keras_tutorial",),
    "PyTorch float32": ("torch_tutorial", "--precision", "float32"),
    "PyTorch bfloat16": ("torch_tutorial", "--precision", "bfloat16"),
}


def measure(bench: Bench) -> dict[str, Any]:
    steps, every = (6, 2) if bench.is_quick else (600, 50)
    sets = (f"training.steps={steps}", f"training.log_every={every}", f"training.validate_every={steps}")
    rounds = []
    for number in range(bench.n_rounds):
        ours = bench.train(RECIPE, "mnist", *sets)
        seconds = "0.1" if bench.is_quick else "2"
        ceiling = run_json(railcar_command("bench", RECIPE, "--seconds", seconds, "--json", "--quiet"))["recipes"][0]
        row = {"railcar": ours["examples_per_s"], "ceiling": ceiling, "peers": {}}
        row["share"] = ours["examples_per_s"] * ceiling["mflop"] / 1e3 / ceiling["ceiling_gflops"]
        for name, (program, *options) in PEERS.items():
            try:
                row["peers"][name] = bench.peer(program, "mnist", "--steps", 4 if bench.is_quick else 300, *options)
            except Skipped:
                continue
        rates = {name: peer["images_per_s"] for name, peer in row["peers"].items()}
        bench.say(f"round {number + 1}: railcar {row['railcar']:,.0f} ({row['share']:.0%} of the ceiling), {rates}")
        rounds.append(row)
    return {"rounds": rounds}


def describe(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    rounds = measured["rounds"]
    ours = [row["railcar"] for row in rounds]
    what = "images a second of the tutorial's CNN, in turns"
    lines = []
    for name in rounds[0]["peers"]:
        peers = [row["peers"][name] for row in rounds]
        theirs = [peer["images_per_s"] for peer in peers]
        way = f" ({statistics.mode(peer['best'] for peer in peers)})" if "best" in peers[0] else ""
        ratio = spread(ratios(ours, theirs), ".2f")
        lines.append((what, spread(ours, ",.0f"), f"{name}{way}: {spread(theirs, ',.0f')}", ratio))
    ceilings = [row["ceiling"] for row in rounds]
    words = f"the best of its operations in {ceilings[0]['precision']}, "
    words += f"{spread([one['ceiling_gflops'] for one in ceilings], ',.0f')} GFLOP/s"
    gflops = [row["railcar"] * row["ceiling"]["mflop"] / 1e3 for row in rounds]
    share = spread([row["share"] for row in rounds], ".0%")
    return [*lines, ("useful GFLOP/s of that, and its share of the ceiling", spread(gflops, ",.0f"), words, share)]
