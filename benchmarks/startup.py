"""How long short commands take from the shell: medians, in turns with `python -c pass`.

    python benchmarks/startup.py [--rounds 21] [--limit-s 0.25]

Exit status 1 when a median is above the limit. `runs list` is measured on an empty folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FAULTY_RECIPE = "training:\n  batchsize: 128\n"


def measure(commands: dict[str, list[str]], n_rounds: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of each round of each command, taken in turns so that a busy moment meets all of them alike."""
    environment = {**os.environ, "RAILCAR_RUNS": str(folder / "runs")}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(n_rounds):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
            seconds[name].append(time.perf_counter() - began)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description="Start-up times of short commands.")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--limit-s", type=float, default=0.25)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    railcar = str(Path(sys.executable).with_name("railcar"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "railcar --help": [railcar, "--help"],
        "railcar runs list": [railcar, "runs", "list"],
        "railcar recipe check (a fault)": [railcar, "recipe", "check", "faulty.yaml"],
        "railcar train (a recipe's fault)": [railcar, "train", "faulty.yaml"],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "faulty.yaml").write_text(FAULTY_RECIPE)
        seconds = measure(commands, options.rounds, folder)
    if options.json:
        print(json.dumps({"median_s": {command: statistics.median(times) for command, times in seconds.items()}}))
        return 0
    print(f"{'command':34} {'median':>8} {'fastest':>8}")
    for command, times in seconds.items():
        print(f"{command:34} {statistics.median(times):6.3f} s {min(times):6.3f} s")
    slow = [command for command, times in seconds.items() if statistics.median(times) > options.limit_s]
    for command in slow:
        print(f"error: {command} takes more than {options.limit_s} s", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
