"""Is something learnt that is measured on later? The same example on two sides, or under two labels.

Owns the comparison of sides and its words; what is compared are hashes of content, so that names do not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from railcar.data.decoding import EncodedImages
from railcar.data.duplicates import find_conflicts, find_exact
from railcar.data.near_pairs import find_near_once
from railcar.data.types import Prepared, RawSplit, Split
from railcar.errors import DataError

# 60,000 images of 32x32 in colour take about two seconds.
MAX_COMPARED_BYTES = 400_000_000


def check_leakage(
    prepared: Prepared, splits: dict[str, Split], hashes: dict[str, NDArray[np.uint64]], *, allow: bool
) -> list[str]:
    """Notes on examples that are on two sides, or have two labels. `hashes` uint64 [n] are those of each split's
    examples, in its order. Raises `DataError` for an image on two sides, with both names, unless it is allowed; rows of
    a table and texts are alike by chance, too."""
    notes = []
    for first, second in combinations([name for name in ("train", "validation", "test") if name in splits], 2):
        pairs = find_exact(hashes[first], hashes[second])
        if not len(pairs):
            continue
        here, there = splits[first].id_of(int(pairs[0, 0])), splits[second].id_of(int(pairs[0, 1]))
        noun = {"image": "image", "text": "text", "table": "row"}[prepared.kind]
        n = len(np.unique(pairs[:, 1]))
        what = f"the same {noun} is in {first} and {second}: {here} and {there}"
        if prepared.kind == "image" and not allow:
            more = f" ({n:,} in all)" if n > 1 else ""
            raise DataError(
                f"{what}{more}",
                hint=f"remove it from one of them, or set data.allow_leakage to true: what is measured on {second} "
                "is then too good",
            )
        verb = "is" if n == 1 else "are"
        notes.append(f"{what}; {n:,} of the {len(splits[second]):,} {second} examples {verb} known from {first}")
    for name, split in splits.items():
        notes += _find_conflicts(prepared, split, hashes[name])
    return notes


def find_near_pairs(sides: Mapping[str, RawSplit], folder: Path | None = None) -> list[str]:
    """Notes on images that show nearly the same on two sides which the source itself has. Looked for when the source is
    prepared, where they are decoded and there are not too many pixels for that, and kept in `folder`, that of the
    prepared data."""
    notes = []
    images = [side.images for side in sides.values()]
    if sum(one.nbytes for one in images) > MAX_COMPARED_BYTES or any(isinstance(one, EncodedImages) for one in images):
        return notes
    for first, second in combinations([name for name in ("train", "validation", "test") if name in sides], 2):
        here, there = sides[first], sides[second]
        first_images, second_images = np.asarray(here.images), np.asarray(there.images)
        pairs = find_near_once(folder, (first, second), first_images, second_images)
        # those that are the same are told by `check_leakage`
        pairs = pairs[[not np.array_equal(first_images[a], second_images[b]) for a, b in pairs.tolist()]]
        if len(pairs):
            named = f"{_name(here, int(pairs[0, 0]))} and {_name(there, int(pairs[0, 1]))}"
            n = len(np.unique(pairs[:, 1]))
            verb = "looks" if n == 1 else "look"
            told = f"{n:,} of the {len(there.labels):,} {second} images {verb} nearly like one in {first}"
            notes.append(f"{told}: {named}")
    return notes


def _name(side: RawSplit, row: int) -> str:
    return f"{side.ids}/{row}" if isinstance(side.ids, str) else side.ids[row]


def _find_conflicts(prepared: Prepared, split: Split, hashes: NDArray[np.uint64]) -> list[str]:
    if not prepared.class_names:
        return []
    labels = split.label_array()
    pairs = find_conflicts(hashes, labels)
    if not pairs:
        return []
    first = int(pairs[0][0])
    second = next(int(row) for row in pairs[0] if labels[row] != labels[first])
    names = [f"{split.id_of(row)} ({prepared.class_names[labels[row]]})" for row in (first, second)]
    noun = {"image": "image", "text": "text", "table": "row"}[prepared.kind]
    what = f"one {noun} is there" if len(pairs) == 1 else f"{len(pairs):,} {noun}s are there"
    return [f"{what} under two labels: {' and '.join(names)}"]
