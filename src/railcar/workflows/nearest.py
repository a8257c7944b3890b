"""The training examples nearest to some examples, as a finished network sees them.

Owns how many training examples are looked at in the time there is, and keeping what was found; which numbers stand for
an example and what is near is `explanation/`'s.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.data.types import Split
from railcar.explanation.doubt import N_NEIGHBOURS
from railcar.explanation.features import penultimate
from railcar.explanation.neighbours import draw_balanced, find_nearest
from railcar.workflows.results import Finished

MAX_EXAMPLES = 2000
N_NEAREST = N_NEIGHBOURS
# Of fewer the nearest are not near.
_LEAST = 50
_CHEAP_S = 0.15
_FIRST, _MAX_BATCH, _BATCH_NUMBERS = 16, 512, 600_000


class Neighbour(NamedTuple):
    """The number of an example in the training split, and 1 - cosine."""

    row: int
    distance: float


class Nearest:
    """Finds the three nearest of at most 2,000 training examples, drawn by `seed` so that each class has its share; of
    fewer where looking at these would cost too much: more than `seconds` and than 0.15 s of the processor.

    `reason` says in a sentence why there are none, and is empty else.
    """

    def __init__(self, finished: Finished, seed: int, *, seconds: float) -> None:
        self._finished, self._seed, self._seconds = finished, seed, seconds
        self._pace_s = 1e-3
        self._found: dict[tuple[str, int], list[Neighbour]] = {}
        self.reason = ""
        self.n_compared = 0

    def look_for(self, wanted: Sequence[tuple[str, NDArray[np.int64]]], *, until: float) -> None:
        """Find the neighbours of the examples that are `wanted` of each split, by its name; ends at `until`, by
        `time.monotonic`, in any case. Raises whatever the network raises."""
        queries: dict[tuple[str, int], NDArray[np.float32]] = {}
        for name, rows in wanted:
            new = np.array([row for row in rows.tolist() if (name, row) not in queries], np.int64)
            seen = self._see_in_time(self._finished.measured.splits[name], new, until)
            queries |= {(name, int(row)): one for row, one in zip(new, seen, strict=False)}
        if self.reason or not any(len(rows) for _, rows in wanted):
            return
        train = self._finished.measured.splits["train"]
        is_number = self._finished.dataset.features.task == "regression"
        order = draw_balanced(None if is_number else train.label_array(), len(train), self._seed)[:MAX_EXAMPLES]
        examples = self._see_in_time(train, order, until, cheap_s=self._seconds)
        if not queries or len(examples) < min(_LEAST, len(train)):
            self.reason = "there was no time for the nearest training examples, and no label is doubted"
            return
        rows, self.n_compared = order[: len(examples)], len(examples)
        places = {int(row): at for at, row in enumerate(rows)}
        own = np.array([places.get(row, -1) if name == "train" else -1 for name, row in queries], np.int64)
        nearest, distances = find_nearest(np.stack(list(queries.values())), examples, k=N_NEAREST, own=own)
        for key, near, far in zip(queries, rows[nearest].tolist(), distances.tolist(), strict=True):
            self._found[key] = [Neighbour(*one) for one in zip(near, far, strict=True) if np.isfinite(one[1])]

    def of(self, name: str, rows: NDArray[np.int64]) -> list[list[Neighbour]]:
        """Of each example that was looked for the nearest, nearest first; none of others."""
        return [self._found.get((name, int(row)), []) for row in rows]

    def labels_of(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [n, 3]: the class numbers of the nearest, -1 where there are fewer."""
        train = self._finished.dataset.splits["train"]
        found = np.full((len(rows), N_NEAREST), -1, np.int64)
        for at, near in enumerate(self.of(name, rows)):
            for place, one in enumerate(near):
                found[at, place] = train.labels[train.rows[one.row]]
        return found

    def _see_in_time(
        self, split: Split, rows: NDArray[np.int64], until: float, *, cheap_s: float | None = None
    ) -> NDArray[np.float32]:
        """float32 [n, d] of the first of `rows`: as many as there is time for until `until`; with `cheap_s` as many as
        take no longer than that, or little of the processor."""
        size = max(int(np.prod(self._finished.measured.features.input_shape)), 1)
        most = int(np.clip(_BATCH_NUMBERS // size, 1, _MAX_BATCH))
        found: list[NDArray[np.float32]] = []
        began, began_cpu = time.monotonic(), time.process_time()
        n_done, n_next = 0, int(np.clip((until - began) / self._pace_s, 0, min(_FIRST, most)))
        while n_done < len(rows) and n_next:
            seen = self._see(split, rows[n_done : n_done + n_next])
            if seen is None:
                break
            found.append(seen)
            n_done += len(seen)
            spent, spent_cpu = time.monotonic() - began, time.process_time() - began_cpu
            self._pace_s = max(spent / n_done, 1e-9)
            n_left = (until - began - spent) / self._pace_s
            if cheap_s is not None:
                # On a machine that others use, too, the clock alone would leave a small network with hardly any.
                cheap = max(cheap_s / max(spent, 1e-9), _CHEAP_S / max(spent_cpu, 1e-9))
                n_left = min(n_left, n_done * cheap - n_done)
            n_next = int(np.clip(n_left, 0, most))
        return np.concatenate(found) if found else np.empty((0, 0), np.float32)

    def _see(self, split: Split, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
        inputs: Any = np.asarray(split.inputs[split.rows[rows]])
        seen = penultimate(self._finished.network, tf.constant(inputs, self._finished.measured.features.dtype))
        if seen is None:
            self.reason = (
                "the network is a class of your own, whose layers cannot be seen at work: there are no nearest "
                "training examples, and no label is doubted"
            )
        return seen
