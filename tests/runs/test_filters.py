"""Which runs a listing shows, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from railcar.errors import UsageError
from railcar.runs.filters import parse_condition, select, sort_runs
from railcar.runs.index import RunSummary, list_runs
from railcar.runs.run_dir import RunDir, write_json


@pytest.fixture
def summaries(tmp_path: Path) -> list[RunSummary]:
    """Three runs: digits by a cnn, digits by an mlp, and a regression that was interrupted."""
    recipes = {
        "digits-cnn": "model: {name: cnn, filters: [16, 32]}\ntraining: {batch_size: 128, tensorboard: true}\n",
        "digits-mlp": "model: {name: mlp}\ntraining: {batch_size: 1024, tensorboard: false}\n",
        "prices": "model: {name: mlp}\ndata: {source: /data/prices.csv}\ntraining: {batch_size: 64}\n",
    }
    results = {
        "digits-cnn": {"test": {"accuracy": 0.98, "loss": 0.1}, "validation": {"accuracy": 0.97, "loss": 0.1}},
        "digits-mlp": {"test": {"accuracy": 0.9}, "validation": {"accuracy": 0.99}},
        "prices": {"test": {"mae": 12.5, "r2": 0.8, "loss": 3.0}},
    }
    for number, (name, recipe) in enumerate(recipes.items()):
        run = RunDir.create(tmp_path, name)
        started = f"2026-11-2{number}T06:15:00+00:00"
        ended = {"state": "finished", "started": started, "ended": f"2026-11-2{number}T0{9 - number}:00:00+00:00"}
        state = {"state": "interrupted"} if name == "prices" else {}
        run.write_manifest(run.read_manifest() | ended | state | {"step": 10 * number, "steps": 20})
        run.recipe_path.write_text(recipe)
        write_json(run.evaluation_path, results[name])
    return list_runs(tmp_path)


def names_of(summaries: list[RunSummary]) -> list[str]:
    return ["-".join(one.name.split("-")[:-3]) for one in summaries]


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("model.name=cnn", ["digits-cnn"]),
        ("model.name!=cnn", ["digits-mlp", "prices"]),
        ("model.name = c*", ["digits-cnn"]),
        ("model.filters=[16, 32]", ["digits-cnn"]),
        ("model.filters=[16,32]", ["digits-cnn"]),
        ("training.batch_size>=128", ["digits-cnn", "digits-mlp"]),
        ("training.batch_size=64", ["prices"]),
        ("training.tensorboard=true", ["digits-cnn"]),
        ("data.source=*prices*", ["prices"]),
        ("test.accuracy>0.9", ["digits-cnn"]),
        ("test.accuracy>=90%", ["digits-cnn", "digits-mlp"]),
        ("val.accuracy<98%", ["digits-cnn"]),
        ("validation.accuracy<0.98", ["digits-cnn"]),
        ("test.mae<20", ["prices"]),
        ("test.r2>0.5", ["prices"]),
        ("state=interrupted", ["prices"]),
        ("step<=10", ["digits-cnn", "digits-mlp"]),
        ("took>9000", ["digits-cnn"]),
    ],
)
def test_a_condition_is_about_the_recipe_or_the_results(
    summaries: list[RunSummary], condition: str, names: list[str]
) -> None:
    assert names_of(select(summaries, conditions=[parse_condition(condition)])) == names


def test_all_conditions_count_together(summaries: list[RunSummary]) -> None:
    conditions = [parse_condition(text) for text in ("model.name=mlp", "test.accuracy>0.5")]

    assert names_of(select(summaries, conditions=conditions)) == ["digits-mlp"]
    assert names_of(select(summaries, states=["interrupted", "failed"])) == ["prices"]
    assert names_of(select(summaries, name="digits")) == ["digits-cnn", "digits-mlp"]
    assert names_of(select(summaries, name="*-mlp-*")) == ["digits-mlp"]
    assert select(summaries, name="mlp*") == []


def test_a_key_that_no_run_has_is_refused_with_the_nearest(summaries: list[RunSummary]) -> None:
    with pytest.raises(UsageError, match=r"none of the runs has modle\.name") as caught:
        select(summaries, conditions=[parse_condition("modle.name=cnn")])
    assert caught.value.hint == "did you mean model.name?"


@pytest.mark.parametrize("text", ["", "model.name", "=cnn", "model.name=", "test.accuracy>good", "a b=c"])
def test_what_is_no_condition_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_condition(text)
    assert "--where model.name=cnn" in caught.value.hint


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("age", ["digits-cnn", "digits-mlp", "prices"]),
        ("name", ["digits-cnn", "digits-mlp", "prices"]),
        ("val", ["prices", "digits-cnn", "digits-mlp"]),
        ("test", ["prices", "digits-mlp", "digits-cnn"]),
        ("took", ["prices", "digits-mlp", "digits-cnn"]),
        ("steps", ["digits-cnn", "digits-mlp", "prices"]),
    ],
)
def test_runs_are_sorted_with_the_best_last(summaries: list[RunSummary], by: str, names: list[str]) -> None:
    assert names_of(sort_runs(summaries[::-1], by)) == names
    assert names_of(sort_runs(summaries, by, is_reverse=True)) == names[::-1]


def test_a_damaged_recipe_hides_no_other_run(summaries: list[RunSummary]) -> None:
    RunDir(summaries[0].path).recipe_path.write_text("model: [")

    assert names_of(select(summaries, conditions=[parse_condition("model.name=mlp")])) == ["digits-mlp", "prices"]
