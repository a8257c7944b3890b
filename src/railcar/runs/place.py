"""Where runs are: a folder of this computer, or an address in a bucket.

Owns which of the two it is, and finding, bringing and deleting runs there. What this computer has of a run in a bucket
is in a folder of the cache, `runs/<bucket>-<hash of the address>/<name>/`, in which a training writes as it does
anywhere; `uploads.py` sends it on. Bringing takes the newer of the two sides, never an older one over a newer:
`.unsent` in the folder says that the bucket may lack what is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from railcar.errors import NotFound, RailcarError, RunError, UsageError
from railcar.runs.index import RunSummary, age_key, choose_name, delete_run, find_run, list_runs, summarize_run
from railcar.runs.run_dir import RunDir
from railcar.storage.address import Address, is_remote, parse
from railcar.storage.local import UNSENT, cache_dir, check_writable, explain_output_errors, remove_folder, write_atomic
from railcar.storage.lock import is_held, share_lock

if TYPE_CHECKING:
    from railcar.runs.lease import Lease

_N_PARALLEL = 16


@dataclass(frozen=True)
class RunsPlace:
    """`folder` is where runs are on this computer; of those at `address` it is what this computer has of them."""

    folder: Path
    address: Address | None = None

    def __str__(self) -> str:
        return str(self.address or self.folder)

    def run(self, name: str) -> RunDir:
        """The run called so, whether there is one or not."""
        return RunDir(self.folder / name, self.address / name if self.address else None)


@dataclass(frozen=True)
class Held:
    """A run that this process alone may train. `lease` is that of a run in a bucket; `warnings` are lines about what
    could not be brought from there."""

    run: RunDir
    lease: Lease | None = None
    warnings: list[str] = field(default_factory=list)


def find_place(runs_dir: str | Path | RunsPlace) -> RunsPlace:
    """What `--runs-dir` stands for. Raises `UsageError` for an address that runs cannot be written to."""
    if isinstance(runs_dir, RunsPlace):
        return runs_dir
    # Path("gs://bucket") has lost a slash.
    text = re.sub(r"^(gs|s3):/+", r"\1://", str(runs_dir))
    if not is_remote(text):
        return RunsPlace(Path(runs_dir))
    address = parse(text)
    if not address.is_bucket:
        raise UsageError(f"{address}: runs cannot be kept there", hint="for example --runs-dir gs://my-bucket/runs")
    address = Address(address.scheme, address.bucket, address.key.strip("/"))
    digest = hashlib.sha256(str(address).encode()).hexdigest()[:16]
    return RunsPlace(cache_dir() / "runs" / f"{address.bucket[:40]}-{digest}", address)


def check_place(place: RunsPlace) -> None:
    """Raise unless runs can be written there: `OutputError` for a folder; `NotFound`, `AccessDenied` or `Unreachable`
    for a bucket, in which a small object is written and deleted."""
    check_writable(place.folder)
    if place.address:
        from railcar.storage import remote

        probe = place.address / f".probe-{secrets.token_hex(4)}"
        remote.write(probe, b"railcar looks whether it may write and delete here")
        remote.delete_object(probe)


def list_runs_at(runs_dir: str | Path | RunsPlace) -> list[RunSummary]:
    """The runs there, oldest first; none when there is no such folder. Of those in a bucket, what the summaries need is
    read, many at a time."""
    place = find_place(runs_dir)
    if place.address is None:
        return list_runs(place.folder)
    with ThreadPoolExecutor(_N_PARALLEL, thread_name_prefix="railcar-list") as pool:
        found = pool.map(summarize_at, map(place.run, _list_names(place)))
        return sorted((one for one in found if one is not None), key=age_key)


def name_run(wanted: str | Path | None, runs_dir: str | Path | RunsPlace) -> RunDir:
    """The run that `wanted` names: its name, a unique prefix of it, its folder or its address; the newest one when
    None. Of a run in a bucket nothing is brought, and it may be one that was deleted in part.

    Raises `NotFound` when there is none and `UsageError` when a prefix fits several.
    """
    place = find_place(runs_dir)
    if wanted is not None and (is_remote(str(wanted)) or re.match(r"(gs|s3):/", str(wanted))):
        whole = find_place(wanted).address
        parent, _, name = whole.key.rpartition("/") if whole else ("", "", "")
        if whole is None or not name:
            raise UsageError(f"{wanted}: names no run", hint="for example gs://my-bucket/runs/NAME")
        place, wanted = find_place(str(Address(whole.scheme, whole.bucket, parent))), name
    if place.address is None:
        return find_run(wanted, place.folder)
    if wanted is None:
        summaries = list_runs_at(place)
        if not summaries:
            raise NotFound(f"{place}: there are no runs yet", hint=f"make one with: railcar train --runs-dir {place}")
        return place.run(summaries[-1].name)
    path = Path(wanted)
    if len(path.parts) > 1 and RunDir(path).is_run():
        return RunDir(path)
    return place.run(choose_name(str(wanted), _list_names(place), str(place)))


def open_run(wanted: str | Path | None, runs_dir: str | Path | RunsPlace, *, checkpoints: bool = False) -> RunDir:
    """As `name_run`, to be read: of a run in a bucket, its files are brought to this computer; its checkpoints only
    when they are asked for."""
    run = name_run(wanted, runs_dir)
    if run.address is None or (is_held(run.lock_path) and run.is_run()):
        return run
    _check_is_run(run, run.address)
    with explain_output_errors(run.path):
        run.path.mkdir(parents=True, exist_ok=True)
        # Nobody can begin to train it here while its files are replaced.
        lock = share_lock(run.lock_path)
        try:
            _bring(run, run.address, checkpoints=checkpoints)
        finally:
            if lock is not None:
                os.close(lock)
    return run


@contextmanager
def take_up(wanted: str | Path | None, runs_dir: str | Path | RunsPlace, *, take_over: bool = False) -> Iterator[Held]:
    """As `open_run`, to go on with it: while entered, no other process trains this run, nor another computer. Raises
    `RunError` when one does; `take_over` says of another computer's that it is dead."""
    run = name_run(wanted, runs_dir)
    if run.address:
        _check_is_run(run, run.address)
        with explain_output_errors(run.path):
            run.path.mkdir(parents=True, exist_ok=True)
    with hold(run, take_over=take_over) as held:
        if run.address:
            held.warnings.extend(_bring(run, run.address, checkpoints=True))
        yield held


@contextmanager
def hold(run: RunDir, *, take_over: bool = False) -> Iterator[Held]:
    """Take the run's lock and, in a bucket, its lease. Raises `RunError`."""
    with run.hold():
        if run.address is None:
            yield Held(run)
            return
        from railcar.runs.lease import hold_lease

        with hold_lease(run.address, take_over=take_over) as lease:
            yield Held(run, lease)


def summarize_at(run: RunDir) -> RunSummary | None:
    """What a listing says of a run, from the newer of the two sides of one in a bucket; None when none is there."""
    if run.address is None:
        return summarize_run(run)
    here = summarize_run(run) if run.is_run() and (is_held(run.lock_path) or run.unsent_path.exists()) else None
    if here and is_held(run.lock_path):
        return replace(here, path=str(run.address))
    there = _summarize_there(run.name, run.address)
    if here and (there is None or _progress_of(here) > _progress_of(there)):
        return replace(here, path=str(run.address))
    return there


def remove_run(run: RunDir, *, force: bool = False) -> None:
    """Delete a run with all its files, what this computer has of it first. In a bucket its manifest goes before the
    rest: what a kill leaves of it is no run, and is deleted by deleting it again. Raises as `delete_run`."""
    if run.address is None:
        delete_run(run, force=force)
        return
    from railcar.storage import remote

    summary = summarize_at(run)
    if not force and summary is not None and summary.state == "running":
        raise RunError(
            f"{run.name}: is running, not deleted", hint="stop it first, or delete it nevertheless with --force"
        )
    if run.path.is_dir():
        remove_folder(run.path)
    remote.delete_object(run.address / "manifest.json")
    remote.delete(run.address)


def measure_run(run: RunDir) -> int:
    """Bytes of all its files; in a bucket, of those that are there."""
    if run.address is None:
        return sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    from railcar.storage import remote

    return sum(entry.size for entry in remote.list_objects(run.address))


def _list_names(place: RunsPlace) -> list[str]:
    """What may be runs: the names right below the address, and the runs that were not sent there yet."""
    from railcar.storage import remote

    there = remote.list_names(place.address) if place.address else []
    here = [path.parent.name for path in place.folder.glob(f"*/{UNSENT}") if RunDir(path.parent).is_run()]
    return sorted({name for name in (*there, *here) if not name.startswith(".")})


def _summarize_there(name: str, address: Address) -> RunSummary | None:
    from railcar.runs.lease import find_holder
    from railcar.storage import remote

    def fetch(file: str) -> bool:
        try:
            write_atomic(folder / file, remote.read(address / file))
        except NotFound:
            return False
        return True

    with tempfile.TemporaryDirectory(prefix="railcar-runs-") as parent:
        folder = Path(parent) / name
        run = RunDir(folder)
        if not fetch("manifest.json"):
            return None
        if not (fetch("evaluation.json") and _is_finished(run)):
            fetch("metrics.jsonl")
        summary = replace(summarize_run(run), path=str(address))
    if summary.state not in ("running", "died"):
        return summary
    holder = find_holder(address)
    if holder is not None and holder.is_live():
        return replace(summary, state="running")
    return replace(summary, state="died", took_s=None)


def _check_is_run(run: RunDir, address: Address) -> None:
    """Raise `NotFound` when there is no run on either side."""
    from railcar.storage import remote

    if run.is_run() and run.unsent_path.exists():
        return
    if remote.stat(address / "manifest.json") is None:
        raise NotFound(f"{address}: no run is there", hint="list runs with: railcar runs list --runs-dir ADDRESS")


def _bring(run: RunDir, address: Address, *, checkpoints: bool) -> list[str]:
    """Make the run's folder as new as either side is. Returns lines about checkpoints that are damaged
    there."""
    from railcar.storage import mirror

    there = mirror.find_newest_step(address)
    here = max(mirror.list_steps(run.path), default=None) if run.is_run() else None
    is_unsent = run.is_run() and run.unsent_path.exists()
    if _rank(here) > _rank(there) or (
        is_unsent and _rank(here) == _rank(there) and not (_is_finished_there(address) and not _is_finished(run))
    ):
        return []
    if is_unsent:  # another computer has gone on since
        _clear(run)
    restored = mirror.restore_run(address, run.path, checkpoints=checkpoints)
    if checkpoints and restored != there:
        return [f"{address}: the checkpoint of step {there} is damaged; going back to the one before"]
    return []


def _clear(run: RunDir) -> None:
    """Remove what is in the folder, the manifest first, but for the lock."""
    with explain_output_errors(run.path):
        run.manifest_path.unlink(missing_ok=True)
        for path in run.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != run.lock_path:
                path.unlink()


def _rank(step: int | None) -> int:
    return -1 if step is None else step


def _progress_of(summary: RunSummary) -> tuple[int, bool]:
    return summary.step or 0, summary.state == "finished"


def _is_finished(run: RunDir) -> bool:
    try:
        return run.read_manifest().get("state") == "finished"
    except RailcarError:
        return False


def _is_finished_there(address: Address) -> bool:
    from railcar.storage import remote

    try:
        return json.loads(remote.read(address / "manifest.json")).get("state") == "finished"
    except (NotFound, ValueError, AttributeError):
        return False
