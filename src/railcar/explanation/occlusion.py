"""What counted for an answer, found by covering parts of the input one after the other and asking again.

Occlusion, of images as in Zeiler & Fergus 2014 (arXiv:1311.2901, section 4.2), and its like for words and columns. It
needs answers only, no gradients: so it works with LiteRT and ONNX Runtime, too.

`answer` takes raw inputs (images uint8 [n, height, width, channels], texts, rows) and gives float32 [n, n_outputs]:
probabilities, or numbers [n, 1] of a regression. `index` is the label whose probability is explained; None of a
regression. A weight says how much covering a part lowers the label's log-odds (of a regression the number), divided by
the largest absolute value, -1 to 1: above 0 speaks for the label. All are 0 where nothing that is covered changes the
answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.artifact.standalone import UNSPACED

Answer = Callable[[Any], NDArray[np.float32]]

MAX_WORDS = 200
"""Words that are looked at one by one; a longer text is looked at by so many spans."""
MAX_LETTERS = 800_000
"""Letters of all the questions about one text, where that leaves it `_FEW_SPANS`: n-grams of so many take 2 s."""
_FEW_SPANS = 8

# Windows of 2 x 2 cells, one cell apart: 169 of them over 14 x 14 cells, 100 over 11 x 11 for networks that are slow.
# Larger windows found parts whose removal lowered the label's log-odds less, of digits and of photos.
_CELLS, _FEW_CELLS, _WINDOW = 14, 11, 2
_LARGE = 64 * 64
_BATCH, _SMALL_BATCH = 32, 8
# Networks are often that sure: of a fifth of the penguins' rows, all other labels have less than 1e-6 together.
_LEAST = 1e-9
_TINY_ODDS, _TINY_SHARE = 1e-3, 1e-5

_TAG = r"<[A-Za-z/!][^>]{0,300}>"
_WORD = re.compile(f"{_TAG}|(?P<word>{UNSPACED.pattern}|<?[^\\s<{UNSPACED.pattern[1:]}+|<)")


def explain_image(
    answer: Answer, pixels: NDArray[np.uint8], *, index: int | None, network_size: tuple[int, int]
) -> NDArray[np.float32]:
    """float32 [rows, columns] that lies over the whole of `pixels` (uint8 [height, width, channels], no larger than
    needed): for each cell the mean of the windows over it. At most 14 x 14 cells and 169 answers; 11 x 11 and 100 where
    `network_size`, (height, width) inside the network, is large.

    A window shows the picture blurred: a black background stays black, where gray patches would be things to see.
    """
    is_large = network_size[0] * network_size[1] > _LARGE
    n_cells = _FEW_CELLS if is_large else _CELLS
    rows, columns = _cut(pixels.shape[0], n_cells), _cut(pixels.shape[1], n_cells)
    blurred = _blur(pixels, n_cells)
    windows = [(top, left) for top in _place(rows) for left in _place(columns)]

    def cover(window: tuple[slice, slice]) -> NDArray[np.uint8]:
        where = tuple(slice(edges[at.start], edges[at.stop]) for edges, at in zip((rows, columns), window, strict=True))
        covered = pixels.copy()
        covered[where] = blurred[where]
        return covered

    batch_size = _SMALL_BATCH if is_large else _BATCH
    falls = _measure(answer, pixels, map(cover, windows), index, batch_size=batch_size, stack=np.stack)
    total, n_seen = np.zeros((2, len(rows) - 1, len(columns) - 1))
    for window, fall in zip(windows, falls, strict=True):
        total[window] += fall
        n_seen[window] += 1
    return _scale(total / n_seen).astype(np.float32)


def explain_text(answer: Answer, text: str, *, index: int | None) -> list[tuple[str, float]]:
    """(piece, weight) in order: words, and the gaps and HTML tags between them, whose weight is 0. Joined they are the
    text. Words stand between spaces; of scripts without spaces each character is one. Of more than `MAX_WORDS` several
    make a piece."""
    words = [found.span("word") for found in _WORD.finditer(text) if found["word"] is not None]
    spans = _join(words, min(MAX_WORDS, max(MAX_LETTERS // max(len(text), 1), _FEW_SPANS)))
    shorter = (f"{text[:start]} {text[end:]}" for start, end in spans)
    weights = _scale(_measure(answer, text, shorter, index))
    pieces, at = [], 0
    for (start, end), weight in zip(spans, weights, strict=True):
        pieces += [(text[at:start], 0.0), (text[start:end], float(weight))]
        at = end
    return [piece for piece in [*pieces, (text[at:], 0.0)] if piece[0]]


def explain_row(
    answer: Answer, row: Mapping[str, Any], fills: Mapping[str, Any], *, index: int | None
) -> list[tuple[str, str, float]]:
    """(column, its value as text, weight) of each column in `fills`, the largest weight first, whatever its sign.
    `fills` has what a column's value is replaced by: the mean of the training, or None, a gap. The text of a gap is
    empty."""
    asked = [name for name, fill in fills.items() if row.get(name) != fill]
    filled = ({**row, name: fills[name]} for name in asked)
    weights = dict(zip(asked, _scale(_measure(answer, dict(row), filled, index)), strict=True))
    found = [(name, _spell(row.get(name)), float(weights.get(name, 0.0))) for name in fills]
    return sorted(found, key=lambda one: -abs(one[2]))


def _measure(
    answer: Answer,
    whole: Any,
    covered: Iterator[Any],
    index: int | None,
    *,
    batch_size: int = _BATCH,
    stack: Callable[[Sequence[Any]], Any] = list,
) -> NDArray[np.float64]:
    """How much less the score of each of `covered` is than that of the `whole`, [n]; 0 for all where that is noise."""
    answers = [answer(stack([whole]))]
    while batch := list(islice(covered, batch_size)):
        answers.append(answer(stack(batch)))
    scores = _score(np.concatenate(answers), index)
    falls = np.nan_to_num(scores[0] - scores[1:], posinf=0.0, neginf=0.0)
    tiny = _TINY_ODDS if index is not None else _TINY_SHARE * float(np.abs(np.nan_to_num(scores)).max())
    return falls if np.abs(falls).max(initial=0.0) > tiny else np.zeros_like(falls)


def _score(answers: NDArray[np.float32], index: int | None) -> NDArray[np.float64]:
    """[n]: log-odds of the label, or the numbers. Of the other labels' sum, as 1 - p has lost what is left of float32
    near 1."""
    values = answers.astype(np.float64)
    if index is None:
        return values[:, 0]
    others = np.delete(values, index, axis=1).sum(axis=1)
    return np.log(np.maximum(values[:, index], _LEAST)) - np.log(np.maximum(others, _LEAST))


def _scale(falls: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divided by the largest absolute value."""
    return falls / (np.abs(falls).max(initial=0.0) or 1.0)


def _cut(length: int, n_cells: int) -> NDArray[np.intp]:
    """The edges of at most `n_cells` cells, in pixels."""
    return np.rint(np.linspace(0, length, min(n_cells, length) + 1)).astype(np.intp)


def _place(edges: NDArray[np.intp]) -> list[slice]:
    """The cells of each window along one side. Of few cells a window takes one: two would be most of the picture."""
    n_cells = len(edges) - 1
    size = _WINDOW if n_cells > 2 * _WINDOW else 1
    return [slice(at, at + size) for at in range(n_cells - size + 1)]


def _blur(pixels: NDArray[np.uint8], n_cells: int) -> NDArray[np.uint8]:
    """Means over squares as wide as a window, twice; beyond its edge the picture goes on as it is there."""
    found = pixels.astype(np.float64)
    for _ in range(2):
        for axis in (0, 1):
            found = _average(found, axis, max(round(pixels.shape[axis] / n_cells), 1))
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def _average(values: NDArray[np.float64], axis: int, reach: int) -> NDArray[np.float64]:
    """Each with `reach` neighbours on both sides along `axis`."""
    lines = np.moveaxis(values, axis, 0)
    edged = np.pad(lines, ((reach + 1, reach), (0, 0), (0, 0)), mode="edge").cumsum(axis=0)
    width = 2 * reach + 1
    return np.moveaxis((edged[width:] - edged[:-width]) / width, 0, axis)


def _join(words: Sequence[tuple[int, int]], n_most: int) -> list[tuple[int, int]]:
    """(start, end) of words -> of at most `n_most` spans of words."""
    size = max(-(-len(words) // n_most), 1)
    return [(words[at][0], words[min(at + size, len(words)) - 1][1]) for at in range(0, len(words), size)]


def _spell(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)
