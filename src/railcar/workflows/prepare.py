"""`railcar data prepare`: read a source into the cache, before a training asks for it; `data pack`: into shards."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from railcar.data.detect import detect_form, locate
from railcar.data.sources.notes import Notes
from railcar.data.sources.shards import pack_folder
from railcar.data.types import Dataset
from railcar.errors import DataError
from railcar.storage.archives import unpack_archive
from railcar.storage.shards import Manifest
from railcar.training.tensorflow import quiet_stderr
from railcar.workflows.data import read_data
from railcar.workflows.inputs import Overrides, resolve_input
from railcar.workflows.look import Look


@dataclass(frozen=True)
class PreparedData:
    """`path` is the folder of the cache, `n_bytes` its size, `seconds` how long it took. `was_there`: it was read
    before, and only opened now."""

    dataset: Dataset
    path: Path
    n_bytes: int
    seconds: float
    was_there: bool


def prepare(
    data: Any = None,
    *,
    overrides: Overrides = (),
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> PreparedData:
    """Prepare `data` (as `train` takes it) in the cache. Raises what `train` raises of its data."""
    given = resolve_input(data, overrides)
    started, began = time.monotonic(), time.time()
    with closing(Look(quiet, verbose, color).reporter()) as reporter, quiet_stderr():
        dataset = read_data(given.recipe, given.arrays, reporter)
    seconds = time.monotonic() - started
    files = [file.stat() for file in dataset.path.rglob("*") if file.is_file()]
    # A folder takes its name when it is whole: files older than this call are those of an earlier one.
    was_there = all(file.st_mtime < began for file in files)
    return PreparedData(dataset, dataset.path, sum(file.st_size for file in files), seconds, was_there)


def pack(
    data: str, destination: str, *, quiet: bool = False, verbose: bool = False, color: bool | None = None
) -> Manifest:
    """Pack the images of `data`, a folder or an archive of one, here or in a bucket, into shards at `destination`, a
    new folder or an address. Raises `DataError` for other data."""
    notes = Notes()
    with closing(Look(quiet, verbose, color).reporter()) as reporter:
        with reporter.reading_bar() as progress:
            path = locate(data, progress)
            form, reason = detect_form(path)
            if form == "archive":
                path = unpack_archive(path, progress=progress)
                form, reason = detect_form(path)
            if form != "folder":
                raise DataError(f"{data}: {reason}; image folders are packed", hint="other data needs no packing")
            manifest = pack_folder(path, destination, notes=notes, progress=progress)
        for line in notes.describe():
            reporter.warn(line)
        return manifest
