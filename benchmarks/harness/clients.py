"""So many clients ask a server for some seconds: by wrk where it is installed, else by `load.py`.

wrk takes a third of the time of the cores that `load.py` does, and the server has the rest. Both look at every answer.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.load import LoadGenerator, Question, build_question

_SCRIPT = Path(__file__).with_name("wrk.lua")
_MAX_THREADS = 8


@dataclass(frozen=True)
class Asked:
    """What is asked: path, type and body of a POST, and the label of its right answer."""

    path: str
    content_type: str
    body: bytes
    label: str

    def build(self) -> Question:
        return build_question(self.path, self.body, self.content_type, self.label)


@dataclass(frozen=True)
class Measured:
    """Rates count right answers only; `n_wrong` another label, `n_failed` another status, a reset, or no answer."""

    rate: float
    p50_ms: float
    p99_ms: float
    n_right: int
    n_wrong: int
    n_failed: int


def find_generator(wanted: str | None = None) -> str:
    """ "wrk" or "python"."""
    return wanted or ("wrk" if shutil.which("wrk") else "python")


def measure(port: int, asked: Sequence[Asked], clients: int, seconds: float, generator: str, turn: int = 0) -> Measured:
    """`clients` that each wait for their answer before they ask again; connections are kept."""
    if generator == "wrk":
        return _measure_by_wrk(port, asked, clients, seconds, turn)
    load = LoadGenerator(port, [one.build() for one in asked]).run(seconds, clients=clients)
    n_right = len(load.right())
    n_wrong = sum(one.status == 200 and not one.is_right for one in load.answers)
    p50, p99 = (1e3 * load.percentile(share) for share in (0.5, 0.99))
    return Measured(n_right / load.seconds, p50, p99, n_right, n_wrong, len(load.answers) - n_right - n_wrong)


def _measure_by_wrk(port: int, asked: Sequence[Asked], clients: int, seconds: float, turn: int) -> Measured:
    """Each of its threads asks for one label; `turn` says which the first one does."""
    groups: dict[str, list[Asked]] = {}
    for one in asked:
        groups.setdefault(one.label, []).append(one)
    n_threads = next(n for n in range(min(clients, len(groups), _MAX_THREADS), 0, -1) if clients % n == 0)
    with tempfile.TemporaryDirectory() as folder:
        for number, (label, members) in enumerate(groups.items()):
            Path(folder, f"{number}.label").write_text(label)
            for index, one in enumerate(members):
                Path(folder, f"{number}-{index}.http").write_bytes(one.build().request)
        command = ["wrk", f"-t{n_threads}", f"-c{clients}", f"-d{math.ceil(seconds)}s", "--timeout", "30s"]
        command += ["-s", str(_SCRIPT), f"http://127.0.0.1:{port}", "--", folder, str(len(groups)), str(turn)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    n_failed = found["n_refused"] + found["n_broken"]
    rate = found["n_right"] / found["seconds"]
    return Measured(rate, found["p50_ms"], found["p99_ms"], found["n_right"], found["n_wrong"], n_failed)
