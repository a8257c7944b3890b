"""What a report says of mistakes: for every kind of data and network, in the time there is."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from railcar.data.encode import encode_dataset
from railcar.data.prepare import open_arrays, open_frame
from railcar.data.types import Dataset, ReadOptions
from railcar.layers.images import ResizeImages
from railcar.layers.raw import NETWORK, take_raw
from railcar.models.pretrained import FROZEN, KEPT
from railcar.recipe.load import load_recipe
from railcar.registry import NGRAMS, RAW, WORDS
from railcar.workflows.explain import explain
from railcar.workflows.importance import place_columns
from railcar.workflows.results import Finished, build_from_recipe
from tests.synthetic import make_images

FILE = Path(__file__).resolve().parent.parent / "own_models.py"
KEYS = {"split", "n_mistakes", "mistakes", "doubtful", "importance", "importance_of", "n_compared", "notes"}
SECONDS = 20.0


def finish(dataset: Dataset, model: dict[str, Any], prepare: Callable[[Any], None] = lambda network: None) -> Any:
    """(a finished model, its recipe): with fresh weights, or those that `prepare` gives the network."""
    recipe = load_recipe({"model": model})
    network = build_from_recipe(recipe, dataset, precision="float32")
    prepare(network)
    features = dataset.features
    if features.kind != "image":
        encoding = features.encoding or {}
        network = take_raw(network, kind=features.kind, encoding=encoding, target=features.target)
    return Finished(network, dataset, "step-00000001"), recipe


def tell(dataset: Dataset, model: dict[str, Any], prepare: Any = lambda network: None, **options: Any) -> Any:
    report = explain(*finish(dataset, model, prepare), **{"seconds": SECONDS, **options})
    assert set(report) == KEYS
    json.dumps(report, allow_nan=False)
    return report


def open_images(n: int = 150, side: int = 12, **options: Any) -> Dataset:
    images, labels = make_images(n, side=side)
    return open_arrays(images, labels, class_names=["a", "b", "c"], **{"validation": 0.2, "test": 0.2, **options})


def open_table(n: int = 300, *, is_number: bool = False, wrong: tuple[int, ...] = (), test: int = 100) -> Dataset:
    """The label is whether `a` is above 0, of a regression 10 times `a`; `wrong` rows have another one."""
    generator = np.random.default_rng(0)
    a = generator.choice([-1, 1], n) * (1 + np.abs(generator.normal(size=n))).round(3)
    target = a * 10 if is_number else np.where(a > 0, 1, 0)
    for row in wrong:
        target[row] = target[row] + 50 if is_number else 1 - target[row]
    frame = pl.DataFrame(
        {
            "a": a,
            "kind": generator.choice(["red", "blue"], n),
            "gaps": pl.Series(generator.normal(size=n)).set(pl.Series(np.arange(n) % 5 == 0), None),
            "day": [f"2024-01-{1 + row % 28:02}" for row in range(n)],
            "is_new": generator.choice(["yes", "no"], n),
            "label": target if is_number else np.where(target, "high", "low"),
        }
    )
    options = ReadOptions(label="label", columns={"day": "date", "is_new": "boolean"})
    return encode_dataset(open_frame(frame, options, validation=("last", 50), test=test or None))


def lean_on_a(network: Any) -> None:
    """Of the linear model: 8 times `a` for "high", or the number itself."""
    kernel, bias = (np.zeros_like(one) for one in network.get_layer("logits").get_weights())
    kernel[0, -1] = 1.0 if kernel.shape[1] == 1 else 8.0
    kernel[0] = kernel[0, ::-1]  # class names are in alphabetical order: high, low
    network.get_layer("logits").set_weights([kernel, bias])


def open_texts(n: int = 200, form: str = NGRAMS, wrong: tuple[int, ...] = ()) -> Dataset:
    generator = np.random.default_rng(0)
    words = ["the", "of", "and", "is", "in", "it", "you", "that", "he", "was", "for", "on", "are", "with", "as"]
    labels = np.arange(n) % 2
    texts = [" ".join([*generator.choice(words, 6), ("awful", "lovely")[label], "end"]) for label in labels]
    said = [("bad", "good")[1 - label if row in wrong else label] for row, label in enumerate(labels)]
    frame = pl.DataFrame({"text": texts, "label": said})
    prepared = open_frame(frame, ReadOptions(label="label", kind="text"), validation=("last", 30), test=60)
    return encode_dataset(prepared, form=form)


# Images


def test_mistakes_of_images_are_told_with_pictures_maps_and_the_nearest_training_images() -> None:
    dataset = open_images(240)
    report = tell(dataset, {"name": "cnn", "filters": [4], "kernel_size": 3})
    finished, _ = finish(dataset, {"name": "cnn", "filters": [4], "kernel_size": 3})
    test = dataset.splits["test"]
    logits, labels = finished.logits(test), test.label_array()

    assert report["split"] == "test" and not report["notes"] and not report["importance"]
    assert report["n_mistakes"] == (logits.argmax(axis=1) != labels).sum() > 12  # nothing was learnt
    assert len(report["mistakes"]) == min(report["n_mistakes"], 24)
    assert report["n_compared"] == len(dataset.splits["train"])
    shares = [one["p_label"] for one in report["mistakes"]]
    assert shares == sorted(shares)
    by_id = {test.id_of(at): at for at in range(len(test))}
    for number, one in enumerate(report["mistakes"]):
        at = by_id[one["id"]]
        assert one["label"] == "abc"[labels[at]] != one["predicted"] == "abc"[logits[at].argmax()]
        assert 0 <= one["p_label"] < one["p_predicted"] <= 1
        np.testing.assert_array_equal(read_picture(one["input"]), test.inputs[test.rows[at]][..., 0])
        assert (one["why"] is None) == (number >= 12)
        assert [list(near) for near in one["neighbours"]] == [["id", "label", "input", "distance"]] * 3
        distances = [near["distance"] for near in one["neighbours"]]
        assert distances == sorted(distances) and 0 <= distances[0] <= 2
    heat = np.array(report["mistakes"][0]["why"]["heat"])
    assert report["mistakes"][0]["why"]["method"] == "grad-cam" and heat.shape == (6, 6)
    assert heat.max() == 1 and heat.min() >= 0 and np.allclose(heat, heat.round(2))


def read_picture(shown: dict[str, str]) -> NDArray[np.uint8]:
    kind, content = shown["picture"].split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_the_nearest_of_a_training_image_are_others() -> None:
    dataset = open_images(40, validation=None, test=None)
    report = tell(dataset, {"name": "cnn", "filters": [4], "kernel_size": 3})

    assert report["split"] == "train" and report["mistakes"] and not report["doubtful"]
    for one in report["mistakes"]:
        assert len(one["neighbours"]) == 3 and one["id"] not in [near["id"] for near in one["neighbours"]]


def test_a_network_that_is_a_class_of_its_users_is_explained_by_covering_and_has_no_neighbours() -> None:
    report = tell(open_images(), {"name": f"{FILE}:build_subclassed"})

    assert report["mistakes"][0]["why"]["method"] == "occlusion"
    heat = np.array(report["mistakes"][0]["why"]["heat"])
    assert heat.min() >= 0 and heat.max() <= 1 and heat.any()
    assert all(one["neighbours"] == [] and not one["is_doubtful"] for one in report["mistakes"])
    assert "class of your own" in report["notes"][0] and len(report["notes"]) == 1


@pytest.mark.parametrize("function", ["build_plain", "build_compiled", "build_single_sigmoid"])
def test_connected_networks_of_users_are_explained_whole(function: str) -> None:
    images, labels = make_images(90, n_classes=2 if "single" in function else 3)
    dataset = open_arrays(images, labels, validation=0.2, test=0.3)
    report = tell(dataset, {"name": f"{FILE}:{function}"})

    assert report["mistakes"] and not report["notes"]
    assert all(one["why"] for one in report["mistakes"][:12]) and all(one["neighbours"] for one in report["mistakes"])


def build_cut_network() -> keras.Model:
    """As `models/pretrained.py` cuts one: a frozen part, and a trained one."""
    layers = keras.layers
    pixels = keras.Input((None, None, 1), dtype="uint8")
    maps = keras.Input((12, 12, 1))
    frozen = keras.Model(maps, layers.Conv2D(8, 3, padding="same", activation="relu")(maps), name=FROZEN)
    hidden = layers.GlobalAveragePooling2D()(frozen(ResizeImages(12, 12)(pixels)))
    numbers = keras.Input((8,))
    network = keras.Model(numbers, layers.Dense(3)(numbers), name=NETWORK)
    return keras.Model(pixels, network(layers.Identity(name=KEPT)(hidden)))


def test_what_a_frozen_backbone_gave_is_not_computed_again() -> None:
    dataset = open_images(240)
    marked = np.random.default_rng(1).normal(size=(240, 8)).astype(np.float32)  # not what it would give
    splits = {name: replace(one, inputs=marked) for name, one in dataset.splits.items()}
    features = replace(dataset.features, kind="features", input_shape=(8,))
    encoded = replace(dataset, splits=splits, features=features)
    finished = Finished(build_cut_network(), dataset, "step-00000001", encoded=encoded)
    report = explain(finished, load_recipe({}), seconds=SECONDS)

    train, test = dataset.splits["train"], dataset.splits["test"]
    assert report["n_compared"] == len(train) and not report["notes"]
    assert report["mistakes"][0]["why"]["method"] == "grad-cam"
    rows = {one.id_of(at): int(one.rows[at]) for one in (train, test) for at in range(len(one))}
    for one in report["mistakes"]:
        query, near = marked[rows[one["id"]]], np.stack([marked[rows[other["id"]]] for other in one["neighbours"]])
        cosines = near @ query / np.linalg.norm(near, axis=1) / np.linalg.norm(query)
        np.testing.assert_allclose([other["distance"] for other in one["neighbours"]], 1 - cosines, atol=1e-3)


# Tables


def test_wrong_labels_of_a_table_are_doubted_and_its_columns_are_weighed() -> None:
    dataset = open_table()
    wrong = (*dataset.splits["test"].rows[:3].tolist(), 299)
    dataset = open_table(wrong=wrong)
    report = tell(dataset, {"name": "linear"}, lean_on_a)

    assert report["n_mistakes"] == 3 and report["importance_of"] == "accuracy" and not report["notes"]
    found = {one["id"]: one for one in report["doubtful"]}
    sure = [one for one in report["mistakes"] if one["p_predicted"] >= 0.9]
    assert sure and {one["id"] for one in sure if one["is_doubtful"]} <= set(found)
    assert any(one["is_doubtful"] for one in sure)
    for one in found.values():
        assert one["split"] in ("test", "validation") and one["p_predicted"] >= 0.9
        assert {near["label"] for near in one["neighbours"]} == {one["predicted"]} != {one["label"]}
        assert "p_label" not in one and "why" not in one
    first, *others = report["importance"]
    assert first["column"] == "a" and 0.3 < first["drop"] < 0.7 and first["deviation"] > 0
    assert {one["column"] for one in others} == {"kind", "gaps", "day", "is_new"}
    assert all(one["drop"] == 0 for one in others)


def test_rows_are_shown_as_people_write_them() -> None:
    dataset = open_table(wrong=tuple(range(0, 250, 7)))
    report = tell(dataset, {"name": "linear"}, lean_on_a)
    rows = [one["input"]["row"] for one in report["mistakes"]]

    assert all(row["a"] == round(row["a"], 3) and row["kind"] in ("red", "blue") for row in rows)
    assert all(row["day"].startswith("2024-01-") and row["is_new"] in ("yes", "no") for row in rows)
    assert any(row["gaps"] is None for row in rows) and any(isinstance(row["gaps"], float) for row in rows)
    for one in report["mistakes"][:12]:
        name, value, weight = one["why"]["columns"][0]
        assert (name, value, abs(weight)) == ("a", str(one["input"]["row"]["a"]), 1)
        assert sorted(column for column, *_ in one["why"]["columns"]) == sorted(one["input"]["row"])


def test_of_a_regression_the_largest_errors_are_told_in_its_unit() -> None:
    dataset = open_table(is_number=True)
    wrong = tuple(int(row) for row in dataset.splits["test"].rows[:2])
    dataset = open_table(is_number=True, wrong=wrong)
    report = tell(dataset, {"name": "linear"}, lean_on_a)
    test = dataset.splits["test"]

    assert report["importance_of"] == "mae" and report["n_mistakes"] == 2 and not report["notes"]
    assert {one["id"] for one in report["mistakes"][:2]} == {test.id_of(0), test.id_of(1)}
    assert len(report["mistakes"]) == 24 and report["doubtful"] == []
    errors = [abs(one["label"] - one["predicted"]) for one in report["mistakes"]]
    assert errors == pytest.approx(sorted(errors, reverse=True), abs=1e-4) and errors[1] > 30
    assert "p_label" not in report["mistakes"][0] and len(report["mistakes"][0]["neighbours"]) == 3
    assert report["importance"][0]["column"] == "a" and report["importance"][0]["drop"] > 1
    assert report["mistakes"][0]["why"]["columns"][0][0] == "a"


def test_the_numbers_of_a_column_stand_where_the_encoding_puts_them() -> None:
    dataset = open_table()
    places = place_columns(dataset.features.encoding or {})
    train = dataset.splits["train"]
    assert sorted(at for some in places.values() for at in some) == list(range(train.inputs.shape[1]))
    codes = train.inputs[:, places["kind"][0]]
    assert len(places["kind"]) == 1 and set(np.unique(codes)) == {2.0, 3.0}
    assert len(places["day"]) == 5 and len(places["gaps"]) == 2
    is_gap = train.inputs[:, places["gaps"][1]]
    assert train.raw is not None
    np.testing.assert_array_equal(is_gap == 1, train.raw["gaps"].is_null().to_numpy())


# Texts


def adapt(dataset: Dataset) -> Callable[[Any], None]:
    train = dataset.splits["train"]

    def prepare(network: Any) -> None:
        layer = network.get_layer("logits")
        layer.adapt([(train.inputs[train.rows], train.label_array())])
        layer.kernel.assign(layer.kernel * 6)

    return prepare


def test_texts_are_explained_by_their_words_and_a_wrong_label_by_its_neighbours() -> None:
    rows = open_texts().splits["test"].rows
    dataset = open_texts(wrong=(int(rows[0]), int(rows[1])))
    report = tell(dataset, {"name": "bag_of_ngrams"}, adapt(dataset))

    assert report["n_mistakes"] == 2 and all(one["is_doubtful"] for one in report["mistakes"])
    assert {one["id"] for one in report["doubtful"]} >= {one["id"] for one in report["mistakes"]}
    for one in report["mistakes"]:
        telling = {"bad": "awful", "good": "lovely"}
        pieces = one["why"]["pieces"]
        assert "".join(piece for piece, _ in pieces) == one["input"]["text"]
        assert max(pieces, key=lambda piece: piece[1])[0] == telling[one["predicted"]]
        assert all(telling[one["predicted"]] in near["input"]["text"] for near in one["neighbours"])


@pytest.mark.parametrize(
    ("name", "form"),
    [("bag_of_words", WORDS), (f"{FILE}:build_for_words", WORDS), (f"{FILE}:build_for_strings", RAW)],
)
def test_other_networks_of_texts_are_explained_too(name: str, form: str) -> None:
    report = tell(open_texts(form=form), {"name": name})

    assert report["mistakes"] and not report["notes"]
    assert all(one["why"]["pieces"] and len(one["neighbours"]) == 3 for one in report["mistakes"][:12])


def test_of_long_texts_the_beginning_is_shown() -> None:
    texts = ["word " * 820 + ("awful", "lovely")[row % 2] for row in range(20)]
    frame = pl.DataFrame({"text": [f"{row} {text}" for row, text in enumerate(texts)], "label": ["a", "b"] * 10})
    dataset = encode_dataset(open_frame(frame, ReadOptions(label="label", kind="text"), test=4), form=WORDS)
    mistake = tell(dataset, {"name": "bag_of_words"})["mistakes"][0]

    assert len(mistake["input"]["text"]) == 600
    pieces = [piece for piece, _ in mistake["why"]["pieces"]]
    assert pieces[-1] == "\u2026" and 3000 < len("".join(pieces)) <= 4001


# Time, and what goes wrong


def test_without_time_the_report_says_what_is_left_out() -> None:
    for dataset, model in ((open_images(), {"name": "cnn", "filters": [4]}), (open_table(), {"name": "linear"})):
        report = tell(dataset, model, seconds=0.0)
        assert report["mistakes"] and all(one["why"] is None for one in report["mistakes"])
        assert all(one["neighbours"] == [] for one in report["mistakes"]) and report["n_compared"] == 0
        assert sum("there was no time" in note for note in report["notes"]) == 2 + (dataset.features.kind == "table")


def test_a_slow_network_is_given_the_time_there_is_and_no_more(tmp_path: Path) -> None:
    code = (
        "import time, keras, tensorflow as tf\n"
        "class Slow(keras.layers.Layer):\n"
        "    def call(self, images):\n"
        "        if tf.executing_eagerly():\n"  # the logits are there already when a report begins
        "            time.sleep(0.01 * len(images))\n"
        "        return images\n"
        "    def compute_output_spec(self, images):\n"
        "        return keras.KerasTensor(images.shape, images.dtype)\n"
        "def build(input_shape, n_classes):\n"
        "    layers = [keras.Input(input_shape), Slow(), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]\n"
        "    return keras.Sequential([*layers, keras.layers.Dense(n_classes)])\n"
    )
    (tmp_path / "slow.py").write_text(code)
    finished, recipe = finish(open_images(400), {"name": f"{tmp_path / 'slow.py'}:build"})
    for name in ("test", "validation"):
        finished.logits(finished.dataset.splits[name])
    began = time.monotonic()
    report = explain(finished, recipe, seconds=2.0)

    assert time.monotonic() - began < 2.0 * 1.3
    n_train = len(finished.dataset.splits["train"])
    assert n_train * 0.01 > 2 and 50 <= report["n_compared"] < n_train
    assert report["mistakes"][0]["why"] and len(report["mistakes"][0]["neighbours"]) == 3


def test_a_network_that_fails_ends_no_report(tmp_path: Path) -> None:
    code = (
        "import keras\n"
        "class Fussy(keras.layers.Layer):\n"
        "    def call(self, images):\n"
        "        if images.shape[0] is not None:\n"
        "            raise ValueError('only without a size')\n"
        "        return images\n"
        "    def compute_output_spec(self, images):\n"
        "        return keras.KerasTensor(images.shape, images.dtype)\n"
        "def build(input_shape, n_classes):\n"
        "    layers = [keras.Input(input_shape), Fussy(), keras.layers.Flatten(), keras.layers.Dense(n_classes)]\n"
        "    return keras.Sequential(layers)\n"
    )
    (tmp_path / "fussy.py").write_text(code)
    report = tell(open_images(), {"name": f"{tmp_path / 'fussy.py'}:build"})

    assert report["mistakes"]
    assert all(one["why"] is None and one["neighbours"] == [] for one in report["mistakes"])
    assert len(report["notes"]) == 2 and all("only without a size" in note for note in report["notes"])


def test_without_a_mistake_there_is_nothing_to_tell() -> None:
    report = tell(open_table(), {"name": "linear"}, lean_on_a)
    assert report["n_mistakes"] == 0 and report["mistakes"] == report["doubtful"] == [] and report["notes"] == []
    assert report["importance"][0]["column"] == "a"


@pytest.mark.parametrize("is_number", [False, True])
def test_a_model_whose_answers_are_no_numbers_has_a_report_that_is_json(is_number: bool) -> None:
    def spoil(network: Any) -> None:
        network.get_layer("logits").bias.assign([np.nan] if is_number else [np.nan, 0.0])

    report = tell(open_table(is_number=is_number), {"name": "linear"}, spoil)
    assert report["mistakes"] and (not is_number or report["importance"] == [])
