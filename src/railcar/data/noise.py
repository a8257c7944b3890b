"""Labels that look wrong: examples to which a cheap model, that was not fitted on them, gives another label with
confidence. Plain NumPy: no network is trained.

Owns the features, the models and the bar. Images and tables: least squares on standardised features and random ReLU
features of them. Texts: naive Bayes on words and pairs of words. Each example is judged by models fitted on four fifths
of the others; equal examples are judged together. After confident learning (Northcutt, Jiang and Chuang, 2021,
https://arxiv.org/abs/1911.00068), with a bar that is the same for all classes. What is found are candidates: a rare but
right example looks like a wrong label, too.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from railcar.data.fingerprint import mix
from railcar.data.summary import count_values

if TYPE_CHECKING:
    import polars as pl

    from railcar.storage.columns import Column

MAX_EXAMPLES = 8_000
MIN_EXAMPLES = 60
MIN_PER_CLASS = 6
MAX_CLASSES = 100
N_FOLDS = 5
# Of the errors of always naming the most frequent label, how many a model may make and still judge others.
MAX_ERRORS_LEFT = 0.5
MIN_CONFIDENCE = 0.9
MAX_OWN = 0.05
N_NEIGHBOURS = 7
MIN_AGREE = 5
# Robust standard deviations of a regression's residuals; and the share of variance that must be explained.
MIN_OUTLIER = 8.0
MIN_R2 = 0.5
_SIDE = 12
_N_RANDOM = 512
_MAX_WORDS = 200
_N_BUCKETS = 1 << 17
_MAX_COUNTS = 1 << 23
_N_FREQUENT = 20
_MAX_COLUMNS = 400
_RIDGES = (1e-3, 1e-2, 1e-1)
_SCALES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)


@dataclass(frozen=True)
class Verdict:
    """What the cheap model says. `rows` int64 [k] are candidates, the most certain first, with the `suggested` class
    number (of a regression the value) and its probability `confidence` (of a regression NaN). `score` is the model's
    accuracy out of fold, of a regression the share of the spread that it explains; `reason` says why nothing was
    judged, and is empty when it was."""

    rows: NDArray[np.int64]
    suggested: NDArray[np.float64]
    confidence: NDArray[np.float64]
    score: float | None
    n_judged: int
    reason: str = ""


def judge_labels(features: NDArray[np.float32], labels: NDArray[np.int64], hashes: NDArray[np.uint64]) -> Verdict:
    """Candidates of a classification: `features` float32 [n, d] of `describe_images` or `describe_rows`, `labels` [n],
    `hashes` uint64 [n] of the examples' content."""
    if reason := _find_obstacle(labels):
        return _nothing(reason, len(labels))
    folds = _draw_folds(hashes)
    target = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    wide = _widen(features)
    verdict = _choose_candidates(_predict_out_of_fold(wide, target, folds), labels)
    agreed = _agree_with_neighbours(wide[:, : features.shape[1]], labels, hashes, verdict)
    return replace(
        verdict, rows=verdict.rows[agreed], suggested=verdict.suggested[agreed], confidence=verdict.confidence[agreed]
    )


def judge_texts(texts: Sequence[str], labels: NDArray[np.int64], hashes: NDArray[np.uint64]) -> Verdict:
    """The same for texts."""
    if reason := _find_obstacle(labels):
        return _nothing(reason, len(labels))
    words, starts = _hash_words(texts)
    return _choose_candidates(_count_out_of_fold(words, starts, labels, _draw_folds(hashes)), labels)


def judge_targets(features: NDArray[np.float32], targets: NDArray[np.float64], hashes: NDArray[np.uint64]) -> Verdict:
    """Candidates of a regression: targets far from what the rest of the row says."""
    n, spread = len(targets), float(targets.std())
    if n < MIN_EXAMPLES or not spread:
        return _nothing(f"{n:,} examples are too few to judge", n)
    scaled = ((targets - targets.mean()) / spread).astype(np.float32)[:, None]
    predicted = _predict_out_of_fold(_widen(features), scaled, _draw_folds(hashes))[:, 0]
    residual = scaled[:, 0] - predicted
    off = np.abs(residual - np.median(residual))
    unit = 1.4826 * float(np.median(off))
    # Medians, not means: what is far off must not hide that all else is explained.
    usual = 1.4826 * float(np.median(np.abs(scaled - np.median(scaled))))
    score = 1 - (unit / usual) ** 2 if usual else 0.0
    if score < MIN_R2 or not unit:
        return _nothing(f"a simple model explains too little of the targets ({max(score, 0):.0%})", n, score)
    rows = np.flatnonzero(off > MIN_OUTLIER * unit)
    rows = rows[np.argsort(-off[rows], kind="stable")]
    suggested = predicted[rows].astype(np.float64) * spread + targets.mean()
    return Verdict(rows, suggested, np.full(len(rows), np.nan), score, n)


def _nothing(reason: str, n: int, score: float | None = None) -> Verdict:
    empty = np.empty(0)
    return Verdict(np.empty(0, np.int64), empty, empty, score, n, reason)


def _find_obstacle(labels: NDArray[np.int64]) -> str:
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    if len(labels) < MIN_EXAMPLES or len(counts) < 2:
        return f"{len(labels):,} examples are too few to judge"
    if len(counts) > MAX_CLASSES:
        return f"{len(counts):,} classes are too many for a simple model"
    if np.median(counts) < MIN_PER_CLASS:
        return f"half of the classes have fewer than {MIN_PER_CLASS} examples"
    return ""


def _draw_folds(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """int64 [n]: by content, so that of two equal examples none speaks for the other's label."""
    return (mix(hashes) % np.uint64(N_FOLDS)).astype(np.int64)


def _choose_candidates(predicted: NDArray[np.float32], labels: NDArray[np.int64]) -> Verdict:
    """`predicted` [n, k] are scores out of fold, the highest for the most likely class."""
    n = len(labels)
    said = predicted.argmax(axis=1)
    score = float((said == labels).mean())
    majority = float(np.bincount(labels).max() / n)
    if 1 - score > MAX_ERRORS_LEFT * (1 - majority):
        return _nothing(f"a simple model is right on {score:.0%} only: too few to judge labels by it", n, score)
    probabilities = _calibrate(predicted, labels)
    row = np.arange(n)
    confidence, own = probabilities[row, said], probabilities[row, labels]
    rows = np.flatnonzero((said != labels) & (confidence >= MIN_CONFIDENCE) & (own <= MAX_OWN))
    rows = rows[np.argsort(own[rows] - confidence[rows], kind="stable")]
    return Verdict(rows, said[rows].astype(np.float64), confidence[rows].astype(np.float64), score, n)


def _calibrate(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64 [n, k]: the softmax of the scores times whichever scale gives the labels the highest probability. A label
    counts with at least 1%, so that the wrong ones among them do not make all others doubtful."""

    def to_probabilities(scale: float) -> NDArray[np.float64]:
        powers = scale * (scores - scores.max(axis=1, keepdims=True)).astype(np.float64)
        exponents = np.exp(powers)
        return exponents / exponents.sum(axis=1, keepdims=True)

    row = np.arange(len(labels))
    losses = [-np.log(np.maximum(to_probabilities(scale)[row, labels], 0.01)).mean() for scale in _SCALES]
    return to_probabilities(_SCALES[int(np.argmin(losses))])


# ---- least squares


def describe_images(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [n, d]: copies of at most 12 x 12 places of uint8 [n, height, width, channels], each a mean."""
    n, height, width, channels = images.shape
    down, across = _averages(height), _averages(width)
    small = np.empty((n, len(down), len(across), channels), np.float32)
    step = max(1, (1 << 24) // max(1, height * width * channels))
    for start in range(0, n, step):
        block = images[start : start + step].astype(np.float32)
        small[start : start + step] = np.einsum("yh,nhwc,xw->nyxc", down, block, across, optimize=True)
    return small.reshape(n, -1)


def _averages(length: int) -> NDArray[np.float32]:
    """float32 [places, length]: each row the mean over its part of the length."""
    places = min(length, _SIDE)
    edges = np.linspace(0, length, places + 1)
    at = np.arange(length)
    covered = np.minimum(at[None] + 1, edges[1:, None]) - np.maximum(at[None], edges[:-1, None])
    weights = np.maximum(covered, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def describe_rows(frame: pl.DataFrame, columns: Sequence[Column]) -> NDArray[np.float32]:
    """float32 [n, d]: numbers as they are with a sign for a gap, categories as one of their most frequent values."""
    import polars as pl

    parts: list[NDArray[np.float32]] = []
    for column in columns:
        if sum(part.shape[1] for part in parts) >= _MAX_COLUMNS:
            break
        values = frame[column.name]
        if values.dtype == pl.String:
            known = [word for word, _ in count_values(values.drop_nulls())[:_N_FREQUENT]]
            if known:
                parts.append(np.stack([(values == word).fill_null(False).to_numpy() for word in known], axis=1))
        else:
            numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
            is_there = np.isfinite(numbers)
            middle = float(np.median(numbers[is_there])) if is_there.any() else 0.0
            parts.append(np.stack([np.where(is_there, numbers, middle), ~is_there], axis=1))
    empty = np.zeros((frame.height, 1), np.float32)
    return np.concatenate([empty, *(part.astype(np.float32) for part in parts)], axis=1)


def _widen(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standardised features, random ReLU features of them, and a one: float32 [n, wider]. The same for the same
    shape."""
    centred = features - features.mean(axis=0)
    # What hardly varies (the edge of a digit's image) would be noise at full volume.
    floor = 0.1 * float(np.sqrt((centred**2).mean())) if features.shape[1] > _MAX_COLUMNS // 4 else 0.0
    scaled = np.clip(centred / (centred.std(axis=0) + floor + 1e-6), -5, 5).astype(np.float32)
    n, width = scaled.shape
    generator = np.random.default_rng(0)
    n_random = min(_N_RANDOM, max(16, n // 8))
    weights = generator.standard_normal((width, n_random), np.float32) / np.float32(np.sqrt(width))
    shifts = generator.standard_normal(n_random, np.float32) * np.float32(0.5)
    return np.concatenate([scaled, np.maximum(scaled @ weights + shifts, 0), np.ones((n, 1), np.float32)], axis=1)


def _predict_out_of_fold(
    features: NDArray[np.float32], target: NDArray[np.float32], folds: NDArray[np.int64]
) -> NDArray[np.float32]:
    """float32 [n, k]: of each row what least squares on the other folds says; of three ridges the one that is nearest
    to the targets."""
    parts = [np.flatnonzero(folds == fold) for fold in range(N_FOLDS)]
    grams = [features[rows].T @ features[rows] for rows in parts]
    products = [features[rows].T @ target[rows] for rows in parts]
    whole, product = sum(grams[1:], grams[0]), sum(products[1:], products[0])
    best, least = np.zeros_like(target), np.inf
    for ridge in _RIDGES:
        predicted = np.zeros_like(target)
        for rows, gram, part in zip(parts, grams, products, strict=True):
            matrix = whole - gram
            matrix[np.diag_indices_from(matrix)] += ridge * len(features) + 1e-3
            predicted[rows] = features[rows] @ np.linalg.solve(matrix, product - part)
        error = float(((predicted - target) ** 2).mean())
        if error < least:
            best, least = predicted, error
    return best


def _agree_with_neighbours(
    features: NDArray[np.float32], labels: NDArray[np.int64], hashes: NDArray[np.uint64], verdict: Verdict
) -> NDArray[np.bool_]:
    """bool [k]: whether most of the examples nearest to a candidate, equal ones left out, have the suggested label."""
    agreed = np.zeros(len(verdict.rows), np.bool_)
    squares = (features**2).sum(axis=1)
    for start in range(0, len(agreed), 256):
        rows = verdict.rows[start : start + 256]
        distances = squares - 2 * features[rows] @ features.T
        distances[hashes[rows][:, None] == hashes] = np.inf
        nearest = np.argpartition(distances, N_NEIGHBOURS, axis=1)[:, :N_NEIGHBOURS]
        n_agree = (labels[nearest] == verdict.suggested[start : start + 256, None]).sum(axis=1)
        agreed[start : start + 256] = n_agree >= MIN_AGREE
    return agreed


# ---- naive Bayes


def _hash_words(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hashes of all words and pairs of neighbours, uint64, and where those of each text start, int64 [n + 1]. Of a
    long text the first 200 words count, each word once."""
    import re

    known: dict[str, int] = {}
    hashed, starts = [], np.zeros(len(texts) + 1, np.int64)
    for index, text in enumerate(texts):
        words = re.findall(r"\w+|[^\w\s]", text[: 20 * _MAX_WORDS].lower())[:_MAX_WORDS]
        for word in words:
            if word not in known:
                known[word] = zlib.crc32(word.encode("utf-8", "replace")) + 1
        codes = np.array([known[word] for word in words], np.uint64)
        pairs = codes[:-1] * np.uint64(0x9E3779B97F4A7C15) + codes[1:]
        both = np.unique(np.concatenate([codes, pairs]))
        hashed.append(both)
        starts[index + 1] = starts[index] + len(both)
    return mix(np.concatenate(hashed) if hashed else np.empty(0, np.uint64)), starts


def _count_out_of_fold(
    words: NDArray[np.uint64], starts: NDArray[np.int64], labels: NDArray[np.int64], folds: NDArray[np.int64]
) -> NDArray[np.float32]:
    """float32 [n, k]: the mean over a text's words of how much more likely each is in each class, times the square root
    of their number; and the class' own share."""
    n_classes = int(labels.max()) + 1
    n_buckets = min(_N_BUCKETS, max(1 << 10, _MAX_COUNTS // n_classes))
    buckets = (words % np.uint64(n_buckets)).astype(np.int64)
    lengths = np.diff(starts)
    text_of = np.repeat(np.arange(len(labels)), lengths)
    cells = labels[text_of] * n_buckets + buckets
    size = n_classes * n_buckets
    whole = np.bincount(cells, minlength=size).astype(np.float32)
    scores = np.zeros((len(labels), n_classes), np.float32)
    for fold in range(N_FOLDS):
        of_fold = folds[text_of] == fold
        counts = (whole - np.bincount(cells[of_fold], minlength=size)).reshape(n_classes, n_buckets)
        logs = np.log(counts + 0.3) - np.log(counts.sum(axis=1, keepdims=True) + 0.3 * n_buckets)
        logs -= logs.mean(axis=0)
        shares = np.bincount(labels[folds != fold], minlength=n_classes) + 1.0
        rows = np.flatnonzero(folds == fold)
        for number in range(n_classes):
            sums = np.bincount(text_of[of_fold], weights=logs[number][buckets[of_fold]], minlength=len(labels))[rows]
            scores[rows, number] = sums / np.sqrt(np.maximum(lengths[rows], 1)) + 0.3 * np.log(shares[number])
    return scores
