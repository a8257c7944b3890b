"""The files of TensorBoard's projector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from railcar.training.projector import reduce_width, write_projector

GENERATOR = np.random.default_rng(0)


def test_vectors_facts_and_pictures_are_written_row_by_row(tmp_path: Path) -> None:
    vectors = GENERATOR.normal(size=(5, 3)).astype(np.float32)
    images = GENERATOR.integers(0, 256, (5, 6, 4, 1), dtype=np.uint8)
    facts = {"label": ["a cat", "tab\there", "two\nlines", "", "ü"], "id": ["1", "2", "3", "4", "5"]}
    write_projector(tmp_path, vectors, facts, images)

    written = np.loadtxt(tmp_path / "projector" / "vectors.tsv", delimiter="\t")
    np.testing.assert_allclose(written, vectors, atol=1e-4)
    lines = (tmp_path / "projector" / "metadata.tsv").read_text().split("\n")
    assert lines == ["label\tid", "a cat\t1", "tab here\t2", "two lines\t3", "-\t4", "ü\t5", ""]
    sprite = tf.io.decode_png((tmp_path / "projector" / "sprite.png").read_bytes()).numpy()
    assert sprite.shape == (12, 12, 1)
    np.testing.assert_array_equal(sprite[:6, 4:8], images[1])
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert "single_image_dim: 4\n    single_image_dim: 6" in config


def test_wide_vectors_keep_their_distances_in_fewer_numbers() -> None:
    inner = GENERATOR.normal(size=(200, 8)) @ GENERATOR.normal(size=(8, 900))
    vectors = (inner + 0.05 * GENERATOR.normal(size=inner.shape)).astype(np.float32)
    narrow = reduce_width(vectors)

    assert narrow.shape == (200, 64)
    before, after = (np.linalg.norm(one[1:] - one[0], axis=1) for one in (vectors, narrow))
    np.testing.assert_allclose(after, before, rtol=0.01)
    assert reduce_width(vectors[:, :64]).shape == (200, 64)
    assert np.isfinite(reduce_width(np.zeros((3, 100), np.float32))).all()
