"""One network over several seeds: mean accuracy on the test side with its standard error, and the time of training.

    python benchmarks/seeds.py RECIPE_OR_DATA [--data FOLDER] [--seeds 5] [--set KEY=VALUE]...

Each seed is a process of its own, one after the other, with a cache that all share.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.machine import describe_machine
from harness.processes import railcar_command, run_json


def train(options: argparse.Namespace, seed: int, scratch: Path) -> dict[str, float]:
    settings = [f"seed={seed}", *options.settings]
    if options.data:
        settings.append(f"data.source={options.data}")
    words = [word for setting in settings for word in ("--set", setting)]
    command = railcar_command("train", options.what, *words, "--runs-dir", str(scratch / "runs"), "--json", "--quiet")
    environment = {"RAILCAR_CACHE": str(scratch / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = run_json(command, environment=environment)
    accuracy = found["evaluation"]["test"]["accuracy"]
    return {"accuracy": accuracy, "training_s": found["seconds_training"], "process_s": found["process_s"]}


def summarize(found: list[dict[str, float]]) -> dict[str, Any]:
    accuracies = [one["accuracy"] for one in found]
    error = statistics.stdev(accuracies) / math.sqrt(len(found)) if len(found) > 1 else 0.0
    times = {key: statistics.median(one[key] for one in found) for key in ("training_s", "process_s")}
    return {"accuracies": accuracies, "mean": statistics.mean(accuracies), "error": error, **times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", help="what `railcar train` takes")
    parser.add_argument("--data", help="the recipe's data, where that is another place")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--scratch", type=Path, help="where the cache and the runs lie meanwhile")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        result = summarize([train(options, seed, Path(name)) for seed in range(options.seeds)])
    if options.json:
        json.dump({"machine": describe_machine(), "what": options.what, **result}, sys.stdout)
        return
    times = f"training {result['training_s']:.1f} s, process {result['process_s']:.1f} s"
    print(f"{options.what}: {result['mean']:.2%} ± {result['error']:.2%} over {options.seeds} seeds; {times}")


if __name__ == "__main__":
    main()
