"""model-card.md of a run's folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from railcar.errors import NotFound
from railcar.runs.run_dir import RunDir, write_json
from railcar.workflows.card import write_card
from tests.workflows.test_compare import make_right, make_run


def test_the_card_of_a_run_is_written_and_written_anew_with_its_notes(tmp_path: Path):
    run = make_run(tmp_path / "runs", "good", make_right(5))
    data = {"source": "pets", "kind": "table", "task": "classification", "class_names": ["no", "yes"], "label": "pet"}
    run.write_manifest(run.read_manifest() | {"data": data})
    write_json(run.encoding_path, {"columns": [{"name": "age", "type": "number", "mean": 3.0}]})
    write_json(run.evaluation_path, {"checkpoint": "step-1"})
    path = write_card(run)
    assert path == run.path / "model-card.md"
    text = path.read_text()
    assert f"railcar predict rows.csv --run runs/{run.name}\n" in text and "`age` (number)" in text
    assert "Says whether the column `pet` of a row is no or yes." in text
    path.write_text(text + "\nAsk Anna.\n")
    write_card(run)
    assert path.read_text().endswith("\nAsk Anna.\n")


def test_a_folder_that_is_no_run_gets_none(tmp_path: Path):
    with pytest.raises(NotFound):
        write_card(RunDir(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_card_costs_no_import_of_numpy():
    code = "import sys, railcar.workflows.card; sys.exit(any(name in sys.modules for name in ('numpy', 'tensorflow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
