"""Following a run that goes on, from outside: its new rows and its state, of this computer or in a bucket.

Owns reading only what is new of a growing metrics.jsonl, and how often a bucket is asked. Trains nothing, prints
nothing, and takes no lock for longer than it takes to ask.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from railcar.errors import DataError, NotFound, Unreachable
from railcar.runs.glimpse import is_number, parse_rows
from railcar.runs.index import RunSummary
from railcar.runs.place import RunsPlace, find_place, list_runs_at, name_run, summarize_at
from railcar.runs.run_dir import RunDir
from railcar.storage.address import Address
from railcar.storage.local import write_atomic
from railcar.storage.lock import is_held

_STATE_EVERY_S = 1.0
_BUCKET_EVERY_S = 10.0


class Tail:
    """The rows of a metrics.jsonl as they come. A line that is not whole yet waits; one that is damaged, or says no
    step, is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = self._step = 0
        self._file_id: tuple[int, int] | None = None

    def read(self) -> list[dict[str, Any]]:
        """The rows since the last time. A file that was replaced is read from its beginning: of one that was copied
        anew the later steps are given, of a run that was taken up again those after its checkpoint."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                file_id = (status.st_dev, status.st_ino)
                is_anew = self._file_id != file_id or status.st_size < self._at
                self._file_id, self._at = file_id, 0 if is_anew else self._at
                file.seek(self._at)
                content = file.read()
        except FileNotFoundError:
            return []
        end = content.rfind(b"\n") + 1
        self._at += end
        rows = list(_parse(content[:end]))
        if is_anew:
            rows, before = [row for row in rows if row["step"] > self._step], rows
            self._step = before[-1]["step"] if before else 0
        elif rows:
            self._step = rows[-1]["step"]
        return rows


class Followed:
    """A run and what is new of it. `run` is a folder of this computer; `address` where the run is, of one in a bucket
    that another computer trains: then what is asked for is fetched into the folder first."""

    def __init__(self, run: RunDir, address: Address | None = None) -> None:
        self.run, self.address = run, address
        self._named = RunDir(run.path, address) if address else run
        self._tail = Tail(run.metrics_path)
        self._asked_s = 0.0
        self._summary: RunSummary | None = None

    @property
    def poll_every_s(self) -> float:
        """How often there can be something new."""
        return _BUCKET_EVERY_S if self.address else 0.25

    def read_rows(self) -> list[dict[str, Any]]:
        """Those since the last time, as `Tail.read`."""
        if self.address:
            _fetch(self.address, self.run.path, "metrics.jsonl")
        return self._tail.read()

    def summary(self) -> RunSummary:
        """Its state and results, about as they are now. Raises `NotFound` when it was deleted meanwhile."""
        every_s = _BUCKET_EVERY_S if self.address else _STATE_EVERY_S
        if self._summary is None or time.monotonic() - self._asked_s >= every_s:
            self._summary = self._ask()
        return self._summary

    @property
    def reference(self) -> str:
        """What a command takes for RUN."""
        return self._named.reference

    def _ask(self) -> RunSummary:
        self._asked_s = time.monotonic()
        if self.address:
            _fetch(self.address, self.run.path, "manifest.json")
        elif not self.run.is_run():
            raise NotFound(f"{self.run.path}: the run is gone", hint="list runs with: railcar runs list")
        try:
            summary = summarize_at(self._named)
        except Unreachable:
            if self._summary is None:
                raise
            return self._summary
        if summary is None:
            raise NotFound(f"{self.address}: the run is gone", hint="list runs with: railcar runs list")
        return summary


@contextmanager
def follow(wanted: str | Path | None, runs_dir: str | Path | RunsPlace) -> Iterator[Followed]:
    """The run that `wanted` names, as `place.name_run` has it; the newest that goes on when None. Raises `NotFound`."""
    run = name_run(wanted, runs_dir) if wanted is not None else _find_running(find_place(runs_dir))
    if run.address is None or (is_held(run.lock_path) and run.is_run()):
        yield Followed(RunDir(run.path))
        return
    with tempfile.TemporaryDirectory(prefix="railcar-watch-") as parent:
        folder = RunDir(Path(parent) / run.name)
        folder.path.mkdir()
        _fetch(run.address, folder.path, "manifest.json", "recipe.yaml")
        yield Followed(folder, run.address)


def _find_running(place: RunsPlace) -> RunDir:
    summaries = list_runs_at(place)
    running = [one for one in summaries if one.state == "running"]
    if running:
        return place.run(running[-1].name)
    if not summaries:
        raise NotFound(f"{place}: there are no runs yet", hint="make one with: railcar train")
    newest = summaries[-1]
    raise NotFound(
        f"{place}: no run is going on; the newest, {newest.name}, is {newest.state}",
        hint=f"see it with: railcar runs watch {newest.name}",
    )


def _fetch(address: Address, folder: Path, *names: str) -> None:
    """What cannot be had is left as it was: a network that is away for a moment ends no watching."""
    from railcar.storage import remote

    for name in names:
        try:
            content = remote.read(address / name, within_s=_BUCKET_EVERY_S)
        except DataError:
            if not (folder / "manifest.json").exists():
                raise
            continue
        path = folder / name
        known = path.read_bytes() if path.is_file() else b""
        if known and content.startswith(known):
            with path.open("ab") as file:
                file.write(content[len(known) :])
        else:
            write_atomic(path, content)


def _parse(content: bytes) -> Iterator[dict[str, Any]]:
    """Rows with a step; of what is no number, there is none."""
    for row in parse_rows(content.splitlines()):
        if is_number(row.get("step")):
            yield {str(key): value if is_number(value) else None for key, value in row.items()}
