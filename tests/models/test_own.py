"""Networks of the user's own: found, called, and their answers understood or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from railcar.errors import RecipeError
from railcar.layers.answers import ToLogits
from railcar.models.own import build_own, find_function, find_inner
from railcar.recipe.load import load_recipe

FILE = Path(__file__).resolve().parent.parent / "own_models.py"


def build(function: str, *, n_classes: int = 3, **options: Any) -> keras.Model:
    offered = {"input_shape": (12, 12, 1), "n_classes": n_classes, "num_classes": n_classes, "class_names": list("abc")}
    facts: Any = {"kind": "image", "offered": offered, "seed": 1, "n_outputs": n_classes, "is_number": False}
    return build_own(f"{FILE}:{function}", options=options, **facts)


def make_images(n: int = 5, side: int = 12) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, side, side, 1), dtype=np.uint8)


@pytest.mark.parametrize("function", ["build_compiled", "build_subclassed"])
def test_probabilities_become_logits_of_the_same_probabilities(function: str):
    network = build(function)
    images = make_images()
    logits = np.asarray(network(images, training=False), np.float64)
    answers = np.asarray(find_inner(network)(images.astype(np.float32), training=False))
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), answers, rtol=1e-4)
    assert answers.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_logits_stay_and_images_of_other_sizes_are_resized():
    network = build("build_plain")
    images = make_images()
    answers = find_inner(network)(images.astype(np.float32), training=False)
    np.testing.assert_allclose(network(images), answers, rtol=1e-5)
    assert network(make_images(side=20)).shape == (5, 3)


def test_a_single_sigmoid_answers_for_two_classes():
    network = build("build_single_sigmoid", n_classes=2)
    images = make_images()
    logits = np.asarray(network(images), np.float64)
    share = np.asarray(find_inner(network)(images.astype(np.float32)))[:, 0]
    np.testing.assert_allclose(1 / (1 + np.exp(logits[:, 0] - logits[:, 1])), share, rtol=1e-4)


def test_a_seed_decides_how_it_starts_and_options_are_handed_over():
    first, again = (build("build_plain", filters=7) for _ in range(2))
    np.testing.assert_array_equal(first.variables[0].numpy(), again.variables[0].numpy())
    assert first.variables[0].shape == (3, 3, 1, 7)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (
            "build_too_small",
            r"answers with 2 numbers, and the data has 3 classes. Expected: \[n, 3\]. Received: \[n, 2\]",
        ),
        ("build_too_large", r"do not fit. Expected: \[n, 3\]. Received: \[n, 1000\]"),
        ("build_maps", r"do not fit. Expected: \[n, 3\]. Received: \[n, 12, 12, 3\]"),
        ("build_two", r"do not fit. Expected: \[n, 3\]. Received: 2 outputs"),
        ("build_nothing", r"returned the wrong thing. Expected: a keras.Model. Received: NoneType"),
        ("build_wrongly", r"own_models\.py, line \d+: ZeroDivisionError: division by zero"),
        ("build_for_others", r"call\(\)\. Input 0 .* expected shape=\(None, 28, 28, 1\), found shape"),
        ("build_from_strange", r"asks for 'strange', which is not known"),
        ("build_gone", r"own_models.py has no function 'build_gone'"),
        ("build_for_words", r"asks for 'length', which is not known"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(function: str, said: str):
    with pytest.raises(RecipeError, match=said) as caught:
        build(function)
    assert caught.value.hint


def test_an_option_that_nobody_asks_for_is_refused():
    with pytest.raises(RecipeError, match=r"model\.options: .*build_plain has no argument 'filter'") as caught:
        build("build_plain", filter=3)
    assert caught.value.hint == "its arguments are: input_shape, n_classes, filters"


def test_faults_of_a_file_are_told_with_its_line(tmp_path: Path):
    (tmp_path / "typo.py").write_text("import keras\n\ndef build_model(:\n")
    with pytest.raises(RecipeError, match=r"typo\.py, line 3: SyntaxError"):
        find_function(f"{tmp_path / 'typo.py'}:build_model")
    (tmp_path / "late.py").write_text("import keras\nimport no_such_module_of_mine\n")
    with pytest.raises(RecipeError, match=r"late\.py, line 2: ModuleNotFoundError"):
        find_function(f"{tmp_path / 'late.py'}:build_model")
    with pytest.raises(RecipeError, match="there is no such file"):
        find_function(f"{tmp_path / 'gone.py'}:build_model")
    with pytest.raises(RecipeError, match="there is no module 'no_such_module_of_mine' here"):
        find_function("no_such_module_of_mine:build_model")


def test_a_file_may_import_its_neighbours(tmp_path: Path):
    (tmp_path / "beside_the_model.py").write_text("WIDTH = 5\n")
    (tmp_path / "mine.py").write_text("from beside_the_model import WIDTH\n\ndef build_model():\n    return WIDTH\n")
    assert find_function(f"{tmp_path / 'mine.py'}:build_model").call() == 5


def test_the_last_layer_is_saved_and_loaded(tmp_path: Path):
    images = keras.Input((3,))
    model = keras.Model(images, ToLogits(3, "probabilities")(images))
    model.save(tmp_path / "model.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(np.array([[0.2, 0.3, 0.5]])), np.log([[0.2, 0.3, 0.5]]), rtol=1e-6)
    with pytest.raises(ValueError, match="Expected one of"):
        ToLogits(3, "hopes")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model.name": "my_file.py"}, "names no function"),
        ({"model.name": ":build_model"}, "names no function"),
        ({"model.name": "mine.py:build", "model.filters": [8]}, "has no effect with the model mine.py:build"),
        ({"model.name": "cnn", "model.options": {"a": 1}}, "has no effect with the model cnn"),
    ],
)
def test_what_a_recipe_cannot_mean_is_refused(settings: dict[str, Any], said: str):
    with pytest.raises(RecipeError, match=said):
        load_recipe({}, settings)
