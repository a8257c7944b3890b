from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from railcar.data.pipeline import Batches, iterate, prefetch
from railcar.data.prepare import open_arrays
from railcar.data.types import Split


@pytest.fixture
def split(make: SimpleNamespace) -> Split:
    return open_arrays(*make.digits(100), validation=("last", 23)).splits["train"]


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_chunk_is_its_batches_one_after_another(split: Split, shuffle: bool) -> None:
    batches = Batches(split, 16, seed=5, shuffle=shuffle)
    chunk = batches.chunk(3, 9)
    images, labels = chunk.inputs, chunk.labels
    assert (chunk.first_step, len(chunk), chunk.draws) == (3, 9, None)
    assert images.shape == (9, 16, 4, 4, 1) and images.dtype == np.uint8
    assert labels.shape == (9, 16) and labels.dtype == np.int32
    for step in range(3, 12):
        rows = Batches(split, 16, seed=5, shuffle=shuffle).rows(step)
        np.testing.assert_array_equal(images[step - 3], split.inputs[rows])
        np.testing.assert_array_equal(labels[step - 3], split.labels[rows])


def test_every_example_comes_once_an_epoch_across_the_ends_of_epochs(split: Split) -> None:
    batches = Batches(split, 10, seed=0, shuffle=True)
    rows = np.concatenate([batches.rows(step) for step in range(77)])
    epochs = rows.reshape(10, 77)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), split.rows)
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 10
    assert batches.steps_per_epoch == 7.7


def test_without_shuffling_the_file_order_comes_round_and_round(split: Split) -> None:
    batches = Batches(split, 10, seed=0, shuffle=False)
    rows = np.concatenate([batches.rows(step) for step in range(20)])
    np.testing.assert_array_equal(rows, np.arange(200) % 77)


def test_another_seed_is_another_order_and_the_same_seed_the_same(split: Split) -> None:
    first, again, other = (Batches(split, 77, seed).rows(0).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_a_batch_larger_than_the_split_is_full(split: Split) -> None:
    rows = Batches(split, 200, seed=0).rows(1)
    assert len(rows) == 200
    assert np.bincount(rows).max() <= 4


def test_steps_may_be_asked_for_in_any_order(split: Split) -> None:
    batches = Batches(split, 10, seed=0)
    late, early = batches.rows(70).tolist(), batches.rows(1).tolist()
    assert batches.rows(1).tolist() == early and batches.rows(70).tolist() == late


def test_iterating_has_every_example_once_in_order(split: Split) -> None:
    pieces = list(iterate(split, 30))
    assert [len(labels) for _, labels in pieces] == [30, 30, 17]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in pieces]), split.label_array())
    np.testing.assert_array_equal(np.concatenate([images for images, _ in pieces]), split.inputs[split.rows])


def test_reading_ahead_gives_the_plan_in_order(split: Split) -> None:
    batches = Batches(split, 10, seed=0)
    plan = [(0, 3), (3, 3), (6, 1)]
    for (first_step, n_steps), chunk in zip(plan, prefetch(batches, plan), strict=True):
        expected = batches.chunk(first_step, n_steps)
        assert chunk.first_step == first_step
        np.testing.assert_array_equal(chunk.inputs, expected.inputs)
        np.testing.assert_array_equal(chunk.labels, expected.labels)
    assert list(prefetch(batches, [])) == []


class FailingBatches(Batches):
    def chunk(self, first_step: int, n_steps: int):
        if first_step == 4:
            raise OSError("the disk is gone")
        return super().chunk(first_step, n_steps)


def test_an_error_in_reading_is_raised_where_its_chunk_was_due(split: Split) -> None:
    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        for chunk in prefetch(FailingBatches(split, 10, seed=0), [(0, 2), (2, 2), (4, 2), (6, 2)]):
            seen.append(chunk.first_step)
    assert seen == [0, 2]


def test_closing_early_ends_the_thread(split: Split) -> None:
    chunks = prefetch(Batches(split, 10, seed=0), ((step, 1) for step in range(10**9)))
    next(chunks)
    chunks.close()  # pyright: ignore[reportAttributeAccessIssue]
    time.sleep(0.05)
    assert not any(thread.name.startswith("railcar-read") for thread in threading.enumerate())


def test_rows_stand_for_images_that_lie_on_the_device(split: Split) -> None:
    images, rows = Batches(split, 16, seed=5), Batches(split, 16, seed=5, rows_only=True)
    np.testing.assert_array_equal(images.chunk(2, 7).inputs, split.inputs[rows.chunk(2, 7).inputs])
