from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from railcar.errors import CheckpointError, OutputError
from railcar.runs.checkpoint import (
    find_checkpoint,
    find_newest,
    find_not_finite,
    gather_arrays,
    list_steps,
    prune_checkpoints,
    read_checkpoint,
    restore_variables,
    write_checkpoint,
)
from railcar.runs.run_dir import RunDir, write_json


class Number:
    """The part of a Keras variable that checkpoints use."""

    def __init__(self, name: str, value: np.ndarray) -> None:
        self.name = name
        self.value = value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def assign(self, value: np.ndarray) -> None:
        self.value = np.array(value)

    def numpy(self) -> np.ndarray:
        return self.value

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.value


def make_groups(seed: int = 0) -> dict[str, list[Number]]:
    generator = np.random.default_rng(seed)
    model = [
        Number("kernel", generator.normal(size=(3, 4)).astype(np.float32)),
        Number("seed", np.array([1, 2], np.uint32)),
    ]
    return {"model": model, "optimizer": [Number("iteration", np.array(7, np.int64))]}


def test_what_is_written_is_read_back_to_the_bit(tmp_path: Path):
    groups, fresh = make_groups(1), make_groups(2)
    write_checkpoint(tmp_path, 10, gather_arrays(groups), {"best": {"step": 5}})
    checkpoint = read_checkpoint(tmp_path / "step-00000010")
    restore_variables(checkpoint, fresh)
    assert checkpoint.step == 10 and checkpoint.state["best"] == {"step": 5}
    for group in groups:
        for one, other in zip(groups[group], fresh[group], strict=True):
            np.testing.assert_array_equal(one.value, other.value)
            assert one.value.dtype == other.value.dtype


@pytest.mark.parametrize("name", ["variables.npz", "state.json", "checksums.json"])
def test_a_damaged_newest_checkpoint_is_passed_over_and_named(tmp_path: Path, name: str):
    for step in (1, 2):
        write_checkpoint(tmp_path, step, gather_arrays(make_groups(step)), {})
    path = tmp_path / "step-00000002" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    newest, damaged = find_newest(tmp_path)
    assert newest is not None and newest.step == 1
    assert len(damaged) == 1 and "step-00000002" in damaged[0]


def test_a_missing_file_is_a_damaged_checkpoint(tmp_path: Path):
    write_checkpoint(tmp_path, 1, gather_arrays(make_groups()), {})
    (tmp_path / "step-00000001" / "variables.npz").unlink()
    assert find_newest(tmp_path)[0] is None


def test_half_written_ones_do_not_count_and_are_cleared_away(tmp_path: Path):
    write_checkpoint(tmp_path, 1, gather_arrays(make_groups()), {})
    leftover = tmp_path / ".partial-step-00000002-123"
    leftover.mkdir()
    assert list_steps(tmp_path) == [1]
    prune_checkpoints(tmp_path, keep=3, best_step=None)
    assert not leftover.exists()


def test_the_newest_and_the_best_stay(tmp_path: Path):
    for step in range(1, 7):
        write_checkpoint(tmp_path, step, gather_arrays(make_groups()), {})
    prune_checkpoints(tmp_path, keep=2, best_step=3)
    assert list_steps(tmp_path) == [3, 5, 6]


def test_a_step_saved_again_replaces_the_old_one(tmp_path: Path):
    write_checkpoint(tmp_path, 1, gather_arrays(make_groups()), {"turn": 1})
    write_checkpoint(tmp_path, 1, gather_arrays(make_groups()), {"turn": 2})
    assert read_checkpoint(tmp_path / "step-00000001").state["turn"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001"]


def test_another_models_checkpoint_is_refused_by_variable(tmp_path: Path):
    write_checkpoint(tmp_path, 1, gather_arrays(make_groups()), {})
    other = {"model": [Number("kernel", np.zeros((2, 2), np.float32))]}
    with pytest.raises(CheckpointError, match="kernel"):
        restore_variables(read_checkpoint(tmp_path / "step-00000001"), other)


def test_a_folder_that_cannot_be_written_says_how_much_it_needs(tmp_path: Path):
    blocker = tmp_path / "checkpoints"
    blocker.write_text("a file")
    with pytest.raises(OutputError) as caught:
        write_checkpoint(blocker, 1, gather_arrays(make_groups()), {})
    assert "MB" in caught.value.hint and "step-00000001" in caught.value.what
    assert json.dumps(caught.value.what)


def test_what_numpy_reads_is_what_was_gathered_and_later_steps_do_not_change_it(tmp_path: Path):
    groups = make_groups(3)
    arrays = gather_arrays(groups)
    groups["model"][0].value += 1.0
    path = write_checkpoint(tmp_path, 1, arrays, {})
    with np.load(path / "variables.npz") as stored:
        assert {key: value.dtype for key, value in stored.items()} == {key: one.dtype for key, one in arrays.items()}
        np.testing.assert_array_equal(stored["model/0000/kernel"], make_groups(3)["model"][0].value)


def test_numbers_that_are_not_finite_are_found_by_name_and_integers_are_passed_over():
    arrays = gather_arrays(make_groups())
    assert find_not_finite(arrays) is None
    arrays["model/0000/kernel"][1, 2] = -np.inf
    assert find_not_finite(arrays) == "model/0000/kernel"
    assert find_not_finite({"a": np.array([np.nan], np.float16)}) == "a"


def test_what_was_best_when_a_kept_checkpoint_was_written_stays_with_it(tmp_path: Path):
    for step, best_step in ((1, 1), (2, 1), (3, 1), (4, 4), (5, 4)):
        write_checkpoint(tmp_path, step, gather_arrays(make_groups()), {}, best_step=best_step)
        prune_checkpoints(tmp_path, keep=2, best_step=best_step)
        if step == 4:
            assert list_steps(tmp_path) == [1, 3, 4]
    assert list_steps(tmp_path) == [4, 5]


def test_a_damaged_best_checkpoint_is_replaced_by_the_newest_and_said_so(tmp_path: Path):
    run = RunDir(tmp_path)
    for step in (1, 2):
        write_checkpoint(run.checkpoints, step, gather_arrays(make_groups()), {})
    write_json(run.best_path, {"checkpoint": "step-00000001", "step": 1})
    assert find_checkpoint(run, None)[0].step == 1
    (run.checkpoints / "step-00000001" / "variables.npz").write_bytes(b"")
    checkpoint, lines = find_checkpoint(run, None)
    assert checkpoint.step == 2 and "step-00000001" in lines[0] and "stands in for the best" in lines[0]
