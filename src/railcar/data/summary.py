"""A data set in numbers: examples of each side and class, sizes and brightness of images, lengths of texts, and what
each column of a table holds.

Owns the counting. What is remarkable about the numbers is `doctor.py`'s to say, how they are drawn `reporting`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.types import Dataset, Split

if TYPE_CHECKING:
    import polars as pl

N_BINS = 24
N_FREQUENT = 5
BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Spread:
    """How numbers are spread: their least, median, 95th percentile and most; a histogram of `counts` between `edges`
    (one more than counts), whose ends hold what lies beyond the 99.5% in the middle."""

    low: float
    median: float
    high_95: float
    high: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ColumnSummary:
    """One column: its type, how many values are missing and how many different ones there are. `frequent` are the most
    frequent values with their numbers of rows, `spread` is that of numbers and dates (days since 1970-01-01)."""

    name: str
    type: str
    n_missing: int
    missing: float
    n_distinct: int
    frequent: tuple[tuple[str, int], ...] = ()
    spread: Spread | None = None


@dataclass(frozen=True)
class Summary:
    """`n_examples` a side; `per_class` the examples of each class on each side, in the order of the class names.
    `shape` is that of images. `spreads`: "brightness" (0 to 255), "height" and "width" (pixels, of the files) of
    images, "words" and "characters" of texts, "target" of a regression."""

    n_examples: dict[str, int]
    per_class: dict[str, tuple[int, ...]]
    shape: tuple[int, ...] = ()
    spreads: dict[str, Spread] = field(default_factory=dict)
    columns: tuple[ColumnSummary, ...] = ()

    def to_json(self, class_names: Sequence[str]) -> dict[str, Any]:
        sides = {}
        for side, n in self.n_examples.items():
            counts = dict(zip(class_names, self.per_class.get(side, ()), strict=False))
            sides[side] = {"n": n, "per_class": counts}
        return {
            "sides": sides,
            "shape": list(self.shape) or None,
            "spreads": {name: asdict(one) for name, one in self.spreads.items()},
            "columns": [asdict(one) for one in self.columns],
        }


def summarize(dataset: Dataset, pixels: PixelFacts | None = None, sizes: NDArray[np.int64] | None = None) -> Summary:
    """The numbers of `dataset`; `pixels` are those of its images, `sizes` int64 [n, 2] height and width of the files
    that they come from, where these are known."""
    features = dataset.features
    splits = dataset.splits
    n_examples = {name: len(split) for name, split in splits.items()}
    per_class, spreads, columns = {}, {}, ()
    if features.class_names:
        n_classes = features.n_classes
        per_class = {
            name: tuple(np.bincount(split.label_array(), minlength=n_classes).tolist())
            for name, split in splits.items()
        }
    else:
        spreads["target"] = spread_of(np.concatenate([split.label_array() for split in splits.values()]))
    if pixels is not None:
        spreads["brightness"] = spread_of(np.concatenate([pixels.means[name] for name in splits]))
    if sizes is not None and len(sizes):
        spreads["height"], spreads["width"] = spread_of(sizes[:, 0]), spread_of(sizes[:, 1])
    if features.kind == "text":
        spreads |= _measure_texts(pool_frames(dataset)["text"])
    if features.kind == "table":
        types = {one["name"]: one["type"] for one in (features.encoding or {})["columns"]}
        frame = pool_frames(dataset)
        columns = tuple(_summarize_column(frame[name], type_) for name, type_ in types.items())
    shape = features.input_shape if features.kind == "image" else ()
    return Summary(n_examples, per_class, shape, spreads, columns)


@dataclass(frozen=True)
class PixelFacts:
    """Of each image of each split: its mean (float64, 0 to 255), and whether all its pixels are the same."""

    means: dict[str, NDArray[np.float64]]
    blank: dict[str, NDArray[np.bool_]]


def measure_pixels(dataset: Dataset) -> PixelFacts:
    """Block by block: images may be more than fits into memory."""
    means, blank = {}, {}
    for name, split in dataset.splits.items():
        means[name], blank[name] = _measure_split(split)
    return PixelFacts(means, blank)


def _measure_split(split: Split) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    n_bytes = max(1, int(np.prod(split.inputs.shape[1:])))
    step = max(1, BLOCK_BYTES // n_bytes)
    means, blank = np.empty(len(split)), np.empty(len(split), np.bool_)
    for start in range(0, len(split), step):
        block = np.asarray(split.inputs[split.rows[start : start + step]])
        flat = block.reshape(len(block), -1, block.shape[-1])
        means[start : start + step] = flat.mean(axis=(1, 2))
        blank[start : start + step] = (flat == flat[:, :1]).all(axis=(1, 2))
    return means, blank


def pool_frames(dataset: Dataset) -> pl.DataFrame:
    """The raw rows of all splits, in the order of the splits."""
    import polars as pl

    frames = [split.raw[split.rows.tolist()] for split in dataset.splits.values() if split.raw is not None]
    return pl.concat(frames)


def spread_of(values: NDArray[Any]) -> Spread:
    """Of numbers [n], at least one."""
    numbers = np.asarray(values, np.float64)
    low, median, high_95, high = (float(np.quantile(numbers, share)) for share in (0.0, 0.5, 0.95, 1.0))
    # A single number far out would leave all others in one bar.
    first, last = float(np.quantile(numbers, 0.0025)), float(np.quantile(numbers, 0.9975))
    is_whole = bool((numbers == np.floor(numbers)).all())
    if is_whole and last - first < N_BINS:
        edges = np.arange(np.floor(first), np.ceil(last) + 2) - 0.5
    else:
        edges = np.linspace(first, last if last > first else first + 1, N_BINS + 1)
    counts, _ = np.histogram(np.clip(numbers, edges[0], edges[-1]), edges)
    return Spread(low, median, high_95, high, tuple(edges.tolist()), tuple(counts.tolist()))


def _measure_texts(texts: pl.Series) -> dict[str, Spread]:
    words, characters = texts.str.count_matches(r"\S+"), texts.str.len_chars()
    return {"words": spread_of(words.to_numpy()), "characters": spread_of(characters.to_numpy())}


def _summarize_column(values: pl.Series, type_: str) -> ColumnSummary:
    present = values.drop_nulls()
    if present.dtype.is_float():
        present = present.drop_nans()
    n_missing = len(values) - len(present)
    frequent: tuple[tuple[str, int], ...] = ()
    spread = None
    if len(present):
        frequent = tuple((_spell(value, type_), n) for value, n in count_values(present)[:N_FREQUENT])
        if type_ in ("number", "date"):
            spread = spread_of(present.to_numpy())
    share = n_missing / max(len(values), 1)
    return ColumnSummary(values.name, type_, n_missing, share, present.n_unique(), frequent, spread)


def count_values(values: pl.Series) -> list[tuple[Any, int]]:
    """Each value and how often it is there, the most frequent first; the same order on every machine."""
    # Under a name of its own: the column may be called as the counts are.
    counts = values.alias("value").value_counts(name="n").sort(["n", "value"], descending=[True, False])
    return list(counts.iter_rows())


def _spell(value: Any, type_: str) -> str:
    if type_ == "boolean":
        return "yes" if value else "no"
    if type_ == "date":
        return spell_day(value)
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def spell_day(days: float) -> str:
    """Days since 1970-01-01 as a date."""
    if abs(days) > 700_000:  # NumPy's dates go on, but nobody means them
        return f"{days:.0f} d"
    return str(np.datetime64(int(np.floor(days)), "D"))
