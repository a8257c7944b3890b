"""Rows that are programs of their own: 1 (start), 8 (CSV), 13 (workers), and the reliability table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.bench import FOLDER, Bench, Skipped, spread
from harness.processes import Failed, run_json

# Network and images of a worker: what must be exchanged is the same for few images and for many.
WORKERS = (("tutorial", 128), ("tutorial", 512), ("deep", 128))


def measure_startup(bench: Bench) -> dict[str, Any]:
    rounds = 2 if bench.is_quick else 21
    return _run("startup.py", "--rounds", str(rounds), "--json", "--limit-s", "60")


def describe_startup(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    seconds = dict(measured["median_s"])
    plain = seconds.pop("python -c pass")
    ours = "; ".join(f"`{name}` {value:.3f} s" for name, value in seconds.items())
    return [("start of short commands", ours, f"`python -c pass` {plain:.3f} s", "")]


def measure_csv(bench: Bench) -> dict[str, Any]:
    folder = bench.source("mnist").folder
    return _run("read_csv.py", "--data", str(folder), "--rounds", "1" if bench.is_quick else "5", "--json")


def describe_csv(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    seconds = dict(measured["median_s"])
    ours = seconds.pop("railcar")
    peers = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
    ratio = f"{seconds['pandas'] / ours:.1f} times sooner than pandas" if "pandas" in seconds else ""
    return [(f"MNIST as CSV ({measured['mb']:.0f} MB) to a uint8 array, in turns", f"{ours:.3f} s", peers, ratio)]


def measure_workers(bench: Bench) -> dict[str, Any]:
    """`workers.py` for each of its networks, then its loss curves and kills."""
    quick = ["--quick"] if bench.is_quick else ["--rounds", str(bench.n_rounds)]
    rates = [
        _run("workers.py", "rate", "--network", network, "--batch-size", str(size), "--json", *quick)
        for network, size in WORKERS[: 1 if bench.is_quick else None]
    ]
    curves, kill = (_run("workers.py", what, "--json", *quick) for what in ("curves", "kill"))
    curves.pop("process_s")
    return {"rates": rates, "curves": curves, "kill": kill}


def describe_workers(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    lines = []
    for row in measured["rates"]:
        n = row["workers"]
        what = f"{n} workers of one thread, {row['batch_size']} images each, the {row['network']} network"
        alone = f"one thread alone, {n} times: {n * row['alone_images_per_s']:,.0f} images/s; "
        alone += f"{n} processes apart: {row['control_images_per_s']:,.0f}"
        ratio = f"{row['workers_efficiency']:.0%}; {row['workers_of_control']:.0%}"
        lines.append((what, f"{row['workers_images_per_s']:,.0f} images/s", alone, ratio))
    for name, one in measured["curves"].items():
        words = "; ".join(f"{n} workers {row['largest']:.2g}" for n, row in one["differences"].items())
        fall = f"loss {one['first_loss']:.3f} to {one['last_loss']:.4f}"
        lines.append((f"largest difference from one worker's loss curve, {name}", words, fall, ""))
    kills = measured["kill"]["kills"]
    ended = spread([row["seconds_to_end"] for row in kills], ".1f")
    same = f"{measured['kill']['same']} of {measured['kill']['of']} resumed to the same bits"
    return [*lines, ("one of two workers killed", f"{same}; the other ended after {ended} s", "", "")]


def measure_reliability(bench: Bench) -> dict[str, Any]:
    return _run_to_file(bench, FOLDER / "reliability" / "run.py", ["-m", "benchmarks.reliability"])


def describe_results(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    """`figures` as they are, if there are any; trials as how many of them passed."""
    found = measured["results"]
    if isinstance(found, dict):
        return [tuple(map(str, row)) for row in found.get("figures", [])]
    return [(row["what"], f"{row['passed']} of {row['trials']}; {row['note']}", "", "") for row in found]


def _run_to_file(bench: Bench, path: Path, command: list[str]) -> dict[str, Any]:
    """A program that takes `--json FILE` and `--quick`, and says by its status whether its targets were met. Its own
    lines go to stderr. Raises `Skipped` when `path` is not there, `Failed` when it wrote nothing."""
    if not path.exists():
        raise Skipped(f"there is no benchmarks/{path.relative_to(FOLDER)} yet")
    target = bench.scratch / f"{path.stem}.json"
    quick = ["--quick"] if bench.is_quick else []
    line = [sys.executable, *command, "--json", str(target), *quick]
    status = subprocess.run(line, cwd=FOLDER.parent, stdout=sys.stderr, check=False).returncode
    if not target.exists():
        raise Failed(f"{' '.join(line)} ended with status {status} and wrote no results")
    return {"is_met": status == 0, "results": json.loads(target.read_text())}


def _run(name: str, *options: str) -> dict[str, Any]:
    return run_json([sys.executable, str(FOLDER / name), *options])
