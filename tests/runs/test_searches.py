"""Searches of `railcar tune` in a listing of runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from railcar.errors import NotFound
from railcar.runs.filters import parse_condition, select
from railcar.runs.index import find_run
from railcar.runs.run_dir import write_json
from railcar.runs.searches import list_searches
from railcar.storage.lock import hold_lock


def make_search(place: Path, values: list[float | None], **plan: Any) -> Path:
    folder = place / "penguins-tune-20261122-061500-3f2a"
    (folder / "trials").mkdir(parents=True)
    told = {"recipe": {"model": {"name": "mlp"}}, "n_trials": 4, "measure": "val_accuracy"}
    write_json(folder / "study.json", told | plan)
    trials = [{"number": number, "value": value, "seconds": 2.5} for number, value in enumerate(values)]
    write_json(folder / "trials.json", trials)
    return folder


def test_a_search_is_one_line_with_its_best_value(tmp_path: Path) -> None:
    folder = make_search(tmp_path, [0.5, None, 0.9, 0.7])
    [one] = list_searches(tmp_path)

    assert (one.name, one.kind, one.state, one.step, one.steps) == (folder.name, "search", "finished", 4, 4)
    assert (one.val_accuracy, one.curve, one.took_s) == (0.9, (0.5, 0.9, 0.7), 10.0)
    assert one.started is not None
    assert one.started.isoformat() == "2026-11-22T06:15:00+00:00"


def test_the_lowest_loss_is_the_best(tmp_path: Path) -> None:
    make_search(tmp_path, [0.5, 0.25], measure="val_loss")
    [one] = list_searches(tmp_path)

    assert (one.val_loss, one.val_accuracy, one.state) == (0.25, None, "interrupted")


def test_a_search_runs_while_its_lock_is_held_and_is_finished_when_it_has_concluded(tmp_path: Path) -> None:
    folder = make_search(tmp_path, [0.5, 0.25])
    with hold_lock(folder / "lock"):
        assert [one.state for one in list_searches(tmp_path)] == ["running"]
    assert [one.state for one in list_searches(tmp_path)] == ["interrupted"]
    (folder / "best.yaml").write_text("name: best\n")  # the time was over before the last trial
    assert [one.state for one in list_searches(tmp_path)] == ["finished"]
    later_s = (folder / "best.yaml").stat().st_mtime + 60
    os.utime(folder / "trials.json", (later_s, later_s))  # and it was gone on with
    assert [one.state for one in list_searches(tmp_path)] == ["interrupted"]


@pytest.mark.parametrize("content", ["{", "[1]", '{"n_trials": "x", "measure": 3}'])
def test_a_damaged_search_hides_no_other(tmp_path: Path, content: str) -> None:
    folder = make_search(tmp_path, [0.5])
    (folder / "study.json").write_text(content)
    (folder / "trials.json").write_text(content)

    assert [one.name for one in list_searches(tmp_path)] == [folder.name]


def test_conditions_are_about_the_recipe_of_a_search_too(tmp_path: Path) -> None:
    make_search(tmp_path, [0.5])
    found = list_searches(tmp_path)

    assert select(found, conditions=[parse_condition("model.name=mlp")]) == found
    assert select(found, conditions=[parse_condition("val.accuracy>0.6")]) == []


def test_a_search_in_the_place_of_a_run_is_refused_and_its_trials_are_named(tmp_path: Path) -> None:
    folder = make_search(tmp_path, [0.5])
    with pytest.raises(NotFound, match="is a search of railcar tune") as caught:
        find_run(folder.name, tmp_path)

    assert str(folder / "trials") in caught.value.hint
