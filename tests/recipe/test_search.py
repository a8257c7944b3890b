"""Values that a recipe leaves open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from railcar.errors import RecipeError
from railcar.recipe.load import load_recipe, load_search

OPEN = """\
name: open
data: {source: penguins}
model: {name: mlp, dropout: {search: [0.0, 0.6]}, dense: {choose: [[32], [64, 64]]}}
training:
  epochs: 10
  batch_size: {search: [8, 64]}
  optimizer: {name: adamw, learning_rate: {search: [1.0e-4, 1.0e-2], log: true}}
"""


def test_ranges_and_choices_are_found_and_the_recipe_has_the_first_of_each(tmp_path: Path):
    (tmp_path / "open.yaml").write_text(OPEN)
    recipe, found = load_search(tmp_path / "open.yaml")
    by_key = {one.key: one for one in found}
    assert (recipe.model.dropout, recipe.model.dense, recipe.training.batch_size) == (0.0, (32,), 8)
    assert by_key["training.optimizer.learning_rate"].is_log and not by_key["model.dropout"].is_log
    assert by_key["training.batch_size"].is_whole and not by_key["model.dropout"].is_whole
    assert by_key["model.dense"].values == ([32], [64, 64])


def test_a_recipe_without_any_is_as_it_was():
    recipe, found = load_search("penguins")
    assert recipe == load_recipe("penguins") and found == []


def test_training_such_a_recipe_names_each_open_value_and_who_searches(tmp_path: Path):
    (tmp_path / "open.yaml").write_text(OPEN)
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "open.yaml")
    assert [fault.key for fault in caught.value.faults] == [
        "model.dropout",
        "model.dense",
        "training.batch_size",
        "training.optimizer.learning_rate",
    ]
    assert "railcar tune" in caught.value.faults[0].hint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("dropout: {search: [0.6, 0.1]}", "model.dropout: searches from 0.6 to 0.1"),
        ("dropout: {search: [0.1, 1.5]}", "model.dropout: must be less than 1, got 1.5"),
        ("dropout: {search: [0.0, 0.5], log: true}", "model.dropout: searches by factors from 0.0 on"),
        ("dropout: {search: 0.5}", "model.dropout: is no search"),
        ("dropout: {search: [0.1, 0.5], steps: 3}", "model.dropout: is no search"),
        ("dense: {choose: [[3]]}", "model.dense: is no choice"),
        ("dense: {choose: [[3], x]}", "model.dense: must be a list of whole numbers"),
        ("drop_out: {search: [0.1, 0.5]}", "model.drop_out"),
        ("filters: {choose: [[3], [4]]}", "model.filters: has no effect with the model mlp"),
    ],
)
def test_what_cannot_be_searched_is_told_with_its_line(words: str, said: str, tmp_path: Path):
    path = tmp_path / "open.yaml"
    path.write_text(f"name: open\ndata: {{source: penguins}}\nmodel: {{name: mlp, {words}}}\n")
    with pytest.raises(RecipeError) as caught:
        load_search(path)
    assert said in str(caught.value)
    assert "open.yaml:3" in str(caught.value)


@pytest.mark.parametrize("document", [{"seed": {"choose": [1, 2]}}, {"data": {"test": {"choose": [0.1, 0.2]}}}])
def test_data_and_seeds_are_not_searched_for(document: dict[str, Any]):
    with pytest.raises(RecipeError, match="is not searched for"):
        load_search(document)
