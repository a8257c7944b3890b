"""report.html and its run: what is missing, damaged or in the way takes nothing else with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import railcar
from railcar.errors import RunError
from railcar.runs.place import find_place
from railcar.runs.run_dir import RunDir
from railcar.workflows.inputs import Start, resolve_input
from railcar.workflows.look import Look
from railcar.workflows.report import write_report
from railcar.workflows.train import train_here

FEW_STEPS = {"training.steps": 10}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = railcar.train("penguins", overrides=FEW_STEPS, runs_dir=tmp_path_factory.mktemp("runs"), quiet=True)
    return RunDir(run.path)


@pytest.fixture
def run(finished: RunDir, tmp_path: Path) -> RunDir:
    shutil.copytree(finished.path, tmp_path / "run")
    return RunDir(tmp_path / "run")


def change(path: Path, keys: str, value: Any) -> None:
    document = json.loads(path.read_text())
    *parents, last = keys.split(".")
    node = document
    for key in parents:
        node = node[key]
    node[last] = value
    path.write_text(json.dumps(document))


def test_a_run_whose_pages_cannot_be_written_is_finished_all_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    def stand_in_the_way(run: RunDir) -> None:
        for path in (run.explained_path, run.report_path, run.card_path):
            path.mkdir()

    start = Start(resolve_input("penguins", FEW_STEPS), (), False, None, find_place(tmp_path))
    found = train_here(start, Look(False, False, False), on_run=stand_in_the_way)
    assert RunDir(found.path).state() == "finished"
    assert found.evaluation["test"]["n"] > 0
    said = capfd.readouterr().err
    assert all(
        f"warning: {name} could not be written" in said for name in ("report.json", "report.html", "model-card.md")
    )
    assert (found.path / "artifact" / "model.keras").is_file()


def test_an_evaluation_by_hand_without_a_step_is_drawn(run: RunDir):
    change(run.evaluation_path, "checkpoint", "final")
    change(run.evaluation_path, "test.macro_f1", None)
    assert "What is confused" in write_report(run).read_text()


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        ("evaluation.json", "test.n", "5"),
        ("evaluation.json", "test.accuracy_95", []),
        ("evaluation.json", "test.accuracy", 10**400),
        ("manifest.json", "data", "x"),
        ("report.json", "mistakes", [3]),
        ("report.json", "importance", [{"column": "a"}]),
        ("decisions.json", "device", {"value": {"a": {}}, "reason": "\ud800"}),
    ],
)
def test_other_contents_than_railcars_are_one_error_or_drawn(run: RunDir, file: str, keys: str, value: Any):
    change(run.path / file, keys, value)
    before = run.report_path.read_bytes()
    try:
        drawn = write_report(run).read_bytes()
    except RunError as error:
        assert "its files hold other things" in error.what and error.hint
        drawn = before
    assert run.report_path.read_bytes() == drawn
    assert drawn.endswith(b"</html>\n")


def test_pictures_that_lie_elsewhere_are_not_shown(run: RunDir):
    mistake = {"id": "a", "label": "cat", "predicted": "dog", "p_label": 0.1, "p_predicted": 0.9}
    picture = {"picture": "http://127.0.0.1:9/x.png"}
    change(run.path / "manifest.json", "data.kind", "image")
    change(run.path / "report.json", "mistakes", [{**mistake, "input": picture, "why": None, "neighbours": []}])
    change(run.path / "report.json", "data", {})
    change(run.path / "report.json", "doubtful", [])
    page = write_report(run).read_text()
    assert "127.0.0.1" not in page
    assert "said <b>dog</b> (90%)" in page


def test_predictions_of_another_shape_cost_their_charts_only(run: RunDir):
    import polars

    frame = polars.read_parquet(run.predictions_path)
    frame.with_columns(probabilities=polars.Series([[0.5]] * len(frame))).write_parquet(run.predictions_path)
    page = write_report(run).read_text()
    assert "Each class" in page and "false alarms" not in page


def test_a_damaged_report_hinders_no_evaluation(run: RunDir, capfd: pytest.CaptureFixture[str]):
    run.explained_path.write_text("{")
    found = railcar.evaluate(run.path)
    assert found["test"]["n"] > 0
    said = capfd.readouterr().err
    assert "warning: report.html could not be written; try again with: railcar report" in said
    assert "report.json: is damaged" in said
