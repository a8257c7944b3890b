"""Occlusion finds what made-up networks are known to look at, and what trained ones need."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import railcar
from railcar.errors import DataError
from railcar.explanation.occlusion import MAX_WORDS, explain_image, explain_row, explain_text
from railcar.serving.engines import SmallEngine
from railcar.serving.explain import choose_fill, explain, shrink
from railcar.serving.spec import Feature, Spec
from tests.synthetic import make_images, write_image_folder

DRAW = np.random.default_rng(0)
NOISE = DRAW.integers(0, 255, (28, 28, 1)).astype(np.uint8)
SMALL, LARGE = (28, 28), (224, 224)


def to_probabilities(log_odds: Any) -> NDArray[np.float32]:
    """float32 [n, 2]: of something else, and of what has the log-odds."""
    share = 1 / (1 + np.exp(-np.asarray(log_odds, np.float64)))
    return np.stack([1 - share, share], axis=1).astype(np.float32)


class Counted:
    """An answer that counts what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.sizes = answer, []

    def __call__(self, inputs: Any) -> NDArray[np.float32]:
        self.sizes.append(len(inputs))
        return self.answer(inputs)


def see_detail_in_a_corner(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Looks at nothing but how much its upper left quarter varies."""
    height, width = images.shape[1] // 4, images.shape[2] // 4
    return to_probabilities(images[:, :height, :width].std(axis=(1, 2, 3)) / 30 - 1)


def count_free(texts: list[str]) -> NDArray[np.float32]:
    return to_probabilities([2.0 * text.split().count("FREE") - text.split().count("friend") for text in texts])


def add_up(rows: list[dict[str, Any]]) -> NDArray[np.float32]:
    """A number: 3 for each room, -1 for each year, 10 for a garden; gaps are 0."""
    return np.array(
        [[3 * (row.get("rooms") or 0) - (row.get("age") or 0) + 10 * (row.get("garden") == "yes")] for row in rows],
        np.float32,
    )


# Images


@pytest.mark.parametrize(("size", "network_size"), [((28, 28), SMALL), ((50, 90), LARGE), ((224, 224), LARGE)])
def test_a_network_that_looks_at_one_corner_lights_up_that_corner_alone(
    size: tuple[int, int], network_size: tuple[int, int]
):
    pixels = DRAW.integers(0, 255, (*size, 3)).astype(np.uint8)
    answer = Counted(see_detail_in_a_corner)

    weights = explain_image(answer, pixels, index=1, network_size=network_size)

    side = 14 if network_size == SMALL else 11
    assert weights.shape == (side, side) and weights.dtype == np.float32
    seen = side // 4 + 2  # a window reaches one cell beyond
    assert weights.max() == pytest.approx(1) and weights[: side // 4, : side // 4].min() > 0.1
    assert not weights[seen:].any() and not weights[:, seen:].any()
    assert sum(answer.sizes) <= (170 if network_size == SMALL else 101)
    assert max(answer.sizes) <= 32


def test_what_speaks_against_a_label_is_below_zero():
    weights = explain_image(see_detail_in_a_corner, NOISE, index=0, network_size=SMALL)

    assert weights.min() == pytest.approx(-1) and weights.max() <= 0


def test_a_black_background_stays_dark_even_to_a_network_that_sees_any_light():
    digit = np.zeros((28, 28, 1), np.uint8)
    digit[10:18, 12:15] = 255

    def see_light(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return to_probabilities(images.std(axis=(1, 2, 3)) / 10)

    weights = explain_image(see_light, digit, index=1, network_size=SMALL)

    assert np.abs(weights[5:9, 6:8]).max() > 0.5
    assert not weights[:2].any() and not weights[12:].any() and not weights[:, 11:].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (3, 40), (5, 1)])
def test_tiny_pictures_have_as_many_cells_as_pixels_at_most(size: tuple[int, int]):
    pixels = DRAW.integers(0, 255, (*size, 1)).astype(np.uint8)

    def see_light(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return to_probabilities(images[:, 0, 0, 0] / 50 - 2)

    weights = explain_image(see_light, pixels, index=1, network_size=SMALL)

    assert weights.shape == (min(size[0], 14), min(size[1], 14))
    assert np.isfinite(weights).all() and np.abs(weights).max() <= 1


@pytest.mark.parametrize("certain", [[0, 1], [1, 0], [np.nan, np.nan]])
def test_an_answer_that_nothing_changes_has_weights_of_zero(certain: list[float]):
    def answer(inputs: Any) -> NDArray[np.float32]:
        return np.tile(np.array(certain, np.float32), (len(inputs), 1))

    assert not explain_image(answer, NOISE, index=1, network_size=SMALL).any()
    assert explain_text(answer, "some words", index=1) == [("some", 0.0), (" ", 0.0), ("words", 0.0)]


def test_probabilities_of_exactly_zero_and_one_are_explained():
    def answer(texts: list[str]) -> NDArray[np.float32]:
        return np.array([[0, 1] if "key" in text else [1, 0] for text in texts], np.float32)

    assert explain_text(answer, "the key", index=1) == [("the", 0.0), (" ", 0.0), ("key", 1.0)]


def test_a_network_that_is_nearly_certain_is_explained_by_what_is_left_of_the_other_labels():
    def answer(texts: list[str]) -> NDArray[np.float32]:
        others = [1e-8 if "key" in text else 1e-7 for text in texts]
        return np.array([[other, 1 - other] for other in others], np.float32)

    assert explain_text(answer, "the key", index=1)[2] == ("key", 1.0)


def test_cells_that_count_lower_the_probability_faster_than_random_ones(trained: Any):
    """The deletion check of Petsiuk et al. 2018 (arXiv:1806.07421), with a network trained here."""
    engine, images = trained

    def ask(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return engine.compute(engine.encode(pixels))

    ordered, random = [], []
    for pixels in images:
        index = int(ask(pixels[None])[0].argmax())
        weights = explain_image(ask, pixels, index=index, network_size=pixels.shape[:2])
        ordered.append(delete(ask, pixels, np.argsort(-weights, axis=None), index))
        random += [delete(ask, pixels, DRAW.permutation(weights.size), index) for _ in range(4)]

    assert np.mean(ordered) < 0.8 * np.mean(random)


def delete(ask: Any, pixels: NDArray[np.uint8], order: NDArray[Any], index: int) -> float:
    """The mean probability while half of the pixels take the picture's median, one after the other."""
    steps = [pixels]
    for n in range(4, len(order) // 2, 4):
        less = pixels.copy().reshape(-1)
        less[order[:n]] = np.median(pixels)
        steps.append(less.reshape(pixels.shape))
    return float(ask(np.stack(steps))[:, index].mean())


# Texts


def test_the_words_that_count_are_found_and_the_pieces_give_the_text_back():
    text = "  Dear friend,\n\n<b>FREE</b>  entry; FREE\u00a0friend \t"

    pieces = explain_text(count_free, text, index=1)

    assert "".join(piece for piece, _ in pieces) == text
    # Tags count for nothing, but a network that takes them for words does not find FREE in <b>FREE</b>.
    assert {piece: round(weight, 4) for piece, weight in pieces if weight} == {"FREE": 1.0, "friend": -0.5}
    assert ("  ", 0.0) in pieces and "Dear" in dict(pieces)


def test_a_tag_of_html_is_no_word_and_is_never_broken():
    asked: list[str] = []

    def answer(texts: list[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return to_probabilities([len(text) for text in texts])

    pieces = explain_text(answer, 'good.<br />Not <a href="x y">bad</a> 1 < 2', index=1)

    gaps = ["<br />", ' <a href="x y">', "</a> ", " ", " "]
    assert [piece for piece, _ in pieces] == ["good.", gaps[0], "Not", gaps[1], "bad", gaps[2], "1", " ", "<", " ", "2"]
    assert all(weight == 0 for piece, weight in pieces if piece in gaps)
    assert all("<br />" in text and '<a href="x y">' in text and "</a>" in text for text in asked)


@pytest.mark.parametrize("text", ["", " ", "\n \t\n"])
def test_a_text_without_words_has_none_that_count(text: str):
    assert explain_text(count_free, text, index=1) == ([(text, 0.0)] if text else [])


def test_a_text_of_one_word_is_explained_by_it():
    assert explain_text(count_free, "FREE", index=1) == [("FREE", 1.0)]


@pytest.mark.parametrize(
    "text", ["\u4eca\u5929\u5929\u6c14", "caf\u00e9 na\u00efve \U0001f600", "\u0e44\u0e17\u0e22 ok"]
)
def test_words_of_every_script_are_kept_whole(text: str):
    pieces = explain_text(count_free, text, index=1)

    assert "".join(piece for piece, _ in pieces) == text
    assert len([piece for piece, _ in pieces if piece.strip()]) == {4: 4, 12: 3, 6: 4}[len(text)]


def test_a_long_text_is_looked_at_by_spans_of_several_words():
    words = [f"word{number}" for number in range(1000)]
    words[777] = "FREE"
    answer = Counted(count_free)

    pieces = explain_text(answer, " ".join(words), index=1)

    assert "".join(piece for piece, _ in pieces) == " ".join(words)
    assert sum(answer.sizes) <= MAX_WORDS + 1
    found = [piece for piece, weight in pieces if weight]
    assert len(found) == 1 and "FREE" in found[0].split() and 2 <= len(found[0].split()) <= 10


# Rows


def test_the_columns_of_a_sum_count_by_their_parts():
    row = {"rooms": 5, "age": 40, "garden": "yes", "street": "Elm"}
    fills = {"rooms": 3.0, "age": 20.0, "garden": None, "street": None}

    found = explain_row(add_up, row, fills, index=None)

    assert [(name, value) for name, value, _ in found] == [
        ("age", "40"),
        ("garden", "yes"),
        ("rooms", "5"),
        ("street", "Elm"),
    ]
    np.testing.assert_allclose([weight for _, _, weight in found], [-1, 0.5, 0.3, 0], rtol=1e-5)


def test_a_row_of_gaps_has_columns_without_a_value():
    fills = {"rooms": 3.0, "garden": None}

    assert explain_row(add_up, {}, fills, index=None) == [("rooms", "", -1.0), ("garden", "", 0.0)]
    assert explain_row(add_up, {}, dict.fromkeys(fills), index=None) == [("rooms", "", 0.0), ("garden", "", 0.0)]
    assert explain_row(add_up, {}, {}, index=None) == []


def test_values_are_written_as_they_were_given():
    row = {"rooms": 5.0, "age": 1.25, "garden": True, "far": float("nan"), "name": " x "}

    found = explain_row(add_up, row, dict.fromkeys(row), index=None)

    assert {name: value for name, value, _ in found} == {
        "rooms": "5",
        "age": "1.25",
        "garden": "true",
        "far": "",
        "name": " x ",
    }


@pytest.mark.parametrize(
    ("feature", "value", "fill"),
    [
        (Feature("a", "number", mean=1.5), 3, 1.5),
        (Feature("a", "number", mean=1.5), None, 1.5),
        (Feature("a", "number", mean=1.5), "3", "1.5"),
        (Feature("a", "number", ",", mean=1.5), "3,0", "1,5"),
        (Feature("a", "date", "", mean=19723.4), "2023-01-01", "2024-01-01"),
        (Feature("a", "date", "%d.%m.%Y", mean=19723.4), None, "01.01.2024"),
        (Feature("a", "date", mean=19723.4), 19000, 19723.4),
        (Feature("a", "date", mean=1e12), "2023-01-01", None),
        (Feature("a", "boolean", mean=0.4), True, None),
        (Feature("a", "category", values=("x",)), "x", None),
    ],
)
def test_a_column_is_filled_with_the_mean_written_as_its_value_is(feature: Feature, value: Any, fill: Any):
    assert choose_fill(feature, value) == fill


# What the server answers


def make_spec(kind: str, labels: tuple[str, ...] = ("no", "yes"), **about: Any) -> Spec:
    task = "classification" if labels else "regression"
    features = (Feature("rooms", "number", mean=3.0), Feature("garden", "category", values=("yes", "no")))
    return Spec(kind, task, labels, (28, 28, 1), features if kind == "table" else (), about)


def test_a_file_of_an_image_is_explained_by_a_map_over_the_whole_of_it():
    file = io.BytesIO()
    Image.fromarray(NOISE[..., 0]).save(file, "PNG")

    found = explain(see_detail_in_a_corner, file.getvalue(), make_spec("image", resizes=[[28, 28, "stretch"]]))

    assert {key: found[key] for key in found if key != "weights"} == {
        "kind": "image",
        "label": "yes",
        "width": 14,
        "height": 14,
        "method": "occlusion",
    }
    assert len(found["weights"]) == 14 and {len(row) for row in found["weights"]} == {14}
    assert found["weights"][1][1] > 0.3 and found["weights"][13][13] == 0
    with pytest.raises(DataError):
        explain(see_detail_in_a_corner, b"no image", make_spec("image"))


def test_texts_and_rows_are_explained_in_the_words_of_the_contract():
    assert explain(count_free, "FREE now", make_spec("text")) == {
        "kind": "text",
        "label": "yes",
        "words": [{"text": "FREE", "weight": 1.0}, {"text": " ", "weight": 0.0}, {"text": "now", "weight": 0.0}],
        "method": "occlusion",
    }
    assert explain(add_up, {"rooms": 1, "garden": "yes"}, make_spec("table", ())) == {
        "kind": "table",
        "columns": [
            {"name": "garden", "value": "yes", "weight": 1.0},
            {"name": "rooms", "value": "1", "weight": -0.6},
        ],
        "method": "occlusion",
    }


@pytest.mark.parametrize(
    ("resizes", "size", "expected"),
    [
        ([], (28, 28), (28, 28)),
        ([[28, 20, "stretch"]], (300, 10), (28, 20)),
        ([[32, 32, "stretch"], [64, 64, "stretch"]], (300, 400), (64, 64)),
        ([[28, 28, "crop"]], (300, 600), (28, 56)),
        ([[28, 28, "pad"]], (300, 600), (14, 28)),
        ([[28, 28, "pad"]], (20, 10), (20, 10)),
        ([[28, 28, "pad"]], (1000, 3), (28, 1)),
    ],
)
def test_photos_shrink_to_what_the_network_looks_at_and_stay_whole(resizes: Any, size: Any, expected: Any):
    assert shrink(np.zeros((*size, 1), np.uint8), resizes).shape == (*expected, 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallEngine, NDArray[np.uint8]]:
    """A network of LiteRT that has learnt in which place a square is, and images that it has not seen."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_image_folder(folder / "squares", n_per_class=24)
    overrides = {"training.steps": 60, "training.batch_size": 24, "training.tensorboard": False, "model.name": "cnn"}
    overrides |= {"model.filters": [8], "model.kernel_size": 3}
    run = railcar.train(data, overrides=overrides, runs_dir=folder / "runs", quiet=True)
    made = railcar.export(run.path, formats=["litert"], output=folder / "exported", quiet=True)
    images, _ = make_images(12, seed=1)
    return SmallEngine(Path(made[0].path)), images


def test_a_trained_network_is_explained_by_the_square_that_it_has_learnt(trained: Any):
    engine, images = trained
    labels = np.arange(len(images)) % 3

    def ask(inputs: Any) -> NDArray[np.float32]:
        return engine.compute(engine.encode(inputs))

    shares = []
    for pixels, label in zip(images, labels, strict=True):
        found = explain(ask, pixels, engine.spec)
        start = int(label) * 4
        weights = np.array(found["weights"])
        assert found["label"] == "abc"[label] and weights.shape == (12, 12)
        shares.append(weights[start : start + 4, start : start + 4].mean() / np.abs(weights).mean())

    assert np.mean(shares) > 2


def test_explanations_need_no_tensorflow():
    code = (
        "import sys; import railcar.serving.explain; sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
