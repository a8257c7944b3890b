"""Texts and rows as the network takes them: what is large lies in a file, and says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from railcar.data.encode import MAX_IN_MEMORY, encode_dataset, encode_rows
from railcar.data.prepare import open_frame
from railcar.data.types import ReadOptions

LONG = {"vocabulary": ["red", "green", "blue"], "length": 512, "columns": []}


def make_texts(n: int) -> pl.DataFrame:
    words = np.array(["red", "green", "blue", "other"])
    picks = np.random.default_rng(0).integers(0, 4, (n, 3))
    return pl.DataFrame({"text": [" ".join(row) for row in words[picks].tolist()]})


def test_what_is_large_is_mapped_from_a_file_that_leaves_no_trace_and_says_the_same(tmp_path: Path) -> None:
    texts = make_texts(MAX_IN_MEMORY // (4 * 512) + 1)
    mapped, held = encode_rows(texts, "text", LONG, tmp_path), encode_rows(texts, "text", LONG)

    assert isinstance(mapped, np.memmap) and not isinstance(held, np.memmap)
    assert mapped.dtype == held.dtype == np.int32 and mapped.shape == (len(texts), 512)
    np.testing.assert_array_equal(mapped, held)
    assert list(tmp_path.iterdir()) == []


def test_what_is_small_stays_in_memory(tmp_path: Path) -> None:
    encoded = encode_rows(make_texts(100), "text", LONG, tmp_path)
    assert not isinstance(encoded, np.memmap)
    assert set(np.unique(encoded[:, :3])) <= {1, 2, 3, 4} and not encoded[:, 3:].any()


def test_a_folder_that_takes_no_file_leaves_it_in_memory(tmp_path: Path) -> None:
    texts = make_texts(MAX_IN_MEMORY // (4 * 512) + 1)
    encoded = encode_rows(texts, "text", LONG, tmp_path / "missing")
    assert not isinstance(encoded, np.memmap) and len(encoded) == len(texts)


def test_only_the_training_split_is_fitted_on() -> None:
    n = 300
    frame = pl.DataFrame({"size": np.arange(n) + 0.5, "label": ["a", "b"] * (n // 2)})
    dataset = encode_dataset(open_frame(frame, ReadOptions(), test=("last", 100)))
    (column,) = (dataset.features.encoding or {})["columns"]

    assert column["mean"] == pytest.approx(100.0) and not column["has_gaps"]
    train = dataset.splits["train"]
    assert train.inputs[train.rows].mean() == pytest.approx(0.0, abs=1e-5)
    assert dataset.splits["test"].inputs[dataset.splits["test"].rows].mean() > 2.0
