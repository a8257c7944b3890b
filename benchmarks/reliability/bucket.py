"""Row 8b: a training with its run in a bucket is told to end. A real server of Google's storage, 40 ms away."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.reliability.children import start_railcar
from benchmarks.reliability.kills import LIMIT_S, SIGTERM_WORDS, await_run
from benchmarks.reliability.run import Outcome

from railcar.errors import NotFound
from railcar.runs.checkpoint import find_newest
from railcar.runs.place import find_place
from railcar.runs.run_dir import RunDir
from railcar.storage.address import Address
from railcar.storage.mirror import restore_run

_BUCKET = "railcar-reliability"
_LATENCY_S = 0.04


@contextmanager
def storage() -> Iterator[str]:
    """The address of a bucket that this process and its children find."""
    sys.path.insert(0, str(Path(__file__).parents[2]))  # tests/ is no package that is installed
    from tests.proxy import run_proxy
    from tests.servers import make_google_bucket, run_google_storage

    with run_google_storage() as endpoint, run_proxy(endpoint) as proxy:
        make_google_bucket(endpoint, _BUCKET)
        proxy.faults.latency_s = _LATENCY_S
        before = os.environ.get("STORAGE_EMULATOR_HOST")
        os.environ["STORAGE_EMULATOR_HOST"] = proxy.url
        try:
            yield f"gs://{_BUCKET}"
        finally:
            del os.environ["STORAGE_EMULATOR_HOST"]
            if before is not None:
                os.environ["STORAGE_EMULATOR_HOST"] = before


def measure_sigterm(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """From the signal to the end of the process: what it had trained is then in the bucket, whole, and it says so. Of a
    run that was stopped before it was sent there is nothing to lose, and the way on is told all the same."""
    trials, failures, times, n_steps = trials or 20, [], [], []
    with storage() as bucket:
        for trial in range(trials):
            place = find_place(f"{bucket}/trial-{trial}")
            child = start_railcar(["train", *SIGTERM_WORDS, "--runs-dir", str(place)], folder / "log")
            run, moment = place.run(await_run(child, place.folder).name), chance.uniform(0, 8)
            time.sleep(moment)
            sent = time.monotonic()
            child.kill(signal.SIGTERM)
            status = child.wait()
            times.append(time.monotonic() - sent)
            n_done = run.read_manifest()["step"]
            n_steps.append(n_done)
            shutil.rmtree(place.folder)
            assert run.address is not None
            n_there = _count_steps(run.address, folder / "restored")
            is_told = f"railcar train --resume={run.reference}" in child.said()
            if (status, n_there) != (143, n_done) or not is_told or times[-1] > LIMIT_S:
                what = f"exit {status}, step {n_done}, {n_there} in the bucket, {times[-1]:.1f} s"
                failures.append(f"trial {trial}, after {moment:.2f} s: {what}; {child.said()[-300:]}")
    middle = sorted(times)[len(times) // 2]
    note = f"median {middle:.2f} s, longest {max(times):.2f} s; after {min(n_steps)} to {max(n_steps)} steps"
    return Outcome(trials - len(failures), trials, note, failures)


def _count_steps(address: Address, restored: Path) -> int:
    """How far the run is that another computer would find."""
    shutil.rmtree(restored, ignore_errors=True)
    try:
        restore_run(address, restored)
    except NotFound:
        return 0
    newest, damaged = find_newest(RunDir(restored).checkpoints)
    assert not damaged, damaged
    return newest.step if newest else 0
