from __future__ import annotations

import numpy as np
import pytest

from railcar.data.augment import Augmentation, Draws
from railcar.training.augment import build_augment

SHAPE = (8, 10, 3)


def draw(
    augmentation: Augmentation, n_steps: int = 1, batch_size: int = 64, first_step: int = 0, epoch: int = 0
) -> Draws:
    rows = np.arange(first_step * batch_size, (first_step + n_steps) * batch_size).reshape(n_steps, batch_size)
    return augmentation.draw(first_step, rows, np.full_like(rows, epoch))


def make_changes(augmentation: Augmentation, images: np.ndarray, **options: int) -> np.ndarray:
    draws = draw(augmentation, batch_size=len(images), **options)
    return build_augment(augmentation, (7.0, 8.0, 9.0))(images, draws.transforms[0], draws.boxes[0]).numpy()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, *SHAPE), dtype=np.uint8)


def test_what_is_drawn_depends_on_the_step_alone_and_not_on_the_chunk():
    augmentation = Augmentation(SHAPE, seed=4, flip=True, shift=0.2, rotate=0.1, zoom=0.1, cutout=0.3)
    together, later = draw(augmentation, n_steps=5), draw(augmentation, n_steps=2, first_step=3)
    np.testing.assert_array_equal(together.transforms[3:], later.transforms)
    np.testing.assert_array_equal(together.boxes[3:], later.boxes)
    assert not np.array_equal(together.transforms[0], together.transforms[1])
    other_seed = draw(Augmentation(SHAPE, seed=5, flip=True, shift=0.2))
    assert not np.array_equal(other_seed.transforms, together.transforms[:1])


def test_an_image_is_mirrored_in_every_second_epoch(images: np.ndarray):
    augmentation = Augmentation(SHAPE, seed=1, flip=True)
    first, second = (make_changes(augmentation, images, epoch=epoch) for epoch in (0, 1))
    for image, one, other in zip(images, first, second, strict=True):
        sides = {one.tobytes(), other.tobytes()}
        assert sides == {image.tobytes(), image[:, ::-1].tobytes()}
    mirrored = sum(not np.array_equal(image, one) for image, one in zip(images, first, strict=True))
    assert 16 < mirrored < 48


def test_a_shift_moves_by_whole_pixels_and_mirrors_what_lies_beyond_the_edge(images: np.ndarray):
    augmentation = Augmentation(SHAPE, seed=2, shift=0.25)
    changed = make_changes(augmentation, images)
    seen = set()
    for image, one in zip(images, changed, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="symmetric")
        places = [(y, x) for y in range(5) for x in range(5) if np.array_equal(padded[y : y + 8, x : x + 10], one)]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 15  # of 25


def test_a_cut_out_square_has_the_mean_and_the_rest_stays(images: np.ndarray):
    changed = make_changes(Augmentation(SHAPE, seed=3, cutout=0.5), images)
    is_cut = (changed == np.array([7, 8, 9], np.uint8)).all(axis=-1)
    np.testing.assert_array_equal(changed[~is_cut], images[~is_cut])
    assert is_cut.sum(axis=(1, 2)).max() == 16 and is_cut.any(axis=0).all()


def test_turns_and_zooms_keep_the_brightness():
    plain = np.full((64, *SHAPE), 101, np.uint8)
    augmentation = Augmentation(SHAPE, seed=3, rotate=0.1, zoom=0.2)
    np.testing.assert_array_equal(make_changes(augmentation, plain), plain)
    angles = draw(augmentation).transforms[0]
    turned = np.arctan2(angles[:, 3], angles[:, 0])
    assert 0.4 < np.abs(turned).max() <= 0.1 * 2 * np.pi + 1e-6
