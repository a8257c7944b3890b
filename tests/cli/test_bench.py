"""`railcar bench`: measured for a moment, on random images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from railcar.cli.bench import format_bench
from railcar.cli.main import main
from railcar.errors import UsageError
from railcar.recipe.load import load_recipe
from railcar.workflows.bench import find_shape, image_recipes


def test_bench_measures_ceilings_and_recipes_and_leaves_only_what_it_found_of_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / "cache"))
    small = "model.filters=[4]"

    assert main(["bench", "mnist", "--seconds", "0.1", "--set", small, "--json"]) == 0

    printed = capsys.readouterr()
    document = json.loads(printed.out)
    (row,) = document["recipes"]
    assert row["recipe"] == "mnist"
    assert row["images_per_s"] > 0
    assert 0 < row["share"] == row["gflops"] / row["ceiling_gflops"]
    rates = document["ceilings"][0]["rates"]
    assert set(rates) == {"matmul", "convolution"}
    assert set(rates["matmul"]) >= {"float32", "bfloat16"}
    assert "measuring recipe mnist" in printed.err
    # on a GPU not even that
    assert {path for path in tmp_path.rglob("*") if path.is_file()} <= {
        tmp_path / "cache" / f"kernels.{kind}" for kind in ("json", "lock")
    }
    assert max(map(len, format_bench(document).splitlines())) <= 80


def test_the_table_of_a_machine_with_gpus_fits_eighty_columns() -> None:
    rates = {
        operation: {"float32": 400_000.0, "bfloat16": 790_000.0, "float16": 790_000.0}
        for operation in ("matmul", "convolution")
    }
    row = {"recipe": "a-recipe-of-ones-own-with-a-long-name.yaml", "precision": "bfloat16", "images_per_s": 1_234_567.0}
    counted = {**row, "gflops": 123_456.0, "share": 0.31}
    table = format_bench(
        {
            "ceilings": [{"device": "GPU:0", "name": "NVIDIA H200", "rates": rates}],
            "recipes": [counted, {**row, "gflops": None, "share": None}],
        }
    )

    assert max(map(len, table.splitlines())) <= 80
    assert "31%" in table
    assert "not counted" in table


@pytest.mark.parametrize("name", image_recipes())
def test_the_images_of_every_bundled_recipe_have_a_known_size(name: str) -> None:
    shape, n_classes = find_shape(load_recipe(name))

    assert min(shape) >= 1
    assert n_classes > 1


def test_networks_for_rows_are_not_measured() -> None:
    assert "penguins" not in image_recipes()
    with pytest.raises(UsageError, match="penguins: a network for table data"):
        find_shape(load_recipe("penguins"))


def test_data_of_ones_own_needs_its_size_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "mnist", "--set", "data.source=photos"]) == 2
    assert "--set data.image_size=[HEIGHT,WIDTH]" in capsys.readouterr().err

    shape, _ = find_shape(load_recipe("mnist", ["data.source=photos", "data.image_size=[48,64]"]))
    assert shape == (48, 64, 3)
