"""Texts, tables and numbers to predict: from a file to a run, its predictions, and the same in Python."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

import railcar
from railcar.data.selection import check_one_label
from railcar.errors import DataError, RecipeError
from railcar.runs.run_dir import RunDir, read_json
from railcar.workflows.plan import plan
from tests.synthetic import write_image_folder

GOOD, BAD = ["great", "lovely", "fine", "superb"], ["awful", "dull", "poor", "dreadful"]
SHORT = {"training.epochs": 8, "training.tensorboard": False}


def write_reviews(path: Path, n: int = 240) -> Path:
    """A CSV of short reviews whose words tell whether they are good."""
    draw = random.Random(0)
    lines = ["id,review,label"]
    for number in range(n):
        words = [draw.choice(GOOD if number % 2 else BAD), *draw.sample(["film", "plot", "cast", "score", "scene"], 3)]
        draw.shuffle(words)
        lines.append(f'{number},"A {" ".join(words)}, number {number}",{"good" if number % 2 else "bad"}')
    path.write_text("\n".join(lines) + "\n")
    return path


def make_table(n: int = 400) -> pl.DataFrame:
    """Rows with gaps, categories, a boolean and a date; `price` follows from them, and `dear` from the price."""
    draw = np.random.default_rng(0)
    size, age = draw.uniform(20, 200, n), draw.uniform(0, 50, n)
    town, garden = draw.choice(["Ulm", "Bonn", "Köln"], n), draw.choice(["yes", "no"], n)
    price = 3 * size - 2 * age + 90 * (town == "Bonn") + 40 * (garden == "yes")
    days = [f"20{20 + int(day) % 5}-0{1 + int(day) % 9}-1{int(day) % 10}" for day in draw.integers(0, 1000, n)]
    frame = pl.DataFrame({"size": size, "age": age, "town": town, "garden": garden, "sold": days, "price": price})
    gaps = pl.Series(draw.random(n) < 0.1)
    frame = frame.with_columns(
        pl.when(gaps).then(None).otherwise(pl.col("age")).alias("age"),
        pl.when(pl.col("price") > float(np.median(price)))
        .then(pl.lit("dear"))
        .otherwise(pl.lit("cheap"))
        .alias("dear"),
    )
    return frame


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("texts") / "reviews.csv")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "homes.csv"
    make_table().drop("dear").write_csv(path)
    return path


@pytest.fixture(scope="module")
def text_run(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return railcar.train(str(reviews), overrides=SHORT, runs_dir=tmp_path_factory.mktemp("runs"), quiet=True)


@pytest.fixture(scope="module")
def number_run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    overrides = {"data.label": "price", "training.epochs": 60, "training.tensorboard": False}
    return railcar.train(str(table), overrides=overrides, runs_dir=tmp_path_factory.mktemp("runs"), quiet=True)


def test_a_file_of_texts_is_learnt_with_no_other_word_than_its_path(text_run: Any, reviews: Path):
    assert text_run.evaluation["test"]["accuracy"] > 0.9
    recipe = text_run.recipe
    assert (recipe.data.kind, recipe.data.label, recipe.model.name) == ("text", "label", "bag_of_ngrams")
    told = " ".join(RunDir(text_run.path).log_path.read_text().split())
    assert "the text is the column 'review'" in told and "parts of words known from the training texts" in told
    sides = pl.read_parquet(text_run.path / "splits.parquet")
    assert sides.height == 240 and set(sides["side"]) == {"train", "validation", "test"}


def test_raw_texts_are_predicted_from_python_and_from_files(text_run: Any, tmp_path: Path):
    model = railcar.load(text_run.path)
    assert [one.label for one in model.predict(["A superb film!", "What an AWFUL plot"])] == ["good", "bad"]
    (tmp_path / "one.txt").write_text("lovely lovely cast")
    (tmp_path / "more.jsonl").write_text('{"review": "dreadful"}\n{"review": "fine"}\n')
    found = railcar.predict([tmp_path / "one.txt", tmp_path / "more.jsonl"], run=text_run.path, texts=["dull"])
    assert [one.label for one in found] == ["bad", "good", "bad", "good"]
    assert found[2].input.endswith("more.jsonl: line 1")
    with pytest.raises(DataError, match="is no text"):
        model.predict([3])


def test_a_folder_of_text_files_is_learnt_as_its_classes(tmp_path: Path):
    rows = pl.read_csv(write_reviews(tmp_path / "all.csv"))
    for number, (review, label) in enumerate(zip(rows["review"], rows["label"], strict=True)):
        path = tmp_path / "set" / ("test" if number % 5 == 0 else "train") / label / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(review)
    run = railcar.train(str(tmp_path / "set"), overrides=SHORT, runs_dir=tmp_path / "runs", quiet=True)
    assert run.evaluation["test"]["n"] == 48 and run.evaluation["test"]["accuracy"] > 0.9
    ids = pl.read_parquet(run.path / "predictions.parquet")["id"]
    assert all(one.startswith("test/") and one.endswith(".txt") for one in ids)


def test_a_number_is_learnt_from_a_table_with_gaps_dates_and_categories(number_run: Any):
    found = number_run.evaluation["test"]
    assert number_run.recipe.data.task == "regression" and found["r2"] > 0.9
    assert found["rmse"] >= found["mae"] > 0 and "accuracy" not in found
    rows = RunDir(number_run.path).read_metrics()
    assert rows[-1]["mae"] < rows[0]["mae"] and rows[-1]["val_mae"] > 0
    predictions = pl.read_parquet(number_run.path / "predictions.parquet")
    error = (predictions["predicted"] - predictions["label"]).abs().mean()
    assert error == pytest.approx(found["mae"], rel=1e-4)
    encoding = json.loads((number_run.path / "encoding.json").read_text())
    types = {one["name"]: one["type"] for one in encoding["columns"]}
    assert types == {"size": "number", "age": "number", "town": "category", "garden": "boolean", "sold": "date"}
    assert (number_run.path / "plots" / "predicted.png").is_file()


def test_a_run_has_a_picture_of_what_becomes_of_its_rows(number_run: Any, text_run: Any):
    for run, title, word in (
        (number_run, "What becomes of a row", "garden"),
        (text_run, "What becomes of a text", "look up"),
    ):
        root = ElementTree.fromstring(RunDir(run.path).plots.joinpath("preprocessing.svg").read_bytes())
        words = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
        assert words[0] == title and word in words
        assert run is text_run or "as the label is measured" in " ".join(map(str, words))


def test_frames_come_back_as_frames_with_numbers_in_the_unit_of_the_label(number_run: Any, tmp_path: Path):
    model, frame = railcar.load(number_run.path), make_table().head(20)
    values = model.predict(frame)
    assert isinstance(values, pl.DataFrame) and values.columns == ["value"]
    assert np.abs(values["value"].to_numpy() - frame["price"].to_numpy()).mean() < 60
    as_dicts = model.predict(frame.to_dicts())
    np.testing.assert_allclose([one.value for one in as_dicts], values["value"], rtol=1e-5)
    import pandas

    pandas_values = model.predict(pandas.DataFrame(frame.to_dict(as_series=False)))
    np.testing.assert_allclose(pandas_values["value"], values["value"], rtol=1e-5)
    frame.drop("price").write_csv(tmp_path / "new.csv")
    [first, *_] = railcar.predict(tmp_path / "new.csv", run=number_run.path)
    assert first.value == pytest.approx(values["value"][0], rel=1e-4) and first.input.endswith("new.csv: line 2")
    with pytest.raises(DataError, match="no column 'town'"):
        model.predict(frame.drop("town"))


def test_evaluate_measures_a_run_of_rows_on_its_own_and_on_other_rows(number_run: Any, tmp_path: Path):
    again = railcar.evaluate(number_run.path, quiet=True)
    assert again["test"]["mae"] == pytest.approx(number_run.evaluation["test"]["mae"], rel=1e-5)
    make_table(50).drop("dear").write_csv(tmp_path / "other.csv")
    other = railcar.evaluate(number_run.path, data=str(tmp_path / "other.csv"), quiet=True)
    assert other["data"]["n"] == 50 and other["data"]["r2"] > 0.8


def test_classes_of_a_table_are_learnt_and_the_run_goes_on_exactly(tmp_path: Path):
    make_table().drop("price").write_csv(tmp_path / "homes.csv")
    overrides = {"data.label": "dear", "training.steps": 120, "training.tensorboard": False}
    longer = railcar.train(str(tmp_path / "homes.csv"), overrides=overrides, runs_dir=tmp_path / "a", quiet=True)
    assert longer.evaluation["test"]["accuracy"] > 0.8
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes((longer.path / "recipe.yaml").read_bytes())
    twin = railcar.train(str(recipe), runs_dir=tmp_path / "b", quiet=True)
    for name in ("loss", "accuracy"):
        assert [row[name] for row in RunDir(twin.path).read_metrics()] == [
            row[name] for row in RunDir(longer.path).read_metrics()
        ]


def test_weights_go_over_to_new_rows_by_the_words_and_columns_that_they_count_for(text_run: Any, tmp_path: Path):
    more = write_reviews(tmp_path / "more.csv", n=120)
    more.write_text(more.read_text().replace("film", "movie"))
    overrides = {"training.steps": 1, "training.optimizer.learning_rate": 1e-6, "training.tensorboard": False}
    run = railcar.train(str(more), from_run=text_run.path, overrides=overrides, runs_dir=tmp_path / "runs", quiet=True)
    before, after = (read_json(one.path / "encoding.json") for one in (text_run, run))
    assert before == after and run.evaluation["test"]["accuracy"] > 0.9


def test_groups_stay_on_one_side(tmp_path: Path):
    frame = make_table(300).with_columns((pl.int_range(300) // 5).cast(pl.String).alias("owner")).drop("dear")
    frame.write_csv(tmp_path / "homes.csv")
    overrides = {"data.label": "price", "data.group": "owner", "training.steps": 2, "training.tensorboard": False}
    run = railcar.train(str(tmp_path / "homes.csv"), overrides=overrides, runs_dir=tmp_path / "runs", quiet=True)
    sides = pl.read_parquet(run.path / "splits.parquet")
    owners = sides.with_columns((pl.col("id").str.split("/").list.last().cast(pl.Int64) // 5).alias("owner"))
    assert owners.group_by("owner").agg(pl.col("side").n_unique())["side"].max() == 1
    assert "owner" not in [one["name"] for one in json.loads((run.path / "encoding.json").read_text())["columns"]]


def test_a_dry_run_shows_all_choices_and_keeps_nothing(table: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path):
    recipe = plan(str(table), overrides={"data.label": "price"})
    assert "kind: table" in recipe and "task: regression" in recipe and "filters" not in recipe
    said = " ".join(capfd.readouterr().err.split())
    assert "5 columns" in said and "standardised, gaps filled with the mean; gaps marked: age" in said


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model.name": "cnn"}, r"model\.name: cnn is a network for image data, and this is table data"),
        ({"data.augment": {"flip": True}}, r"data\.augment: changes images"),
        ({"training.label_smoothing": 0.1}, r"training\.label_smoothing: a regression has no classes"),
        ({"training.stop_at": {"value": 0.9}}, r"training\.stop_at: a regression has no accuracy"),
    ],
)
def test_settings_that_mean_nothing_for_the_data_are_refused(
    table: Path, overrides: dict[str, Any], words: str, tmp_path: Path
):
    with pytest.raises(RecipeError, match=words):
        railcar.train(str(table), overrides={"data.label": "price", **overrides}, runs_dir=tmp_path, quiet=True)


def test_an_unknown_class_in_the_test_side_is_refused_with_its_line(tmp_path: Path):
    write_reviews(tmp_path / "train.csv")
    (tmp_path / "test.csv").write_text('id,review,label\n1,"a film",good\n2,"a film",odd\n')
    with pytest.raises(DataError, match=r"test\.csv: line 3: the label 'odd', which no training example has"):
        railcar.train(str(tmp_path), runs_dir=tmp_path / "runs", quiet=True)


@pytest.mark.parametrize("balance", ["weights", "oversample"])
def test_a_rare_class_is_found_more_often_when_classes_are_balanced(balance: str, tmp_path: Path):
    draw = np.random.default_rng(0)
    rare = draw.random(1500) < 0.06
    signal = draw.normal(size=1500) + 1.2 * rare
    columns = {"signal": signal, "noise": draw.normal(size=1500), "label": np.where(rare, "rare", "usual")}
    pl.DataFrame(columns).write_csv(tmp_path / "rows.csv")
    found = {}
    for how in ("none", balance):
        overrides = {"data.balance": how, "data.test": 0.4, "training.epochs": 10, "training.tensorboard": False}
        run = railcar.train(str(tmp_path / "rows.csv"), overrides=overrides, runs_dir=tmp_path / "runs", quiet=True)
        [row] = [one for one in run.evaluation["test"]["per_class"] if one["class"] == "rare"]
        found[how] = row["recall"]
    assert found[balance] > found["none"] + 0.3


def test_frames_of_polars_and_pandas_are_trained_on_and_asked_alike(tmp_path: Path):
    import pandas

    frame = make_table().drop("dear")
    overrides = {"data.label": "price", "training.steps": 3, "training.tensorboard": False}
    runs = []
    for number, data in enumerate((frame, pandas.DataFrame(frame.to_dict(as_series=False)))):
        runs.append(railcar.train(data, overrides=overrides, runs_dir=tmp_path / str(number), quiet=True))
    first, second = (RunDir(run.path).read_manifest()["data"]["fingerprint"] for run in runs)
    assert first == second and runs[0].recipe.data.task == "regression"
    with pytest.raises(DataError, match="which column is the label"):
        railcar.train(frame.drop("price"), runs_dir=tmp_path / "no", quiet=True)


def test_a_table_that_names_image_files_is_learnt_as_images(tmp_path: Path):
    write_image_folder(tmp_path / "images", n_per_class=20)
    files = sorted((tmp_path / "images").rglob("*.png"))
    lines = [f"{file.relative_to(tmp_path)},{file.parent.name}" for file in files]
    (tmp_path / "list.csv").write_text("file,label\n" + "\n".join(lines) + "\n")
    overrides = {"training.steps": 2, "training.tensorboard": False}
    run = railcar.train(str(tmp_path / "list.csv"), overrides=overrides, runs_dir=tmp_path / "runs", quiet=True)
    manifest = RunDir(run.path).read_manifest()["data"]
    assert (manifest["kind"], manifest["form"], manifest["class_names"]) == ("image", "image-list", ["a", "b", "c"])
    ids = pl.read_parquet(run.path / "splits.parquet")["id"]
    assert set(ids) == {file.relative_to(tmp_path).as_posix() for file in files}


def test_columns_may_have_any_name(tmp_path: Path):
    frame = (
        make_table(120)
        .drop("dear")
        .rename({"town": "n", "garden": "a/b", "size": "value", "age": "text", "sold": "a_b"})
    )
    overrides = {"data.label": "price", "training.steps": 3, "training.tensorboard": False}
    run = railcar.train(frame, overrides=overrides, runs_dir=tmp_path, quiet=True)
    columns = json.loads((run.path / "encoding.json").read_text())["columns"]
    assert {one["name"] for one in columns} == {"n", "a/b", "value", "text", "a_b"}
    assert len(railcar.load(run.path).predict(frame)) == 120


def test_other_rows_may_have_gaps_and_columns_that_the_training_rows_had_not(number_run: Any, tmp_path: Path):
    frame = make_table(60).with_columns(pl.lit("more").alias("comment"), pl.lit(None, pl.String).alias("garden"))
    text = frame.drop("dear").write_csv().splitlines()
    name = text[0].split(",").index("size")
    cells = text[1].split(",")
    cells[name] = "NA"
    (tmp_path / "other.csv").write_text("\n".join([text[0], ",".join(cells), *text[2:]]) + "\n")
    found = railcar.evaluate(number_run.path, data=str(tmp_path / "other.csv"), quiet=True)
    assert found["data"]["n"] == 60
    make_table(120).drop("dear").write_csv(tmp_path / "main.csv")
    overrides = {"data.label": "price", "data.test": str(tmp_path / "other.csv"), "training.steps": 2}
    sides = railcar.train(str(tmp_path / "main.csv"), overrides=overrides, runs_dir=tmp_path / "runs", quiet=True)
    assert sides.evaluation["test"]["n"] == 60
    frame.drop("dear", "town").write_csv(tmp_path / "without.csv")
    with pytest.raises(DataError, match=r"without\.csv: no column 'town'"):
        railcar.evaluate(number_run.path, data=str(tmp_path / "without.csv"), quiet=True)


def test_several_labels_in_one_cell_are_refused_unless_they_are_named_as_classes(tmp_path: Path):
    labels = ("action", "comedy", "action;comedy", "comedy; drama")
    rows = [f"film number {number} is fine,{labels[number % 4]}" for number in range(120)]
    (tmp_path / "films.csv").write_text("\n".join(["text,label", *rows]))
    source, settings = str(tmp_path / "films.csv"), {"runs_dir": tmp_path / "runs", "quiet": True}
    with pytest.raises(DataError, match=r"films\.csv: some examples have several labels \('action;comedy'\)") as caught:
        railcar.train(source, **settings)
    assert "--label 'action'" in (caught.value.hint or "")
    assert not (tmp_path / "runs").exists()

    overrides = {"data.classes": list(labels), "training.epochs": 1, "training.tensorboard": False}
    assert railcar.train(source, overrides=overrides, **settings).recipe.data.classes == labels


def test_class_names_with_marks_are_no_several_labels():
    check_one_label(("Smith, John", "Smith, Jane", "Doe"), where="people.csv")
    check_one_label(("a;b", "c"), where="odd.csv")
    with pytest.raises(DataError, match="several labels"):
        check_one_label(("red", "blue", "blue|red", "red|green"), where="colours.csv")
