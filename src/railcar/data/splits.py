"""Who is on which side: train, validation, test, from what a source has and what the recipe asks for.

Owns the drawing, which depends on nothing but the examples' content and the seed, and the checks that each side can do
its work. Copies no images: a split is row numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from railcar.data.decoding import EncodedImages
from railcar.data.fingerprint import mix
from railcar.data.leakage import check_leakage
from railcar.data.selection import Selection, select_rows
from railcar.data.types import Dataset, Prepared, PreparedSide, Split
from railcar.errors import DataError
from railcar.storage.local import write_atomic

Share = float | int | tuple[str, int] | tuple[str, int, int] | str | None
"""None, a fraction (float), a count (int), `("last", n)`, `("fold", i, n)` with i from 0, or the path of a source of
its own."""

HELD_OUT = ("test", "validation")
BLOCK = 1 << 16
# Added to the seed for folds, which must not be the parts that fractions take.
_FOLDS = 1 << 40


def split_sides(
    prepared: Prepared,
    *,
    seed: int,
    validation: Share,
    test: Share,
    prepare_other: Callable[[str], Prepared],
    selection: Selection | None = None,
) -> tuple[dict[str, Split], list[str]]:
    """The splits of `prepared`, "train" always and the others unless they are not asked for; and notes on examples that
    are on two sides or have two labels.

    A side that the source has itself wins over what is asked for; of each, `selection` says what is used. Raises
    `DataError` for a side that ends up empty, a class that training does not see, a source of its own that does not
    fit, and an image that is on two sides.
    """
    selection = selection or Selection()
    asked = {"test": test, "validation": validation}
    train = prepared.sides["train"]
    sides = {"train": train}
    drawn: dict[str, Share] = {}
    for name in HELD_OUT:
        share = asked[name]
        if name in prepared.sides and not _is_fold(share):
            sides[name] = prepared.sides[name]
        elif isinstance(share, str):
            sides[name] = _open_other(prepared, prepare_other(share), name, share)
        elif share is not None:
            drawn[name] = share
    used = select_rows(train, selection, seed=seed, is_training=True)
    keys = np.asarray(train.hashes if train.groups is None else train.groups)
    rows = draw_rows(keys[used] if len(used) < len(keys) else keys, seed=seed, shares=drawn)
    found = {name: (train, used[part]) for name, part in rows.items()}
    for name in HELD_OUT:
        if name in sides:
            found[name] = (sides[name], select_rows(sides[name], selection, seed=seed, is_training=False))
    order = [name for name in ("train", "validation", "test") if name in found]
    splits = {name: _part(name, *found[name]) for name in order}
    _check_splits(splits, prepared.class_names)
    hashes = {name: np.asarray(found[name][0].hashes)[found[name][1]] for name in order}
    return splits, check_leakage(prepared, splits, hashes, allow=selection.allow_leakage)


def draw_rows(hashes: NDArray[np.uint64], *, seed: int, shares: dict[str, Share]) -> dict[str, NDArray[np.int64]]:
    """Row numbers, int64 and ascending, of "train" and of each side in `shares`; every row is on one side.

    `hashes` are those of the examples, or of what keeps several of them together. Fractions: a seeded hash of them
    decides, so that data added later moves nobody and equal examples stay together. Counts: exact, drawn once.
    `("last", n)`: the last n rows that are left, test before validation. `("fold", i, n)`: one of n parts of nearly the
    same size, drawn apart from all else; each row is in one of them.
    """
    n = len(hashes)
    side = np.zeros(n, np.int8)
    fractions = {name: share for name, share in shares.items() if isinstance(share, float)}
    if sum(fractions.values()) >= 1:
        raise DataError(
            f"data.{' and data.'.join(fractions)} leave nothing to train on: together {sum(fractions.values()):g}",
            hint="choose fractions that add up to less than 1",
        )
    position = _draw_positions(hashes, seed) if fractions else np.empty(0)
    # The test side takes the low end and validation the high end, so that changing one leaves the other alone.
    if "test" in fractions:
        side[_is_low(position, fractions["test"])] = 1
    if "validation" in fractions:
        np.subtract(1, position, out=position)
        side[_is_low(position, fractions["validation"]) & (side == 0)] = 2
    for number, name in ((1, "test"), (2, "validation")):
        if _is_fold(share := shares.get(name)):
            side[_draw_fold(hashes, seed, *share[1:])] = number
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, n])))
    for number, name in ((1, "test"), (2, "validation")):
        share = shares.get(name)
        if share is None or isinstance(share, (float, str)) or _is_fold(share):
            continue
        free = np.flatnonzero(side == 0)
        count = share if isinstance(share, int) else share[1]
        if count >= len(free):
            raise DataError(
                f"data.{name}: {count:,} examples are more than the {len(free):,} there are to train on",
                hint=f"choose less than {len(free):,}, or a fraction such as 0.1",
            )
        chosen = _draw_count(hashes, free, count, generator) if isinstance(share, int) else free[len(free) - count :]
        side[chosen] = number
    numbers = {"train": 0, **{name: number for number, name in ((1, "test"), (2, "validation")) if name in shares}}
    return {name: np.flatnonzero(side == number) for name, number in numbers.items()}


def _is_fold(share: Share) -> TypeGuard[tuple[str, int, int]]:
    return isinstance(share, tuple) and share[0] == "fold"


def _draw_fold(hashes: NDArray[np.uint64], seed: int, fold: int, n_folds: int) -> NDArray[np.bool_]:
    """Which rows are in part number `fold`; equal hashes are in one part."""
    position = _draw_positions(hashes, seed + _FOLDS)
    cuts = np.sort(position)[np.arange(1, n_folds) * len(position) // n_folds]
    return np.searchsorted(cuts, position, side="right") == fold


def _draw_count(
    hashes: NDArray[np.uint64], free: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """`count` of the rows `free`, drawn at random; examples with one hash are taken together or not at all, so that
    where many are alike there may be fewer."""
    _, group, sizes = np.unique(hashes[free], return_inverse=True, return_counts=True)
    if len(sizes) == len(free):
        return generator.choice(free, count, replace=False)
    order = generator.permutation(len(sizes))
    taken = np.zeros(len(sizes), bool)
    left = count
    for number in order.tolist():
        if sizes[number] <= left:
            taken[number] = True
            left -= int(sizes[number])
            if not left:
                break
    return free[taken[group]]


def _draw_positions(hashes: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """float64 [n], 0 to 1: what the seed makes of each hash, block by block: nothing else of that size is held."""
    key = mix(np.array([seed + 1], np.uint64))
    position = np.empty(len(hashes))
    for start in range(0, len(hashes), BLOCK):
        position[start : start + BLOCK] = mix(hashes[start : start + BLOCK] ^ key) / np.float64(2**64)
    return position


def _is_low(position: NDArray[np.float64], fraction: float) -> NDArray[np.bool_]:
    """Which of `position` (0 to 1) are below `fraction`; in a small set at least half as many as that should be, so
    that chance leaves no side empty."""
    n_least = max(1, int(fraction * len(position) / 2))
    if n_least >= len(position):
        return position < fraction
    if np.count_nonzero(is_low := position <= fraction) >= n_least:
        return is_low
    return position <= max(fraction, float(np.partition(position, n_least - 1)[n_least - 1]))


def _part(name: str, side: PreparedSide, rows: NDArray[np.int64]) -> Split:
    if isinstance(side.inputs, np.ndarray | EncodedImages):
        return Split(name, side.inputs, side.labels, rows, side.ids)
    return Split(name, np.empty((len(side), 0)), side.labels, rows, side.ids, side.inputs)


def _open_other(prepared: Prepared, other: Prepared, name: str, source: str) -> PreparedSide:
    """The side of `other` that serves as `name`: its own of that name, else its training side; labels renumbered."""
    side = other.sides.get(name, other.sides["train"])
    if prepared.kind != other.kind or prepared.task != other.task:
        raise DataError(
            f"data.{name}: {source} is {other.kind} for {other.task}, the training side {prepared.kind} for "
            f"{prepared.task}",
            hint="give both the same kind of examples",
        )
    expected, found = np.shape(prepared.sides["train"].inputs)[1:], np.shape(side.inputs)[1:]
    if prepared.kind == "image" and expected != found:
        raise DataError(
            f"data.{name}: {source} has images of shape {found}, the training side of shape {expected}",
            hint="give both the same size and the same number of channels",
        )
    if prepared.task == "regression":
        return side
    numbers = {class_name: number for number, class_name in enumerate(prepared.class_names)}
    strange = [class_name for class_name in other.class_names if class_name not in numbers]
    if strange:
        raise DataError(
            f"data.{name}: {source} has the class {strange[0]!r}, which the training side has not",
            hint=f"remove that class, or add it to the training side; it has: {', '.join(prepared.class_names[:10])}",
        )
    table = np.array([numbers[class_name] for class_name in other.class_names], np.int32)
    return replace(side, labels=table[np.asarray(side.labels, np.int64)])


def _check_splits(splits: dict[str, Split], class_names: tuple[str, ...]) -> None:
    for name, split in splits.items():
        if len(split) == 0:
            raise DataError(
                f"the {name} side is empty: {sum(map(len, splits.values())):,} examples are too few for this split",
                hint="add examples, or set data.validation or data.test to a small count, or to null for none",
            )
    if not class_names:  # a regression
        return
    trained = np.bincount(splits["train"].label_array(), minlength=len(class_names)) > 0
    for name, split in splits.items():
        missing = np.flatnonzero((np.bincount(split.label_array(), minlength=len(class_names)) > 0) & ~trained)
        if len(missing):
            raise DataError(
                f"the {name} side has the class {class_names[missing[0]]!r}, which no training example has",
                hint="add examples of that class, or hold out fewer with data.validation and data.test",
            )


def write_splits(dataset: Dataset, path: Path) -> None:
    """Write `splits.parquet`: columns `id` and `side`, a row for each example of each split."""
    import tempfile

    import polars as pl

    frames = []
    for name, split in dataset.splits.items():
        if isinstance(split.ids, str):
            ids = pl.LazyFrame({"row": split.rows}).select(pl.format(f"{split.ids}/{{}}", "row").alias("id"))
        else:
            ids = pl.LazyFrame({"id": [split.ids[row] for row in split.rows.tolist()]}, {"id": pl.String})
        frames.append(ids.with_columns(pl.lit(name).alias("side")))
    with tempfile.TemporaryDirectory() as folder:
        # part by part: the ids of a few million examples are not to be in memory all at once
        whole = Path(folder) / path.name
        pl.concat(frames).sink_parquet(whole)
        write_atomic(path, whole.read_bytes())
