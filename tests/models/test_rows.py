"""Networks for texts and for tables: what goes in, what comes out, and that a seed settles it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from railcar.errors import RecipeError
from railcar.models.build import build_model
from railcar.registry import MODELS
from railcar.workflows.habits import find_habit

TEXTS = [name for name in MODELS if MODELS[name].kind == "text"]
TABLES = [name for name in MODELS if MODELS[name].kind == "table"]
FACTS: dict[str, dict[str, Any]] = {
    "words": {"length": 6, "n_words": 9, "n_outputs": 3},
    "ngrams": {"length": 6, "n_ngrams": 8, "n_words": 4, "n_outputs": 3},
}
WORDS = np.array([[2, 3, 4, 5, 0, 0], [8, 8, 8, 8, 8, 8], [0] * 6], np.int32)
COLUMNS: dict[str, Any] = {"n_numbers": 3, "cardinalities": [4, 2], "n_outputs": 2}
ROWS = np.array([[0.5, -1, 2, 3, 0], [1, 1, 1, 0, 1]], np.float32)


def build(name: str, precision: str = "float32", seed: int = 0, **settings: Any) -> Any:
    kind = MODELS[name].kind
    facts = FACTS[MODELS[name].form] if kind == "text" else COLUMNS
    return build_model({"name": name, **settings}, kind=kind, precision=precision, seed=seed, **facts)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_texts_come_out_as_float32_logits_in_any_precision(name: str, precision: str):
    logits = build(name, precision)(WORDS)
    assert logits.shape == (3, 3)
    assert logits.dtype == "float32"
    assert np.isfinite(np.asarray(logits)).all()


@pytest.mark.parametrize("name", [name for name in TEXTS if MODELS[name].form == "words"])
def test_a_seed_settles_the_weights_and_padding_changes_nothing_that_is_read(name: str):
    first, again, other = (np.asarray(build(name, seed=seed)(WORDS)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("settings", [{}, {"bidirectional": True}, {"cell": "lstm"}, {"cell": "simple"}])
def test_a_recurrent_network_reads_no_padding(settings: dict[str, Any]):
    facts = {"n_words": 9, "n_outputs": 3}
    short, long = (
        build_model({"name": "rnn", **settings}, kind="text", precision="float32", seed=1, length=length, **facts)
        for length in (4, 6)
    )
    words = np.array([[2, 3, 4, 5]], np.int32)
    padded = np.pad(words, ((0, 0), (0, 2)))
    assert np.asarray(short(words)) == pytest.approx(np.asarray(long(padded)), abs=1e-6)


def test_the_transformer_attends_to_no_padding_and_knows_places():
    facts = {"n_words": 9, "n_outputs": 3, "length": 6}
    model = build_model({"name": "transformer"}, kind="text", precision="float32", seed=1, **facts)
    places = model.get_layer("positions").places
    before = np.asarray(model(WORDS))
    changed = np.array(places)
    changed[4:] += np.linspace(0, 1, changed.shape[1])  # where the first text has nothing
    places.assign(changed)
    after = np.asarray(model(WORDS))

    assert before[0] == pytest.approx(after[0], abs=1e-6)
    assert np.abs(before[1] - after[1]).max() > 1e-3
    turned = np.asarray(model(WORDS[:, [1, 0, 2, 3, 4, 5]]))
    assert np.abs(turned[0] - after[0]).max() > 1e-4


def test_heads_that_do_not_divide_the_width_are_refused_with_widths_that_do():
    with pytest.raises(RecipeError, match=r"model\.embedding: 30 does not split evenly over 4 heads") as caught:
        build("transformer", embedding=30)
    assert caught.value.hint == "set model.embedding to 28 or 32, or model.heads to a divisor of 30"


def test_convolutions_wider_than_the_texts_are_refused_with_a_width_that_fits():
    assert build("textcnn", filters=[4, 4, 4], kernel_size=6)(WORDS).shape == (3, 3)
    words = r"model\.kernel_size: convolutions over 7 words in a row do not fit texts of 6 words"
    with pytest.raises(RecipeError, match=words) as caught:
        build("textcnn", filters=[4, 4, 4], kernel_size=7)
    assert caught.value.hint == "set model.kernel_size to 6 or less"


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rows_come_out_as_float32_logits_in_any_precision(name: str, precision: str):
    logits = build(name, precision)(ROWS)
    assert logits.shape == (2, 2)
    assert logits.dtype == "float32"
    assert np.isfinite(np.asarray(logits)).all()


@pytest.mark.parametrize("name", TABLES)
def test_a_table_without_categories_and_one_without_numbers_are_taken(name: str):
    for facts in ({"n_numbers": 2, "cardinalities": []}, {"n_numbers": 0, "cardinalities": [3, 3]}):
        model = build_model({"name": name}, kind="table", precision="float32", n_outputs=1, **facts)
        assert model(np.ones((4, 2), np.float32)).shape == (4, 1)


def test_small_data_is_trained_on_in_small_batches_and_large_data_in_few_passes():
    for name in (*TEXTS, *TABLES):
        tiny, small, large = (find_habit(name, n) for n in (6, 400, 1_000_000))
        assert tiny.batch_size <= 3
        assert small.batch_size <= 16 < large.batch_size
        assert small.epochs(400) > large.epochs(1_000_000) >= 2


def test_the_decay_of_ngrams_falls_with_the_number_of_texts():
    rates = [find_habit("bag_of_ngrams", n).optimizer["weight_decay"] for n in (10, 1_000, 10_000, 10**7)]
    assert rates == [0.05, 0.005, 0.0005, 0.00001]
