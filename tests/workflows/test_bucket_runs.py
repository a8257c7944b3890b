"""Runs in a bucket: trained, killed, taken up on another computer, looked at, deleted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import railcar
from railcar.cli.main import main
from railcar.errors import AccessDenied, NotFound, OutputError, RunError
from railcar.runs.checkpoint import checkpoint_name, find_newest
from railcar.runs.lease import find_holder, hold_lease
from railcar.runs.place import find_place, open_run, take_up
from railcar.runs.run_dir import RunDir
from railcar.storage import remote
from railcar.storage.address import parse
from tests.places import Place
from tests.synthetic import make_images, tiny_recipe

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes")


def write_recipe(folder: Path, **training: Any) -> Path:
    """A recipe file and its sixty images."""
    folder.mkdir(exist_ok=True)
    images, labels = make_images(60)
    np.savez(folder / "data.npz", images=images, labels=labels)
    recipe = tiny_recipe(**training)
    recipe["data"] = {**recipe["data"], "source": str(folder / "data.npz")}  # type: ignore[dict-item]
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(recipe))
    return path


def train(recipe: Path, place: Place, **options: Any) -> Any:
    return railcar.train(str(recipe), runs_dir=f"{place.address}/runs", quiet=True, **options)


def be_another_computer(clouds: pytest.MonkeyPatch, tmp_path: Path, name: str = "other") -> None:
    """An empty cache, as on a computer that never saw the run."""
    clouds.setenv("RAILCAR_CACHE", str(tmp_path / f"cache-{name}"))


def read_weights(run: RunDir) -> dict[str, np.ndarray]:
    newest, damaged = find_newest(run.checkpoints)
    assert newest is not None and damaged == []
    with np.load(newest.path / "variables.npz") as stored:
        return {"step": np.array(newest.step), **stored}


@contextmanager
def training(place: Place, *words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`railcar train WORDS` with runs in the bucket, killed if it is not over."""
    command = [sys.executable, "-m", "railcar", "train", *words, "--runs-dir", f"{place.address}/runs"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def await_checkpoint(place: Place, process: subprocess.Popen[bytes]) -> None:
    """Until a checkpoint is complete in the bucket."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if any(one.key.endswith("/complete.json") for one in remote.list_objects(f"{place.address}/runs")):
            return
        time.sleep(0.05)
    raise AssertionError("no checkpoint was uploaded")


def test_a_run_in_a_bucket_has_all_files_there_and_is_listed_shown_and_used(
    bucket: Place, tmp_path: Path, clouds: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(write_recipe(tmp_path / "data"), bucket)
    where, address = f"{bucket.address}/runs", f"{bucket.address}/runs/{run.name}"
    assert run.address == address
    key = parse(address).key
    there = {one.key.removeprefix(f"{key}/") for one in remote.list_objects(address)}
    here = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    assert {name for name in here if not name.startswith(".")} <= there
    assert {"artifact/model.keras", "plots/curves.png", "log.txt", "evaluation.json"} <= there
    assert not (run.path / ".unsent").exists()

    be_another_computer(clouds, tmp_path)
    capsys.readouterr()
    assert main(["runs", "list", "--json", "--runs-dir", where]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["state"], one["path"]) for one in listed] == [(run.name, "finished", address)]
    assert listed[0]["test_accuracy"] == run.evaluation["test"]["accuracy"]
    assert main(["runs", "show", run.name, "--json", "--runs-dir", where]) == 0
    assert json.loads(capsys.readouterr().out)["evaluation"]["test"] == run.evaluation["test"]
    copy = open_run(address, "elsewhere")
    assert not copy.checkpoints.exists(), "a run that is looked at needs none of its checkpoints"

    images, _ = make_images(5)
    predictor = railcar.load(address)
    assert len(predictor.predict(images)) == 5
    measured = railcar.evaluate("tiny", runs_dir=where, checkpoint="last", quiet=True)
    assert measured["test"]["accuracy"] == run.evaluation["test"]["accuracy"]
    assert main(["runs", "delete", run.name, "--yes", "--runs-dir", where]) == 0
    assert list(remote.list_objects(address)) == []
    with pytest.raises(NotFound):
        open_run(address, where)


def test_a_run_that_is_killed_goes_on_on_another_computer_with_the_same_bits(
    google: Place, tmp_path: Path, clouds: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path / "data", steps=400, checkpoint_every=10, validate_every=20, precision="float32")
    whole = railcar.train(str(recipe), runs_dir=tmp_path / "whole", quiet=True)

    with training(google, str(recipe), log=tmp_path / "log") as process:
        await_checkpoint(google, process)
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL, (tmp_path / "log").read_text()
    shutil.rmtree(os.environ["RAILCAR_CACHE"])
    name = remote.list_names(f"{google.address}/runs")[0]

    be_another_computer(clouds, tmp_path)
    run = railcar.train(resume=f"{google.address}/runs/{name}", quiet=True)
    assert run.name == name and run.evaluation == whole.evaluation
    weights, expected = read_weights(RunDir(run.path)), read_weights(RunDir(whole.path))
    assert weights.keys() == expected.keys() and weights["step"] == 400
    for key, value in expected.items():
        np.testing.assert_array_equal(weights[key], value, err_msg=key)
    assert [row["step"] for row in RunDir(run.path).read_metrics()] == [
        row["step"] for row in RunDir(whole.path).read_metrics()
    ]


def test_sigterm_leaves_an_uploaded_checkpoint_and_says_so(google: Place, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "data", steps=1_000_000, checkpoint_every=1000)
    with training(google, str(recipe), log=tmp_path / "log") as process:
        await_checkpoint(google, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    said = " ".join((tmp_path / "log").read_text().split())
    (name,) = remote.list_names(f"{google.address}/runs")
    address = parse(f"{google.address}/runs/{name}")
    manifest = json.loads(remote.read(address / "manifest.json"))
    assert manifest["state"] == "interrupted"
    assert f"uploaded to {address}: the checkpoint of step {manifest['step']}" in said
    assert f"railcar train --resume={address}" in said
    remote.read(address / f"checkpoints/{checkpoint_name(manifest['step'])}/complete.json")
    holder = find_holder(address)
    assert holder is not None and holder.is_released


def test_a_network_that_is_lost_ends_no_training_and_the_rest_is_sent_later(
    google: Place, tmp_path: Path, clouds: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "data", steps=40, checkpoint_every=10)
    clouds.setenv("RAILCAR_RETRY_S", "0.05")  # given up while there are steps left: else there is nobody to warn
    google.faults.path, google.faults.n_busy = "checkpoints", 10**6
    with pytest.raises(OutputError, match="could not be sent there") as caught:
        train(recipe, google)
    warnings = [line for line in capfd.readouterr().err.splitlines() if "could not be sent to its bucket" in line]
    assert len(warnings) == 1
    place = find_place(f"{google.address}/runs")
    (folder,) = (path.parent for path in place.folder.glob("*/.unsent"))
    assert str(folder) in caught.value.hint and f"--resume={place.address}/{folder.name}" in caught.value.hint
    assert RunDir(folder).state() == "finished"

    google.faults.n_busy = 0
    run = railcar.train(resume=True, runs_dir=f"{google.address}/runs", quiet=True)
    assert run.name == folder.name and not (folder / ".unsent").exists()
    be_another_computer(clouds, tmp_path)
    assert find_newest(open_run(run.address, ".", checkpoints=True).checkpoints)[0].step == 40  # type: ignore[union-attr]


def test_the_newer_of_both_sides_is_taken_up(google: Place, tmp_path: Path, clouds: pytest.MonkeyPatch) -> None:
    run = train(write_recipe(tmp_path / "data", steps=20, checkpoint_every=10), google)
    first_cache = os.environ["RAILCAR_CACHE"]
    address = run.address
    # Here is more than the bucket has: it stays.
    (run.path / ".unsent").touch()
    remote.delete(f"{address}/checkpoints/{checkpoint_name(20)}")
    remote.write(f"{address}/metrics.jsonl", b"")
    with take_up(address, ".") as held:
        assert len(held.run.read_metrics()) > 0 and find_newest(held.run.checkpoints)[0].step == 20  # type: ignore[union-attr]
    # Another computer makes it longer: that is taken up here, though something was never sent.
    be_another_computer(clouds, tmp_path)
    railcar.train(resume=address, overrides={"training.steps": 30}, quiet=True)
    clouds.setenv("RAILCAR_CACHE", first_cache)
    with take_up(address, ".") as held:
        assert held.run.path == run.path
        assert find_newest(held.run.checkpoints)[0].step == 30  # type: ignore[union-attr]
        assert held.run.read_metrics()[-1]["step"] == 30


def test_a_run_that_another_computer_trains_is_refused_until_it_is_taken_over(
    google: Place, tmp_path: Path, clouds: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(write_recipe(tmp_path / "data", steps=20), google)
    with hold_lease(parse(run.address)):
        be_another_computer(clouds, tmp_path)
        with pytest.raises(RunError, match="still going on") as caught:
            railcar.train(resume=run.address, overrides={"training.steps": 30}, quiet=True)
        assert "min" in caught.value.hint and "--take-over" in caught.value.hint
        longer = railcar.train(resume=run.address, take_over=True, overrides={"training.steps": 30}, quiet=True)
    assert json.loads(remote.read(f"{longer.address}/manifest.json"))["step"] == 30


def test_a_bucket_that_is_not_there_is_refused_before_the_data_is_read(bucket: Place, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(tiny_recipe() | {"data": {"source": str(tmp_path / "nothing-here")}}))
    with pytest.raises(NotFound, match="there is no bucket 'no-such-bucket'"):
        railcar.train(str(recipe), runs_dir=f"{bucket.scheme}://no-such-bucket/runs", quiet=True)


def test_a_bucket_that_may_not_be_written_is_refused(google: Place, tmp_path: Path) -> None:
    google.faults.n_busy, google.faults.busy_status, google.faults.only = 10**6, 403, "POST"
    with pytest.raises(AccessDenied, match="may not be written"):
        train(write_recipe(tmp_path / "data"), google)
    assert not any((tmp_path / "cache").rglob("manifest.json"))


def test_several_workers_send_one_run(google: Place, tmp_path: Path, clouds: pytest.MonkeyPatch) -> None:
    run = train(write_recipe(tmp_path / "data", steps=20, checkpoint_every=10), google, workers=2)
    be_another_computer(clouds, tmp_path)
    there = open_run(run.address, ".", checkpoints=True)
    assert there.read_manifest()["state"] == "finished"
    assert find_newest(there.checkpoints)[0].step == 20  # type: ignore[union-attr]
