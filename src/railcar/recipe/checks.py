"""Rules across the keys of a recipe, each a function that yields what is wrong.

Knows no data and no machine: what depends on them (image sizes, devices, memory) is checked when a run is prepared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from railcar.recipe.faults import Finding
from railcar.recipe.reference import list_keys
from railcar.recipe.schema import Part, Recipe
from railcar.registry import BACKBONES, MODELS, OWN, PRETRAINED, is_own


def find_conflicts(recipe: Recipe) -> Iterator[Finding]:
    """All findings of all rules, in the order of the recipe's keys."""
    for rule in (
        _sides_leave_something,
        _test_part_is_whole,
        _model_is_known,
        _model_has_the_keys,
        _backbone_fits,
        _initializer_fits,
        _one_length,
        _optimizer_fits,
        _best_is_seen,
        _ends_are_seen,
    ):
        yield from rule(recipe)


def _sides_leave_something(recipe: Recipe) -> Iterator[Finding]:
    validation, test = recipe.data.validation, recipe.data.test
    if isinstance(validation, float) and isinstance(test, float) and validation + test >= 1:
        yield Finding(
            ("data", "validation"),
            f"{validation:g} and data.test {test:g} leave nothing to train on",
            "make the two less than 1 together",
            others=(("data", "test"),),
        )


def _test_part_is_whole(recipe: Recipe) -> Iterator[Finding]:
    test = recipe.data.test
    if not isinstance(test, Part):
        return
    has_fold = (test.fold is not None, test.of is not None)
    if (test.last is None) != all(has_fold) or has_fold[0] != has_fold[1]:
        yield Finding(("data", "test"), "says no part", "write {last: 500}, or {fold: 1, of: 5}")
    elif test.fold is not None and test.of is not None and test.fold > test.of:
        yield Finding(("data", "test"), f"there is no fold {test.fold} of {test.of}", f"count from 1 to {test.of}")


def _model_is_known(recipe: Recipe) -> Iterator[Finding]:
    name = recipe.model.name
    if name in MODELS or (is_own(name) and all(name.rpartition(":")[::2])):
        return
    path = ("model", "name")
    if ".py" in name or ":" in name:
        file = name.partition(":")[0]
        yield Finding(path, f"{name!r} names no function", f"write it as in {file or 'model.py'}:build_model")
        return
    from difflib import get_close_matches

    close = get_close_matches(name, MODELS, n=1)
    hint = f"did you mean {close[0]}?" if close else "`railcar recipe list --models` lists them"
    yield Finding(path, f"there is no model {name!r}", hint)


def _model_has_the_keys(recipe: Recipe) -> Iterator[Finding]:
    """Keys that change nothing are no fault when they say what holds anyway, as in the recipe that a run writes."""
    model = recipe.model
    if model.name not in MODELS and not is_own(model.name):
        return
    entry = OWN if is_own(model.name) else MODELS[model.name]
    for_all = {"name", "mirror_average", "shift_average"} if entry.kind == "image" else {"name"}
    for key in sorted(type(model).model_fields.keys() - for_all - set(entry.keys)):
        if getattr(model, key) != type(model).model_fields[key].default:
            yield Finding(
                ("model", key),
                f"has no effect with the model {model.name}",
                f"leave it out; {model.name} knows {', '.join(entry.keys)}"
                if entry is not OWN
                else f"hand it to the function: model.options: {{{key}: ...}}",
                others=(("model", "name"),),
            )


def _backbone_fits(recipe: Recipe) -> Iterator[Finding]:
    model = recipe.model
    if model.name != PRETRAINED:
        return
    if model.backbone not in BACKBONES:
        from difflib import get_close_matches

        close = get_close_matches(model.backbone, BACKBONES, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else f"one of: {', '.join(BACKBONES)}"
        yield Finding(("model", "backbone"), f"keras.applications has no {model.backbone!r}", hint)
    if recipe.data.scale != "auto":
        yield Finding(
            ("data", "scale"), f"{model.backbone} has a scaling of its own", "leave it out", others=(("model", "name"),)
        )
    if model.fine_tune is None:
        return
    why = None
    if model.weights == "none":
        why = "without weights all of it is trained"
    elif recipe.training.optimizer.name == "muon":
        why = "muon has no learning rate for a part of a network"
    if why:
        yield Finding(("model", "fine_tune"), why, "leave it out", others=(("model", "name"),))


def _initializer_fits(recipe: Recipe) -> Iterator[Finding]:
    model = recipe.model
    if model.initializer != "truncated_normal" and model.initializer_std != _default("model.initializer_std"):
        yield Finding(
            ("model", "initializer_std"),
            f"has no effect with the initializer {model.initializer}",
            "set model.initializer to truncated_normal, or leave it out",
            others=(("model", "initializer"),),
        )


def _one_length(recipe: Recipe) -> Iterator[Finding]:
    if recipe.training.steps is not None and recipe.training.epochs is not None:
        yield Finding(
            ("training", "epochs"),
            "says how long to train, and so does training.steps",
            "keep one of the two",
            others=(("training", "steps"),),
        )


def _optimizer_fits(recipe: Recipe) -> Iterator[Finding]:
    optimizer, steps = recipe.training.optimizer, recipe.training.steps
    if steps is not None and optimizer.warmup_steps >= steps:
        yield Finding(
            ("training", "optimizer", "warmup_steps"),
            f"must be less than training.steps ({steps}), got {optimizer.warmup_steps}",
            f"set training.optimizer.warmup_steps to {steps // 10}",
            others=(("training", "steps"),),
        )
    rates = {name: getattr(optimizer, name) for name in ("bias_learning_rate", "head_learning_rate")}
    for name, rate in rates.items():
        if (rate is None) == (optimizer.name == "muon"):
            needs = "muon needs it" if rate is None else f"has no effect with {optimizer.name}"
            hint = "the recipe cifar10 has values to start from" if rate is None else "leave it out"
            yield Finding(("training", "optimizer", name), needs, hint, others=(("training", "optimizer", "name"),))
    if optimizer.weight_decay and optimizer.name == "adam":
        yield Finding(
            ("training", "optimizer", "weight_decay"),
            "adam has no decoupled weight decay",
            "set training.optimizer.name to adamw",
            others=(("training", "optimizer", "name"),),
        )


def _best_is_seen(recipe: Recipe) -> Iterator[Finding]:
    if recipe.data.validation is None and recipe.training.best != "last":
        yield Finding(
            ("training", "best"),
            f"{recipe.training.best} needs validation, and data.validation is null",
            "set training.best to last",
            others=(("data", "validation"),),
        )


def _ends_are_seen(recipe: Recipe) -> Iterator[Finding]:
    node = recipe.training
    for name, rule in (("early_stop", node.early_stop), ("stop_at", node.stop_at)):
        if rule is not None and recipe.data.validation is None:
            yield Finding(
                ("training", name),
                f"watches {rule.metric}, and data.validation is null",
                f"set data.validation, or leave training.{name} out",
                others=(("data", "validation"),),
            )
    if node.stop_at is not None and node.stop_at.metric == "val_accuracy" and node.stop_at.value > 1:
        yield Finding(
            ("training", "stop_at", "value"),
            f"{node.stop_at.value:g} is never reached: accuracies are from 0 to 1",
            f"write it as {node.stop_at.value / 100:g}" if node.stop_at.value <= 100 else "write it as in 0.99",
        )


def _default(key: str) -> Any:
    return list_keys()[key].default
