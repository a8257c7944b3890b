"""`predict` and `load`: an artifact's model on new images, texts and rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from railcar.artifact.artifact import read_artifact
from railcar.errors import DataError, NotFound
from railcar.registry import check_tensorflow
from railcar.runs.place import open_run
from railcar.serving.predictor import Prediction, Predictor
from railcar.storage.address import is_remote
from railcar.storage.fetch import fetch_tree
from railcar.storage.images import SUFFIXES
from railcar.storage.local import expand_home
from railcar.storage.rows import SUFFIXES as ROW_SUFFIXES
from railcar.storage.rows import Rows, read_rows
from railcar.storage.texts import read_text
from railcar.training.tensorflow import import_tensorflow, quiet_stderr

_TEXT_SUFFIXES = (".txt",)
_MAX_NAME = 40


def load(
    run: str | Path | None = None,
    *,
    artifact: str | Path | None = None,
    runs_dir: str | Path = "runs",
    trust: bool = False,
) -> Predictor:
    """The model of a run (its name, a prefix, folder or address, None for the newest), or of an artifact's folder.

    Its `predict` takes what the model was trained on: uint8 images [n, height, width, channels] of any size, texts, or
    rows as a frame. `trust` takes an artifact that you have not made on this computer, too; its model is looked at
    before it is loaded. Raises `NotFound` when there is no such run or artifact and `ArtifactError` when it is damaged,
    somebody else's, or does what a model should not.
    """
    check_tensorflow("predicting")
    path = Path(artifact) if artifact is not None else open_run(run, runs_dir).artifact
    found = read_artifact(path, trust=trust)
    if found.note:
        warnings.warn(found.note, stacklevel=2)
    import_tensorflow(needed_for="predicting")
    with quiet_stderr():
        return Predictor(found)


def predict(
    inputs: str | Path | Sequence[str | Path],
    *,
    run: str | Path | None = None,
    artifact: str | Path | None = None,
    runs_dir: str | Path = "runs",
    top: int = 3,
    texts: Sequence[str] = (),
    trust: bool = False,
) -> list[Prediction]:
    """What each example is: an image file, a folder of images (its sub-folders, too), a text file, or a file of rows
    (CSV, JSONL, Parquet, Arrow) of pixels, texts or a table's columns. `texts` are the texts themselves. `trust` as for
    `load`.

    Raises `NotFound` for an input that is not there and `DataError` for the first one that cannot be read.
    """
    results = []
    for one in predict_each(inputs, run=run, artifact=artifact, runs_dir=runs_dir, top=top, texts=texts, trust=trust):
        if isinstance(one, DataError):
            raise one
        results.append(one)
    return results


def predict_each(
    inputs: str | Path | Sequence[str | Path],
    *,
    run: str | Path | None = None,
    artifact: str | Path | None = None,
    runs_dir: str | Path = "runs",
    top: int = 3,
    texts: Sequence[str] = (),
    trust: bool = False,
) -> Iterator[Prediction | DataError]:
    """As `predict`, one after the other, with a `DataError` in the place of an image that cannot be read."""
    paths = find_inputs(inputs)
    predictor = load(run, artifact=artifact, runs_dir=runs_dir, trust=trust)
    if texts and predictor.kind != "text":
        raise DataError(f"the model was trained on {predictor.kind} data, not on texts", hint="leave --text out")
    if texts:
        names = [text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME - 1]}…" for text in texts]
        yield from predictor.predict(list(texts), names=names, top=top)
    for path in paths:
        for part in split_input(predictor, path):
            yield from part.predict(top)


def find_inputs(inputs: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files and folders that are meant; what has an address is fetched into the cache. Raises `NotFound`."""
    found = []
    for one in [inputs] if isinstance(inputs, str | Path) else inputs:
        path = fetch_tree(one) if isinstance(one, str) and is_remote(one) else expand_home(one)
        if not path.exists():
            raise NotFound(f"{path}: no such file or folder", hint="give files or folders, or a text with --text")
        found.append(path)
    return found


@dataclass(frozen=True)
class Part:
    """`n` examples of an input; `predict` is given how many of the likeliest classes to name."""

    n: int
    predict: Callable[[int], Iterable[Prediction | DataError]]


def split_input(predictor: Predictor, path: Path, n_most: int = 1 << 40) -> Iterator[Part]:
    """The examples of a file or folder, in parts of at most `n_most`. Raises `DataError` for what the model does not
    take, and for a file that cannot be read."""
    is_rows = path.is_file() and path.name.lower().endswith(ROW_SUFFIXES)
    if predictor.kind == "image" and not is_rows:
        files = _list_images(path)
        for start in range(0, len(files), n_most):
            some = files[start : start + n_most]
            yield Part(len(some), lambda top, some=some: predictor.predict_files(some, top=top))
        return
    inputs, names = _read_examples(predictor, path, is_rows)
    for start in range(0, len(names), n_most):
        some, called = inputs[start : start + n_most], names[start : start + n_most]
        yield Part(len(called), lambda top, some=some, called=called: _predict(predictor, path, some, called, top))


def _predict(predictor: Predictor, path: Path, inputs: Any, names: Sequence[str], top: int) -> list[Prediction]:
    try:
        return predictor.predict(inputs, names=names, top=top)
    except DataError as error:
        raise DataError(f"{path}: {error.what}", hint=error.hint) from error


def _read_examples(predictor: Predictor, path: Path, is_rows: bool) -> tuple[Any, list[str]]:
    """All that a file holds, as the model takes it, and what each example is called."""
    if predictor.kind == "image":
        from railcar.data.sources.csv import read_pixel_rows

        images, first_line = read_pixel_rows(path, predictor.artifact.image_shape)
        return images, [f"{path}:{first_line + index}" for index in range(len(images))]
    if is_rows:
        rows = read_rows(path)
        inputs = rows.frame if predictor.kind == "table" else _find_texts(predictor, rows)
        return inputs, [rows.place(row) for row in range(len(rows.frame))]
    if predictor.kind == "text" and path.is_file() and path.name.lower().endswith(_TEXT_SUFFIXES):
        return [read_text(path)], [str(path)]
    also = ", or a .txt file" if predictor.kind == "text" else ""
    raise DataError(
        f"{path}: the model was trained on {predictor.kind} data",
        hint=f"give a file of rows ({', '.join(ROW_SUFFIXES)}){also}",
    )


def _find_texts(predictor: Predictor, rows: Rows) -> list[str]:
    """The column of the texts: that of the training, or the only one there is."""
    import polars

    name, there = predictor.artifact.columns[0].name, rows.frame.columns
    if name not in there and len(there) > 1:
        raise DataError(f"{rows.place(0)}: no column {name!r}, the texts", hint=f"it has: {', '.join(there[:8])}")
    return rows.frame[name if name in there else there[0]].cast(polars.String).fill_null("").to_list()


def _list_images(path: Path) -> list[Path]:
    """The image files that `path` stands for. Raises `DataError`."""
    if path.is_file():
        return [path]
    images = sorted(
        one
        for one in path.rglob("*")
        if one.suffix.lower() in SUFFIXES and not one.name.startswith(".") and one.is_file()
    )
    if not images:
        raise DataError(f"{path}: no images in this folder", hint=f"images end in {', '.join(SUFFIXES)}")
    return images
