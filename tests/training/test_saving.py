from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from railcar.errors import OutputError
from railcar.runs.checkpoint import list_steps, read_checkpoint
from railcar.runs.run_dir import RunDir, read_json
from railcar.training.callbacks import BestScore
from railcar.training.saving import NotFinite, Saver
from railcar.training.state import Progress
from tests.runs.test_checkpoint import Number


def make_progress(step: int, best_step: int | None = None) -> Progress:
    return Progress(step=step, best=BestScore("val_loss", best_step, 0.5 if best_step else None))


def make_variables(value: float) -> dict[str, list[Number]]:
    return {"model": [Number("kernel", np.full((50, 50), value, np.float32))]}


def test_what_is_saved_is_what_was_when_it_was_asked_for(tmp_path: Path):
    run, groups = RunDir(tmp_path), make_variables(1.0)
    with Saver(run, keep=2) as saver:
        saver.save(make_progress(3, 3), groups)
        groups["model"][0].value += 1.0
        saver.wait()
        assert saver.saved_step == 3
    with np.load(read_checkpoint(run.checkpoints / "step-00000003").path / "variables.npz") as stored:
        assert stored["model/0000/kernel"].max() == 1.0
    assert read_json(run.best_path) == {"checkpoint": "step-00000003", "step": 3, "val_loss": 0.5}


def test_each_pointer_names_a_checkpoint_that_is_there(tmp_path: Path):
    run = RunDir(tmp_path)
    with Saver(run, keep=1) as saver:
        for step, best in ((1, 1), (2, 1), (3, 3), (4, 3), (5, 3)):
            saver.save(make_progress(step, best), make_variables(step))
            saver.wait()
            for path in (run.best_path, run.last_path):
                pointer = read_json(path)
                assert pointer is not None
                read_checkpoint(run.checkpoints / pointer["checkpoint"])
    assert list_steps(run.checkpoints) == [3, 5]


def test_a_state_with_a_number_that_is_not_finite_never_becomes_a_checkpoint(tmp_path: Path):
    run = RunDir(tmp_path)
    with Saver(run, keep=2) as saver:
        saver.save(make_progress(1), make_variables(1.0))
        with pytest.raises(NotFinite, match="model/0000/kernel"):
            saver.save(make_progress(2), make_variables(np.nan))
    assert list_steps(run.checkpoints) == [1]


def test_a_save_that_failed_in_the_background_is_told_by_the_next_wait(tmp_path: Path):
    run = RunDir(tmp_path)
    run.checkpoints.write_text("a file in the way")
    with pytest.raises(OutputError, match="step-00000001"), Saver(run, keep=2) as saver:
        saver.save(make_progress(1), make_variables(1.0))
    with pytest.raises(ZeroDivisionError), Saver(run, keep=2) as saver:
        saver.save(make_progress(1), make_variables(1.0))
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
