"""n-grams: how texts are cut and numbered, and what a linear model makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from railcar.data.ngrams import fit_ngrams
from railcar.layers.ngrams import EncodeNgrams, WeighNgrams, count_words, split_ngrams


def test_a_text_becomes_words_pairs_of_words_and_parts_of_words():
    found = split_ngrams(tf.constant(["An <b>OX</b>!"]))[0].numpy().tolist()

    assert found[:5] == [b"an", b"ox", b"!", b"an ox", b"ox !"]
    assert found[5:] == [
        *(b"#_a", b"#an", b"#n_", b"#_o", b"#ox", b"#x_", b"#_!", b"#!_"),
        *(b"#_an", b"#an_", b"#_ox", b"#ox_", b"#_!_", b"#_an_", b"#_ox_"),
    ]


def test_letters_beyond_ascii_are_single_characters():
    found = split_ngrams(tf.constant(["é日"]))[0].numpy().tolist()
    assert [one.decode() for one in found] == ["é", "日", "é 日", "#_é", "#é_", "#_日", "#日_", "#_é_", "#_日_"]


def test_known_ngrams_are_numbered_once_a_text_and_others_left_out():
    encode = EncodeNgrams(["cat", "cat cat", "#ca"], length=4)
    assert encode(tf.constant(["cat cat dog", "", "car"])).numpy().tolist() == [[1, 2, 3, 0], [0] * 4, [3, 0, 0, 0]]


def test_what_does_not_fit_into_the_length_is_left_out_from_the_end():
    encode = EncodeNgrams(["a", "b", "#_a", "#_b"], length=2)
    assert encode(tf.constant(["b a"])).numpy().tolist() == [[2, 1]]


def test_the_vocabulary_has_what_enough_texts_have_words_first_and_the_most_frequent_first():
    found = fit_ngrams(["ox ox ox", "ox an", "an ox", None], least=2)

    assert found["vocabulary"][:2] == ["ox", "an"]
    assert count_words(found["vocabulary"]) == 2
    parts = ["_o", "ox", "x_", "_ox", "ox_", "_ox_", "_a", "an", "n_", "_an", "an_", "_an_"]
    assert set(found["vocabulary"][2:]) == {f"#{one}" for one in parts}
    assert found["length"] == 15


def test_texts_without_words_have_no_vocabulary():
    assert fit_ngrams(["...", ""], least=1) == {"vocabulary": [], "length": 0}


def _load(path: Path) -> Any:
    return keras.saving.load_model(path)


def _adapted() -> tuple[WeighNgrams, np.ndarray, np.ndarray]:
    numbers = np.array([[1, 3, 0], [1, 3, 0], [2, 4, 0], [2, 1, 4]], np.int32)
    labels = np.array([0, 0, 1, 1], np.int32)
    layer = WeighNgrams(4, 2, 2)
    layer.build((None, 3))
    layer.adapt([(numbers[:3], labels[:3]), (numbers[3:], labels[3:])])
    return layer, numbers, labels


def test_before_training_it_is_naive_bayes_by_rarity():
    layer, numbers, labels = _adapted()

    assert np.asarray(layer.rarity) == pytest.approx(np.log(5 / np.array([1, 4, 3, 3, 3])) + 1)
    counts = np.array([[0, 2, 0, 2, 0], [0, 1, 2, 0, 2]]) + 0.5
    shares = counts / counts.sum(axis=1, keepdims=True)
    ratio = np.log(shares[0] / shares[1])
    assert np.asarray(layer.ratio) == pytest.approx(np.stack([ratio, -ratio], axis=1), rel=1e-5)
    assert np.asarray(layer(numbers)).argmax(axis=1).tolist() == labels.tolist()


def test_words_and_parts_of_words_are_each_of_length_one():
    layer, _, _ = _adapted()
    layer.ratio.assign(np.ones((5, 2)))
    layer.kernel.assign(np.ones((5, 2)))
    layer.rarity.assign(np.array([9, 3, 4, 1, 1]))

    scores = np.asarray(layer(np.array([[1, 2, 0], [3, 0, 0], [0, 0, 0]], np.int32)))
    assert scores[:, 0] == pytest.approx([3 / 5 + 4 / 5, 1.0, 0.0])


def test_a_saved_model_of_ngrams_answers_raw_texts_as_before(tmp_path: Path):
    vocabulary = ["good", "bad", "#go"]
    texts = keras.Input((), dtype="string")
    layer = WeighNgrams(3, 2, 2, name="logits")
    model = keras.Model(texts, layer(EncodeNgrams(vocabulary, 4, name="encode")(texts)))
    layer.adapt([(np.array([[1, 3], [2, 0]], np.int32), np.array([0, 1], np.int32))])
    raw = tf.constant(["good, goat", "bad", ""])
    before = model.predict(raw, verbose="0")
    model.save(tmp_path / "model.keras")

    after = _load(tmp_path / "model.keras").predict(raw, verbose="0")

    assert before[0].argmax() == 0
    assert np.array_equal(before, after)
