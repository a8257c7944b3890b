"""Texts and columns -> numbers, as layers of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from railcar.layers.raw import build_encoder, take_raw
from railcar.layers.tables import EncodeColumns, SplitColumns
from railcar.layers.texts import split_words, standardize_text
from railcar.layers.words import AverageWords
from railcar.models.table import build_mlp
from railcar.models.text import build_bag_of_words

COLUMNS = [
    {"name": "age", "type": "number", "mean": 30.0, "std": 10.0, "has_gaps": True},
    {"name": "member", "type": "boolean", "mean": 0.5, "std": 0.5, "has_gaps": False},
    {"name": "sex/gender", "type": "category", "values": ["male", "female"]},
    {"name": "since", "type": "date", "mean": 100.0, "std": 50.0, "has_gaps": False},
]
ROWS: dict[str, Any] = {
    "age": np.array([40.0, np.nan], np.float32),
    "member": np.array([1.0, 0.0], np.float32),
    "sex_gender": np.array(["female", ""], object),
    "since": np.array([150.0, 100.0], np.float32),
}


def test_texts_are_lower_case_words_without_tags_and_marks():
    texts = ["<br />It's GREAT, really!", "Ärger\t mit 2x4?", "日本", "<b", "a <3 b"]
    assert [one.decode() for one in standardize_text(tf.constant(texts)).numpy()] == [
        "it's great really !",
        "ärger mit 2x4 ?",
        "日  本",
        "b",
        "a 3 b",
    ]
    words, counts = split_words(tf.constant(["one two", "", "three"]))
    assert words.numpy().tolist() == [b"one", b"two", b"three"] and counts.numpy().tolist() == [2, 0, 1]


def test_words_are_numbered_from_two_cut_and_padded():
    encoder = build_encoder("text", {"vocabulary": ["good", "film"], "length": 3})
    numbers = encoder(tf.constant(["Good film, good acting", "film", ""]))
    assert numbers.numpy().tolist() == [[2, 3, 2], [3, 0, 0], [0, 0, 0]]
    assert encoder(tf.constant(["unheard-of"])).numpy().tolist() == [[1, 1, 0]]


def test_columns_become_standardised_numbers_marks_of_gaps_and_codes():
    layer = EncodeColumns(COLUMNS)
    encoded = layer({name: tf.constant(values) for name, values in ROWS.items()}).numpy()
    assert encoded.shape == (2, layer.n_numbers + 1) and layer.n_numbers == 8 and layer.cardinalities == (4,)
    # age and its gap, member, then the date with its place in year and week, then the code of the category
    np.testing.assert_allclose(encoded[0, :4], [1.0, 0.0, 1.0, 1.0])
    np.testing.assert_allclose(encoded[1, :4], [0.0, 1.0, -1.0, 0.0])
    np.testing.assert_allclose((encoded[:, 4:8:2] ** 2 + encoded[:, 5:8:2] ** 2), 1.0, rtol=1e-5)
    assert encoded[:, -1].tolist() == [3.0, 0.0]
    strange = {**ROWS, "sex_gender": np.array(["divers", "male"], object)}
    assert layer({name: tf.constant(values) for name, values in strange.items()}).numpy()[:, -1].tolist() == [1.0, 2.0]


def test_codes_are_counted_on_from_column_to_column():
    numbers, codes = SplitColumns(2, (3, 300))(tf.constant([[0.5, -1.0, 2.0, 299.0]]))
    assert numbers.numpy().tolist() == [[0.5, -1.0]] and codes.numpy().tolist() == [[2, 302]]


def test_large_codes_survive_a_network_in_bfloat16():
    network = build_mlp(n_numbers=1, cardinalities=(1000,), n_outputs=2, dtype="mixed_bfloat16", dense=())
    first, second = network(tf.constant([[0.0, 901.0], [0.0, 902.0]])).numpy()
    assert np.abs(first - second).max() > 0


def test_padding_does_not_count_in_the_average():
    vectors = tf.constant([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]], [[5.0, 5.0]] * 3])
    words = tf.constant([[4, 7, 0], [0, 0, 0]])
    assert AverageWords()([vectors, words]).numpy().tolist() == [[2.0, 3.0], [0.0, 0.0]]


def _save_and_load(model: keras.Model, folder: Path) -> Any:
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras", safe_mode=True)


def test_a_saved_model_takes_raw_texts_and_answers_as_before(tmp_path: Path):
    encoding = {"vocabulary": ["good", "bad"], "length": 4, "columns": []}
    network = build_bag_of_words(length=4, n_words=4, n_outputs=2, dense=(5,), seed=1)
    model = take_raw(network, kind="text", encoding=encoding)
    texts = tf.constant(["a GOOD one", "bad!"])
    loaded = _save_and_load(model, tmp_path)
    np.testing.assert_allclose(loaded(texts), model(texts), rtol=1e-6)
    np.testing.assert_allclose(loaded.get_layer("network")(tf.constant([[1, 2, 1, 0]])), model(texts)[:1], rtol=1e-6)


def test_a_saved_model_takes_raw_columns_and_gives_numbers_in_their_unit(tmp_path: Path):
    encode = EncodeColumns(COLUMNS)
    network = build_mlp(n_numbers=encode.n_numbers, cardinalities=encode.cardinalities, n_outputs=1, seed=1)
    model = take_raw(network, kind="table", encoding={"columns": COLUMNS}, target=(1000.0, 50.0))
    rows = {name: tf.constant(values) for name, values in ROWS.items()}
    loaded = _save_and_load(model, tmp_path)
    np.testing.assert_allclose(loaded(rows), model(rows), rtol=1e-6)
    np.testing.assert_allclose(model(rows), network(encode(rows)) * 50.0 + 1000.0, rtol=1e-6)


def test_networks_of_one_seed_begin_alike():
    def build(seed: int) -> list[np.ndarray]:
        texts = build_bag_of_words(length=4, n_words=9, n_outputs=2, dense=(3,), dropout=0.5, seed=seed)
        rows = build_mlp(n_numbers=3, cardinalities=(4,), n_outputs=2, seed=seed)
        return [*texts.get_weights(), *rows.get_weights()]

    same = [np.array_equal(one, other) for one, other in zip(build(3), build(3), strict=True)]
    assert all(same)
    assert not all(np.array_equal(one, other) for one, other in zip(build(3), build(4), strict=True))
