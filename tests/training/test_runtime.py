from __future__ import annotations

import pytest

from railcar.errors import RecipeError
from railcar.training.runtime import (
    choose_compile,
    choose_data_on,
    choose_precision,
    choose_runtime,
    choose_steps_per_call,
)


@pytest.mark.parametrize(
    ("device", "flags", "capability", "ratio", "expected"),
    [
        ("cpu", {"amx_bf16", "avx512_bf16"}, None, 6.0, "bfloat16"),
        ("cpu", {"avx512_bf16"}, None, 2.0, "bfloat16"),
        ("cpu", {"avx512_bf16"}, None, 0.5, "float32"),
        ("cpu", {"avx2"}, None, 9.0, "float32"),
        ("gpu", set(), (9, 0), 0.5, "bfloat16"),
        ("gpu", set(), (7, 5), 0.5, "float16"),
        ("gpu", set(), (6, 1), 0.5, "float32"),
    ],
)
def test_precision_is_what_the_device_multiplies_fastest(device, flags, capability, ratio, expected):
    choice = choose_precision("auto", device, frozenset(flags), capability, lambda: ratio)
    assert choice.value == expected
    assert len(choice.reason) > 10


def test_what_the_recipe_says_is_not_overruled():
    assert choose_precision("float32", "cpu", frozenset({"amx_bf16"}), None, lambda: 6.0).value == "float32"
    runtime = choose_runtime(precision="float32", compile="eager", steps_per_call="auto")
    assert (runtime.compile.value, runtime.steps_per_call.value) == ("eager", 1)


def test_a_cpu_gets_the_graph_mode():
    assert choose_compile("cpu", 100_000).value == "graph"


def test_a_gpu_compiles_with_xla_where_that_pays():
    assert choose_compile("gpu", 10_000).value == "xla"
    assert choose_compile("gpu", 9_999).value == "graph"


def test_several_steps_in_an_eager_call_are_refused():
    with pytest.raises(RecipeError, match="steps_per_call"):
        choose_steps_per_call(10, "eager")


def test_images_lie_on_the_gpu_when_they_fill_less_than_a_quarter_of_it():
    assert choose_data_on("auto", "gpu", 47_000_000, 16 * 10**9).value == "device"
    assert choose_data_on("auto", "gpu", 5 * 10**9, 16 * 10**9).value == "host"
    assert choose_data_on("auto", "gpu", 1, None).value == "host"
    assert choose_data_on("auto", "cpu", 1, None).value == "host"
    assert choose_data_on("device", "cpu", 1, None).value == "device"
