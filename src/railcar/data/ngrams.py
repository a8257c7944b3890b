"""Which n-grams of the training texts are known to a model of n-grams. `layers/ngrams.py` cuts and numbers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

MAX_NGRAMS = 200_000
MAX_LENGTH = 1024
MAX_TEXTS = 50_000
"""As many of the texts, spread evenly over all, tell which n-grams there are."""
_BATCH = 2048


def fit_ngrams(texts: Sequence[str | None], *, least: int) -> dict[str, Any]:
    """`vocabulary`, the n-grams that `least` texts have, at most 200,000 of them, words first and each kind from the
    most frequent on; and `length`, which cuts off less than one text in a hundred, at most 1,024."""
    import tensorflow as tf

    from railcar.layers.ngrams import MARK, split_ngrams

    texts = texts[:: -(-len(texts) // MAX_TEXTS)] if texts else texts
    counts: pl.DataFrame | None = None
    lengths = []
    for start in range(0, len(texts), _BATCH):
        part = [one or "" for one in texts[start : start + _BATCH]]
        ngrams = split_ngrams(tf.constant(part))
        rows = np.repeat(np.arange(len(part)), ngrams.row_lengths().numpy())
        spellings = pl.Series(ngrams.flat_values.numpy(), dtype=pl.Binary).cast(pl.String)
        once = pl.DataFrame({"row": rows, "ngram": spellings}).unique()
        lengths += [once.group_by("row").len()["len"].to_numpy()]
        found = once.group_by("ngram").len()
        counts = found if counts is None else pl.concat([counts, found]).group_by("ngram").agg(pl.col("len").sum())
    if counts is None or not len(counts):
        return {"vocabulary": [], "length": 0}
    frequent = counts.filter(pl.col("len") >= least).sort(["len", "ngram"], descending=[True, False]).head(MAX_NGRAMS)
    ordered = frequent.sort(pl.col("ngram").str.starts_with(MARK), maintain_order=True)
    length = int(np.quantile(np.concatenate(lengths), 0.99, method="higher"))
    return {"vocabulary": ordered["ngram"].to_list(), "length": int(np.clip(length, 4, MAX_LENGTH))}
