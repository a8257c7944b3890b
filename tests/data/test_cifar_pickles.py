from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from railcar.data.detect import FORMS, detect_form
from railcar.data.sources.cifar_pickles import find_pickles, read_cifar_pickles
from railcar.errors import DataError


def write_set(folder: Path, *, protocol: int = 2) -> Path:
    """As published: keys are bytes when Python 2's pickles are read."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        data = generator.integers(0, 256, (4, 3072), dtype=np.uint8)
        batch = {b"batch_label": b"one", b"data": data, b"labels": [0, 1, 2, 1], b"filenames": [b"a.png"] * 4}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    meta = {b"label_names": [b"plane", b"car", b"bird"], b"num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=protocol))
    return folder


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_the_batches_are_found_and_read(tmp_path: Path, protocol: int) -> None:
    folder = write_set(tmp_path / "set", protocol=protocol)
    form, reason = detect_form(folder)
    raw = read_cifar_pickles(folder)
    first = pickle.loads((folder / "data_batch_1").read_bytes())[b"data"][0]

    assert (form, reason) == ("cifar-python", "set holds the Python batches of CIFAR")
    assert len(FORMS[form].list_files(folder)) == 7
    assert raw.class_names == ("plane", "car", "bird")
    assert raw.sides["train"].images.shape == (20, 32, 32, 3) and raw.sides["test"].labels.tolist() == [0, 1, 2, 1]
    np.testing.assert_array_equal(raw.sides["train"].images[0].transpose(2, 0, 1).reshape(-1), first)


def test_the_hundred_classes_are_the_fine_ones(tmp_path: Path) -> None:
    for name in ("train", "test"):
        batch = {"data": np.zeros((2, 3072), np.uint8), "fine_labels": [1, 0], "coarse_labels": [0, 0]}
        (tmp_path / name).write_bytes(pickle.dumps(batch))
    names = {"fine_label_names": ["apple", "bear"], "coarse_label_names": ["things"]}
    (tmp_path / "meta").write_bytes(pickle.dumps(names))
    raw = read_cifar_pickles(tmp_path)
    assert raw.class_names == ("apple", "bear") and raw.sides["train"].labels.tolist() == [1, 0]


def test_a_pickle_that_could_run_code_is_refused_and_runs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_set(tmp_path / "set")
    (folder / "data_batch_3").write_bytes(pickle.dumps({b"data": Attack(), b"labels": []}))
    with pytest.raises(DataError, match=r"data_batch_3: asks for posix\.mkdir, and railcar unpickles data only"):
        read_cifar_pickles(folder)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1], "no dictionary in it"),
        ({b"labels": [0]}, "no uint8 array of"),
        ({b"data": np.zeros((2, 3072)), b"labels": [0, 0]}, "no uint8 array of"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}, "not as many labels as images"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 3]}, "image 1 has the label 3, and there are 3"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["a"]}, "image 0 has the label a"),
    ],
)
def test_a_batch_that_is_none_is_refused_by_name(tmp_path: Path, batch: object, message: str) -> None:
    folder = write_set(tmp_path)
    (folder / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(DataError, match=f"test_batch: {message}"):
        read_cifar_pickles(folder)


def test_a_file_cut_off_is_refused_and_a_missing_one_makes_it_another_form(tmp_path: Path) -> None:
    folder = write_set(tmp_path)
    (folder / "test_batch").write_bytes((folder / "test_batch").read_bytes()[:5000])
    with pytest.raises(DataError, match="test_batch: truncated or damaged"):
        read_cifar_pickles(folder)
    (folder / "test_batch").unlink()
    assert find_pickles(folder) == []
