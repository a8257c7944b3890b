"""Labels in doubt: planted wrong labels are found, right ones mostly left alone, and a weak model judges nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from railcar.data.fingerprint import hash_examples
from railcar.data.noise import describe_images, describe_rows, judge_labels, judge_targets, judge_texts
from railcar.data.prepare import open_dataset
from railcar.data.sources.rows import hash_rows
from railcar.storage.columns import Column
from tests.synthetic import make_images


def flip(labels: NDArray[np.int64], n_classes: int, n: int) -> tuple[NDArray[np.int64], set[int]]:
    """`labels` with `n` of them wrong, and which."""
    generator = np.random.default_rng(1)
    rows = generator.choice(len(labels), n, replace=False)
    wrong = labels.copy()
    wrong[rows] = (wrong[rows] + generator.integers(1, n_classes, n)) % n_classes
    return wrong, set(rows.tolist())


def test_wrong_labels_of_images_are_found_with_the_right_one_suggested() -> None:
    images, labels = make_images(600)
    labels = labels.astype(np.int64)
    wrong, rows = flip(labels, 3, 12)
    verdict = judge_labels(describe_images(images), wrong, hash_examples(images))

    assert len(rows & set(verdict.rows.tolist())) >= 11
    assert len(set(verdict.rows.tolist()) - rows) <= 1
    assert verdict.suggested[0] == labels[verdict.rows[0]]
    assert 0.9 <= verdict.confidence[0] <= 1


def test_three_quarters_of_wrong_labels_of_text_messages_are_found() -> None:
    split = open_dataset("sms-spam", label="label").splits["train"]
    assert split.raw is not None
    labels = np.asarray(split.labels).astype(np.int64)
    hashes = hash_rows(split.raw)
    unique = np.sort(np.unique(hashes, return_index=True)[1])
    wrong, rows = flip(labels[unique], 2, len(unique) // 33)
    verdict = judge_texts(split.raw["text"][unique].to_list(), wrong, hashes[unique])

    found = set(verdict.rows.tolist())
    assert len(rows & found) >= 0.7 * len(rows)
    assert len(found - rows) <= 0.3 * len(found)


def test_a_swapped_label_of_a_table_is_found() -> None:
    split = open_dataset("penguins", label="species").splits["train"]
    assert split.raw is not None
    columns = [
        Column(name, "category" if values.dtype == pl.String else "number")
        for name, values in split.raw.to_dict().items()
    ]
    labels = np.asarray(split.labels).astype(np.int64)
    wrong, rows = flip(labels, 3, 8)
    verdict = judge_labels(describe_rows(split.raw, columns), wrong, hash_rows(split.raw))

    assert len(rows & set(verdict.rows.tolist())) >= 6
    assert len(set(verdict.rows.tolist()) - rows) <= 1


def test_of_a_regression_the_target_that_is_far_off_is_found() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 3)).astype(np.float32)
    targets = features @ np.array([3.0, -2.0, 0.5]) + generator.normal(size=300) * 0.1
    targets[41] += 30
    verdict = judge_targets(features, targets, np.arange(300, dtype=np.uint64))

    assert verdict.rows.tolist() == [41]
    assert verdict.suggested[0] == pytest.approx(targets[41] - 30, abs=3)


def test_labels_that_nothing_tells_are_not_judged() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (200, 8, 8, 1), dtype=np.uint8)
    verdict = judge_labels(describe_images(images), generator.integers(0, 3, 200), hash_examples(images))

    assert len(verdict.rows) == 0
    assert "too few to judge labels by it" in verdict.reason


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.arange(20) % 2, "20 examples are too few to judge"),
        (np.zeros(100, np.int64), "100 examples are too few to judge"),
        (np.arange(400) // 3, "134 classes are too many for a simple model"),
        (np.arange(200) // 4, "half of the classes have fewer than 6 examples"),
    ],
)
def test_what_cannot_be_judged_is_said(labels: NDArray[np.int64], reason: str) -> None:
    verdict = judge_labels(np.zeros((len(labels), 2), np.float32), labels, np.arange(len(labels), dtype=np.uint64))

    assert verdict.reason == reason


def test_equal_texts_do_not_speak_for_the_label_of_their_copy() -> None:
    texts = [f"good fine {i}" for i in range(60)] + [f"bad awful {i}" for i in range(60)]
    labels = np.repeat([0, 1], 60)
    # Ten copies under the wrong label would outvote what their words say, were they fitted on each other.
    texts += ["good fine copied words all"] * 10
    labels = np.concatenate([labels, np.ones(10, np.int64)])
    hashes = hash_rows(pl.DataFrame({"text": texts}))
    verdict = judge_texts(texts, labels, hashes)

    assert set(range(120, 130)) <= set(verdict.rows.tolist())
