"""Runs side by side, and whether one is better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from railcar.cli.main import main
from railcar.runs.run_dir import RunDir, write_json
from railcar.workflows.compare import compare


def make_run(folder: Path, name: str, right: Any, *, fingerprint: str = "f", ids: Any = None) -> RunDir:
    run = RunDir.create(folder, name)
    run.write_manifest(run.read_manifest() | {"state": "finished", "data": {"fingerprint": fingerprint}})
    run.recipe_path.write_text("seed: 0\n")
    write_json(run.evaluation_path, {"checkpoint": "step-1", "test": {"accuracy": float(np.mean(right)), "loss": 0.1}})
    labels = ["yes" if at % 2 else "no" for at in range(len(right))]
    other = {"yes": "no", "no": "yes"}
    predicted = [one if good else other[one] for one, good in zip(labels, right, strict=True)]
    ids = [f"test/{at}" for at in range(len(right))] if ids is None else ids
    pl.DataFrame({"id": ids, "label": labels, "predicted": predicted}).write_parquet(run.predictions_path)
    return run


def make_right(n_wrong: int, n: int = 400, *, begin: int = 0) -> np.ndarray:
    right = np.ones(n, bool)
    right[begin : begin + n_wrong] = False
    return right


def test_a_real_difference_is_told_from_luck(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good = make_run(tmp_path, "good", make_right(5))
    poor = make_run(tmp_path, "poor", make_right(40, begin=3))
    like = make_run(tmp_path, "like", make_right(7, begin=4))
    found = compare([good, poor, like])["pairs"]
    assert [(one["one"], one["other"]) for one in found] == [(0, 1), (0, 2), (1, 2)]
    assert [one["is_real"] for one in found] == [True, False, True]
    assert (found[0]["n_only_one"], found[0]["n_only_other"], found[0]["n"]) == (38, 3, 400)

    assert main(["runs", "compare", str(good.path), str(poor.path), str(like.path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert max(map(len, shown)) <= 80
    assert shown[-3].startswith("A : B") and shown[-3].endswith("A is better")
    assert shown[-2].endswith("no difference seen") and shown[-1].endswith("C is better")
    assert main(["runs", "compare", str(good.path), str(poor.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"][0]["p"] == pytest.approx(
        found[0]["p"] / 2
    )  # the second of three


def test_of_many_runs_each_is_compared_with_the_best(tmp_path: Path):
    runs = [make_run(tmp_path, f"run{at}", make_right(10 + at if at != 3 else 2)) for at in range(6)]
    assert [(one["one"], one["other"]) for one in compare(runs)["pairs"]] == [(3, at) for at in (0, 1, 2, 4, 5)]


def test_what_was_tested_on_other_examples_is_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    one = make_run(tmp_path, "one", make_right(5))
    data = make_run(tmp_path, "data", make_right(5), fingerprint="g")
    rows = make_run(tmp_path, "rows", make_right(5), ids=[f"test/{at + 390}" for at in range(400)])
    none = make_run(tmp_path, "none", make_right(5))
    none.predictions_path.unlink()
    damaged = make_run(tmp_path, "damaged", make_right(5))
    damaged.predictions_path.write_bytes(b"PAR1")
    reasons = [compare([one, other])["pairs"][0]["reason"] for other in (data, rows, none, damaged)]
    assert reasons[0] == "they were tested on other data"
    assert reasons[1] == "only 10 test examples are the same"
    assert reasons[2] == reasons[3] == "there is no predictions.parquet of both"
    assert main(["runs", "compare", str(one.path), str(data.path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "A and B: they were tested on other data"


def test_of_numbers_the_sign_test_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    runs = []
    for name, spread in (("near", 0.1), ("far", 1.0)):
        run = make_run(tmp_path, name, make_right(5))
        targets = np.arange(100, dtype=np.float32)
        predicted = targets + np.random.default_rng(len(name)).normal(0, spread, 100)
        ids = [f"test/{at}" for at in range(100)]
        frame = pl.DataFrame({"id": ids, "label": targets, "predicted": predicted.astype(np.float32)})
        frame.write_parquet(run.predictions_path)
        runs.append(run)
    [pair] = compare(runs)["pairs"]
    assert pair["test"] == "sign" and pair["is_real"] and pair["n_only_one"] > pair["n_only_other"]
    assert main(["runs", "compare", *(str(run.path) for run in runs)]) == 0
    assert "sign test" in capsys.readouterr().out


def answer(generator: np.random.Generator, difficulty: np.ndarray, skill: float = 0.0) -> np.ndarray:
    """Which answers of a model are right; what is hard for one is hard for all."""
    return generator.random(len(difficulty)) > difficulty * (1 - skill)


def test_of_twenty_pairs_of_equally_good_models_at_most_three_are_called_different(tmp_path: Path):
    generator = np.random.default_rng(1)
    difficulty = generator.random(2000) ** 8
    n_different = 0
    for at in range(20):
        pair = [make_run(tmp_path / f"{at}", f"seed{k}", answer(generator, difficulty)) for k in (0, 1)]
        n_different += compare(pair)["pairs"][0]["is_real"]
    assert n_different <= 3
    short = make_run(tmp_path, "short", answer(generator, difficulty))
    long = make_run(tmp_path, "long", answer(generator, difficulty, skill=0.4))
    assert compare([short, long])["pairs"][0]["is_real"]


def test_the_best_of_many_is_held_to_all_comparisons_that_made_it_the_best(tmp_path: Path):
    best, poor = make_run(tmp_path, "best", make_right(20)), make_run(tmp_path, "poor", make_right(40, begin=15))
    others = [make_run(tmp_path, f"run{at}", make_right(22, begin=at)) for at in range(4)]
    [alone] = compare([best, poor])["pairs"]
    among = compare([best, poor, *others])["pairs"]
    assert len(among) == 5
    assert among[0]["p"] == pytest.approx(15 * alone["p"])  # six runs make fifteen pairs
    assert alone["is_real"] and not among[0]["is_real"]


def test_the_page_is_written_beside_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good = make_run(tmp_path, "good", make_right(5))
    poor = make_run(tmp_path, "poor", make_right(40, begin=3))
    good.recipe_path.write_text("data:\n  source: /somewhere/far/away/in/a/folder/with/a/long/name/photos.csv\n")
    words = ["runs", "compare", str(good.path), str(poor.path)]
    page = tmp_path / "pages" / "compare.html"
    page.parent.mkdir()
    assert main([*words, "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == f"page  {page}"
    assert max(map(len, shown.splitlines()[:-1])) <= 80 and "photos.csv" in shown
    assert "A is better than B" in page.read_text()
    page.unlink()
    assert main([*words, "--html", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == str(page) and page.is_file()
    assert main([*words, "--html", str(good.recipe_path / "x.html")]) == 1
    assert "error:" in capsys.readouterr().err
    good.evaluation_path.write_text('{"test": {"per_class": 3, "accuracy": 0.9}, "checkpoint": "x"}')
    poor.evaluation_path.write_text('{"test": {"per_class": 3, "accuracy": 0.9}, "checkpoint": "x"}')
    assert main([*words, "--html", str(page)]) == 1
    assert "Traceback" not in capsys.readouterr().err
