"""One data set under examination: the content, labels and names of its examples, all splits in one row of numbers.

Owns that row: example number k is an example of a split. What is made of it is `doctor.py`'s and `repeats.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.decoding import EncodedImages
from railcar.data.findings import Example
from railcar.data.fingerprint import hash_examples
from railcar.data.types import Dataset

MAX_NAMED = 3
MAX_EXAMPLES = 24

NameExample = Callable[[str, int], str]
"""(split, index) -> the file of an example, or its file and line."""


@dataclass(frozen=True)
class Case:
    """`name_example` says where an example is; without it, it is called by its id."""

    dataset: Dataset
    name_example: NameExample | None = None
    _names: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def starts(self) -> dict[str, int]:
        """Of each split, the number of its first example."""
        starts, n = {}, 0
        for name, split in self.dataset.splits.items():
            starts[name] = n
            n += len(split)
        return starts

    @cached_property
    def side_of(self) -> NDArray[np.int64]:
        """int64 [n]: of each example, the number of its split."""
        return np.repeat(np.arange(len(self.dataset.splits)), [len(one) for one in self.dataset.splits.values()])

    @cached_property
    def labels(self) -> NDArray[Any]:
        """int64 [n] class numbers, or float64 [n] targets of a regression."""
        labels = np.concatenate([split.label_array() for split in self.dataset.splits.values()])
        return labels.astype(np.int64 if self.dataset.features.class_names else np.float64)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """uint64 [n]: of the examples' content as the model sees it, before its encoding."""
        known: dict[int, NDArray[np.uint64]] = {}
        parts = []
        for split in self.dataset.splits.values():
            whole = split.inputs if split.raw is None else split.raw
            if id(whole) not in known:
                known[id(whole)] = self._hash(whole)
            parts.append(known[id(whole)][split.rows])
        return np.concatenate(parts)

    def _hash(self, whole: Any) -> NDArray[np.uint64]:
        if isinstance(whole, EncodedImages):
            return np.asarray(whole.hashes)
        if isinstance(whole, np.ndarray):
            return hash_examples(whole)
        from railcar.data.sources.rows import hash_rows

        return hash_rows(whole)

    @property
    def noun(self) -> str:
        """What one example is called."""
        return {"image": "image", "text": "text", "table": "row"}[self.dataset.features.kind]

    def count(self, n: int) -> str:
        """ "1 image", "1,234 images"."""
        return f"{n:,} {self.noun if n == 1 else self.dataset.features.noun}"

    def example(self, number: int) -> Example:
        names = list(self.starts)
        split = names[int(self.side_of[number])]
        index = int(number) - self.starts[split]
        if number not in self._names:
            ids = self.dataset.splits[split]
            self._names[number] = self.name_example(split, index) if self.name_example else ids.id_of(index)
        return Example(split, index, self._names[number])

    def examples(self, numbers: Sequence[int] | NDArray[np.int64], limit: int = MAX_EXAMPLES) -> tuple[Example, ...]:
        return tuple(self.example(int(number)) for number in numbers[:limit])

    def name_some(self, numbers: Sequence[int] | NDArray[np.int64]) -> str:
        """The first names, for a finding."""
        shown = ", ".join(self.example(int(number)).name for number in numbers[:MAX_NAMED])
        return shown + (", …" if len(numbers) > MAX_NAMED else "")

    def name_class(self, number: int) -> str:
        return self.dataset.features.class_names[int(self.labels[number])]
