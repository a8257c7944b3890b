"""One network over several seeds: mean accuracy on the test side with its standard error, and the time of training.

    python benchmarks/seeds.py RECIPE_OR_DATA [--data FOLDER] [--seeds 5] [--set KEY=VALUE]... [--time 5m]
    python benchmarks/seeds.py FOLDER --time 5m --autokeras 300

Each seed is a process of its own, one after the other, with a cache that all share. A long series that was cut off goes
on with `--kept FILE`, where each result is written as it comes, as a line of JSON; seeds that are there are left out.
`kept/` has such files, of machine C of docs/concepts/performance.md (seed 0 of cifar10 with other programs beside it).
With `--autokeras` the same is done by AutoKeras, for so many seconds a seed: FOLDER has train/ and test/ with a folder
of images for each class.
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

from harness.environments import DEFAULT_DIR, find_python
from harness.machine import describe_machine
from harness.processes import railcar_command, run_json


def train(options: argparse.Namespace, seed: int, scratch: Path) -> dict[str, float]:
    settings = [f"seed={seed}", *options.settings]
    if options.data:
        settings.append(f"data.source={options.data}")
    words = [word for setting in settings for word in ("--set", setting)]
    words += ["--time", options.time] if options.time else []
    command = railcar_command("train", options.what, *words, "--runs-dir", str(scratch / "runs"), "--json", "--quiet")
    environment = {"RAILCAR_CACHE": str(scratch / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = run_json(command, environment=environment)
    accuracy = found["evaluation"]["test"]["accuracy"]
    return {"accuracy": accuracy, "training_s": found["seconds_training"], "process_s": found["process_s"]}


def train_all(options: argparse.Namespace) -> list[dict[str, float]]:
    """A result for each seed, in order."""
    found: dict[int, dict[str, float]] = {}
    if options.kept and options.kept.is_file():
        found = {row.pop("seed"): row for row in map(json.loads, options.kept.read_text().splitlines())}
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        for seed in [one for one in range(options.seeds) if one not in found]:
            found[seed] = train(options, seed, Path(name))
            if options.kept:
                with options.kept.open("a") as file:
                    print(json.dumps({"seed": seed, **found[seed]}), file=file)
    return [found[seed] for seed in range(options.seeds)]


def train_autokeras(options: argparse.Namespace, seed: int) -> dict[str, float]:
    python, program = find_python("autokeras", options.env_dir), Path(__file__).parent / "peers" / "autokeras_search.py"
    sides = [str(Path(options.what) / side) for side in ("train", "test")]
    words = ["--seconds", str(options.autokeras), "--size", str(options.size), "--seed", str(seed)]
    found = run_json([str(python), str(program), *sides, *words], environment={"TF_CPP_MIN_LOG_LEVEL": "3"})
    return {"accuracy": found["accuracy"], "training_s": found["search_s"], "process_s": found["process_s"]}


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
    parser.add_argument("--time", help="how long a training may take: --time of `railcar train`")
    parser.add_argument("--autokeras", type=float, metavar="SECONDS", help="by AutoKeras, too, for so long")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images, for AutoKeras")
    parser.add_argument("--env-dir", type=Path, default=DEFAULT_DIR)
    parser.add_argument("--scratch", type=Path, help="where the cache and the runs lie meanwhile")
    parser.add_argument("--kept", type=Path, metavar="FILE", help="results as they come, to go on from")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {"railcar": summarize(train_all(options))}
    if options.autokeras:
        results["autokeras"] = summarize([train_autokeras(options, seed) for seed in range(options.seeds)])
    if options.json:
        json.dump({"machine": describe_machine(), "what": options.what, **results}, sys.stdout)
        return
    for name, result in results.items():
        times = f"training {result['training_s']:.1f} s, process {result['process_s']:.1f} s"
        print(f"{name}: {result['mean']:.2%} ± {result['error']:.2%} over {options.seeds} seeds; {times}")


if __name__ == "__main__":
    main()
