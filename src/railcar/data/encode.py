"""Texts and table rows -> what the network takes, by the layers that the model has, fitted on the training split.

Owns what is fitted: vocabulary and length of texts, means, deviations and categories of columns. Images pass as they
are: their networks take raw pixels.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.ngrams import fit_ngrams
from railcar.data.types import Dataset, Features, Split
from railcar.errors import DataError
from railcar.registry import NGRAMS, RAW, WORDS

if TYPE_CHECKING:
    import polars as pl

MAX_WORDS = 20_000
MAX_LENGTH = 512
MAX_CATEGORIES = 1000
MAX_IN_MEMORY = 1 << 27
"""Bytes of encoded rows above which they lie in a file."""
# A word or a category that was seen less often teaches nothing; of small data nothing is left out.
_LEAST = 2
_SMALL = 1000
_BATCH = 8192


def encode_dataset(dataset: Dataset, known: Features | None = None, *, form: str = WORDS) -> Dataset:
    """`dataset` with inputs for the network: by the encoding that is `known`, that of a run which is measured or begun
    from, else by one that is fitted on the training split; texts then become `WORDS` or `NGRAMS`, as `form` says.
    TensorFlow must be importable. Raises `DataError`."""
    if dataset.features.kind == "image":
        return dataset
    if known is None:
        features = _fit(dataset, form)
    else:
        features = replace(
            dataset.features, input_shape=known.input_shape, encoding=known.encoding, target=known.target
        )
    encoded: dict[int, NDArray[Any]] = {}
    splits = {}
    for name, split in dataset.splits.items():
        if split.raw is None:
            raise DataError(
                f"{dataset.source}: the {name} split has no texts or rows", hint="give the same kind of data"
            )
        key = id(split.raw)
        if key not in encoded:
            encoded[key] = encode_rows(split.raw, features.kind, features.encoding or {}, dataset.path)
        splits[name] = replace(split, inputs=encoded[key], labels=_scale_targets(split.labels, features))
    return replace(dataset, splits=splits, features=features)


def encode_rows(
    frame: pl.DataFrame, kind: str, encoding: Mapping[str, Any], folder: Path | None = None
) -> NDArray[Any]:
    """int32 [n, words] of texts (or strings [n] as they are), float32 [n, numbers] of rows. What is large lies in a
    file in `folder`, a memory map, if one is given that takes it; the file goes when the process ends."""
    if encoding.get("form") == RAW:
        return np.array(frame["text"].to_list(), object)
    from railcar.layers.raw import build_encoder

    encoder = build_encoder(kind, encoding)
    encoded: NDArray[Any] | None = None
    for start in range(0, max(len(frame), 1), _BATCH):
        part = np.asarray(encoder(to_tensors(frame[start : start + _BATCH], kind, encoding)))
        if encoded is None:
            shape = (len(frame), *part.shape[1:])
            encoded = _allocate(shape, np.dtype(np.int32 if kind == "text" else np.float32), folder)
        encoded[start : start + len(part)] = part
    return np.empty((0, 0), np.int32) if encoded is None else encoded


def _allocate(shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path | None) -> NDArray[Any]:
    n_bytes = prod(shape) * dtype.itemsize
    if folder is not None and n_bytes >= MAX_IN_MEMORY:
        # A cache that is full or may not be written to is no reason to stop while there is memory.
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # a disk that fills up later would kill the process
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            return np.memmap(file, dtype, "w+", shape=shape)
    return np.empty(shape, dtype)


def to_tensors(frame: pl.DataFrame, kind: str, encoding: Mapping[str, Any]) -> Any:
    """Raw inputs as the model takes them: strings [n], or a dict of columns [n]."""
    import tensorflow as tf

    from railcar.layers.tables import name_inputs
    from railcar.storage.frames import to_arrays

    if kind == "text":
        return tf.constant(to_arrays(frame, ["text"])["text"], tf.string)
    keys = name_inputs([one["name"] for one in encoding["columns"]])
    arrays = to_arrays(frame, list(keys))
    types = {name: tf.string if values.dtype == object else tf.float32 for name, values in arrays.items()}
    return {keys[name]: tf.constant(values, types[name]) for name, values in arrays.items()}


def _fit(dataset: Dataset, form: str) -> Features:
    train = dataset.splits["train"]
    if train.raw is None:
        raise DataError(f"{dataset.source}: no texts or rows to train on", hint="give the same kind of data")
    features = dataset.features
    known = dict(features.encoding or {})
    if features.kind == "text":
        fitted = {"form": RAW} if form == RAW else _fit_ngrams(train) if form == NGRAMS else _fit_texts(train)
        encoding = {**known, **fitted}
        shape = () if form == RAW else (encoding["length"],)
    else:
        encoding = {**known, "columns": [_fit_column(train, dict(one)) for one in known["columns"]]}
        shape = _count_numbers(encoding)
    target = None
    if features.task == "regression":
        targets = train.label_array().astype(np.float64)  # float32 cannot hold the squares of 1e20
        target = (float(targets.mean()), float(targets.std()) or 1.0)
    return replace(features, input_shape=shape, encoding=encoding, target=target)


def _take(split: Split, name: str, start: int = 0, stop: int | None = None) -> pl.Series:
    """Cells of one column, of the split's examples number `start` to `stop`: no second copy of a large table."""
    import polars as pl

    if split.raw is None:
        raise DataError(f"the {split.name} split has no texts or rows", hint="give the same kind of data")
    return split.raw[name].gather(pl.Series(split.rows[start:stop]))


def _fit_ngrams(train: Split) -> dict[str, Any]:
    least = 1 if len(train) < _SMALL else _LEAST
    found = fit_ngrams(_take(train, "text").to_list(), least=least)
    if not found["vocabulary"]:
        raise DataError("the texts of the training split have no words", hint="name the column of the texts")
    return {"form": NGRAMS, **found}


def _fit_texts(train: Split) -> dict[str, Any]:
    """The words that are seen twice (of small data once), at most 20,000 of them, the most frequent first; and a length
    that cuts off less than one text in twenty."""
    import polars as pl
    import tensorflow as tf

    from railcar.layers.texts import split_words

    counts, lengths = None, []
    for start in range(0, len(train), _BATCH):
        words, n_words = split_words(tf.constant(_take(train, "text", start, start + _BATCH).to_list()))
        lengths.append(n_words.numpy())
        strings = pl.Series("word", [one.decode() for one in words.numpy().tolist()], dtype=pl.String)
        part = pl.DataFrame({"word": strings}).group_by("word").len()
        counts = part if counts is None else pl.concat([counts, part]).group_by("word").agg(pl.col("len").sum())
    least = 1 if len(train) < _SMALL else _LEAST
    if counts is None or not len(counts):
        raise DataError("the texts of the training split have no words", hint="name the column of the texts")
    known = counts.filter(pl.col("len") >= least).sort(["len", "word"], descending=[True, False]).head(MAX_WORDS)
    length = int(np.quantile(np.concatenate(lengths), 0.95, method="higher"))
    return {"vocabulary": known["word"].to_list(), "length": int(np.clip(length, 4, MAX_LENGTH))}


def _fit_column(train: Split, column: dict[str, Any]) -> dict[str, Any]:
    import polars as pl

    values = _take(train, column["name"])
    if column["type"] == "category":
        least = 1 if len(train) < _SMALL else _LEAST
        counts = values.drop_nulls().alias("value").value_counts(name="n").filter(pl.col("n") >= least)
        known = counts.sort(["n", "value"], descending=[True, False]).head(MAX_CATEGORIES)
        return {**column, "values": known["value"].to_list()}
    numbers = values.drop_nulls().drop_nans().to_numpy().astype(np.float64)
    mean, std = (float(numbers.mean()), float(numbers.std())) if len(numbers) else (0.0, 1.0)
    return {**column, "mean": mean, "std": std or 1.0, "has_gaps": len(numbers) < len(values)}


def _count_numbers(encoding: Mapping[str, Any]) -> tuple[int]:
    from railcar.layers.tables import EncodeColumns

    layer = EncodeColumns(encoding["columns"])
    return (layer.n_numbers + len(layer.categories),)


def _scale_targets(labels: NDArray[Any], features: Features) -> NDArray[Any]:
    """Class numbers as they are; targets of a regression with mean 0 and deviation 1 over the training split."""
    if features.target is None:
        return labels
    mean, std = features.target
    return ((np.asarray(labels) - mean) / std).astype(np.float32)
