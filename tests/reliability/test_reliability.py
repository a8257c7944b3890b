"""The reliability benchmarks in their short form: a few trials of each row, all in one process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills and traces by Linux' own means")


# The short form of 9b, which waits for a minute, is among the tests of jobs. Those of 17 to
# 20 and 22 are among the tests of the server.
ROWS = [*"12345678", "8b", *map(str, range(9, 17)), "21", "21b", "23"]


@pytest.fixture(scope="module")
def results(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each row of the table came to."""
    path = tmp_path_factory.mktemp("reliability") / "results.json"
    command = [sys.executable, "-m", "benchmarks.reliability", "--quick", "--rows", ",".join(ROWS), "--json", str(path)]
    done = subprocess.run(command, cwd=project, env=os.environ, capture_output=True, text=True, check=False)
    assert path.is_file(), done.stdout + done.stderr
    return {row["row"]: row for row in json.loads(path.read_text())}


@pytest.mark.parametrize("number", ROWS)
def test_every_trial_of_a_row_passes(results: dict[str, dict[str, Any]], number: str):
    row = results[number]
    assert row["passed"] == row["trials"] > 0, row["failures"]
