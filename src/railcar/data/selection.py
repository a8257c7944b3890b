"""Which examples of a source are used at all: chosen classes, a limit for each class, duplicates once.

Owns the choice, which depends on content and seed only, as that of the splits does. Copies no examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from railcar.data.fingerprint import mix
from railcar.data.types import Prepared, PreparedSide
from railcar.errors import DataError

SEPARATORS = ";|,"


@dataclass(frozen=True)
class Selection:
    """`classes` are the only ones to use, `limit_per_class` the most examples of each on the training side (before
    anything is held out); `drop_duplicates` keeps the first of equal examples on each side. `allow_leakage` lets an
    example be on two sides."""

    classes: tuple[str, ...] | None = None
    limit_per_class: int | None = None
    drop_duplicates: bool = False
    allow_leakage: bool = False


def select_classes(prepared: Prepared, classes: tuple[str, ...] | None) -> Prepared:
    """`prepared` with these classes only, in this order: labels of all others are -1. Raises `DataError` for a class
    that is not there, and for fewer than two."""
    if classes is None:
        return prepared
    if not prepared.class_names:
        raise DataError("data.classes: a regression has no classes", hint="leave data.classes out")
    unknown = [name for name in classes if name not in prepared.class_names]
    if unknown:
        raise DataError(
            f"data.classes: there is no class {unknown[0]!r}", hint=f"there are: {', '.join(prepared.class_names[:10])}"
        )
    if len(set(classes)) < 2:
        raise DataError("data.classes: a classifier needs two classes at least", hint="name another one")
    numbers = {name: number for number, name in enumerate(classes)}
    table = np.array([numbers.get(name, -1) for name in prepared.class_names], np.int32)
    sides = {
        name: replace(side, labels=table[np.asarray(side.labels, np.int64)]) for name, side in prepared.sides.items()
    }
    return replace(prepared, class_names=classes, sides=sides)


def check_one_label(class_names: Sequence[str], *, where: str) -> None:
    """Raise `DataError` when the classes are several labels in one cell: combinations by a `;`, `|` or `,` of names
    that, two at least, are classes by themselves."""
    for mark in SEPARATORS:
        several = [name for name in class_names if mark in name]
        parts = {part.strip() for name in several for part in name.split(mark)}
        if len(several) >= 2 and len(parts.intersection(class_names)) >= 2:
            first = several[0].split(mark)[0].strip()
            raise DataError(
                f"{where}: some examples have several labels ({several[0]!r}), and one is learnt of each",
                hint=f"make a column of yes and no for each and train on one of them (--label {first!r}); or name the "
                "combinations as classes of their own: data.classes",
            )


def select_rows(side: PreparedSide, selection: Selection, *, seed: int, is_training: bool) -> NDArray[np.int64]:
    """int64, ascending: the rows of `side` that are used."""
    labels, hashes = np.asarray(side.labels), np.asarray(side.hashes)
    rows = np.arange(len(side), dtype=np.int64)
    if labels.dtype.kind == "i":
        rows = np.flatnonzero(labels >= 0)
    if selection.drop_duplicates:
        _, first = np.unique(hashes[rows], return_index=True)
        rows = rows[np.sort(first)]
    if selection.limit_per_class is not None and is_training and labels.dtype.kind == "i":
        rows = _limit(rows, labels[rows].astype(np.int32), hashes[rows], selection.limit_per_class, seed)
    return rows


def _limit(
    rows: NDArray[np.int64], labels: NDArray[np.int32], hashes: NDArray[np.uint64], limit: int, seed: int
) -> NDArray[np.int64]:
    """At most `limit` rows of each label, those that a seeded hash of their content puts first."""
    order = np.lexsort((mix(hashes ^ mix(np.array([seed + 2], np.uint64))), labels))
    starts = np.searchsorted(labels[order], np.arange(labels.max(initial=0) + 2))
    place = np.arange(len(order)) - starts[labels[order]]
    return np.sort(rows[order[place < limit]])
