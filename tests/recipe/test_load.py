"""Recipes from files, names, Python values and `--set`, and back to YAML."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from railcar.errors import RecipeError, UsageError
from railcar.recipe.load import bundled_recipes, find_recipe, load_recipe
from railcar.recipe.reference import list_keys
from railcar.recipe.schema import Data, Last, Model, Optimizer, Recipe, Training
from railcar.recipe.writing import idle_keys, recipe_to_yaml
from railcar.registry import MODELS


@pytest.fixture
def write(tmp_path: Path):
    def write_file(text: str, name: str = "my.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def test_nothing_at_all_is_the_defaults() -> None:
    assert load_recipe(None) == Recipe()


def test_a_yaml_file_a_mapping_a_python_file_and_a_recipe_say_the_same(write) -> None:
    values: dict[str, Any] = {"name": "cats", "model": {"filters": [8, 16]}, "data": {"validation": {"last": 50}}}
    recipe = Recipe(name="cats", model=Model(filters=(8, 16)), data=Data(validation=Last(last=50)))
    yaml_path = write("name: cats\nmodel: {filters: [8, 16]}\ndata:\n  validation: {last: 50}\n")
    dict_path = write(f"recipe = {values!r}\n", "as_dict.py")
    recipe_path = write(
        "from railcar import Recipe\nrecipe = Recipe(name='cats', model={'filters': (8, 16)}, "
        "data={'validation': {'last': 50}})\n",
        "as_recipe.py",
    )

    for source in (yaml_path, str(yaml_path), values, dict_path, recipe_path, recipe):
        assert load_recipe(source) == recipe


def test_a_section_whose_keys_are_all_commented_out_has_the_defaults(write) -> None:
    assert load_recipe(write("training:\n  # steps: 5\nmodel:\n")) == Recipe()


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_every_bundled_recipe_is_found_by_its_name_and_has_no_fault(name: str) -> None:
    assert isinstance(load_recipe(name), Recipe)


def test_the_bundled_recipes_are_those_of_the_tutorials() -> None:
    assert {"mnist", "mnist-tutorial"} <= set(bundled_recipes())


def test_an_unknown_recipe_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="there is no recipe 'mnist-tutorail'") as caught:
        find_recipe("mnist-tutorail")
    assert caught.value.hint == "did you mean mnist-tutorial?"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"gone\.yaml: there is no such file"):
        load_recipe(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "is not a recipe"),
        ("mnist", "is not a recipe"),
    ],
)
def test_a_file_without_keys_is_refused(write, text: str, what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        load_recipe(write(text))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("recipe = {", r"my\.py:1: not Python"),
        ("a = 1\n\nb = a / 0\n", r"my\.py:3: ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", r"my\.py: ends the program"),
        ("recipe = {}\nrecipe['data'] = recipe\n", r"my\.py: data: nested more than 20 levels deep"),
        ("reciep = {}\n", r"my\.py: does not define `recipe`"),
        ("recipe = 5\n", r"my\.py: `recipe` is a int"),
        (
            "recipe = {'data': {'source': object}}\n",
            r"my\.py: data\.source: must be text, a number, a list or a mapping",
        ),
        ("recipe = {'training': {'batchsize': 5}}\n", r"my\.py: training\.batchsize: unknown key"),
    ],
)
def test_a_python_file_at_fault_is_named_with_its_line(write, text: str, what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        load_recipe(write(text, "my.py"))


# ---- --set


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("training.batch_size=256", "training.batch_size", 256),
        ("model.filters=[16,32]", "model.filters", (16, 32)),
        ("training.optimizer.learning_rate=1e-3", "training.optimizer.learning_rate", 1e-3),
        ("data.validation={last: 500}", "data.validation", Last(last=500)),
        ("data.validation.last=500", "data.validation", Last(last=500)),
        ("data.test=", "data.test", None),
        ("data.source=photos/a=b", "data.source", "photos/a=b"),
        ("training.optimizer={name: sgd}", "training.optimizer", Optimizer(name="sgd")),
    ],
)
def test_set_changes_one_key(word: str, key: str, value: object) -> None:
    recipe = load_recipe(None, [word])
    found: Any = recipe
    for part in key.split("."):
        found = getattr(found, part)

    assert found == value
    assert load_recipe(recipe) == recipe


def test_overrides_may_be_a_mapping_of_python_values() -> None:
    recipe = load_recipe("mnist", {"training.steps": 700, "model.filters": (4,), "data.source": Path("photos")})

    assert (recipe.training.steps, recipe.model.filters, recipe.data.source) == (700, (4,), "photos")


def test_numbers_of_numpy_are_numbers() -> None:
    recipe = load_recipe({"model": {"filters": np.array([4, 8])}}, {"training.steps": np.int64(7)})

    assert (recipe.model.filters, recipe.training.steps) == ((4, 8), 7)


def test_a_copy_updated_with_a_faulty_value_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"seed: must be a whole number, got 'one'"):
        load_recipe(Recipe().model_copy(update={"seed": "one"}))


def test_the_last_of_two_sets_of_one_key_wins() -> None:
    assert load_recipe(None, ["training.steps=5", "training.steps=6"]).training.steps == 6


@pytest.mark.parametrize(("said", "unsaid"), [("steps", "epochs"), ("epochs", "steps")])
def test_setting_steps_or_epochs_unsets_the_other(said: str, unsaid: str) -> None:
    recipe = load_recipe({"training": {unsaid: 3}}, [f"training.{said}=100"])

    assert getattr(recipe.training, said) == 100
    assert getattr(recipe.training, unsaid) is None


def test_setting_both_steps_and_epochs_is_a_fault() -> None:
    with pytest.raises(RecipeError, match="says how long to train, and so does training"):
        load_recipe(None, ["training.steps=5", "training.epochs=2"])


@pytest.mark.parametrize(
    ("word", "what", "hint"),
    [
        ("training.batchsize=5", "unknown key", "did you mean training.batch_size?"),
        ("batch_size=5", "unknown key", "did you mean training.batch_size?"),
        ("training.steps.more=5", "unknown key", "training.steps has no keys of its own"),
        ("training.batch_size", "is not KEY=VALUE", "training.batch_size=256"),
        ("=5", "is not KEY=VALUE", "training.batch_size=256"),
        ("training.steps=many", "must be a whole number, got 'many'", "the default is null"),
        ("training=5", "must have keys of its own, got 5", "keys of training: steps, epochs"),
        ("model.filters=[1", "not YAML", ""),
        ("model.filters=&a [1]", "&a: anchors and aliases are not read", ""),
    ],
)
def test_a_faulty_set_is_named_as_it_was_written(word: str, what: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("mnist", [word])

    assert len(caught.value.faults) == 1
    assert caught.value.what.startswith(f"--set {word}: {what}")
    assert hint in caught.value.hint


def test_a_set_that_does_not_fit_the_file_is_named_before_the_file(write) -> None:
    path = write("training: {steps: 500, optimizer: {warmup_steps: 100}}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, ["training.steps=20"])

    assert caught.value.what.startswith("--set training.steps=20: training.optimizer.warmup_steps: must be less than")
    assert caught.value.hint == "set training.optimizer.warmup_steps to 2"


def test_in_python_the_error_itself_tells_every_fault() -> None:
    with pytest.raises(
        RecipeError, match=r"^2 faults in the recipe: training\.steps: must be .*; training\.stepz: unknown"
    ):
        load_recipe({"training": {"steps": 0, "stepz": 0}})


def test_a_fault_that_the_file_has_is_mended_by_a_set(write) -> None:
    assert load_recipe(write("training: {steps: many}\n"), ["training.steps=5"]).training.steps == 5


# ---- and back


def random_recipe(seed: int) -> Recipe:
    draw = random.Random(seed)
    return Recipe(
        name=draw.choice(["a", "no", "1e5", "0x10", "7", "long-name_1.2"]),
        seed=draw.randrange(2**32),
        data=Data(
            source=draw.choice(["mnist", "photos/my cats: best", "yes", "- ", "\u00fc\u2028\n", "~", 'a"b\\']),
            image_size=draw.choice([None, (28, 32)]),
            fit=draw.choice(["stretch", "crop", "pad"]),
            validation=draw.choice([None, 0.25, 500, Last(last=5), "null"]),
            test=draw.choice([None, 1e-7, "off"]),
            shuffle=draw.random() < 0.5,
        ),
        model=Model(
            filters=tuple(draw.choices(range(1, 99), k=3)), dense=draw.choice([(), (9,)]), bias=draw.gauss(0, 1)
        ),
        training=Training(
            epochs=draw.choice([None, 0.5, 1e3]),
            best="last",
            validate_every=draw.choice([5, "epoch"]),
            optimizer=Optimizer(name="sgd", learning_rate=10 ** -draw.uniform(1, 9), weight_decay=draw.random()),
        ),
    )


@pytest.mark.parametrize("seed", range(40))
def test_a_recipe_written_as_yaml_loads_back_equal(write, seed: int) -> None:
    recipe = random_recipe(seed)

    assert load_recipe(write(recipe_to_yaml(recipe))) == recipe


@pytest.mark.parametrize("name", list(MODELS))
def test_yaml_of_a_recipe_names_every_key_that_counts_for_its_model_once_and_in_order(name: str) -> None:
    recipe = Recipe(model=Model(name=name))
    named = [line.split(":")[0].strip() for line in recipe_to_yaml(recipe).splitlines()]
    idle = idle_keys(recipe)
    counting = [key for key in list_keys() if not any(f"{key}.".startswith(f"{one}.") for one in idle)]

    assert named == [key.rpartition(".")[2] for key in counting]
    assert {"data.task", "data.columns"} <= idle_keys(recipe) or {"data.scale", "data.augment"} <= idle_keys(recipe)
    assert not any(f"model.{key}" in idle_keys(recipe) for key in MODELS[name].keys)


def test_a_key_that_does_not_count_is_written_when_it_was_set(write) -> None:
    recipe = Recipe(model=Model(name="mlp"), data=Data(image_size=(8, 8)))

    assert "  image_size: [8, 8]\n" in recipe_to_yaml(recipe) and "scale:" not in recipe_to_yaml(recipe)
    assert "fit:" not in recipe_to_yaml(recipe) and "  fit: stretch\n" in recipe_to_yaml(Recipe())


def test_yaml_of_a_recipe_is_read_alike_by_other_programs() -> None:
    import yaml

    recipe = load_recipe("mnist-tutorial", ["training.optimizer.learning_rate=1e-5", "data.source=no"])

    assert load_recipe(yaml.safe_load(recipe_to_yaml(recipe))) == recipe


def test_comments_stand_behind_their_keys_and_do_not_change_the_recipe(write) -> None:
    text = recipe_to_yaml(Recipe(), {"training.precision": "this CPU\nmultiplies: bfloat16 #1", "training": "all"})

    assert "  precision: auto  # this CPU multiplies: bfloat16 #1\n" in text
    assert "\ntraining:  # all\n" in text
    assert load_recipe(write(text)) == Recipe()


def test_naming_another_optimizer_or_model_leaves_the_settings_of_the_old_one_behind() -> None:
    recipe = load_recipe("mnist", ["training.optimizer.name=adam"])
    assert recipe.training.optimizer == Recipe().training.optimizer.model_copy(update={"schedule": "linear"})
    assert load_recipe("mnist", ["model.name=cnn", "model.dropout=0.3"]).model == Model(dropout=0.3)
    same = load_recipe("mnist", ["training.optimizer.name=muon", "model.name=airbench"])
    assert same == load_recipe("mnist")
    plain = load_recipe({"model": {"dropout": 0.2}}, {"model.name": "cnn"})
    assert plain.model.dropout == 0.2
