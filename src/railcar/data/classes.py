"""Labels as a source has them -> indices of class names, and the rules that every source shares.

Owns: which classes there are (those of the training side), and what is refused. Reads no files.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from railcar.errors import DataError

MAX_NAMED = 5


def index_labels(labels: Mapping[str, NDArray], *, where: str) -> tuple[tuple[str, ...], dict[str, NDArray[np.int32]]]:
    """Class names (the sorted distinct labels of the training side, numbers in the order of numbers) and, for each
    side, int32 [n] indices into them.

    `labels` maps a side to an array of integers or strings, [n]. Raises `DataError` for one class only and for a
    label that the training side has not; `where` names the source in it.
    """
    known = np.unique(labels["train"])
    class_names = tuple(str(label) for label in known.tolist())
    check_classes(class_names, where=where)
    indices = {}
    for side, values in labels.items():
        found = np.searchsorted(known, values).clip(max=len(known) - 1)
        strange = known[found] != values
        if strange.any():
            row = int(np.flatnonzero(strange)[0])
            raise DataError(
                f"{where}: the {side} side has the label {values[row]!s} (example {row}), "
                "which no training example has",
                hint=f"remove those examples or add some to the training side; it has: {list_names(class_names)}",
            )
        indices[side] = found.astype(np.int32)
    return class_names, indices


def check_classes(class_names: tuple[str, ...], *, where: str) -> None:
    """Raise `DataError` unless there are two classes at least."""
    if len(class_names) < 2:
        only = f"is only the class {class_names[0]!r}" if class_names else "are no examples"
        raise DataError(f"{where}: there {only}", hint="add examples of another class: a classifier needs two at least")


def list_names(names: tuple[str, ...]) -> str:
    """The first names, for a message."""
    more = f", … ({len(names)} in all)" if len(names) > MAX_NAMED * 2 else ""
    return ", ".join(names[: MAX_NAMED * 2]) + more
