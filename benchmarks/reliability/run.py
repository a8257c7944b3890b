"""The driver: runs the rows of the reliability table, prints one line each, exits 1 when a target is missed.

    python -m benchmarks.reliability [--rows 1,2] [--quick] [--seed N] [--json FILE]

Rows 1 and 4 to 8 train in processes of their own that run the command line's `main`; they are forked from this one,
which has imported TensorFlow and not started it (rows 8 and 8b start `python -m railcar` anew each time). Rows 9 to 16
are of rented machines, and need root. Rows 17 to 23 ask a server of `railcar serve`. Linux only.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """What came of one row. `passed` of `trials` did; `note` is one line of figures; `failures` say what went wrong."""

    passed: int
    trials: int
    note: str = ""
    failures: list[str] = field(default_factory=list)

    @property
    def is_met(self) -> bool:
        return self.passed == self.trials > 0


@dataclass(frozen=True)
class Row:
    """`trials` and `quick_trials` are how many are run; a row with None decides by itself."""

    number: str
    what: str
    measure: Callable[[Path, int | None, random.Random], Outcome]
    trials: int | None
    quick_trials: int | None


def build_rows() -> list[Row]:
    from benchmarks.reliability import (
        access,
        bucket,
        disk,
        hostile,
        kills,
        machines,
        saves,
        serving,
        serving_abuse,
        serving_bombs,
    )

    return [
        Row("1", "kill -9 in training, resumed: the same bits", kills.measure_weights, 200, 2),
        Row("2", "kill at every file-system call of a save", saves.measure_every_call, None, None),
        Row("3", "kill -9 while saving back to back", saves.measure_random_kills, 200, 2),
        Row("4", "disk full during a save: the old one loads", disk.measure_full_disk, 20, 1),
        Row("5", "newest checkpoint damaged: falls back, says so", disk.measure_damage, 50, 2),
        Row("6", "steps and learning rates after a resume", kills.measure_steps, 20, 1),
        Row("7", "best score, patience, history after a resume", kills.measure_memory, 20, 1),
        Row("8", "SIGTERM to a saved checkpoint, 20 s at most", kills.measure_sigterm, 20, 1),
        Row("8b", "the same, with its run in a bucket", bucket.measure_sigterm, 20, 1),
        Row("9", "client killed around every API call", machines.measure_killed_clients, None, 2),
        Row("9b", "network lost for 60 s: goes on, comes home", machines.measure_lost_network, 5, 1),
        Row("10", "create's answer lost, repeated: one machine", machines.measure_lost_answers, 20, 1),
        Row("11", "ending fails: never called gone", machines.measure_failing_ends, 20, 1),
        Row("12", "nobody there: gone by its deadline", machines.measure_deadlines, 20, 1),
        Row("13", "others' machines touched by a clean-up", machines.measure_foreign_machines, 20, 1),
        Row("14", "requests that carry an end", machines.measure_ends, 60, 3),
        Row("15", "another host key: refused, nothing sent", machines.measure_wrong_keys, 20, 1),
        Row("16", "planted secrets on a machine or in a log", machines.measure_secrets, 20, 1),
        Row("17", "asked 4 times too much: refuses soon, recovers", serving.measure_overload, 3, 1),
        Row("18", "SIGTERM under load: accepted requests lost", serving.measure_sigterm, 50, 1),
        Row("19", "100 reloads under load, bad ones among them", serving.measure_reloads, 100, 2),
        Row("20", "300 slow sockets closed within 30 s", serving.measure_slow_sockets, 300, 30),
        Row("21", "fuzzed requests of all protocols: 5xx", serving_abuse.measure_nonsense, 10_000, 200),
        Row("21b", "fuzzed image files: crashes", serving_abuse.measure_broken_images, 100_000, 1000),
        Row("22", "bombs: memory at most 1 GiB", serving_bombs.measure_bombs, None, 4),
        Row("23", "Host, Origin, token: wrongly let in", access.measure_access, None, 100),
        # Last: it starts TensorFlow in this process, from which no training can be forked then.
        Row("24", "hostile model files: nothing touched outside", hostile.measure, None, 6),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__.splitlines()[0])
    every = ",".join(row.number for row in build_rows())
    parser.add_argument("--rows", default=every, help="which rows, such as 1,4")
    parser.add_argument("--quick", action="store_true", help="a few trials of each")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and places")
    parser.add_argument("--json", type=Path, help="also write the results into this file")
    options = parser.parse_args()
    if sys.platform != "linux":
        parser.error("needs Linux: processes are forked, traced and killed by its means")
    wanted = options.rows.split(",")
    results = []
    print(f"{'row':<5}{'what':<48}{'passed':>9}{'target':>9}{'time':>9}  figures", flush=True)
    for row in (row for row in build_rows() if row.number in wanted):
        started = time.monotonic()
        trials = row.quick_trials if options.quick else row.trials
        with tempfile.TemporaryDirectory(prefix="railcar-reliability-") as folder:
            try:
                outcome = row.measure(Path(folder), trials, random.Random(f"{options.seed}/{row.number}"))
            except Exception as error:  # the other rows are measured all the same
                outcome = Outcome(0, trials or 1, failures=[f"{type(error).__name__}: {error}"])
        seconds = time.monotonic() - started
        passed, target = f"{outcome.passed}/{outcome.trials}", f"{outcome.trials}/{outcome.trials}"
        print(f"{row.number:<5}{row.what:<48}{passed:>9}{target:>9}{seconds:>7.0f} s  {outcome.note}", flush=True)
        for failure in outcome.failures:
            print(f"       failed: {failure}", flush=True)
        results.append({"row": row.number, "what": row.what, "seconds": round(seconds, 1), **asdict(outcome)})
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    is_met = all(result["passed"] == result["trials"] > 0 for result in results)
    print("all targets are met" if is_met else "a target was MISSED", flush=True)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
