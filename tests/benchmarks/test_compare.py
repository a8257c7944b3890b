"""`benchmarks/compare.py` of verdicts that are kept: nothing is trained again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def run(project: Path, kept: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "benchmarks" / "compare.py"), "--pairs", "20", "--kept", str(kept)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


def test_kept_verdicts_are_counted_and_too_many_differences_are_a_failure(project: Path, tmp_path: Path):
    def keep(n_different: int) -> Path:
        told = {"accuracies": [0.9, 0.92], "n": 2000, "n_only_one": 9, "n_only_other": 25, "p": 0.04}
        names = [*(f"pair {at}" for at in range(20)), "longer"]
        rows = [
            {"name": name, **told, "is_real": at < n_different or name == "longer"} for at, name in enumerate(names)
        ]
        path = tmp_path / f"{n_different}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    few = run(project, keep(3))
    assert few.returncode == 0, few.stderr
    assert few.stdout.splitlines() == [
        "20 pairs of seeds of mnist-tutorial at 1,000 steps: 3 called different",
        "1,000 and 10,000 steps: 90.00% and 92.00%, 9:25 of 2,000, p 0.04: different",
    ]
    assert run(project, keep(4)).returncode == 1
