"""`train --time`: the steps that fit into a time."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import railcar
from railcar.cli.main import main
from railcar.cli.options import Duration
from railcar.errors import UsageError
from railcar.runs.run_dir import RunDir, read_json

LONG = {"training.steps": 10_000_000, "training.tensorboard": False, "model.dense": [16]}


def _reason(run: railcar.Run) -> str:
    return (read_json(RunDir(run.path).decisions_path) or {})["training.steps"]["reason"]


def test_a_training_is_as_long_as_fits_and_its_recipe_says_how_long_that_was(tmp_path: Path):
    recipe = {"data": {"source": "penguins", "label": "species"}, "model": {"name": "mlp"}}
    run = railcar.train(recipe, overrides=LONG, time_s=9, runs_dir=tmp_path, quiet=True)

    assert run.recipe.training.steps is not None and 0 < run.recipe.training.steps < 10_000_000
    assert RunDir(run.path).read_manifest()["step"] == run.recipe.training.steps
    assert re.fullmatch(
        r"as many as fit into 9 s: a step takes \S+ ms here, and \d+ s are kept for the end", _reason(run)
    )


def test_more_time_than_is_of_use_makes_no_training_longer(tmp_path: Path):
    usual = railcar.train("penguins", overrides={"data.label": "species"}, runs_dir=tmp_path, quiet=True)
    given = {"data.label": "species", "data.validation": 0.15}
    run = railcar.train(str(_write_penguins(tmp_path)), overrides=given, time_s=600, runs_dir=tmp_path, quiet=True)

    assert usual.recipe.training.steps is None
    assert run.recipe.training.steps is not None and run.recipe.training.steps < 2000
    assert "more than" in _reason(run) and "do not help" in _reason(run)


def _write_penguins(folder: Path) -> Path:
    from railcar.data.sources.sample import find_penguins

    path = folder / "birds.csv"
    path.write_bytes(find_penguins().read_bytes())
    return path


def test_a_time_without_room_for_a_step_is_refused_with_one_that_has(tmp_path: Path):
    recipe = {"data": {"source": "penguins", "label": "species"}, "model": {"name": "mlp"}}
    with pytest.raises(UsageError, match="--time 1s: not one step fits beside what comes before and after") as caught:
        railcar.train(recipe, overrides=LONG, time_s=1, runs_dir=tmp_path, quiet=True)
    assert re.fullmatch(r"give it \d+s for one pass over the data", caught.value.hint or "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--resume"], "a resumed run keeps its length"),
        (["--workers", "2"], "--time is for one process"),
        (["--dry-run"], "--time is for a training"),
    ],
)
def test_what_has_a_length_of_its_own_takes_no_time(words: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--time", "1m", *words]) == 2
    assert told in capsys.readouterr().err


def test_times_are_numbers_with_units():
    read = Duration().convert
    assert [read(text, None, None) for text in ("90s", "1h30m", "1.5 m", "2w")] == [90, 5400, 90, 1_209_600]
    for wrong in ("", "5", "m", "1h-3m", "soon"):
        with pytest.raises((UsageError, click.UsageError)):
            read(wrong, None, None)
