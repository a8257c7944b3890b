"""The run directory: unique names, whole files, states that are true."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from railcar.errors import NotFound, OutputError, RunError
from railcar.runs.run_dir import RunDir, read_json, write_json
from railcar.storage.lock import is_on_own_disk


def test_a_new_run_is_named_after_recipe_and_time_and_has_a_manifest(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "runs", "mnist")

    assert re.fullmatch(r"mnist-\d{8}-\d{6}-[0-9a-f]{4}", run.name)
    assert run.read_manifest()["state"] == "running"
    assert run.read_manifest()["pid"] == os.getpid()


def test_runs_made_at_the_same_moment_have_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: RunDir.create(tmp_path, "same"), range(64)))

    assert len({run.path for run in runs}) == 64


def test_a_runs_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    in_the_way = tmp_path / "runs"
    in_the_way.write_text("")

    with pytest.raises(OutputError, match="cannot be written") as caught:
        RunDir.create(in_the_way, "mnist")
    assert "--runs-dir" in caught.value.hint


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that even root cannot write to")
def test_a_runs_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        RunDir.create("/proc/self/runs", "mnist")


def test_metrics_come_back_as_they_were_appended(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    run.append_metrics({"step": 1, "loss": 2.5})
    run.append_metrics({"step": np.int64(2), "loss": np.float32(0.5)})

    assert run.read_metrics() == [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 0.5}]


def test_a_loss_that_is_not_a_number_is_written_as_null(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    run.append_metrics({"step": 1, "loss": float("nan"), "accuracy": float("inf")})

    assert run.metrics_path.read_text() == '{"step": 1, "loss": null, "accuracy": null}\n'


def test_a_last_line_that_a_crash_cut_is_left_out_and_the_next_line_is_whole(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    run.append_metrics({"step": 1})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 2, "lo')

    assert run.read_metrics() == [{"step": 1}]
    run.append_metrics({"step": 2})
    assert run.read_metrics() == [{"step": 1}, {"step": 2}]


def test_damage_in_the_midst_of_the_metrics_is_named_by_its_line(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    run.metrics_path.write_text('{"step": 1}\nrubbish\n{"step": 3}\n')

    with pytest.raises(RunError, match=r"metrics\.jsonl:2"):
        run.read_metrics()


def test_json_files_are_replaced_whole_and_leave_nothing_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    write_json(path, {"step": 1})
    write_json(path, {"step": np.int64(2), "values": np.array([1.0, np.nan])})

    assert read_json(path) == {"step": 2, "values": [1.0, None]}
    assert [entry.name for entry in tmp_path.iterdir()] == ["best.json"]
    assert read_json(tmp_path / "absent.json") is None


def test_a_list_of_numbers_is_a_line_and_texts_stay_as_they_are(tmp_path: Path) -> None:
    value = {
        "confusion": [[3, 0], [1, 2.5e-7]],
        "none": [],
        "names": ["1", "[\n 1,\n 2\n]"],
        "mixed": [1, {"a": [None]}],
    }
    write_json(tmp_path / "evaluation.json", value)
    text = (tmp_path / "evaluation.json").read_text()

    assert json.loads(text) == value
    assert text.splitlines()[1:5] == ['  "confusion": [', "    [3, 0],", "    [1, 2.5e-07]", "  ],"]


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"manifest\.json is missing"):
        RunDir(tmp_path).read_manifest()


def test_a_run_of_a_living_process_is_running_and_one_of_a_dead_process_has_died(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    assert run.state() == "running"

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    run.write_manifest(run.read_manifest() | {"pid": dead.pid})
    assert run.state() == "died"

    run.write_manifest(run.read_manifest() | {"host": "another-computer"})
    assert run.state() == "running"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_was_born_after_the_manifest_is_not_the_runs_own(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    long_ago_s = run.manifest_path.stat().st_mtime - 86400
    os.utime(run.manifest_path, (long_ago_s, long_ago_s))

    assert run.state() == "died"


def test_a_held_run_is_running_and_a_second_process_is_refused_until_the_first_one_dies(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    holder = "import sys, time; from railcar.runs.run_dir import RunDir\n"
    holder += "with RunDir(sys.argv[1]).hold(): print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", holder, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    run.write_manifest(run.read_manifest() | {"pid": process.pid})

    assert run.state() == "running"
    with pytest.raises(RunError, match=f"still going on: process {process.pid}") as caught, run.hold():
        pass
    assert run.name in caught.value.hint

    process.kill()
    process.wait()
    process.stdout.close()
    assert run.state() == "died"
    with run.hold():
        assert run.state() == "running"


def test_a_dead_run_of_another_name_of_this_computer_has_died_where_its_disk_is_our_own(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    with run.hold():
        pass
    run.write_manifest(run.read_manifest() | {"host": "the-container-before"})

    assert run.state() == ("died" if is_on_own_disk(tmp_path) else "running")


def test_a_run_appears_with_all_that_belongs_to_it_or_not_at_all(tmp_path: Path) -> None:
    def fill(run: RunDir) -> None:
        run.recipe_path.write_text("name: tiny")
        assert list(tmp_path.glob("tiny-*")) == []

    def fail(run: RunDir) -> None:
        raise KeyboardInterrupt

    assert RunDir.create(tmp_path, "tiny", fill).recipe_path.is_file()
    with pytest.raises(KeyboardInterrupt):
        RunDir.create(tmp_path, "tiny", fail)
    assert [path.name[:5] for path in tmp_path.iterdir()] == ["tiny-"]


def test_what_a_killed_creation_left_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = RunDir(RunDir.create(tmp_path, "tiny").path.rename(tmp_path / ".new-1234"))
    left.write_manifest(left.read_manifest() | {"pid": dead.pid})
    RunDir.create(tmp_path, "tiny")

    assert not left.path.exists()


def test_a_history_that_a_power_cut_damaged_is_kept_up_to_the_damage(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    run.metrics_path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + bytes(30) + b"\n")

    assert run.keep_metrics_until(5) == 3
    assert run.read_metrics() == [{"step": 1}, {"step": 2}]
    assert run.keep_metrics_until(1) is None
    assert run.read_metrics() == [{"step": 1}]
