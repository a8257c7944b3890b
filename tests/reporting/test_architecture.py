"""A network in lines."""

from __future__ import annotations

from typing import Any

from railcar.reporting.architecture import draw_layers, fold_layers, format_count, sum_operations


def _layer(
    name: str, shape: list[int | None], parameters: int, operations: float | None, **more: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "type": "Conv2D",
        "shape": shape,
        "parameters": parameters,
        "operations": operations,
        "has_kernel": parameters > 100,
        **more,
    }


LAYERS = [
    _layer("image", [None, None, 1], 0, 0),
    _layer("conv1", [28, 28, 32], 832, 1_254_400),
    _layer("pool1", [14, 14, 32], 0, 0),
    _layer("norm1", [14, 14, 32], 64, 0),
    _layer("logits", [10], 62_730, 125_440),
]


def test_all_layers_are_a_line_each_with_their_sum():
    assert draw_layers(LAYERS).splitlines() == [
        "layer            output     parameters  operations",
        "image (Conv2D)   anyxanyx1           0           0",
        "conv1 (Conv2D)   28x28x32          832      1.25 M",
        "pool1 (Conv2D)   14x14x32            0           0",
        "norm1 (Conv2D)   14x14x32           64           0",
        "logits (Conv2D)  10             62,730       125 k",
        "all                             63,626      1.38 M",
    ]


def test_in_short_a_layer_has_what_follows_it():
    assert fold_layers(LAYERS) == [
        "layer   output    parameters  operations",
        "conv1   14x14x32         896      1.25 M",
        "logits  10            62,730       125 k",
    ]


def test_of_a_long_network_the_first_and_the_last_are_shown():
    lines = fold_layers([_layer(f"conv{number}", [4], 200, 1) for number in range(40)], most=5)
    assert [line.split()[0] for line in lines] == ["layer", "conv0", "conv1", "...", "conv38", "conv39"]
    assert lines[3] == "... 36 more"


def test_what_cannot_be_counted_is_no_number():
    layers = [*LAYERS, _layer("odd", [2], 200, None)]
    assert sum_operations(LAYERS) == 1_379_840
    assert sum_operations(layers) is None
    assert fold_layers(layers)[-1].split() == ["odd", "2", "200", "-"]
    assert draw_layers(layers).splitlines()[-1].split() == ["all", "63,826"]


def test_counts_have_three_digits_and_a_unit():
    assert [format_count(one) for one in (0, 999, 1_234, 2e9, 3.456e12)] == ["0", "999", "1.23 k", "2 G", "3.46 T"]
