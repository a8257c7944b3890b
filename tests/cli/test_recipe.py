"""`railcar recipe`: list, show, check, schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from railcar.cli.main import main
from railcar.recipe.load import bundled_recipes, load_recipe


def test_list_names_every_recipe_with_its_first_comment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert [line.split()[0] for line in lines] == list(bundled_recipes())
    assert all(len(line.split()) > 2 for line in lines)


def test_list_models_names_the_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "list", "--models", "--json"]) == 0

    assert "cnn" in [row["name"] for row in json.loads(capsys.readouterr().out)]


def test_show_prints_the_file_with_its_comments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "show", "mnist"]) == 0

    assert capsys.readouterr().out.strip() == bundled_recipes()["mnist"].read_text(encoding="utf-8").strip()


def test_show_full_prints_a_recipe_that_loads_back_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "show", "mnist", "--full", "--set", "data.source=photos"]) == 0
    path = tmp_path / "full.yaml"
    path.write_text(capsys.readouterr().out)

    assert load_recipe(path) == load_recipe("mnist", ["data.source=photos"])


def test_show_json_is_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "show", "mnist", "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == load_recipe("mnist").model_dump(mode="json")


def test_check_says_ok(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "check", "mnist"]) == 0
    assert capsys.readouterr().out == "mnist: ok\n"


def test_check_prints_all_faults_each_with_its_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("training:\n  batchsize: 5\n  epochs: many\n")

    assert main(["recipe", "check", str(path), "--set", "model.nmae=cnn"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"error: {path}:2: training.batchsize: unknown key",
        "hint: did you mean batch_size?",
        f"error: {path}:3: training.epochs: must be a number, got 'many'",
        "hint: the default is null",
        "error: --set model.nmae=cnn: unknown key",
        "hint: did you mean model.name?",
    ]


def test_check_json_has_the_faults_as_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("training:\n  batchsize: 5\n")

    assert main(["recipe", "check", str(path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "recipe": str(path),
        "ok": False,
        "faults": [
            {
                "where": f"{path}:2",
                "key": "training.batchsize",
                "what": "unknown key",
                "hint": "did you mean batch_size?",
            }
        ],
    }


def test_schema_prints_a_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "schema"]) == 0

    assert json.loads(capsys.readouterr().out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_what_a_python_recipe_prints_stays_out_of_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recipe.py"
    path.write_text("print('hello')\nrecipe = {'seed': 1}\n")
    assert main(["recipe", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
