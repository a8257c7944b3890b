"""All benchmarks, or some of them: railcar and its peers in turns, results as JSON, and the table in the documentation.

    python benchmarks/run.py --mnist FOLDER --cifar10 FOLDER           everything; takes hours
    python benchmarks/run.py --mnist FOLDER --only rate exactness      some rows
    python benchmarks/run.py --mnist FOLDER --quick                    does everything work? minutes, no figures kept
    python benchmarks/run.py --figures                                 write the table anew from the results

`--mnist` holds the four IDX files, `--cifar10` train/<class>/*.jpg and test/<class>/*.jpg. Peers run in environments
of their own, made below `--env-dir` when they are first needed. Results land in `benchmarks/results/`, one file a
row, and the table of docs/concepts/performance.md is made of them. A row that cannot be measured here is named and
passed over; exit status 1 when one failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.bench import Bench, Skipped
from harness.environments import DEFAULT_DIR
from harness.figures import PAGE, write_figures
from harness.machine import describe_machine
from harness.processes import Failed
from rows import cifar10, exactness, memory, mnist, programs, rate

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Row:
    """`number` is that of the scoreboard."""

    number: str
    measure: Callable[[Bench], dict[str, Any]]
    describe: Callable[[dict[str, Any]], list[tuple[str, ...]]]


ROWS = {
    "startup": Row("1", programs.measure_startup, programs.describe_startup),
    "rate": Row("2", rate.measure, rate.describe),
    "mnist": Row("3, 4", mnist.measure, mnist.describe),
    "cifar10": Row("5", cifar10.measure, cifar10.describe),
    "csv": Row("8", programs.measure_csv, programs.describe_csv),
    "memory": Row("10", memory.measure, memory.describe),
    "workers": Row("13", programs.measure_workers, programs.describe_workers),
    "exactness": Row("14", exactness.measure, exactness.describe),
    "reliability": Row("", programs.measure_reliability, programs.describe_results),
}


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, metavar="FOLDER")
    parser.add_argument("--cifar10", type=Path, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=3, help="of rows that are measured in turns")
    parser.add_argument("--seeds", type=int, default=5, help="of railcar's times to an accuracy")
    parser.add_argument("--peer-seeds", type=int, default=3, help="of the peers'")
    parser.add_argument("--quick", action="store_true", help="a few steps of everything; results are not kept")
    parser.add_argument("--without-peers", action="store_true", help="railcar alone; makes no environments")
    parser.add_argument("--env-dir", type=Path, default=DEFAULT_DIR, metavar="FOLDER")
    parser.add_argument("--scratch", type=Path, metavar="FOLDER", help="for data and runs, emptied at the end (5 GB)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="which has the table between its marks")
    parser.add_argument("--figures", action="store_true", help="write the table from the results, and measure nothing")
    return parser.parse_args()


def measure_rows(names: list[str], bench: Bench, results: Path | None) -> int:
    """How many failed. What was measured is written as soon as its row is done."""
    n_failed, machine = 0, describe_machine()
    for name in names:
        bench.say(f"== {name}")
        try:
            measured = ROWS[name].measure(bench)
        except Skipped as reason:
            bench.say(f"skipped: {reason}")
            continue
        except Failed as error:
            bench.say(f"FAILED: {error}")
            n_failed += 1
            continue
        if results is not None:
            results.mkdir(parents=True, exist_ok=True)
            document = {"row": name, "number": ROWS[name].number, "machine": machine, "measured": measured}
            (results / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
        for line in ROWS[name].describe(measured):
            print(" | ".join(line), flush=True)
    return n_failed


def main() -> int:
    arguments = read_arguments()
    names = arguments.only or list(ROWS)
    if not arguments.figures:
        folders = {name: path for name in ("mnist", "cifar10") if (path := getattr(arguments, name)) is not None}
        if arguments.scratch:
            arguments.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="railcar-benchmarks-", dir=arguments.scratch) as scratch:
            os.environ["RAILCAR_CACHE"] = str(Path(scratch) / "cache")
            bench = Bench(
                Path(scratch),
                folders,
                arguments.env_dir.resolve(),
                n_rounds=1 if arguments.quick else arguments.rounds,
                n_seeds=1 if arguments.quick else arguments.seeds,
                n_peer_seeds=1 if arguments.quick else arguments.peer_seeds,
                is_quick=arguments.quick,
                has_peers=not arguments.without_peers,
            )
            is_kept = not arguments.quick or arguments.results != RESULTS
            n_failed = measure_rows(names, bench, arguments.results if is_kept else None)
        if n_failed:
            return 1
    if not arguments.quick:
        write_figures(arguments.results, {name: row.describe for name, row in ROWS.items()}, arguments.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
