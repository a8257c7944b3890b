"""The model card: what is in the run's files stands in it, and its limits follow from the figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import yaml

from railcar.evaluation.describe import describe, describe_regression
from railcar.evaluation.groups import group_words, measure_groups
from railcar.reporting.card import KEPT, CardFacts, find_notes, render_card
from railcar.reporting.card_facts import escape


def make_evaluation(n: int, names: list[str], *, right: float = 0.8, seed: int = 0) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, len(names), n)
    said = np.where(generator.random(n) < right, labels, generator.integers(0, len(names), n))
    logits = generator.normal(size=(n, len(names))) / 10
    logits[np.arange(n), said] += 3
    return describe(logits, labels, names)


def make_facts(n: int = 200, names: tuple[str, ...] = ("cat", "dog", "b|rd_"), **more: Any) -> CardFacts:
    evaluation = {
        "checkpoint": "step-00000080",
        "test": make_evaluation(n, list(names)),
        "validation": make_evaluation(n, list(names), seed=1),
    }
    manifest = {
        "railcar": "0.1.0",
        "started": "2026-11-30T10:39:14.000+00:00",
        "seed": 7,
        "step": 160,
        "steps": 160,
        "seconds_training": 12.5,
        "devices": ["cpu: TensorFlow sees no GPU"],
        "versions": {"python": "3.11.7", "keras": "3.15.1"},
        "git_commit": "69a75af",
        "data": {
            "source": "/home/anna/secret/photos",
            "form": "folder",
            "fingerprint": "a2cde577",
            "kind": "image",
            "task": "classification",
            "class_names": list(names),
            "image_shape": [28, 28, 1],
            "n_train": 320,
            "n_validation": n,
            "n_test": n,
        },
        "model": {"parameters": 3851, "layers": []},
    }
    recipe = {
        "model": {"name": "cnn"},
        "data": {"augment": {"flip": True, "shift": 0.0}, "balance": "weights"},
        "training": {
            "batch_size": 16,
            "best": "val_loss",
            "optimizer": {"name": "adamw", "learning_rate": 0.001, "schedule": "cosine", "weight_decay": 0.01},
        },
    }
    decisions = {
        "model.name": {"value": "cnn", "reason": "small images"},
        "training.compile": {"value": "graph", "reason": "on a CPU oneDNN's kernels are faster"},
    }
    facts = CardFacts("photos-1", "runs/photos-1", manifest, recipe, decisions, evaluation)
    return replace(facts, **more)


def read_limits(card: str) -> str:
    return card.partition("## Limits")[2].partition("## How to use it")[0]


def test_what_the_runs_files_say_stands_in_the_card_and_whose_computer_it_was_does_not():
    facts = make_facts()
    card = render_card(facts)
    one = facts.evaluation["test"]
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "keras" and front["pipeline_tag"] == "image-classification"
    measured = front["model-index"][0]["results"][0]
    assert measured["metrics"][0] == {"type": "accuracy", "value": round(one["accuracy"], 6)}
    assert measured["dataset"] == {"name": "photos", "type": "photos", "split": "test"}
    assert "/home" not in card and "anna" not in card
    for part in (
        "# photos-1\n\nSays whether an image is cat, dog or b\\|rd\\_. Trained on photos with railcar 0.1.0.",
        f"it got {one['accuracy']:.2%} right",
        "28x28 pixels, gray",
        "`cnn`, 3,851 parameters",
        "320 to train on, 200 to choose a checkpoint by, 200 to test on",
        "160 steps of 16 images (8 epochs), 12.5 seconds on cpu",
        "adamw, learning rate 0.001, cosine, weight decay 0.01",
        "`step-00000080`, the one with the best `val_loss`",
        "- `model.name`: cnn - small images",
        "**Balance:** rare classes weigh more",
        "**Changed at random in training:** flip",
        "`a2cde577`",
        "railcar predict photo.jpg --run runs/photos-1\n",
        "railcar train runs/photos-1/recipe.yaml",
        "python 3.11.7, keras 3.15.1",
    ):
        assert part in card, part
    assert "oneDNN" not in card  # how it was computed is not what was learnt
    tables = [line for line in card.splitlines() if line.startswith("|")]
    assert all(line.count("|") - line.count("\\|") == tables[0].count("|") for line in tables[:4])


def test_its_limits_follow_from_its_figures():
    small = make_facts(40)
    low, high = small.evaluation["test"]["accuracy_95"]
    said = read_limits(render_card(small))
    assert f"40 images only: its accuracy on others like them may well be {low:.1%} or {high:.1%}" in said
    assert "fewer than 20 images were tested" in said
    large = make_facts(20_000)
    said = read_limits(render_card(large))
    assert "images only" not in said and "fewer than" not in said
    assert "--calibrate` mends" in said  # off by more than three in a hundred
    calm = {**large.evaluation, "temperature": 1.3}
    assert "were calibrated on the validation side" in read_limits(render_card(replace(large, evaluation=calm)))
    unmeasured = {"checkpoint": "x", "validation": large.evaluation["validation"]}
    assert "the checkpoint was chosen by those" in read_limits(render_card(replace(large, evaluation=unmeasured)))
    assert "Nothing was measured" in read_limits(render_card(replace(large, evaluation={})))


def test_a_class_that_is_nearly_all_and_one_that_is_weak_are_named():
    labels = np.repeat([0, 1, 2], [180, 30, 30])
    said = labels.copy()
    said[185:205] = 0
    test = describe(np.eye(3)[said] * 9, labels, ["ham", "spam", "eggs"])
    card = render_card(make_facts(names=("ham", "spam", "eggs"), evaluation={"checkpoint": "x", "test": test}))
    limits = read_limits(card)
    assert "75.0% of the test images are ham: always saying ham would be right as often" in limits
    assert "told apart much worse than the others: spam (F1 0.50, 33% found)" in limits
    assert "Commonest mistakes: spam taken for ham (20 of 30)." in card


def test_groups_that_were_measured_stand_in_it_and_are_limits():
    facts = make_facts()
    data = {**facts.manifest["data"], "kind": "table", "form": "csv", "label": "kind"}
    encoding = {"columns": [{"name": "age", "type": "number"}, {"name": "town", "type": "category"}]}
    table = replace(facts, manifest={**facts.manifest, "data": data}, encoding=encoding)
    assert "railcar evaluate runs/photos-1 --by COLUMN" in read_limits(render_card(table))
    labels = np.ones(200, int)
    predicted = labels.copy()
    predicted[:40] = 0
    groups = {"sex": measure_groups(group_words(["f"] * 100 + ["m"] * 100), labels, predicted, 3)}
    groups["town"] = measure_groups(group_words(["Ulm", "Bonn"] * 100), labels, predicted, 3)
    test = {**facts.evaluation["test"], "groups": groups}
    card = render_card(replace(table, evaluation={**facts.evaluation, "test": test}))
    assert "### test by `sex`" in card and "| f | 100 | 60.00% |" in card
    limits = read_limits(card)
    assert "by `sex`, worse by 40.0 points for f than for m" in limits and "By `town` no difference" in limits
    assert "`age` (number), `town` (category)" in card and "railcar predict rows.csv" in card


def test_of_a_regression_the_errors_are_told():
    generator = np.random.default_rng(0)
    targets = generator.normal(50, 10, 500)
    found = describe_regression(targets - 6 + generator.normal(0, 9, 500), targets, scale=10.0)
    facts = make_facts()
    data = {**facts.manifest["data"], "kind": "table", "task": "regression", "label": "price", "class_names": []}
    facts = replace(
        facts, manifest={**facts.manifest, "data": data}, evaluation={"checkpoint": "x", "validation": found}
    )
    card = render_card(facts)
    assert "Estimates the column `price` of a row" in card and f"off by {found['mae']:.4g} on average" in card
    limits = read_limits(card)
    assert "too low by" in limits and "Nine in ten errors" in limits and "classes" not in limits
    assert yaml.safe_load(card.split("---\n")[1])["metrics"] == ["mae", "rmse", "r2"]


def test_what_its_readers_wrote_below_is_kept():
    facts = make_facts()
    card = render_card(facts)
    assert find_notes(card) == ""
    mine = card.partition(KEPT)[0] + KEPT + "\n\nFor the garden gate only.\n\n- Not for *people*.\n"
    again = render_card(replace(facts, notes=find_notes(mine)))
    assert again == mine and find_notes(again) == find_notes(mine)
    assert find_notes("# A card of somebody else") == ""


def test_names_cannot_break_the_markdown():
    assert escape("a|b `c`\n# [d](e) <i> snake_case _x_ *y*") == (
        "a\\|b \\`c\\` \\# \\[d](e) \\<i> snake_case \\_x\\_ \\*y\\*"
    )


def test_names_of_the_data_can_be_neither_markup_nor_unseen():
    from railcar.reporting.card_facts import clean, code, escape

    hostile = "te`xt`\n<script>alert(1)</script> \u202egnp\u200b [x](javascript:1) https://a.b ~~c~~"
    assert clean({"a": [hostile]})["a"][0].splitlines() == [clean(hostile)]
    assert "\u202e" not in clean(hostile) and "\u200b" not in clean(hostile)
    told = code(hostile)
    assert told.startswith("`` ") and told.endswith(" ``") and "\n" not in told
    assert code("plain") == "`plain`"
    told = escape(hostile)
    assert "\\<script>" in told and "https\\://" in told and "\\~\\~" in told and "\\[x]" in told
