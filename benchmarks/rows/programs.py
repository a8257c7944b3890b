"""Rows that are programs of their own: 1 (start), 8 (CSV), 13 (workers), and the reliability table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.bench import FOLDER, Bench, Skipped
from harness.processes import run_json


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


def measure_program(name: str) -> Callable[[Bench], dict[str, Any]]:
    """Of a program that prints JSON, whatever is in it; with `figures` in it, rows of the table."""

    def measure(bench: Bench) -> dict[str, Any]:
        quick = ("--quick",) if bench.is_quick else ()
        return _run(name, "--json", *quick)

    return measure


def describe_program(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    return [tuple(row) for row in measured.get("figures", [])]


def _run(name: str, *options: str) -> dict[str, Any]:
    path: Path = FOLDER / name
    if not path.exists():
        raise Skipped(f"there is no benchmarks/{name} yet")
    return run_json([sys.executable, str(path), *options])
