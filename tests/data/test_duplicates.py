from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from railcar.data.duplicates import find_conflicts, find_exact, find_near
from railcar.data.fingerprint import hash_examples
from railcar.data.sources.idx import read_idx_folder


def make_scenes(n: int, *, seed: int = 0, size: int = 32, channels: int = 3) -> NDArray[np.uint8]:
    """uint8 [n, size, size, channels]: smooth random scenes, no two alike."""
    rough = np.random.default_rng(seed).normal(128, 60, (n, 8, 8, channels))
    weights = np.maximum(0, 1 - abs(np.linspace(0, 7, size)[:, None] - np.arange(8)))
    scenes = np.einsum("yi,nijc,xj->nyxc", weights, rough, weights, optimize=True)
    return np.clip(scenes, 0, 255).astype(np.uint8)


def disturb(images: NDArray[np.uint8], *, seed: int = 1) -> NDArray[np.uint8]:
    """As another encoder or exposure leaves them."""
    noise = np.random.default_rng(seed).normal(0, 2, images.shape)
    return np.clip(images * 1.05 + 3 + noise, 0, 255).astype(np.uint8)


def test_the_same_images_are_found_across_and_within_sides() -> None:
    images = make_scenes(20)
    train = hash_examples(images)
    test = hash_examples(np.concatenate([make_scenes(3, seed=9), images[[4, 7, 4]]]))
    np.testing.assert_array_equal(find_exact(train, test), [[4, 3], [7, 4], [4, 5]])
    np.testing.assert_array_equal(find_exact(test), [[3, 5]])
    assert find_exact(train).shape == (0, 2) and find_exact(np.empty(0, np.uint64), test).shape == (0, 2)


def test_one_image_under_two_labels_is_a_conflict() -> None:
    hashes = np.array([5, 8, 5, 9, 8, 5, 9], np.uint64)
    labels = np.array([0, 1, 0, 2, 0, 1, 2], np.int32)
    groups = find_conflicts(hashes, labels)
    assert [group.tolist() for group in groups] == [[0, 2, 5], [1, 4]]
    assert find_conflicts(hashes[:0], labels[:0]) == []


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (28, 1), (96, 3)])
def test_near_duplicates_are_found_and_others_are_not(size: int, channels: int) -> None:
    train = make_scenes(300, size=size, channels=channels)
    strangers = make_scenes(100, seed=5, size=size, channels=channels)
    test = np.concatenate([strangers, disturb(train[:50])])
    pairs = find_near(train, test)
    expected = np.stack([np.arange(50), np.arange(100, 150)], axis=1)
    assert len(pairs) >= 48 and {tuple(pair) for pair in pairs.tolist()} <= {tuple(one) for one in expected.tolist()}


def test_within_one_side_each_pair_is_named_once() -> None:
    scenes = make_scenes(40)
    images = np.concatenate([scenes, disturb(scenes[:3])])
    assert find_near(images).tolist() == [[0, 40], [1, 41], [2, 42]]


def test_blank_images_are_no_near_duplicates() -> None:
    blank = np.full((30, 16, 16, 1), 200, np.uint8)
    assert len(find_near(blank, blank)) == 0


def test_images_of_another_shape_are_not_compared() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        find_near(make_scenes(2), make_scenes(2, size=28))


def test_sixty_thousand_images_take_seconds_and_many_alike_do_not_change_that() -> None:
    images = np.tile(make_scenes(600, size=28, channels=1), (100, 1, 1, 1))
    started = time.process_time()
    pairs = find_near(images[:50_000], images[50_000:])
    assert len(pairs) >= 10_000 and time.process_time() - started < 60


def test_handwritten_digits_are_not_taken_for_each_other(mnist_folder: Path | None) -> None:
    if mnist_folder is None:
        pytest.skip("the full MNIST is not here")
    sides = read_idx_folder(mnist_folder).sides
    assert len(find_near(sides["train"].images, sides["test"].images)) < 20
