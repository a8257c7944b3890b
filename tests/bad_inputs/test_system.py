"""Rows 67 to 72: a disk, a memory, a network or a training that gives out; what was kept goes on when it is mended."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from railcar.runs.checkpoint import find_newest, list_steps, read_checkpoint
from railcar.runs.run_dir import RunDir
from tests.bad_inputs.commands import Said, check_words, run_here, train_words
from tests.bad_inputs.row import Row, Trial, Unavailable, pattern_of, squeeze
from tests.bad_inputs.table import ROWS

SYSTEM_ROWS = {row.id: row for row in ROWS if row.setting is not None}


@contextmanager
def given(row: Row, folder: Path) -> Iterator[Trial]:
    """The row's trial. Where this system has no means for it the test is skipped; where CI is set it fails."""
    try:
        with row.trial(folder) as trial:
            yield trial
    except Unavailable as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def find(number: int) -> Row:
    return next(row for row in SYSTEM_ROWS.values() if row.number == number)


def train(row: Row, trial: Trial) -> Said:
    """Train, and hold what is said against what is expected: the last two lines, and no traceback."""
    said = run_here(train_words(row, trial), trial)
    last = "".join(said.err.splitlines(keepends=True)[-2:])

    assert said.status == 1 and said.out == ""
    assert pattern_of(f"error: {row.error}\nhint: {row.hint}\n", trial).fullmatch(last), last
    assert pattern_of(row.named, trial).search(last)
    assert "Traceback" not in said.err
    return said


def only_run(trial: Trial) -> RunDir:
    assert trial.runs is not None
    [path] = [path for path in trial.runs.iterdir() if not path.name.startswith(".")]
    return RunDir(path)


@pytest.mark.parametrize("row", [row for row in SYSTEM_ROWS.values() if row.findings == ()], ids=lambda row: row.id)
def test_the_check_finds_nothing_wrong_with_the_data_where_the_machine_gives_out(row: Row, tmp_path: Path) -> None:
    with given(row, tmp_path) as trial:
        said = run_here(check_words(row, trial), trial)

    assert said.status == 0 and "no errors, no warnings" in said.out and said.err == ""


@pytest.mark.parametrize("row", [row for row in SYSTEM_ROWS.values() if row.findings is None], ids=lambda row: row.id)
def test_the_check_of_what_cannot_be_fetched_says_what_training_says(row: Row, tmp_path: Path) -> None:
    with given(row, tmp_path) as trial:
        said = run_here(check_words(row, trial), trial)

    assert said.status == 1 and "Traceback" not in said.all
    told = f"error {row.error} > {row.hint}" if said.out else f"error: {row.error} hint: {row.hint}"
    assert pattern_of(squeeze(told), trial).search(squeeze(said.all)), said.all


def test_67_a_full_disk_says_how_much_it_needs_keeps_what_is_there_and_goes_on_with_more(tmp_path: Path) -> None:
    row = find(67)
    with given(row, tmp_path) as trial:
        said = train(row, trial)
        run = only_run(trial)
        steps, (newest, damaged) = list_steps(run.checkpoints), find_newest(run.checkpoints)
        trial.mend()
        again = run_here(trial.again, trial)

        assert f"--resume={run.name}" in said.err and re.search(r"hint: free \d+ MB", said.err)
        assert steps and newest is not None and newest.step == steps[-1] and damaged == []
        assert again.status == 0 and f"going on after step {newest.step}" in again.err, again.err
        assert run.read_manifest()["state"] == "finished" and list_steps(run.checkpoints)[-1] == 400


def test_68_a_read_only_folder_is_refused_before_anything_else_is_done(tmp_path: Path) -> None:
    row = find(68)
    with given(row, tmp_path) as trial:
        said = train(row, trial)

        assert len(said.err.splitlines()) == 2
        assert trial.runs is not None and list(trial.runs.iterdir()) == []


def test_69_what_does_not_fit_into_memory_is_refused_with_a_batch_size_that_does(tmp_path: Path) -> None:
    row = find(69)
    with given(row, tmp_path) as trial:
        said = train(row, trial)
        mend = said.err.strip().rpartition("set training.batch_size to ")[2]
        again = run_here([*train_words(row, trial), "--set", f"training.batch_size={mend}"], trial)

    assert 0 < int(mend) < 80
    assert again.status == 0, again.err


def test_70_a_lost_network_stops_after_patience_and_the_same_command_goes_on(tmp_path: Path) -> None:
    row = find(70)
    with given(row, tmp_path) as trial:
        train(row, trial)
        fetched = {path.name for path in (tmp_path / "cache").rglob("*.png")}
        trial.mend()
        again = run_here(trial.again, trial)

    assert 0 < len(fetched) < 40
    assert again.status == 0, again.err


@pytest.mark.parametrize("row", [row for row in SYSTEM_ROWS.values() if row.number == 71], ids=lambda row: row.id)
def test_71_what_is_not_there_is_told_from_what_is_not_allowed(row: Row, tmp_path: Path) -> None:
    with given(row, tmp_path) as trial:
        said = train(row, trial)

    assert len(said.err.splitlines()) == 2
    assert ("may not be read" in said.err) == (row.what == "access denied")


def test_72_a_loss_that_is_no_number_names_the_step_the_causes_and_the_checkpoint_that_is_good(tmp_path: Path) -> None:
    row = find(72)
    with given(row, tmp_path) as trial:
        said = train(row, trial)
        run = only_run(trial)
        found = re.search(r"step (\d+): the loss is .*the checkpoint of step (\d+) is intact", said.err)

        assert found is not None and int(found[2]) < int(found[1])
        assert list_steps(run.checkpoints)[-1] == int(found[2])
        assert read_checkpoint(run.checkpoints / f"step-{int(found[2]):08d}").step == int(found[2])
        assert "set training.optimizer.learning_rate to 1e+29" in said.err
        assert run.read_manifest()["state"] == "failed"
