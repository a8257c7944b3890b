from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from railcar.artifact.artifact import write_artifact
from railcar.data.types import Dataset, Features
from railcar.errors import RecipeError
from railcar.models.build import build_model, choose_scale, describe_model, scale_numbers
from railcar.recipe.load import bundled_recipes, load_recipe
from railcar.registry import MODELS
from railcar.workflows.results import build_from_recipe, for_inference

TUTORIAL_PARAMETERS = (5 * 5 * 32 + 32) + (5 * 5 * 32 * 64 + 64) + (7 * 7 * 64 * 1024 + 1024) + (1024 * 10 + 10)


def build_digits(settings: dict, **changes):
    values = {"image_shape": (28, 28, 1), "n_classes": 10, "mean": (33.0,), "std": (78.0,), **changes}
    return build_model(settings, **values)


def test_the_tutorials_network_has_its_layers_and_weights():
    recipe = load_recipe("mnist-tutorial")
    model = build_digits(recipe.model.model_dump(), mean=(0.0,), std=(1.0,))
    assert model.count_params() == TUTORIAL_PARAMETERS
    shapes = {row["name"]: row["shape"] for row in describe_model(model)}
    assert (shapes["conv1"], shapes["pool2"], shapes["dense1"]) == ([28, 28, 32], [7, 7, 64], [1024])
    kernel = model.get_layer("dense1").kernel.numpy()
    assert abs(kernel.std() - 0.1 * 0.8796) < 0.005  # a normal cut at two deviations has 0.88 of its deviation
    assert np.abs(kernel).max() <= 0.2 + 1e-6
    assert (model.get_layer("conv1").bias.numpy() == 1.0).all()


def test_a_seed_decides_the_weights():
    settings = {"name": "cnn", "filters": [4]}
    first, again, other = (build_digits(settings, seed=seed).get_weights()[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_layers_of_one_shape_start_differently():
    weights = build_digits({"name": "cnn", "filters": [8, 8, 8]}).get_weights()
    assert not np.array_equal(weights[2], weights[4])


def test_an_image_too_small_for_the_network_is_a_clear_fault():
    with pytest.raises(RecipeError) as caught:
        build_digits({"name": "cnn", "filters": [4, 4, 4], "padding": "valid"}, image_shape=(6, 6, 1))
    assert "6x6" in caught.value.what and "filters" in caught.value.hint


def test_images_of_any_size_are_taken():
    model = build_digits({"name": "cnn", "filters": [4], "global_pool": "average"})
    assert model(np.zeros((2, 50, 40, 1), np.uint8)).shape == (2, 10)


def test_scaling_is_decided_with_a_reason():
    assert choose_scale("auto", (33.3,))[0] == "standard"
    assert choose_scale("unit", (33.3,)) == ("unit", "as the recipe says")
    assert scale_numbers("none", (33.3,), (78.0,)) == ((0.0,), (1.0,))
    assert scale_numbers("standard", (33.3,), (0.0,)) == ((33.3,), (1.0,))


LOADER = """
import sys
import numpy as np
from pathlib import Path
from railcar.artifact.artifact import read_artifact
for name in sys.argv[1:]:
    artifact = read_artifact(Path(name))
    images, expected = artifact.samples()
    np.testing.assert_allclose(artifact.load_model()(images).numpy(), expected, rtol=1e-4, atol=1e-5)
"""


def test_the_network_of_every_bundled_recipe_is_loaded_by_a_process_that_knows_the_artifact_alone(tmp_path: Path):
    for name in bundled_recipes():
        recipe = load_recipe(name)
        if MODELS[recipe.model.name].kind != "image":
            continue
        image_shape = (32, 32, 3) if "cifar" in name else (28, 28, 1)
        levels = (100.0,) * image_shape[2]
        features = Features("image", image_shape, tuple("abcdefghij"), levels, levels)
        dataset = Dataset("none", "none", features, {}, "", tmp_path)
        model = for_inference(recipe, build_from_recipe(recipe, dataset, precision="float32"), features)
        images = np.random.default_rng(0).integers(0, 256, (3, *image_shape), dtype=np.uint8)
        names, logits = features.class_names, model(images).numpy()
        about = {"kind": "image", "task": "classification", "class_names": list(names)}
        about["features"] = {"image_shape": list(image_shape)}
        write_artifact(tmp_path / name, model, about=about, samples=(images, logits), facts={})
    command = [sys.executable, "-c", LOADER, *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_residual_network_halves_the_image_between_stages_and_begins_as_its_ways_around(precision: str):
    facts = {"image_shape": (32, 32, 3), "mean": (120.0,) * 3, "std": (60.0,) * 3, "precision": precision}
    model = build_digits({"name": "resnet", "filters": [4, 8, 16], "blocks": 2}, **facts)
    shapes = {row["name"]: row["shape"] for row in describe_model(model)}
    ends = [shapes[f"stage{stage}_block2_add"] for stage in (1, 2, 3)]
    assert ends == [[32, 32, 4], [16, 16, 8], [8, 8, 16]]
    assert "stage1_block1_around" not in shapes and "stage2_block1_around" in shapes
    for layer in model.layers:
        if layer.name.endswith("conv2_norm"):
            assert not layer.gamma.numpy().any()
    logits = model(np.zeros((2, 40, 50, 3), np.uint8))
    assert (logits.shape, logits.dtype) == ((2, 10), "float32")


def test_a_residual_network_with_more_stages_than_the_image_can_be_halved_is_refused():
    with pytest.raises(
        RecipeError, match=r"resnet with these settings does not fit images of 6x6 pixels \(4 stages"
    ) as caught:
        build_digits({"name": "resnet", "filters": [4, 4, 4, 4]}, image_shape=(6, 6, 1))
    assert caught.value.hint == "use fewer model.filters, or a larger data.image_size"
