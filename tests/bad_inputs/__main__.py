"""Gives every bad input to the two commands, as processes of their own, and prints what came of it.

    python -m tests.bad_inputs [--rows 1,2] [--json FILE]

From a checkout. A line for each input: what was expected, what `railcar train DATA` and `railcar data check DATA` came
to (R refused, S skipped, W accepted and said, OK read, stop), whether both named the file or the line, and whether a
traceback was seen. Where a machine gives out and the data is sound, the check says OK. The exit status is 1 when
anything is not as expected. Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bad_inputs.commands import Said, check_words, run_apart, train_words
from tests.bad_inputs.promises import Outcome
from tests.bad_inputs.row import Row, Trial, Unavailable, pattern_of, squeeze
from tests.bad_inputs.table import ROWS


@dataclass(frozen=True)
class Came:
    """What came of one row; `train` and `check` are outcomes, "-" where this system cannot make the input."""

    row: int
    what: str
    expected: Outcome
    expected_check: Outcome
    train: str
    check: str
    named: bool
    traceback: bool

    @property
    def is_made(self) -> bool:
        return self.train != "-"

    @property
    def is_met(self) -> bool:
        is_right = (self.train, self.check) == (self.expected, self.expected_check)
        return not self.is_made or (is_right and self.named and not self.traceback)


def try_row(row: Row, folder: Path) -> Came:
    """Make the input of `row` below `folder` and run both commands on it."""
    try:
        with row.trial(folder) as trial:
            train = run_apart(train_words(row, trial), trial, folder)
            check = run_apart(check_words(row, trial), trial, folder)
            named = is_named(row, trial, train) and (row.expected_check == "OK" or is_named(row, trial, check))
            found = classify(row, trial, train), classify(row, trial, check)
    except Unavailable as error:
        print(f"row {row.number}: {error}", file=sys.stderr)
        return Came(row.number, row.what, row.outcome, row.expected_check, "-", "-", False, False)
    has_traceback = "Traceback" in train.all + check.all
    return Came(row.number, row.what, row.outcome, row.expected_check, *found, named, has_traceback)


def is_named(row: Row, trial: Trial, said: Said) -> bool:
    return pattern_of(squeeze(row.named), trial).search(squeeze(said.all)) is not None


def classify(row: Row, trial: Trial, said: Said) -> str:
    """The outcome, by the exit status and by what is said of what is named."""
    if said.status:
        is_clean = said.status == 1 and ("error: " in said.err or "\nerror " in said.out)
        way_on = "goon" in squeeze(said.all) or "goeson" in squeeze(said.all)
        return f"exit {said.status}" if not is_clean else "stop" if way_on else "R"
    if not row.named or not is_named(row, trial, said):
        return "OK"
    return "S" if "skipped" in said.all else "W"


HEAD = f"{'row':>3}  {'what':<33}  {'expected':<8}  {'train':<5}  {'check':<5}  {'named':<5}  traceback"


def format_line(came: Came) -> str:
    named = "-" if not came.is_made else "yes" if came.named else "NO"
    traceback = "YES" if came.traceback else "no"
    line = f"{came.row:>3}  {came.what:<33}  {came.expected:<8}  {came.train:<5}  {came.check:<5}  {named:<5}  "
    return f"{line}{traceback}{'' if came.is_met else ' !'}"


def count(results: Sequence[Came]) -> list[str]:
    """The totals."""
    made = [one for one in results if one.is_made]
    n = len(made)
    lines = [
        f"{n} inputs of {len({one.row for one in made})} rows",
        f"train as expected      {sum(one.train == one.expected for one in made):>4} of {n}",
        f"check as expected      {sum(one.check == one.expected_check for one in made):>4} of {n}",
        f"file or line named     {sum(one.named for one in made):>4} of {n}",
        f"tracebacks             {sum(one.traceback for one in made):>4} of {2 * n} outputs",
    ]
    return lines if n == len(results) else [*lines, f"not made on this system {len(results) - n:>3}"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bad_inputs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default="", help="which rows, such as 1,31")
    parser.add_argument("--json", type=Path, help="also write the results into this file")
    options = parser.parse_args()
    wanted = {int(number) for number in options.rows.split(",") if number}
    results = []
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="railcar-bad-inputs-") as folder:
        os.environ["RAILCAR_CACHE"] = f"{folder}/cache"
        for index, row in enumerate(row for row in ROWS if not wanted or row.number in wanted):
            own = Path(folder) / str(index)
            own.mkdir()
            results.append(try_row(row, own))
            print(format_line(results[-1]), flush=True)
    print("\n".join(["", *count(results)]))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in results], indent=1) + "\n")
    return 0 if all(one.is_met for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
