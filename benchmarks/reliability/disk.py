"""Rows 4 and 5: the disk fills while a training saves; the newest checkpoint is damaged."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.reliability import subject
from benchmarks.reliability.children import train
from benchmarks.reliability.kills import train_whole
from benchmarks.reliability.run import Outcome

from railcar.runs.checkpoint import checkpoint_name, find_newest, list_steps
from railcar.runs.run_dir import RunDir

_MEGABYTE = 2**20


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """A disk of `size` bytes at `folder` while entered. False where this system lets us make none."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "railcar", str(folder)], capture_output=True, check=False
    )
    try:
        yield made.returncode == 0
    finally:
        if made.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def measure_full_disk(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 4: the disk is full at some checkpoint. The error names it and the way on, an older checkpoint loads, and
    with more room the run ends as one that never stopped. Where no disk can be mounted (not root), a limit on the size
    of files stands in for it."""
    trials, failures = trials or 20, []
    recipe = subject.write_recipe(folder, keep_checkpoints=1000)
    whole = train_whole(folder, recipe)
    need = sum(path.stat().st_size for path in whole.run.checkpoints.rglob("*") if path.is_file())
    how = ""
    for trial in range(trials):
        size = int(need * chance.uniform(0.3, 1.0))
        with small_disk(folder / "disk", size) as is_mounted:
            how = "a small disk" if is_mounted else "a limit on the size of files"
            problem = _fill_and_go_on(folder, recipe, whole.run, is_mounted, chance)
        if problem:
            failures.append(f"trial {trial}, {size // 1024} KiB: {problem}")
    return Outcome(trials - len(failures), trials, f"by {how}", failures)


def _fill_and_go_on(folder: Path, recipe: Path, whole: RunDir, is_mounted: bool, chance: random.Random) -> str | None:
    runs_dir = folder / "disk" / "runs"
    shutil.rmtree(runs_dir, ignore_errors=True)
    child = train([str(recipe), "--runs-dir", str(runs_dir)], folder / "log")
    if not is_mounted:
        _limit_files(child.pid, runs_dir, chance)
    status, said = child.wait(), child.said()
    run = subject.find_only_run(runs_dir)
    if run is None or status != 1:
        return f"exit {status}: {said}"
    if "free" not in said and "ulimit" not in said:
        return f"the mend is not named: {said}"
    if f"railcar train --resume={run.name}" not in said:
        return f"the way on is not named: {said}"
    newest, damaged = find_newest(run.checkpoints)
    if newest is None or damaged:
        return f"no older checkpoint loads: {damaged}"
    if run.state() == "running":
        return "it is listed as running"
    if is_mounted:
        subprocess.run(["mount", "-o", f"remount,size={64 * _MEGABYTE}", str(folder / "disk")], check=True)
    again = train(["--resume", "--runs-dir", str(runs_dir)], folder / "log")
    return subject.compare_runs(whole, run) if again.wait() == 0 else f"resumed: {again.said()}"


def _limit_files(pid: int, runs_dir: Path, chance: random.Random) -> None:
    """Once there is a checkpoint, let no file grow beyond a size that no checkpoint stays under."""
    n_checkpoints = chance.randint(1, 10)
    while True:
        run = subject.find_only_run(runs_dir)
        if run is not None and len(list_steps(run.checkpoints)) >= n_checkpoints:
            break
        time.sleep(0.002)
    with suppress(ProcessLookupError):
        limit = chance.randint(0, 8192)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def measure_damage(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 5: bytes changed, files cut short and deleted, in fifty places of the newest checkpoint."""
    trials, failures = trials or 50, []
    recipe = subject.write_recipe(folder)
    whole = train_whole(folder, recipe).run
    newest = checkpoint_name(whole.read_manifest()["step"])
    places = _list_places(whole.checkpoints / newest)
    assert len(places) == 50
    for place in places if trials == 50 else chance.sample(places, trials):
        runs_dir = folder / "runs"
        shutil.rmtree(runs_dir, ignore_errors=True)
        run = RunDir(shutil.copytree(whole.path, runs_dir / whole.name))
        run.write_manifest({**run.read_manifest(), "state": "running"})
        _damage(run.checkpoints / newest, *place)
        child = train(["--resume", "--runs-dir", str(runs_dir)], folder / "log")
        status, said = child.wait(), child.said()
        problem = f"exit {status}: {said}" if status else subject.compare_runs(whole, run)
        if not problem and not (newest in said and "going back to the one before" in said):
            problem = "it did not say so"
        if problem:
            failures.append(f"{place}: {problem}")
    return Outcome(trials - len(failures), trials, "the resumed run ends with the same bits", failures)


def _list_places(checkpoint: Path) -> list[tuple[str, str, float]]:
    """(what is done, the file, where in it from 0 to 1)."""
    places = [("change", "variables.npz", index / 23) for index in range(24)]
    places += [("change", name, index / 7) for name in ("state.json", "checksums.json") for index in range(8)]
    for name in ("variables.npz", "state.json", "checksums.json"):
        places += [("cut", name, 0.0), ("cut", name, 0.5), ("delete", name, 0.0)]
    return [*places, ("delete", "", 0.0)]


def _damage(checkpoint: Path, how: str, name: str, where: float) -> None:
    path = checkpoint / name
    if how == "delete":
        if name:
            path.unlink()
            return
        for one in checkpoint.iterdir():  # the folder stays, empty
            one.unlink()
        return
    content = bytearray(path.read_bytes())
    at = min(int(where * len(content)), len(content) - 1)
    if how == "cut":
        os.truncate(path, at)
        return
    content[at] ^= 0xFF
    path.write_bytes(content)
