"""What is tried, given up and remembered, without any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from railcar.errors import RunError
from railcar.recipe.load import find_given, load_recipe
from railcar.recipe.search import Parameter
from railcar.tuning.space import choose_space
from railcar.tuning.study import FAILED, FINISHED, PRUNED, Study

SPACE = (
    Parameter("training.optimizer.learning_rate", (1e-4, 1e-1), is_range=True, is_log=True),
    Parameter("training.steps", (10, 40), is_range=True),
    Parameter("model.dense", ([8], [16, 16]), is_range=False),
)
FIRST = {"training.optimizer.learning_rate": 1e-3, "training.steps": 20, "model.dense": (16, 16)}


def open_study(path: Path, **changes: Any) -> Study:
    study = Study(path / "study.db", SPACE, direction="minimize", seed=3, n_trials=20)
    study.begin(FIRST)
    return study


def test_the_first_trial_is_the_recipe_itself_and_all_stay_within_what_is_open(tmp_path: Path):
    study = open_study(tmp_path)
    number, settings = study.ask()
    assert (number, settings) == (0, {**FIRST, "model.dense": [16, 16]})
    for number in range(1, 15):
        study.tell(number - 1, FINISHED, float(number), run="", seconds=1.0)
        _, settings = study.ask()
        assert 1e-4 <= settings["training.optimizer.learning_rate"] <= 1e-1
        assert isinstance(settings["training.steps"], int) and 10 <= settings["training.steps"] <= 40
        assert settings["model.dense"] in ([8], [16, 16])


def test_a_search_that_was_killed_tries_again_what_was_going_on_and_nothing_else(tmp_path: Path):
    study = open_study(tmp_path)
    tried = []
    for number in range(4):
        tried.append(study.ask()[1])
        if number < 3:
            study.tell(number, FINISHED, 1.0 - number / 10, run=f"run{number}", seconds=2.0)
    again = Study(tmp_path / "study.db", SPACE, direction="minimize", seed=3, n_trials=20)
    assert again.begin(FIRST) == 1
    assert [one.run for one in again.trials] == ["run0", "run1", "run2"]
    number, settings = again.ask()
    assert (number, settings) == (4, tried[3])
    again.tell(4, FINISHED, 0.1, run="run4", seconds=1.0)
    assert [one.number for one in again.trials] == [0, 1, 2, 4]
    assert again.best is not None and again.best.number == 4


def test_a_first_trial_that_was_killed_is_still_the_first_when_it_is_made_again(tmp_path: Path):
    study = open_study(tmp_path)
    study.ask()
    again = Study(tmp_path / "study.db", SPACE, direction="minimize", seed=3, n_trials=20)
    assert again.begin(FIRST) == 1
    number, settings = again.ask()
    assert settings == {**FIRST, "model.dense": [16, 16]}
    again.tell(number, FINISHED, 1.0, run="", seconds=1.0)
    assert [(one.number, one.is_first) for one in again.trials] == [(1, True)]


@pytest.mark.parametrize("n_before", [0, 2])
def test_a_trial_killed_before_its_settings_were_drawn_is_made_with_such_as_no_other_has(
    n_before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    study = open_study(tmp_path)
    for number in range(n_before):
        study.ask()
        study.tell(number, FINISHED, 1.0, run="", seconds=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(study, "_suggest", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            study.ask()
    again = Study(tmp_path / "study.db", SPACE, direction="minimize", seed=3, n_trials=20)
    assert again.begin(FIRST) == 1
    tried = [again.ask()[1] for _ in range(8)]
    assert len({str(one) for one in tried}) == 8
    assert (tried[0] == {**FIRST, "model.dense": [16, 16]}) == (n_before == 0)


def test_the_same_seed_proposes_the_same_also_after_a_stop(tmp_path: Path):
    proposals = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        study, found = open_study(tmp_path / name), []
        for number in range(8):
            if name == "two" and number == 5:
                study = Study(tmp_path / name / "study.db", SPACE, direction="minimize", seed=3, n_trials=20)
            found.append(study.ask()[1])
            study.tell(number, FINISHED, found[-1]["training.optimizer.learning_rate"], run="", seconds=1.0)
        proposals.append(found)
    assert proposals[0] == proposals[1]


def test_what_is_worse_than_half_of_the_others_at_its_point_is_given_up(tmp_path: Path):
    study = open_study(tmp_path)
    for number in range(4):
        study.ask()
        assert not study.report(number, 0.5, 1.0 + number)
        study.tell(number, FINISHED, 0.5 + number, run="", seconds=1.0)
    study.ask()
    assert not study.report(4, 0.1, 9.0)  # too early to tell
    assert study.report(4, 0.5, 9.0)
    study.tell(4, PRUNED, 9.0, run="", seconds=1.0)
    study.ask()
    assert not study.report(5, 0.5, 1.1)
    assert not study.report(5, 1.0, 99.0)  # it is over anyway
    assert not study.report(5, 0.7, float("nan"))
    assert [one.state for one in study.trials] == [FINISHED] * 4 + [PRUNED]
    assert study.trials[4].share == 0.5


def test_failed_trials_are_told_and_never_the_best(tmp_path: Path):
    study = open_study(tmp_path)
    study.ask()
    study.tell(0, FAILED, None, note="out of memory", run="", seconds=1.0)
    study.ask()
    study.tell(1, FINISHED, float("nan"), run="", seconds=1.0)
    assert study.best is None
    assert [(one.state, one.note) for one in study.trials] == [(FAILED, "out of memory"), (FAILED, "")]


def test_a_file_that_is_no_search_is_refused(tmp_path: Path):
    (tmp_path / "study.db").write_bytes(b"no database at all, but text")
    with pytest.raises(RunError, match=r"study\.db: not the file of a search"):
        open_study(tmp_path)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"name": "cnn", "filters": [8, 16]}, {"model.dropout", "model.kernel_size", "model.filters"}),
        ({"name": "tabm", "dense": [64, 64]}, {"model.dropout", "model.dense"}),
        ({"name": "rnn", "embedding": 32}, {"model.dropout", "model.embedding", "model.units"}),
        ({"name": "bag_of_ngrams"}, set()),
    ],
)
def test_without_a_word_the_space_is_what_the_network_has_around_what_was_chosen(model: dict[str, Any], expected: set):
    optimizer = {"name": "adamw", "learning_rate": 2e-3, "weight_decay": 0.01}
    recipe = load_recipe({"model": model, "training": {"batch_size": 32, "optimizer": optimizer}})
    space = {one.key: one for one in choose_space(recipe, n_steps=100, n_train=1000)}
    common = {"training.steps", "training.batch_size", "training.optimizer.learning_rate"}
    assert set(space) == common | {"training.optimizer.weight_decay"} | expected
    assert space["training.steps"].values == (50, 200)
    assert space["training.optimizer.learning_rate"].values == (2e-4, 2e-2)
    for one in space.values():  # the recipe itself is a trial
        assert load_recipe(recipe, {one.key: one.values[0]}) and load_recipe(recipe, {one.key: one.values[-1]})


@pytest.mark.parametrize(
    ("given", "gone"),
    [
        (["training.epochs=3"], {"training.steps"}),
        ({"training.steps": 30, "model.dropout": 0.1}, {"training.steps", "model.dropout"}),
        (["training.optimizer={name: adamw, learning_rate: 0.01}"], {"training.optimizer.learning_rate"}),
        (["name=other", "training.log_every=5"], set()),
    ],
)
def test_what_is_set_by_hand_is_not_searched_for(given: Any, gone: set[str]):
    recipe = load_recipe({"model": {"name": "mlp", "dense": [8]}, "training": {"batch_size": 32}}, given)
    space = {one.key for one in choose_space(recipe, n_steps=100, n_train=1000)}
    left = {one.key for one in choose_space(recipe, n_steps=100, n_train=1000, fixed=find_given(given))}
    assert gone <= space and left == space - gone
