"""Finding, listing, comparing and deleting runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from railcar.errors import NotFound, RunError, UsageError
from railcar.runs.index import choose_name, compare_runs, delete_run, find_run, list_runs
from railcar.runs.run_dir import RunDir, write_json


def make_run(
    folder: Path, name: str = "mnist", *, started: str = "2026-11-22T06:15:00+00:00", **changes: object
) -> RunDir:
    run = RunDir.create(folder, name)
    ended = {"started": started, "ended": "2026-11-22T07:15:00+00:00", "state": "finished", "step": 10, "steps": 10}
    run.write_manifest(run.read_manifest() | ended | changes)
    return run


def test_a_run_is_found_by_name_prefix_and_folder(tmp_path: Path) -> None:
    run = make_run(tmp_path, "alpha")
    make_run(tmp_path, "beta")

    assert find_run(run.name, tmp_path) == run
    assert find_run("al", tmp_path) == run
    assert find_run(run.path, tmp_path / "elsewhere") == run
    assert find_run(f"{run.path}/", tmp_path) == run


def test_without_a_name_the_newest_run_is_found(tmp_path: Path) -> None:
    newest = make_run(tmp_path, "a", started="2026-11-22T08:00:00+01:00")
    make_run(tmp_path, "b", started="2026-11-22T06:59:00+00:00")

    assert find_run(None, tmp_path) == newest


def test_a_prefix_of_several_runs_is_refused_with_their_names(tmp_path: Path) -> None:
    runs = [make_run(tmp_path), make_run(tmp_path)]

    with pytest.raises(UsageError, match="2 runs begin so") as caught:
        find_run("mnist", tmp_path)
    assert all(run.name in caught.value.hint for run in runs)


def test_a_misspelt_run_is_not_found_and_the_nearest_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path)

    with pytest.raises(NotFound) as caught:
        find_run(run.name.replace("mnist", "mnits"), tmp_path)
    assert run.name in caught.value.hint


def test_no_runs_at_all_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no runs yet") as caught:
        find_run(None, tmp_path / "absent")
    assert "railcar train" in caught.value.hint
    assert list_runs(tmp_path / "absent") == []


def test_a_listing_has_accuracies_steps_and_times(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_json(run.evaluation_path, {"test": {"accuracy": 0.98}, "validation": {"accuracy": 0.97}})
    [summary] = list_runs(tmp_path)

    assert (summary.state, summary.step, summary.steps) == ("finished", 10, 10)
    assert (summary.val_accuracy, summary.test_accuracy, summary.took_s) == (0.97, 0.98, 3600.0)


def test_a_run_under_way_shows_its_last_step_and_last_validation(tmp_path: Path) -> None:
    run = make_run(tmp_path, state="running", ended=None, step=None)
    run.append_metrics({"step": 5, "loss": 1.0, "val_accuracy": 0.5})
    run.append_metrics({"step": 7, "loss": 0.9})
    [summary] = list_runs(tmp_path)

    assert (summary.state, summary.step, summary.val_accuracy) == ("running", 7, 0.5)


def test_a_damaged_run_is_listed_as_damaged_and_hides_no_other(tmp_path: Path) -> None:
    make_run(tmp_path, "good")
    make_run(tmp_path, "bad").manifest_path.write_text("{")

    assert sorted(summary.state for summary in list_runs(tmp_path)) == ["damaged", "finished"]


def test_listing_a_hundred_runs_is_quick_and_loads_nothing_heavy(tmp_path: Path) -> None:
    for _ in range(100):
        run = make_run(tmp_path)
        run.metrics_path.write_text('{"step": 1, "val_accuracy": 0.5}\n' * 100)
    program = (
        "import sys, time; from railcar.runs.index import list_runs\n"
        f"start = time.perf_counter(); assert len(list_runs({str(tmp_path)!r})) == 100\n"
        "print(time.perf_counter() - start)\n"
        "assert not {'numpy', 'polars', 'tensorflow', 'yaml'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert float(done.stdout) < 1.0  # 0.05 s on a quiet machine


def test_a_comparison_shows_only_keys_that_differ_and_the_metrics_of_all(tmp_path: Path) -> None:
    runs = [make_run(tmp_path), make_run(tmp_path)]
    for run, batch_size, accuracy in zip(runs, (128, 256), (0.98, 0.99), strict=True):
        run.recipe_path.write_text(f"seed: 0\ntraining: {{batch_size: {batch_size}, optimizer: {{name: adam}}}}\n")
        write_json(run.evaluation_path, {"test": {"accuracy": accuracy, "loss": 0.1}})
        run.append_metrics({"step": 10, "loss": 0.25})
    comparison = compare_runs(runs)

    assert comparison["recipe"] == {"training.batch_size": [128, 256]}
    assert comparison["metrics"]["test.accuracy"] == [0.98, 0.99]
    assert comparison["metrics"]["train.loss"] == [0.25, 0.25]


def test_a_deleted_run_is_gone_and_leaves_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    delete_run(run)

    assert list(tmp_path.iterdir()) == []


def test_a_run_under_way_is_deleted_only_by_force(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    with pytest.raises(RunError, match="is running"):
        delete_run(run)
    assert run.is_run()

    delete_run(run, force=True)
    assert not run.path.exists()


def test_a_folder_that_is_no_run_and_a_link_to_one_are_never_deleted(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    run = make_run(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(run.path)

    for folder in (photos, link):
        with pytest.raises(RunError, match="not the folder of a run"):
            delete_run(RunDir(folder))
    assert photos.is_dir()
    assert run.is_run()


def test_a_name_that_is_the_beginning_of_another_is_understood_as_a_whole_word():
    names = ["cnn-20261122-061500-3f2a", "cnn2-20261122-061500-aaaa"]
    assert choose_name("cnn", names, "runs") == names[0]
    assert choose_name("cnn2", names, "runs") == names[1]
    with pytest.raises(UsageError, match="2 runs begin so"):
        choose_name("cn", names, "runs")
