"""What is chosen where nobody says: by the kind, the size and the network that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from railcar.registry import MODELS
from railcar.workflows.habits import explain_scarcity, find_habit
from railcar.workflows.plan import plan
from tests.synthetic import make_images, write_image_folder


@pytest.mark.parametrize(
    ("name", "side", "filters"),
    [
        ("cnn", 28, [32, 64]),
        ("cnn", 32, [32, 64, 128]),
        ("resnet", 32, [32, 64, 128]),
        ("resnet", 64, [32, 64, 128, 256]),
        ("airbench", 8, [16]),
        ("airbench", 28, [16, 64, 64]),
        ("airbench", 32, [16, 64, 64]),
        ("airbench", 64, [16, 64, 64, 128]),
    ],
)
def test_networks_for_images_are_as_deep_as_the_image_is_large(name: str, side: int, filters: list[int]):
    assert find_habit(name, 10_000, (side, side, 3)).model["filters"] == filters


def test_few_images_are_seen_often_in_small_batches():
    few, some, many = (find_habit("cnn", n, (32, 32, 3)) for n in (200, 4_500, 50_000))
    assert (few.batch_size, few.epochs(200)) == (16, 100)
    assert (few.best, some.best) == ("last", "val_loss")
    assert (some.batch_size, some.epochs(4_500)) == (128, 40)
    assert (many.batch_size, many.epochs(50_000)) == (128, 6)
    assert find_habit("cnn", 4_500, (224, 224, 3)).epochs(4_500) == 13  # each takes fifty times as long


def test_airbench_is_trained_by_muon_in_batches_that_fit():
    found = [find_habit("airbench", n, (32, 32, 3)) for n in (30, 400, 5000, 50_000)]
    assert [one.batch_size for one in found] == [15, 64, 128, 512]
    assert all(one.optimizer == found[0].optimizer for one in found) and found[0].optimizer["name"] == "muon"


@pytest.mark.parametrize(
    ("n", "side", "overrides", "name"),
    [
        (600, 32, {}, "airbench"),
        (600, 32, {"training.steps": 5, "training.batch_size": 64, "model.filters": [8, 8]}, "airbench"),
        (300, 32, {}, "cnn"),
        (600, 16, {}, "cnn"),
        (600, 32, {"model.dropout": 0.1}, "cnn"),
        (600, 32, {"training.optimizer.learning_rate": 0.001}, "cnn"),
        (600, 32, {"model.name": "resnet"}, "resnet"),
    ],
)
def test_small_images_get_airbench_where_there_are_enough_and_no_wish_is_against_it(
    n: int, side: int, overrides: dict[str, Any], name: str
):
    recipe = yaml.safe_load(plan(make_images(n, side=side), overrides=overrides, quiet=True))
    assert recipe["model"]["name"] == name
    assert recipe["training"]["optimizer"]["name"] == ("muon" if name == "airbench" else "adamw")
    for key, value in overrides.items():
        found = recipe
        for part in key.split("."):
            found = found[part]
        assert found == value


def test_images_are_moved_and_photos_mirrored_which_digits_are_not():
    photos, digits = (find_habit("cnn", 10_000, (32, 32, channels)) for channels in (3, 1))
    assert photos.data == {"augment": {"flip": True, "shift": 0.0625}}
    assert digits.data == {"augment": {"shift": 0.0625}}
    assert "mirrored" in photos.reasons["data.augment.flip"]
    assert find_habit("pretrained", 10_000, (128, 128, 3)).data == {}  # its features are computed once


def test_a_wish_for_unchanged_images_wins_over_the_habit():
    images, labels = make_images(36, side=32)
    photos = (np.repeat(images, 3, axis=-1), labels)
    assert "flip: true" in plan(photos)
    assert "flip: false" in plan(photos, overrides={"data.augment.flip": False})
    assert "flip: false" in plan(photos, overrides={"data.augment": {"shift": 0.1}})


def test_validations_are_about_twenty_where_passes_are_short():
    habit = find_habit("tabm", 200)
    assert habit.validate_every(1000, 40) == 50
    assert habit.validate_every(1000, 20) == "epoch"


@pytest.mark.parametrize("name", ["cnn", "resnet", "airbench"])
def test_a_network_for_images_that_is_asked_for_by_name_brings_its_own_settings(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = write_image_folder(tmp_path / "photos", side=32)
    recipe = plan(str(folder), overrides={"model.name": name})
    assert f"name: {name}" in recipe
    assert ("blocks: 2" in recipe) == (name == "resnet")
    assert f"image data: {MODELS[name].summary}" in " ".join(capfd.readouterr().err.split())


def test_data_that_is_too_small_is_told_with_what_would_be_enough():
    assert explain_scarcity(30, 2, "texts") is None
    told = explain_scarcity(29, 2, "texts") or ""
    assert told.startswith("29 training texts are too few")
    assert "some hundred of each class" in told
    assert "of each class" not in (explain_scarcity(10, 0, "rows") or "of each class")
