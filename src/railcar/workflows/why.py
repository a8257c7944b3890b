"""One example of a finished model for its report: what it is, and what counted for the model's answer.

Owns their plain form, by the kind of data, and what is asked of the model. How weights are found is `explanation/`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np
import polars as pl
import tensorflow as tf
from numpy.typing import NDArray

from railcar.data.encode import to_tensors
from railcar.data.summary import spell_day
from railcar.data.types import Split
from railcar.evaluation.metrics import softmax
from railcar.explanation.gradcam import MapFinder
from railcar.explanation.occlusion import Answer, explain_image, explain_row, explain_text
from railcar.reporting.thumbnails import encode_picture
from railcar.workflows.results import Finished

MAX_LETTERS = 600
"""Of a text as it is shown; what counted in it is told of `_MAX_EXPLAINED`."""
_MAX_EXPLAINED = 4000
# Letters of the texts that are answered together; a row counts as so many.
_BATCH_LETTERS, _ROW_LETTERS = 50_000, 50
# Numbers of the images that are explained together.
_BATCH_NUMBERS, _MAX_BATCH = 400_000, 24


class OutOfTime(Exception):
    """The moment has come at which a report must be done."""


def show_inputs(finished: Finished, split: Split, indices: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The examples of these numbers, each {"picture": URI}, {"text": its first letters} or {"row": {column: value}}."""
    if not len(indices):
        return []
    inputs = split.raw_inputs(indices)
    if isinstance(inputs, np.ndarray):
        return [{"picture": encode_picture(image)} for image in inputs]
    if finished.dataset.features.kind == "text":
        return [{"text": text[:MAX_LETTERS]} for text in inputs["text"].fill_null("").to_list()]
    columns = (finished.dataset.features.encoding or {})["columns"]
    return [
        {"row": {one["name"]: _show_cell(row[one["name"]], one["type"]) for one in columns}}
        for row in inputs.to_dicts()
    ]


def _show_cell(cell: Any, type_: str) -> float | int | str | None:
    """A cell of a typed column (`storage/columns.py`) as people write it; None for a gap."""
    if cell is None or cell != cell:
        return None
    if type_ == "category":
        return str(cell)[:MAX_LETTERS]
    if type_ == "boolean":
        return "yes" if cell else "no"
    if type_ == "date":
        return spell_day(cell)
    number = float(f"{cell:.7g}")  # float32 has no more digits
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


class Whys:
    """Explains answers of `finished` about examples of one split, until the clock stands at `until`."""

    def __init__(self, finished: Finished, split: Split, until: float) -> None:
        self._finished, self._split, self._until = finished, split, until
        self._features = finished.dataset.features

    def explain(self, indices: NDArray[np.int64], answers: NDArray[np.integer] | None) -> list[dict[str, Any] | None]:
        """For each of the examples `indices` why the model answers `answers` [n], class numbers, None of a regression;
        None for those for which there was no time. Raises whatever the network raises."""
        if self._features.kind == "image":
            return self._explain_images(indices, np.asarray(answers))
        examples, chosen = self._read(indices), [None] * len(indices) if answers is None else answers.tolist()
        return self._explain_together(list(zip(examples, chosen, strict=True)))

    def _explain_together(self, pairs: Sequence[tuple[Any, int | None]]) -> list[dict[str, Any] | None]:
        """Texts or rows, with their answers. What is asked about all of them is asked together: encoding a few texts
        takes nearly as long as encoding many."""
        is_text = self._features.kind == "text"
        explain = self._explain_text if is_text else self._explain_row
        questions = [_list_questions(explain, *pair, self._features.n_outputs) for pair in pairs]
        asked = [question for some in questions for question in some]
        answers: list[NDArray[np.float32]] = []
        found: list[dict[str, Any] | None] = []
        with suppress(OutOfTime):
            for part in _cut(asked, len if is_text else lambda row: _ROW_LETTERS):
                answers += list((self._answer_texts if is_text else self._answer_rows)(part))
        told = iter(answers)
        for pair, some in zip(pairs, questions, strict=True):
            own = list(islice(told, len(some)))
            found.append(explain(_Told(own), *pair) if len(own) == len(some) else None)
        return found

    def _explain_images(self, indices: NDArray[np.int64], answers: NDArray[np.integer]) -> list[dict[str, Any] | None]:
        size = int(np.prod(self._features.image_shape))
        n_together = int(np.clip(_BATCH_NUMBERS // size, 1, _MAX_BATCH))
        found: list[dict[str, Any] | None] = []
        maps, longest_s = None, 0.0
        with suppress(OutOfTime):
            for start in range(0, len(indices), n_together):
                self._look_at_clock(longest_s)
                began = time.monotonic()
                images = np.asarray(self._read(indices[start : start + n_together]))
                maps = maps or MapFinder(self._finished.model, images[:1])
                self._look_at_clock()
                found += self._explain_batch(maps, images, answers[start : start + n_together])
                longest_s = time.monotonic() - began
        return found + [None] * (len(indices) - len(found))

    def _explain_batch(
        self, maps: MapFinder, images: NDArray[np.uint8], answers: NDArray[np.integer]
    ) -> list[dict[str, Any] | None]:
        heats = maps.explain(images, answers) if maps.has_map else np.zeros((len(images), 1, 1), np.float32)
        found: list[dict[str, Any] | None] = []
        for image, answer, heat in zip(images, answers, heats, strict=True):
            method = "grad-cam"
            if not heat.any():
                method, heat = "occlusion", self._cover(image, int(answer))
            found.append(None if heat is None else {"method": method, "heat": _to_rows(heat)})
        return found

    def _cover(self, image: NDArray[np.uint8], answer: int) -> NDArray[np.float32] | None:
        """By covering parts: [rows, columns], 0 to 1, or None where there is no time."""
        height, width, _ = self._features.image_shape
        try:
            heat = explain_image(self._answer_images, image, index=answer, network_size=(height, width))
        except OutOfTime:
            return None
        return np.maximum(heat, 0.0)

    def _explain_text(self, ask: Answer, text: str, answer: int | None) -> dict[str, Any]:
        pieces: list[list[Any]] = []
        n_letters = 0
        for piece, weight in explain_text(ask, text, index=answer):
            if n_letters + len(piece) > _MAX_EXPLAINED:
                pieces.append(["\u2026", 0.0])
                break
            pieces.append([piece, round(weight, 3)])
            n_letters += len(piece)
        return {"pieces": pieces}

    def _explain_row(self, ask: Answer, row: dict[str, Any], answer: int | None) -> dict[str, Any]:
        columns = (self._features.encoding or {})["columns"]
        # As the server does it (serving/explain.py): yes and no, and categories, become a gap.
        fills = {one["name"]: one["mean"] if one["type"] in ("number", "date") else None for one in columns}
        types = {one["name"]: one["type"] for one in columns}
        shown = []
        for name, _, weight in explain_row(ask, row, fills, index=answer):
            cell = _show_cell(row[name], types[name])
            shown.append([name, "" if cell is None else str(cell), round(weight, 3)])
        return {"columns": shown}

    def _read(self, indices: NDArray[np.int64]) -> Any:
        """Images uint8 [n, height, width, channels], a list of texts or of rows."""
        inputs = self._split.raw_inputs(indices)
        if isinstance(inputs, np.ndarray):
            return inputs
        return inputs["text"].fill_null("").to_list() if self._features.kind == "text" else inputs.to_dicts()

    def _answer_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._answer(tf.constant(images))

    def _answer_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._answer(tf.constant(texts, tf.string))

    def _answer_rows(self, rows: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
        columns = (self._features.encoding or {})["columns"]
        schema = {one["name"]: pl.String if one["type"] == "category" else pl.Float32 for one in columns}
        return self._answer(to_tensors(pl.DataFrame(list(rows), schema=schema), "table", self._features.encoding or {}))

    def _answer(self, tensors: Any) -> NDArray[np.float32]:
        """Probabilities [n, n_classes], or numbers [n, 1]."""
        self._look_at_clock()
        answers = np.asarray(self._finished.model(tensors, training=False))
        return answers if self._features.task == "regression" else softmax(answers)

    def _look_at_clock(self, needed_s: float = 0.0) -> None:
        if time.monotonic() + needed_s > self._until:
            raise OutOfTime


class _Told:
    """Answers that are known already, given in the order in which they were asked for."""

    def __init__(self, answers: Sequence[NDArray[np.float32]]) -> None:
        self._answers = iter(answers)

    def __call__(self, inputs: Any) -> NDArray[np.float32]:
        return np.stack([next(self._answers) for _ in inputs])


def _list_questions(explain: Callable[..., Any], example: Any, answer: int | None, n_outputs: int) -> list[Any]:
    """All that `explain` asks to explain the `example`: it does not depend on the answers."""
    asked: list[Any] = []

    def note(inputs: Any) -> NDArray[np.float32]:
        asked.extend(inputs)
        return np.zeros((len(inputs), n_outputs), np.float32)

    explain(note, example, answer)
    return asked


def _cut(questions: Sequence[Any], size: Callable[[Any], int]) -> Iterator[list[Any]]:
    """Parts that are not too large to be answered at once."""
    part: list[Any] = []
    n_letters = 0
    for question in questions:
        if part and n_letters + size(question) > _BATCH_LETTERS:
            yield part
            part, n_letters = [], 0
        part.append(question)
        n_letters += size(question)
    if part:
        yield part


def _to_rows(heat: NDArray[np.float32]) -> list[list[float]]:
    return [[round(one, 2) for one in row] for row in heat.tolist()]
