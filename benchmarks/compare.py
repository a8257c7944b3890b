"""Does `runs compare` tell luck from a difference? Pairs of seeds of one recipe, which are equally good, and a short
and a long training, which are not.

    python benchmarks/compare.py [RECIPE] [--data FOLDER] [--pairs 20] [--steps 1000] [--longer 10000] [--kept FILE]
    python benchmarks/compare.py mnist --steps 150 --longer 0

Of the pairs of seeds about one in twenty is called different by luck, since that is what a level of 5% means. (Where a
training is stopped early, seeds are further apart than that: the models differ, though the recipe is one.) The long
training is to be called better than the short one. The test side must be the source's own: one that is drawn is another
for each seed. Each training is a process of its own. A series that was cut off goes on with `--kept FILE`, where the
verdict on each pair is written as it comes, as a line of JSON; `--longer 0` leaves the long training out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.machine import describe_machine
from harness.processes import railcar_command, run_json

MOST_DIFFERENT = 3
"""Of twenty pairs of seeds: more are seen in one series of seventy."""


def train(options: argparse.Namespace, seed: int, n_steps: int, scratch: Path) -> dict[str, Any]:
    """What `railcar train --json` prints."""
    settings = [f"seed={seed}", f"training.steps={n_steps}", "training.tensorboard=false", *options.settings]
    if options.data:
        settings.append(f"data.source={options.data}")
    words = [word for setting in settings for word in ("--set", setting)]
    command = railcar_command("train", options.what, *words, "--runs-dir", str(scratch / "runs"), "--json", "--quiet")
    return run_json(command, environment=_environment(scratch))


def _environment(scratch: Path) -> dict[str, str]:
    return {"RAILCAR_CACHE": str(scratch / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}


def compare(options: argparse.Namespace, trainings: list[tuple[int, int]], scratch: Path) -> dict[str, Any]:
    """The verdict on two trainings, (seed, steps) each."""
    runs = [train(options, *one, scratch) for one in trainings]
    paths = [str(scratch / "runs" / run["run"]) for run in runs]
    found = run_json(railcar_command("runs", "compare", *paths, "--json"), environment=_environment(scratch))
    [pair] = found["pairs"]
    if "p" not in pair:
        raise SystemExit(f"cannot be compared: {pair['reason']}")
    accuracies = [run["evaluation"]["test"]["accuracy"] for run in runs]
    seeds, steps = zip(*trainings, strict=True)
    told = {key: pair[key] for key in ("n", "n_only_one", "n_only_other", "p", "is_real")}
    return {"seeds": seeds, "steps": steps, "accuracies": accuracies, **told}


def compare_all(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The verdict on each pair, by name: "pair 0" and so on, and "longer"."""
    wanted = {f"pair {k}": [(2 * k, options.steps), (2 * k + 1, options.steps)] for k in range(options.pairs)}
    if options.longer:
        wanted["longer"] = [(0, options.steps), (0, options.longer)]
    found: dict[str, dict[str, Any]] = {}
    if options.kept and options.kept.is_file():
        found = {row.pop("name"): row for row in map(json.loads, options.kept.read_text().splitlines())}
    for name in [one for one in wanted if one not in found]:
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            found[name] = compare(options, wanted[name], Path(folder))
        print(f"{name}: {describe(found[name])}", file=sys.stderr)
        if options.kept:
            with options.kept.open("a") as file:
                print(json.dumps({"name": name, **found[name]}), file=file)
    return {name: found[name] for name in wanted}


def describe(one: dict[str, Any]) -> str:
    first, second = one["accuracies"]
    verdict = "different" if one["is_real"] else "no difference seen"
    counts = f"{one['n_only_one']}:{one['n_only_other']} of {one['n']:,}"
    return f"{first:.2%} and {second:.2%}, {counts}, p {one['p']:.2g}: {verdict}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="mnist-tutorial", help="what `railcar train` takes")
    parser.add_argument("--data", help="the recipe's data, where that is another place")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--longer", type=int, default=10_000, help="steps of the long training; 0: none")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--scratch", type=Path, help="where the cache and the runs lie meanwhile")
    parser.add_argument("--kept", type=Path, metavar="FILE", help="verdicts as they come, to go on from")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = compare_all(options)
    pairs = [one for name, one in found.items() if name != "longer"]
    n_different = sum(one["is_real"] for one in pairs)
    if options.json:
        json.dump(
            {"machine": describe_machine(), "what": options.what, "n_different": n_different, **found}, sys.stdout
        )
    else:
        print(
            f"{len(pairs)} pairs of seeds of {options.what} at {options.steps:,} steps: {n_different} called different"
        )
        if "longer" in found:
            print(f"{options.steps:,} and {options.longer:,} steps: {describe(found['longer'])}")
    if n_different > max(MOST_DIFFERENT * len(pairs) / 20, 1) or not found.get("longer", {"is_real": True})["is_real"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
