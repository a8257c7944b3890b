from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from railcar.data.sources.idx import read_idx_folder
from railcar.data.sources.sample import find_mnist_sample, read_mnist_sample

SHA256 = {
    "train": "8098f26249da5ddfbeafa1fc930caf506efb10ce1bc39d709719c2f3ad760d59",
    "test": "f50c023e578bc09e404af9cecad4ec8fe7d36aefafde0732a3b1ce6635db07de",
}
LABEL_SHA256 = {
    "train": "63c5d1afdbd5ffaea2509b52aa5d8b038820c4714bd4d4a424d5e1b852719f9c",
    "test": "bce56932b67b056b2f7788f00453498c12251bb875a44418bdcd43d08e518217",
}


def test_the_sample_is_what_was_packed() -> None:
    raw = read_mnist_sample()
    assert {side: len(split.labels) for side, split in raw.sides.items()} == {"train": 16_000, "test": 2_000}
    assert raw.class_names == tuple("0123456789")
    for side, split in raw.sides.items():
        assert hashlib.sha256(np.asarray(split.images).tobytes()).hexdigest() == SHA256[side]
        assert hashlib.sha256(split.labels.astype(np.uint8).tobytes()).hexdigest() == LABEL_SHA256[side]


def test_the_sample_is_small_and_has_its_notice() -> None:
    folder = find_mnist_sample()
    notice = folder.parent / "NOTICE-mnist"
    assert sum(file.stat().st_size for file in [*folder.iterdir(), notice]) <= 2_500_000
    for words in ("Yann LeCun", "Corinna Cortes", "Burges", "Attribution-Share Alike 3.0", "What was changed"):
        assert words in notice.read_text()


def test_the_sample_is_part_of_the_real_mnist(project: Path, mnist_folder: Path | None) -> None:
    if mnist_folder is None:
        pytest.skip("the full MNIST is not here")
    spec = importlib.util.spec_from_file_location("make_mnist_sample", project / "scripts" / "make_mnist_sample.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    sample, whole = read_mnist_sample(), read_idx_folder(mnist_folder)
    for side, rows in script.choose_rows(len(whole.sides["test"].labels)).items():
        np.testing.assert_array_equal(sample.sides[side].images, whole.sides[side].images[rows])
        np.testing.assert_array_equal(sample.sides[side].labels, whole.sides[side].labels[rows])
