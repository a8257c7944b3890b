"""Rules across the keys of a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from railcar.errors import RecipeError
from railcar.recipe.load import load_recipe


def training(**keys: Any) -> dict[str, Any]:
    return {"training": keys}


@pytest.mark.parametrize(
    ("recipe", "key", "hint"),
    [
        (training(steps=5, epochs=1), "training.epochs", "keep one of the two"),
        (
            training(steps=5, optimizer={"warmup_steps": 5}),
            "training.optimizer.warmup_steps",
            "set training.optimizer.warmup_steps to 0",
        ),
        (
            training(optimizer={"weight_decay": 0.1}),
            "training.optimizer.weight_decay",
            "set training.optimizer.name to adamw",
        ),
        ({"data": {"validation": None}}, "training.best", "set training.best to last"),
        ({"model": {"name": "cn"}}, "model.name", "did you mean cnn?"),
        ({"model": {"name": "mine.py"}}, "model.name", "write it as in mine.py:build_model"),
        ({"model": {"initializer_std": 0.5}}, "model.initializer_std", "set model.initializer to truncated_normal"),
        (
            {"data": {"validation": None}, **training(best="last", early_stop={"patience": 3})},
            "training.early_stop",
            "set data.validation",
        ),
        (training(stop_at={"value": 99}), "training.stop_at.value", "write it as 0.99"),
        ({"data": {"validation": 0.5, "test": 0.5}}, "data.validation", "make the two less than 1 together"),
    ],
)
def test_keys_that_contradict_each_other_are_a_fault(recipe: dict[str, Any], key: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)

    assert [fault.key for fault in caught.value.faults] == [key]
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    "recipe",
    [
        training(steps=5, optimizer={"warmup_steps": 4, "schedule": "cosine"}),
        training(epochs=1, optimizer={"warmup_steps": 1000, "schedule": "linear"}),
        training(optimizer={"name": "adamw", "weight_decay": 0.1}),
        training(optimizer={"name": "sgd", "weight_decay": 0.1}),
        {"data": {"validation": None}, "training": {"best": "last"}},
        {"model": {"initializer": "truncated_normal", "initializer_std": 0.5}},
        {"model": {"global_pool": "average", "dense": [64]}},
    ],
)
def test_keys_that_go_together_are_no_fault(recipe: dict[str, Any]) -> None:
    loaded = load_recipe(recipe)
    assert load_recipe(loaded.model_dump()) == loaded


def test_a_rule_is_silent_about_keys_that_are_wrong_already() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(training(steps=5, epochs="many", optimizer={"weight_decay": 0.1, "name": "adan"}))

    assert [fault.key for fault in caught.value.faults] == ["training.epochs", "training.optimizer.name"]
