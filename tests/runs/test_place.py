"""Where runs are, and bringing those of a bucket here."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from railcar.errors import DataError, NotFound, RunError, UsageError
from railcar.runs.lease import hold_lease
from railcar.runs.place import find_place, list_runs_at, name_run, open_run, remove_run, summarize_at, take_up
from railcar.runs.run_dir import RunDir
from railcar.storage import remote
from railcar.storage.mirror import mirror_folder
from tests.places import Place
from tests.storage.test_mirror import newest_step, save


def send_run(place: Place, folder: Path, name: str, *steps: int, age_h: float = 0.0, state: str = "finished") -> str:
    """A run of the bucket, as another computer left it; its address."""
    run = RunDir(folder / name)
    run.path.mkdir(parents=True)
    for step in steps:
        save(run.path, step)
    started = (datetime.now(UTC) - timedelta(hours=age_h)).isoformat()
    run.write_manifest(
        {"name": name, "state": state, "started": started, "host": "elsewhere", "pid": 1, "step": max(steps)}
    )
    address = f"{place.address}/runs/{name}"
    mirror_folder(run.path, address)
    return address


def test_a_folder_stays_a_folder_and_an_address_has_a_folder_in_the_cache(clouds: pytest.MonkeyPatch, tmp_path: Path):
    assert find_place("runs").folder == Path("runs") and find_place("runs").address is None
    place = find_place("gs://bucket/some/runs/")
    assert str(place) == "gs://bucket/some/runs" and place.folder.is_relative_to(tmp_path / "cache" / "runs")
    assert find_place(Path("gs://bucket/some/runs")) == find_place("gs://bucket/some/runs") == place
    assert find_place("s3://bucket/some/runs").folder != place.folder
    assert str(find_place("gs://bucket")) == "gs://bucket"


def test_what_runs_cannot_be_written_to_is_refused():
    with pytest.raises(UsageError, match=r"https://example\.org/runs: runs cannot be kept there"):
        find_place("https://example.org/runs")
    with pytest.raises(DataError, match="addresses of this kind"):
        find_place("azure://bucket/runs")


def test_a_run_is_found_by_name_prefix_address_and_age(bucket: Place, tmp_path: Path):
    old = send_run(bucket, tmp_path, "alpha", 10, age_h=2)
    new = send_run(bucket, tmp_path, "beta", 10)
    where = f"{bucket.address}/runs"
    assert name_run("al", where).reference == name_run("alpha", where).reference == old
    assert name_run(None, where).reference == new
    assert name_run(old, "elsewhere").reference == old
    assert [one.name for one in list_runs_at(where)] == ["alpha", "beta"]
    with pytest.raises(NotFound, match="there is no such run") as caught:
        name_run("alhpa", where)
    assert "alpha" in caught.value.hint
    with pytest.raises(NotFound, match="there are no runs yet"):
        name_run(None, f"{bucket.address}/nothing")


def test_a_listing_reads_no_checkpoint_and_little_else(google: Place, tmp_path: Path):
    for number in range(5):
        send_run(google, tmp_path, f"run-{number}", 10)
    before = len(google.requests)
    assert len(list_runs_at(f"{google.address}/runs")) == 5
    asked = google.requests[before:]
    assert len(asked) <= 1 + 5 * 5 and not any("checkpoints" in one or "events" in one for one in asked)


def test_a_run_is_running_while_its_lease_lives_and_died_without(google: Place, tmp_path: Path):
    address = send_run(google, tmp_path, "alpha", 10, state="running")
    run = name_run(address, ".")
    assert summarize_at(run).state == "died"  # type: ignore[union-attr]
    open_run(address, ".")
    with hold_lease(run.address):  # type: ignore[arg-type]
        assert summarize_at(run).state == "running"  # type: ignore[union-attr]
        with pytest.raises(RunError, match="is running, not deleted"):
            remove_run(run)
    remove_run(run)
    assert list(remote.list_objects(address)) == [] and not run.path.exists()


def test_what_a_cut_deletion_leaves_is_no_run_and_is_deleted_again(google: Place, tmp_path: Path):
    address = send_run(google, tmp_path, "alpha", 10)
    remote.delete(f"{address}/manifest.json")
    assert list_runs_at(f"{google.address}/runs") == []
    with pytest.raises(NotFound, match="no run is there"), take_up(address, "."):
        pass
    assert not any("lease" in one.key for one in remote.list_objects(address)), "what is no run is left alone"
    remove_run(name_run(address, "."))
    assert list(remote.list_objects(address)) == []


def test_a_damaged_newest_checkpoint_is_passed_over_and_told(google: Place, tmp_path: Path):
    address = send_run(google, tmp_path, "alpha", 10, 20)
    content = bytearray(remote.read(f"{address}/checkpoints/step-00000020/variables.npz"))
    content[1000] ^= 1
    remote.write(f"{address}/checkpoints/step-00000020/variables.npz", bytes(content))
    with take_up(address, ".") as held:
        assert newest_step(held.run.path) == 10
        assert held.warnings == [f"{address}: the checkpoint of step 20 is damaged; going back to the one before"]


def test_a_run_that_was_never_sent_is_listed_and_taken_up(google: Place, tmp_path: Path):
    address = send_run(google, tmp_path, "alpha", 10)
    place = find_place(f"{google.address}/runs")
    with take_up(address, "."):
        pass
    run = place.run("beta")
    shutil.copytree(place.run("alpha").path, run.path)
    run.write_manifest({**run.read_manifest(), "name": "beta"})
    run.unsent_path.touch()
    assert {one.name for one in list_runs_at(place)} == {"alpha", "beta"}
    with take_up("beta", place) as held:
        assert newest_step(held.run.path) == 10


def test_older_files_of_the_bucket_never_replace_newer_ones_here(google: Place, tmp_path: Path):
    address = send_run(google, tmp_path, "alpha", 10, state="running")
    with take_up(address, ".") as held:
        save(held.run.path, 20)
        held.run.unsent_path.touch()
    before = {path: path.read_bytes() for path in held.run.path.rglob("*") if path.is_file()}
    for checkpoints in (False, True):
        open_run(address, ".", checkpoints=checkpoints)
    with take_up(address, "."):
        pass
    assert {path: path.read_bytes() for path in held.run.path.rglob("*") if path.is_file()} == before
    assert summarize_at(held.run).step == 20  # type: ignore[union-attr]


def test_a_lease_is_no_file_of_the_run(google: Place, tmp_path: Path):
    address = send_run(google, tmp_path, "alpha", 10)
    with take_up(address, ".") as held:
        assert not (held.run.path / ".lease").exists()
        assert json.loads(remote.read(f"{address}/.lease/000001.json"))["pid"]
