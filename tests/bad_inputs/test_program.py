"""`python -m tests.bad_inputs`: the commands as processes, and one table of what came."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.bad_inputs.__main__ import HEAD, Came, count, format_line
from tests.bad_inputs.table import ROWS

WIDTH = 80


def test_two_rows_are_made_tried_and_counted(project: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bad_inputs", "--rows", "31,56", "--json", str(tmp_path / "came.json")]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120, check=False)
    lines = done.stdout.splitlines()

    assert done.returncode == 0, done.stdout + done.stderr
    assert lines[0] == HEAD
    assert [line.split()[0] for line in lines[1:3]] == ["31", "56"]
    assert "train as expected         2 of 2" in lines and "tracebacks                0 of 4 outputs" in lines
    assert [one["train"] for one in json.loads((tmp_path / "came.json").read_text())] == ["R", "R"]


def test_every_line_fits_into_80_columns_and_marks_what_is_not_as_expected() -> None:
    met = [Came(row.number, row.what, row.outcome, row.expected_check, row.outcome, "R", True, False) for row in ROWS]
    wrong = Came(31, "x" * 33, "R", "R", "exit 2", "OK", False, True)

    assert max(len(line) for line in [HEAD, *map(format_line, met), format_line(wrong)]) <= WIDTH + 2
    assert format_line(wrong).endswith("YES !")
    assert "not made on this system" in count([Came(67, "a disk", "stop", "OK", "-", "-", False, False)])[-1]
