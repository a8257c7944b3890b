"""Row 14: what checkpoints, metrics and TensorBoard cost: a training with all of them and with none, in turns."""

from __future__ import annotations

import statistics
from typing import Any

from harness.bench import Bench, spread

# Recipe and steps.
RECIPES = {"mnist-tutorial": 1000, "mnist": 400}


def measure(bench: Bench) -> dict[str, Any]:
    """`seconds` are those of the training with all that is recorded while it goes on; both validate equally often."""
    found: dict[str, list[dict[str, Any]]] = {}
    for recipe in list(RECIPES)[: 1 if bench.is_quick else None]:
        found[recipe] = _measure_recipe(bench, recipe, 6 if bench.is_quick else RECIPES[recipe])
    return {"recipes": found}


def _measure_recipe(bench: Bench, recipe: str, steps: int) -> list[dict[str, Any]]:
    every, log = steps // 2, max(steps // 100, 1)
    common = (f"training.steps={steps}", "training.best=last", f"training.validate_every={every}")
    settings = {
        "on": (f"training.checkpoint_every={every}", "training.tensorboard=true", f"training.log_every={log}"),
        "off": (f"training.checkpoint_every={steps}", "training.tensorboard=false", f"training.log_every={steps}"),
    }
    rounds = []
    for number in range(bench.n_rounds):
        # who comes first changes from round to round, so that a drift of the machine meets both alike
        names = list(settings) if number % 2 else list(reversed(settings))
        row: dict[str, Any] = {"steps": steps, "every": every, "log_every": log}
        for name in names:
            run = bench.train(recipe, "mnist", *common, *settings[name])
            row[name] = {"seconds": run["seconds_training"], "images_per_s": run["examples_per_s"]}
        bench.say(f"{recipe}, round {number + 1}: {row}")
        rounds.append(row)
    return rounds


def describe(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    lines = []
    for recipe, rounds in measured["recipes"].items():
        costs = [row["on"]["seconds"] / row["off"]["seconds"] - 1 for row in rounds]
        seconds = {name: spread([row[name]["seconds"] for row in rounds], ".1f") for name in ("on", "off")}
        first = rounds[0]
        recorded = f"a checkpoint and TensorBoard's histograms every {first['every']}, metrics every "
        what = f"{first['steps']:,} steps of `{recipe}` with {recorded}{first['log_every']}"
        lines.append((what, f"{seconds['on']} s", f"without: {seconds['off']} s", f"{statistics.median(costs):+.1%}"))
    return lines
