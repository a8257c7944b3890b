"""Predictions of many examples into one Parquet file, a part at a time: what is done is kept when it is interrupted.

Owns the parts, in the folder `.NAME.parts` beside the file, and what says whether they belong to the same question. A
row of the file: `input` (a file, or a file and its row), `label`, `probability` and `probabilities` (in the order of
the classes, which are in the file's metadata), or of a regression `value`; and `error`, why there is none.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from railcar.errors import DataError, Interrupted, UsageError
from railcar.serving.predictor import Prediction, Predictor
from railcar.storage.local import expand_home, explain_output_errors, write_atomic
from railcar.workflows.look import Look
from railcar.workflows.predict import Part, find_inputs, load, split_input

if TYPE_CHECKING:
    import polars as pl

_N_PART = 2048


@dataclass(frozen=True)
class Written:
    """`n` examples are in the file `path`, `n_failed` of them without an answer; `counts` has how often each label was
    the most probable one; `n_kept` were done by an earlier call."""

    path: Path
    n: int
    n_failed: int
    n_kept: int
    counts: dict[str, int]


def predict_to_file(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    run: str | Path | None = None,
    artifact: str | Path | None = None,
    runs_dir: str | Path = "runs",
    trust: bool = False,
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> Written:
    """What each example of `inputs` is (as for `predict`, as is `trust`; addresses of buckets, too), in the Parquet
    file `output`.

    After every 2,048 examples what is done is written beside it; interrupted, the same call goes on there. A file that
    was there is replaced when all is done. Raises `UsageError` unless the name ends in .parquet, and what `predict`
    raises; images that cannot be read are rows with an `error`.
    """
    place = expand_home(output)
    if place.suffix.lower() != ".parquet":
        raise UsageError(f"{output}: predictions are written as Parquet", hint="give a name that ends in .parquet")
    look = Look(quiet, verbose, color)
    with closing(look.reporter()) as reporter:
        paths = find_inputs(inputs)
        predictor = load(run, artifact=artifact, runs_dir=runs_dir, trust=trust)
        parts = [part for path in paths for part in split_input(predictor, path, _N_PART)]
        folder = place.with_name(f".{place.name}.parts")
        with explain_output_errors(place):
            n_kept = _open_parts(folder, _describe_question(predictor, paths))
            n, n_done = sum(part.n for part in parts), 0
            with reporter.reading_bar() as show:
                for number, part in enumerate(parts):
                    path = folder / f"{number:06}.parquet"
                    if number >= n_kept:
                        _write_part(path, predictor, part, n_done, n, place)
                    n_done += part.n
                    show("predicted", n_done, n)
            kept = sum(part.n for part in parts[:n_kept])
            return _join(folder, place, predictor, kept)


def _write_part(path: Path, predictor: Predictor, part: Part, n_done: int, n: int, place: Path) -> None:
    try:
        buffer = io.BytesIO()
        _to_frame(predictor, part.predict(max(len(predictor.class_names), 1))).write_parquet(buffer)
        write_atomic(path, buffer.getvalue())
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"{n_done:,} of {n:,} are predicted, and kept beside {place}", hint="the same command goes on there"
        ) from error


def _to_frame(predictor: Predictor, found: Iterable[Prediction | DataError]) -> pl.DataFrame:
    import polars as pl

    places = {name: index for index, name in enumerate(predictor.class_names)}
    rows: list[dict[str, Any]] = []
    for one in found:
        if isinstance(one, DataError):
            name, _, why = one.what.partition(": ")
            rows.append({"input": name, "error": why or one.what})
        elif one.value is not None:
            rows.append({"input": one.input, "value": one.value})
        else:
            every = np.zeros(len(places), np.float32)
            for label, value in one.top:
                every[places[label]] = value
            row = {"input": one.input, "label": one.label, "probability": one.probability}
            rows.append({**row, "probabilities": every.tolist()})
    schema: dict[str, Any] = {"input": pl.String}
    if predictor.artifact.task == "regression":
        schema["value"] = pl.Float64
    else:
        schema |= {"label": pl.String, "probability": pl.Float32}
        schema["probabilities"] = pl.Array(pl.Float32, max(len(places), 1))
    return pl.DataFrame(rows, schema={**schema, "error": pl.String})


def _describe_question(predictor: Predictor, paths: Sequence[Path]) -> dict[str, Any]:
    """What the answers depend on: the model, and the inputs by their names, sizes and times."""
    digest = hashlib.sha256()
    for path in paths:
        for one in [path] if path.is_file() else sorted(path.rglob("*")):
            about = one.stat()
            digest.update(f"{one}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    return {"model": predictor.artifact.manifest["checksums"], "inputs": digest.hexdigest(), "part": _N_PART}


def _open_parts(folder: Path, question: dict[str, Any]) -> int:
    """How many parts of the answer to the same question are there; those of another one are removed."""
    about = folder / "question.json"
    if not about.is_file() or json.loads(about.read_bytes()) != question:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_atomic(about, json.dumps(question).encode())
    n = 0
    while (folder / f"{n:06}.parquet").is_file():
        n += 1
    return n


def _join(folder: Path, place: Path, predictor: Predictor, n_kept: int) -> Written:
    """All parts as one file; they are then removed."""
    import polars as pl

    partial = folder / "all.parquet"
    parts = sorted(folder.glob("[0-9]*.parquet"))
    frame = pl.read_parquet(parts) if parts else _to_frame(predictor, iter(()))
    frame.write_parquet(partial, metadata={"classes": json.dumps(list(predictor.class_names))})
    partial.replace(place)
    shutil.rmtree(folder, ignore_errors=True)
    counts = {}
    if "label" in frame.columns:
        names = frame["label"].drop_nulls().value_counts(sort=True)
        counts = dict(zip(names["label"].to_list(), names["count"].to_list(), strict=True))
    return Written(place, frame.height, frame["error"].count(), n_kept, counts)
