"""`railcar data check`: read the data as a training would, look at all of it, and go on past what training refuses.

Owns what is passed over to see the rest, and where examples are: the file of an image, the line of a row.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.detect import detect_form, locate
from railcar.data.doctor import examine, refuse
from railcar.data.findings import Diagnosis
from railcar.data.sources.csv import find_csv_sides
from railcar.data.sources.folder import list_image_files
from railcar.data.sources.notes import is_utf8, show_name
from railcar.data.sources.rows import skip_unlabelled
from railcar.data.types import Dataset
from railcar.errors import DataError, NotFound
from railcar.recipe.schema import Data, Recipe
from railcar.storage.archives import is_archive, unpack_archive
from railcar.storage.fetch import heard_by
from railcar.storage.images import decode_content, read_header, read_image_file
from railcar.storage.rows import SUFFIXES, Rows, read_rows
from railcar.training.progress import Reporter
from railcar.training.tensorflow import quiet_stderr
from railcar.workflows.data import read_data
from railcar.workflows.inputs import Arrays, Overrides, resolve_input
from railcar.workflows.look import Look

# What lets a training go on past a refusal whose hint names it.
_RELAXED: dict[str, Any] = {"max_bad": 1.0, "allow_leakage": True}
_MAX_HEADERS = 2000
_HEADER_BYTES = 1 << 16
_MAX_BAD = 500


@dataclass(frozen=True)
class Checked:
    """`dataset` is None where nothing could be read."""

    diagnosis: Diagnosis
    dataset: Dataset | None


def check(
    data: Any = None,
    *,
    overrides: Overrides = (),
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> Checked:
    """What is wrong with `data` (as `train` takes it). Data that training refuses gives an error among the findings;
    what can be seen beside it is told, too. Raises `NotFound` where there is no such data, and `UsageError`."""
    given = resolve_input(data, overrides)
    recipe = given.recipe
    source = recipe.data.source
    with closing(Look(quiet, verbose, color).reporter()) as reporter, quiet_stderr(), heard_by(reporter.say):
        dataset, refusals = _read_past_refusals(recipe, given.arrays, reporter)
        if dataset is None:
            return Checked(Diagnosis(source, findings=tuple(refuse(error) for error in refusals)), None)
        with reporter.working("looking at the data"):
            root = None if given.arrays else _find_image_folder(recipe.data, dataset)
            # Equal pixels in files that differ are leakage, too, but training goes by the files.
            is_refused = any(map(_is_leakage, refusals))
            diagnosis = examine(
                dataset,
                name_example=None if given.arrays else _Places(recipe, dataset).name,
                allow_leakage=not is_refused,
                refusals=[error for error in refusals if not _is_leakage(error)],
                sizes=_measure_files(root, dataset) if root else None,
                bad_files=_find_bad_files(root, dataset) if root else None,
            )
    return Checked(diagnosis, dataset)


def _read_past_refusals(
    recipe: Recipe, arrays: Arrays | None, reporter: Reporter
) -> tuple[Dataset | None, list[DataError]]:
    """The data, with as much relaxed as the refusals themselves name as a way on, and these refusals; None where none
    of them does."""
    refusals: list[DataError] = []
    node = recipe.data
    while True:
        try:
            dataset = read_data(recipe.model_copy(update={"data": node}), arrays, reporter)
        except NotFound:
            raise
        except DataError as error:
            refusals.append(error)
            key = next((key for key in _RELAXED if f"data.{key}" in error.hint), None)
            if key is None or getattr(node, key) == _RELAXED[key]:
                return None, refusals
            node = node.model_copy(update={key: _RELAXED[key]})
            continue
        return dataset, refusals


def _is_leakage(error: DataError) -> bool:
    """Whether training refuses an image on two sides: a finding of its own, with all pairs."""
    return "data.allow_leakage" in error.hint


class _Places:
    """Where examples are: images and texts of folders by their files, rows by file and line, others by their ids.

    A file of rows is read again when the first of its rows is to be named.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        self._dataset = dataset
        self._data = recipe.data
        self._rows: dict[Path, Rows] = {}

    def name(self, split: str, index: int) -> str:
        one = self._dataset.splits[split]
        file = self._find_file(split) if isinstance(one.ids, str) and one.raw is not None else None
        if file is None:
            return one.id_of(index)
        if file not in self._rows:
            # the rows that were skipped count as little here
            sides, _ = skip_unlabelled({"train": read_rows(file)}, self._dataset.label)
            self._rows[file] = sides["train"]
        return self._rows[file].place(int(one.rows[index])).removeprefix(f"{file.parent}/")

    def _find_file(self, split: str) -> Path | None:
        """The file of rows that the split was read from."""
        one = self._dataset.splits[split]
        share = getattr(self._data, split, None)
        is_other = isinstance(share, str) and one.raw is not self._dataset.splits["train"].raw
        for source in ([str(share)] if is_other else []) + [self._data.source]:
            files = _list_row_files(source)
            side = one.ids if isinstance(one.ids, str) else "train"
            if side in files:
                return files[side]
        return None


def _list_row_files(source: str) -> dict[str, Path]:
    path = _locate(source)
    if path.is_dir():
        return find_csv_sides(path, SUFFIXES)
    return {"train": path} if path.name.lower().endswith(SUFFIXES) else {}


def _locate(source: str) -> Path:
    """The path of a source, what is in an archive unpacked (it is already)."""
    path = locate(source)
    return unpack_archive(path) if path.is_file() and is_archive(path) else path


def _find_image_folder(data: Data, dataset: Dataset) -> Path | None:
    """The folder below which each image is a file of its own, named by its id; None where images are no such files."""
    if dataset.features.kind != "image" or isinstance(dataset.splits["train"].ids, str):
        return None
    root = _locate(data.source)
    return root if root.is_dir() and detect_form(root)[0] == "folder" else None


def _measure_files(root: Path, dataset: Dataset) -> NDArray[np.int64]:
    """int64 [n, 2]: height and width of the training side's files, of many those of some."""
    train = dataset.splits["train"]
    chosen = np.linspace(0, len(train) - 1, min(len(train), _MAX_HEADERS)).astype(np.int64)
    found = [_read_size(root / train.id_of(int(index))) for index in chosen]
    return np.array([size for size in found if size is not None], np.int64).reshape(-1, 2)


def _read_size(path: Path) -> tuple[int, int] | None:
    try:
        content, _ = read_image_file(path, n_bytes=_HEADER_BYTES)
        header = read_header(content, name=path.name)
    except DataError:
        return None
    return header.height, header.width


def _find_bad_files(root: Path, dataset: Dataset) -> dict[str, str]:
    """Name -> reason of the files that reading skipped: those that have become no example. Of very many, the first."""
    if not any(line.startswith("skipped ") for line in dataset.notes):
        return {}
    known = {name for split in dataset.splits.values() for name in split.ids}
    names = (Path(file).relative_to(root).as_posix() for file in list_image_files(root))
    bad = islice((name for name in names if name not in known), _MAX_BAD)
    return {show_name(name): reason for name in bad if (reason := _find_fault(root / name, name))}


def _find_fault(path: Path, name: str) -> str:
    """Why an image cannot be read; empty when it can."""
    if not is_utf8(name):
        return "its name is not UTF-8"
    try:
        content, _ = read_image_file(path)
        decode_content(content, 3, name=name)
    except DataError as error:
        return error.what.removeprefix(f"{path}: ").removeprefix(f"{name}: ")
    return ""
