"""What a finished model gets wrong, and why: its worst mistakes with what counted for them and the training examples
that are nearest, labels that look wrong, and which columns count.

Owns which examples are told of and how much time each part gets; where time or a network does not allow a part, it is
left out, and the report says so. A report never ends a training: whatever goes wrong in it is a note.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.types import Split
from railcar.evaluation.metrics import find_mistakes, in_unit, log_loss, softmax
from railcar.explanation.doubt import agree_with_neighbours, find_sure_mistakes
from railcar.recipe.schema import Recipe
from railcar.workflows.importance import measure_columns
from railcar.workflows.nearest import Nearest, Neighbour
from railcar.workflows.results import Finished
from railcar.workflows.why import Whys, show_inputs

MAX_MISTAKES, MAX_DOUBTFUL = 24, 12
N_EXPLAINED = 12
"""The first so many mistakes are explained, the others without: people look at the first."""
# When each part ends, as a share of the time; and what neighbours may take of it where they are not cheap: nothing of
# the first seconds, which are those of every short training.
_COLUMNS_END, _WHYS_END, _NEIGHBOURS_END = 0.3, 0.6, 0.9
_FOR_NEIGHBOURS, _SHORT_S = 0.3, 2.0
# Sure mistakes that are compared with their neighbours, for each that is told of.
_N_COMPARED = 2
# Root mean squared errors from which a regression's answer is called a mistake.
_FAR_OFF = 2.0


def explain(finished: Finished, recipe: Recipe, *, seconds: float) -> dict[str, Any]:
    """What report.json holds, plain values all. It takes about `seconds` at most, and is content with fewer neighbours
    and explanations where the network is slow.

    split           whose mistakes they are: test, else validation, else train
    n_mistakes      of a regression, the answers that are off by more than twice the root mean squared error
    mistakes        the worst, at most 24: id, label, predicted, p_label, p_predicted, input, why, neighbours,
                    is_doubtful; by log loss, of a regression the largest errors, without probabilities
    doubtful        labels of test and validation that look wrong, at most 12, with the split of each
    importance      of a table column, drop and deviation of accuracy or mae, as importance_of says
    n_compared      training examples that neighbours were looked for among
    notes           sentences on what could not be made
    """
    return _Report(finished, recipe, seconds).build()


class _Report:
    def __init__(self, finished: Finished, recipe: Recipe, seconds: float) -> None:
        self._finished = finished
        self._features = finished.dataset.features
        self._is_number = self._features.task == "regression"
        self._began, self._seconds = time.monotonic(), seconds
        self._seed = recipe.seed
        self._notes: list[str] = []
        splits = finished.dataset.splits
        self._split = splits.get("test") or splits.get("validation") or splits["train"]
        self._nearest = Nearest(finished, recipe.seed, seconds=_FOR_NEIGHBOURS * max(seconds - _SHORT_S, 0.0))

    def build(self) -> dict[str, Any]:
        worst, n_mistakes = self._find_worst()
        suspects = self._find_suspects()
        importance = self._measure_columns() if self._features.kind == "table" else []
        whys = self._explain(worst[:N_EXPLAINED]) + [None] * len(worst[N_EXPLAINED:])
        with self._noting("the nearest training examples could not be found"):
            wanted = [(self._split.name, worst), *((split.name, rows) for split, rows in suspects)]
            self._nearest.look_for(wanted, until=self._at(_NEIGHBOURS_END))
        self._notes += [self._nearest.reason] if self._nearest.reason else []
        mistakes: list[dict[str, Any]] = []
        doubtful: list[dict[str, Any]] = []
        with self._noting("the mistakes could not be described"):
            mistakes = self._describe_mistakes(worst, whys)
        with self._noting("doubtful labels could not be described"):
            doubtful = self._describe_doubtful(suspects)
        found = {"split": self._split.name, "n_mistakes": n_mistakes, "mistakes": mistakes, "doubtful": doubtful}
        found |= {"importance": importance, "importance_of": self._features.measure}
        return {**found, "n_compared": self._nearest.n_compared, "notes": self._notes}

    def _at(self, share: float) -> float:
        return self._began + share * self._seconds

    @contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a user's network may raise anything
            reason = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:160] or type(error).__name__
            self._notes.append(f"{what}: {reason}")

    def _find_worst(self) -> tuple[NDArray[np.int64], int]:
        """The examples that are told of, worst first, and how many mistakes there are."""
        logits, labels = self._finished.logits(self._split), self._split.label_array()
        if not self._is_number:
            wrong = find_mistakes(logits, labels)
            return wrong[:MAX_MISTAKES], len(wrong)
        errors = np.abs(np.subtract(*in_unit(logits, labels, self._features.target)).astype(np.float64))
        errors = np.nan_to_num(errors, nan=np.inf)
        order = np.argsort(-errors, kind="stable")
        rmse = float(np.sqrt((errors**2).mean())) if len(errors) else 0.0
        return order[errors[order] > 0][:MAX_MISTAKES], int((errors > _FAR_OFF * rmse).sum())

    def _find_suspects(self) -> list[tuple[Split, NDArray[np.int64]]]:
        """Of test and validation the examples of whose labels the model is most sure that they are others."""
        found = []
        for name in () if self._is_number else ("test", "validation"):
            if split := self._finished.dataset.splits.get(name):
                logits, labels = self._finished.logits(split), split.label_array()
                rows = find_sure_mistakes(labels, softmax(logits), log_loss(logits, labels))
                found.append((split, rows[: _N_COMPARED * MAX_DOUBTFUL]))
        return found

    def _measure_columns(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        with self._noting("the importance of the columns could not be measured"):
            found, note = measure_columns(self._finished, self._split, self._seed, self._at(_COLUMNS_END))
            self._notes += [note] if note else []
        return found

    def _describe_mistakes(self, worst: NDArray[np.int64], whys: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
        answers = self._tell_answers(self._split, worst)
        inputs = show_inputs(self._finished, self._split, worst)
        neighbours = self._nearest.of(self._split.name, worst)
        is_doubtful = self._doubt(self._split, worst)
        pictures = self._show_neighbours(neighbours)
        return [
            {**answer, "input": shown, "why": why, "neighbours": near, "is_doubtful": bool(doubtful)}
            for answer, shown, why, near, doubtful in zip(answers, inputs, whys, pictures, is_doubtful, strict=True)
        ]

    def _describe_doubtful(self, suspects: list[tuple[Split, NDArray[np.int64]]]) -> list[dict[str, Any]]:
        found: list[tuple[float, Split, int]] = []
        for split, rows in suspects:
            doubtful = rows[self._doubt(split, rows)]
            logits, labels = self._finished.logits(split)[doubtful], split.label_array()[doubtful]
            found += [
                (loss, split, int(row)) for loss, row in zip(log_loss(logits, labels).tolist(), doubtful, strict=True)
            ]
        described = []
        for _, split, row in sorted(found, key=lambda one: -one[0])[:MAX_DOUBTFUL]:
            rows = np.array([row])
            answer = self._tell_answers(split, rows)[0]
            del answer["p_label"]
            near = self._show_neighbours(self._nearest.of(split.name, rows))[0]
            shown = show_inputs(self._finished, split, rows)[0]
            described.append({"split": split.name, **answer, "input": shown, "neighbours": near})
        return described

    def _tell_answers(self, split: Split, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Id, label and what the model says of each."""
        logits, labels = self._finished.logits(split)[rows], split.label_array()[rows]
        ids = [split.id_of(int(row)) for row in rows]
        if self._is_number:
            predicted, targets = in_unit(logits, labels, self._features.target)
            pairs = zip(ids, targets, predicted, strict=True)
            return [{"id": id_, "label": _plain(target), "predicted": _plain(value)} for id_, target, value in pairs]
        names, probabilities = self._features.class_names, softmax(logits)
        found = []
        for id_, label, shares in zip(ids, labels, probabilities, strict=True):
            answer = int(shares.argmax())
            told = {"id": id_, "label": names[label], "predicted": names[answer]}
            found.append({**told, "p_label": _round(shares[label]), "p_predicted": _round(shares[answer])})
        return found

    def _doubt(self, split: Split, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each label is doubtful: the model is sure of another, and the nearest training examples have that."""
        if self._is_number or not len(rows):
            return np.zeros(len(rows), bool)
        logits, labels = self._finished.logits(split)[rows], split.label_array()[rows]
        is_sure = np.zeros(len(rows), bool)
        is_sure[find_sure_mistakes(labels, softmax(logits), log_loss(logits, labels))] = True
        is_sure &= ~self._lacks_values(split, rows)
        near = self._nearest.labels_of(split.name, rows)
        return is_sure & agree_with_neighbours(logits.argmax(axis=1), near)

    def _lacks_values(self, split: Split, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of which rows of a table most columns are empty: they say nothing against their labels."""
        inputs = split.raw_inputs(rows)
        if self._features.kind != "table" or isinstance(inputs, np.ndarray):
            return np.zeros(len(rows), bool)
        names = [one["name"] for one in (self._features.encoding or {})["columns"]]
        is_empty = np.stack([inputs[name].is_null().to_numpy() for name in names], axis=1)
        return is_empty.mean(axis=1) > 0.5

    def _explain(self, rows: NDArray[np.int64]) -> list[dict[str, Any] | None]:
        answers = None if self._is_number else self._finished.logits(self._split)[rows].argmax(axis=1)
        found: list[dict[str, Any] | None] = [None] * len(rows)
        with self._noting("what counted for the answers could not be found"):
            found = Whys(self._finished, self._split, until=self._at(_WHYS_END)).explain(rows, answers)
            if None in found:
                n = sum(one is not None for one in found)
                self._notes.append(f"what counted is told of {n} of {len(found)} answers: there was no time for more")
        return found

    def _show_neighbours(self, neighbours: list[list[Neighbour]]) -> list[list[dict[str, Any]]]:
        """As the report has them; each example is looked up once."""
        train = self._finished.dataset.splits["train"]
        rows = np.unique([one.row for near in neighbours for one in near]).astype(np.int64)
        inputs = dict(zip(rows.tolist(), show_inputs(self._finished, train, rows), strict=True))
        labels = self._tell_labels(train, rows)
        return [
            [
                {
                    "id": train.id_of(one.row),
                    "label": labels[one.row],
                    "input": inputs[one.row],
                    "distance": round(one.distance, 4),
                }
                for one in near
            ]
            for near in neighbours
        ]

    def _tell_labels(self, split: Split, rows: NDArray[np.int64]) -> dict[int, str | float | None]:
        labels = np.asarray(split.labels[split.rows[rows]])
        if self._is_number:
            mean, std = self._features.target or (0.0, 1.0)
            return {int(row): _plain(label * std + mean) for row, label in zip(rows, labels, strict=True)}
        return {int(row): self._features.class_names[label] for row, label in zip(rows, labels, strict=True)}


def _plain(value: Any) -> float | None:
    """A float32 as a number with the digits that it has; None for what is no number, which JSON does not know."""
    return float(f"{float(value):.7g}") if np.isfinite(value) else None


def _round(probability: Any) -> float:
    return round(float(probability), 6) if np.isfinite(probability) else 0.0
