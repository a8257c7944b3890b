"""Following a run from outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from railcar.errors import NotFound
from railcar.runs.filters import parse_condition, select
from railcar.runs.follow import Tail, follow
from railcar.runs.lease import hold_lease
from railcar.runs.place import list_runs_at
from railcar.runs.run_dir import RunDir
from railcar.storage import remote
from railcar.storage.address import parse
from tests.places import Place


def steps_of(rows: list[dict[str, Any]]) -> list[int]:
    return [row["step"] for row in rows]


def test_rows_come_once_and_a_line_under_way_waits(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert steps_of(tail.read()) == [1, 2]
    assert tail.read() == []
    with path.open("a") as file:
        file.write('ep": 3}\n{"no": 4}\nno row\n')

    assert steps_of(tail.read()) == [3]


def test_a_run_that_is_taken_up_again_goes_on_after_its_checkpoint(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "run")
    tail = Tail(run.metrics_path)
    for step in (10, 20, 30):
        run.append_metrics({"step": step})
    assert steps_of(tail.read()) == [10, 20, 30]
    run.keep_metrics_until(20)
    assert tail.read() == []
    run.append_metrics({"step": 30})

    assert steps_of(tail.read()) == [30]


def test_a_file_that_is_copied_anew_gives_its_later_rows_only(tmp_path: Path) -> None:
    path, copy = tmp_path / "metrics.jsonl", tmp_path / "copy"
    tail = Tail(path)
    path.write_text('{"step": 1}\n')
    assert steps_of(tail.read()) == [1]
    copy.write_text('{"step": 1}\n{"step": 2}\n')
    copy.replace(path)

    assert steps_of(tail.read()) == [2]


def test_without_a_name_the_newest_run_that_goes_on_is_followed(tmp_path: Path) -> None:
    first, ended = RunDir.create(tmp_path, "first"), RunDir.create(tmp_path, "ended")
    ended.write_manifest(ended.read_manifest() | {"state": "finished"})
    with first.hold(), follow(None, tmp_path) as followed:
        assert (followed.run, followed.summary().state) == (first, "running")
    with pytest.raises(NotFound, match="no run is going on") as caught, follow(None, tmp_path):
        pass
    assert ended.name in caught.value.hint
    with pytest.raises(NotFound, match="no runs yet"), follow(None, tmp_path / "absent"):
        pass


def test_a_run_in_a_bucket_is_followed_by_its_objects(google: Place, tmp_path: Path) -> None:
    address = parse(f"{google.address}/runs/far")
    manifest = {"name": "far", "state": "running", "host": "elsewhere", "pid": 1, "steps": 30}
    remote.write(address / "manifest.json", json.dumps(manifest).encode())
    remote.write(address / "recipe.yaml", b"model: {name: cnn}\n")
    with hold_lease(address), follow(None, f"{google.address}/runs") as followed:
        assert (followed.summary().state, followed.read_rows(), followed.reference) == ("running", [], str(address))
        remote.write(address / "metrics.jsonl", b'{"step": 10}\n')
        assert steps_of(followed.read_rows()) == [10]
        remote.write(address / "metrics.jsonl", b'{"step": 10}\n{"step": 20, "val_accuracy": 0.5}\n')
        assert steps_of(followed.read_rows()) == [20]

    found = list_runs_at(f"{google.address}/runs")
    assert [(one.state, one.curve) for one in found] == [("died", (0.5,))]
    assert select(found, conditions=[parse_condition("model.name=cnn")]) == found
    assert select(found, conditions=[parse_condition("model.name=mlp")]) == []
