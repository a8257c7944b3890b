"""Rows 73 to 75 of the bad inputs: every fault of a recipe at once, with its line, in plain words, with the mend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from railcar.errors import Fault, RecipeError
from railcar.recipe.load import load_recipe
from railcar.recipe.reference import list_keys


def faults_of(source: Any, *words: str) -> list[Fault]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(source, words)
    assert caught.value.exit_status == 2
    return list(caught.value.faults)


def fault_of(source: Any, *words: str) -> Fault:
    found = faults_of(source, *words)
    assert len(found) == 1, [str(fault) for fault in found]
    return found[0]


def nested(key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}


def test_all_faults_are_reported_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "name: ../escape\n"
        "data:\n"
        "  soruce: mnist\n"
        "  validation: 1.5\n"
        "model:\n"
        "  filters: [32, many]\n"
        "training:\n"
        "  batchsize: 12\n"
        "  steps: 10\n"
        "  epochs: 2\n"
        "  optimizer: {name: adan, weight_decay: 0.1}\n"
        "  steps: 20\n"
    )

    found = faults_of(path, "training.log_every=-1", "data.lable=a")

    assert [(fault.where.replace(f"{path}", "my.yaml"), fault.key) for fault in found] == [
        ("my.yaml:1", "name"),
        ("my.yaml:3", "data.soruce"),
        ("my.yaml:4", "data.validation"),
        ("my.yaml:6", "model.filters"),
        ("my.yaml:8", "training.batchsize"),
        ("my.yaml:10", "training.epochs"),
        ("my.yaml:11", "training.optimizer.name"),
        ("my.yaml:12", "training.steps"),
        ("--set data.lable=a", ""),
        ("--set training.log_every=-1", ""),
    ]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("training.batchsize", "did you mean batch_size?"),
        ("training.batch-size", "did you mean batch_size?"),
        ("training.Steps", "did you mean steps?"),
        ("batch_size", "did you mean training.batch_size?"),
        ("training.learning_rate", "did you mean training.optimizer.learning_rate?"),
        ("training.lr", "did you mean training.optimizer.learning_rate?"),
        ("data.filters", "did you mean model.filters?"),
        ("data.name", "did you mean name or model.name or training.optimizer.name?"),
        ("modle", "did you mean model?"),
        ("data.test.lst", "did you mean last?"),
        ("training.zzzzz", "keys here: steps, epochs, batch_size"),
    ],
)
def test_an_unknown_key_gets_the_nearest_valid_spelling(key: str, hint: str) -> None:
    fault = fault_of(nested(key, 5))

    assert (fault.key, fault.what) == (key, "unknown key")
    assert fault.hint.startswith(hint)


@pytest.mark.parametrize(
    ("key", "value", "what", "hint"),
    [
        ("training.batch_size", 0, "must be at least 1, got 0", "the default is 128"),
        ("training.batch_size", "many", "must be a whole number, got 'many'", "the default is 128"),
        ("training.batch_size", 1e3, "must be a whole number, got 1000.0",
         "write it without a fraction or an exponent: 1000"),
        ("training.batch_size", 1.5, "must be a whole number, got 1.5", "the default is 128"),
        ("training.batch_size", True, "must be a whole number, got true", "the default is 128"),
        ("training.batch_size", [1], "must be a whole number (at least 1), got [1]", "the default is 128"),
        ("training.epochs", 0, "must be more than 0, got 0", "the default is null"),
        ("training.epochs", float("nan"), "must be a finite number, got nan", "the default is null"),
        ("training.epochs", float("inf"), "must be a finite number, got inf", "the default is null"),
        ("model.dropout", 1, "must be less than 1, got 1", "the default is 0.0"),
        ("data.max_bad", 2, "must be at most 1, got 2", "the default is 0.01"),
        ("seed", 2**32, f"must be less than {2**32}, got {2**32}", "the default is 0"),
        ("data.shuffle", "no", "must be true or false, got 'no'", "write false"),
        ("data.shuffle", 1, "must be true or false, got 1", "the default is true"),
        ("data.source", 5, "must be text, got 5", 'put it in quotes: "5"'),
        ("training.optimizer.name", "adan", "must be one of adam, adamw, sgd, muon, got 'adan'", "did you mean adam?"),
        ("training.precision", "bf16", "must be one of auto, float32, bfloat16, float16, got 'bf16'",
         "did you mean bfloat16?"),
        ("model.filters", 32, "must be a list of whole numbers (at least 1), got 32", "the default is [32, 64]"),
        ("model.filters", [], "must be a list of whole numbers (at least 1), got []", "the default is [32, 64]"),
        ("data.image_size", [28], "must be a list of 2 whole numbers (at least 1) or null, got [28]",
         "the default is null"),
        ("training.validate_every", "epochs", "must be a whole number (at least 1) or epoch, got 'epochs'",
         "did you mean epoch?"),
        ("data.validation.last", 0, "must be at least 1, got 0", ""),
        ("data.validation", {}, "is missing", "add last: ..."),
        ("training", 5, "must have keys of its own, got 5", "keys of training: steps, epochs"),
        ("name", "a b", "must be letters, digits, `.`, `_` or `-`, the first a letter or a digit, got 'a b'",
         "the default is train"),
        ("name", "a" * 65, "must have at most 64 characters, got 'aaaa", "the default is train"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_in_plain_words(key: str, value: object, what: str, hint: str) -> None:
    fault = fault_of(nested(key, value))

    assert fault.key.startswith(key)
    assert fault.what.startswith(what)
    assert fault.hint.startswith(hint)


@pytest.mark.parametrize("value", [1.5, -1, 0, True, [1], 500.0])
def test_a_value_that_fits_none_of_several_kinds_is_one_fault(value: object) -> None:
    fault = fault_of({"data": {"validation": value}})

    assert fault.what.startswith(
        "must be a number between 0 and 1, a whole number (at least 1), {last: N}, the path of a source or null, got"
    )


@pytest.mark.parametrize(
    "value", [{"a": 1}, [[]], "\ud800", 10**5000, -(10**30), float("-inf")], ids=lambda value: str(type(value))
)
@pytest.mark.parametrize("key", [key for key, info in list_keys().items() if info.node is None])
def test_no_key_answers_a_strange_value_with_anything_but_a_fault(key: str, value: object) -> None:
    for fault in faults_of_anything(nested(key, value)):
        assert fault.key.startswith(key)
        assert fault.what


def faults_of_anything(source: dict[str, Any]) -> list[Fault]:
    try:
        load_recipe(source)
    except RecipeError as error:
        return list(error.faults)
    return []


def test_a_yaml_that_executes_is_refused_and_executes_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path = tmp_path / "evil.yaml"
    path.write_text(f"name: !!python/object/apply:os.mkdir ['{trap}']\n")

    fault = fault_of(path)

    assert fault.what == "!!python/object/apply:os.mkdir: tags are not read" and fault.key == "name"
    assert not os.path.lexists(trap)
