from __future__ import annotations

import numpy as np

from railcar.data.fingerprint import count_summed, find_line_step, hash_examples, mean_and_std, sum_pixels


def test_equal_images_have_equal_hashes_and_others_do_not() -> None:
    images = np.random.default_rng(0).integers(0, 2, (20_000, 5, 7, 1), dtype=np.uint8)
    hashes = hash_examples(images)
    assert len(np.unique(hashes)) == len(np.unique(images.reshape(len(images), -1), axis=0))
    order = np.random.default_rng(1).permutation(len(images))
    np.testing.assert_array_equal(hash_examples(images[order]), hashes[order])


def test_every_single_pixel_changes_the_hash() -> None:
    images = np.zeros((28 * 28 + 1, 28, 28, 1), np.uint8)
    for pixel in range(28 * 28):
        images[pixel + 1].reshape(-1)[pixel] = 128
    assert len(np.unique(hash_examples(images))) == len(images)


def test_hashes_do_not_change_between_versions() -> None:
    hashes = hash_examples(np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1))
    assert hashes.tolist() == [
        10013658324616021390,
        15715845540495386113,
    ]


def test_sums_give_the_mean_and_deviation_of_small_and_large_images() -> None:
    for size in (9, 40, 300):
        images = np.random.default_rng(size).integers(0, 256, (20, size, size, 3), dtype=np.uint8)
        mean, std = mean_and_std(sum_pixels(images), count_summed(size, size))
        assert count_summed(size, size) == (size * size if size < 112 else 60 * size)
        pixels = images[:, :: find_line_step(size)].reshape(-1, 3).astype(np.float64)
        np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-9)
