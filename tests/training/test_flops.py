"""Arithmetic counted by hand."""

from __future__ import annotations

import keras

from railcar.models.build import build_model
from railcar.recipe.load import load_recipe
from railcar.training.flops import count_step_flop

layers = keras.layers


def test_the_tutorials_network_takes_as_much_as_counted_by_hand() -> None:
    settings = load_recipe("mnist-tutorial").model.model_dump()
    model = build_model(settings, image_shape=(28, 28, 1), n_classes=10, mean=(0.0,), std=(1.0,))
    first, second = 28 * 28 * 5 * 5 * 32, 14 * 14 * 5 * 5 * 32 * 64
    dense = 7 * 7 * 64 * 1024 + 1024 * 10

    assert count_step_flop(model) == 2 * (2 * first + 3 * second + 3 * dense)


def test_a_frozen_layer_costs_its_forward_pass_only() -> None:
    model = keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(4, 3, padding="same"), layers.Dense(5)])
    conv, dense = 64 * 9 * 3 * 4, 64 * 4 * 5

    assert count_step_flop(model) == 2 * (2 * conv + 3 * dense)
    model.layers[0].trainable = False
    assert count_step_flop(model) == 2 * (conv + 2 * dense)


def test_layers_inside_a_model_inside_a_model_are_counted() -> None:
    inner = keras.Sequential([layers.Input((6, 6, 2)), layers.DepthwiseConv2D(3), layers.BatchNormalization()])
    outer = keras.Sequential([layers.Input((6, 6, 2)), inner, layers.Flatten(), layers.Dense(3)])

    assert count_step_flop(outer) == 2 * (2 * 16 * 9 * 2 + 3 * 32 * 3)


def test_what_cannot_be_counted_is_not_guessed() -> None:
    model = keras.Sequential([layers.Input((6, 2)), layers.LSTM(4), layers.Dense(3)])

    assert count_step_flop(model) is None
