from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from railcar.errors import NotFound, Unreachable
from railcar.runs.checkpoint import find_newest, prune_checkpoints, write_checkpoint
from railcar.storage import remote
from railcar.storage.mirror import COMPLETE, mirror_folder, restore_run
from tests.places import Place


def save(run: Path, step: int, *, best: int | None = None, keep: int = 3) -> Path:
    """What a training leaves when it has saved at `step`."""
    best = best or step
    arrays = {"model/0": np.random.default_rng(step).random(5000)}
    write_checkpoint(run / "checkpoints", step, arrays, {"epoch": step}, best_step=best)
    prune_checkpoints(run / "checkpoints", keep=keep, best_step=best)
    (run / "recipe.yaml").write_text("name: example\n")
    (run / "manifest.json").write_text(json.dumps({"state": "running", "step": step}))
    (run / ".lock").touch()
    (run / "tensorboard").mkdir(exist_ok=True)
    (run / "tensorboard" / "events").write_bytes(b"e" * step)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(f'{{"step": {step}}}\n')
    (run / "best.json").write_text(json.dumps({"checkpoint": f"step-{best:08d}"}))
    (run / "last.json").write_text(json.dumps({"checkpoint": f"step-{step:08d}"}))
    return run


def new_run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    return run


def files_of(run: Path) -> dict[str, bytes]:
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def newest_step(run: Path) -> int:
    found, damaged = find_newest(run / "checkpoints")
    assert found is not None and damaged == []
    return found.step


def test_a_run_comes_back_as_it_was_sent(place: Place, tmp_path: Path) -> None:
    run = save(new_run(tmp_path), 100)
    sent = mirror_folder(run, f"{place.address}/run")
    assert sent.newest_step == 100 and sent.n_bytes > 40_000
    assert restore_run(f"{place.address}/run", tmp_path / "other") == 100
    assert files_of(tmp_path / "other") == files_of(run)
    assert restore_run(f"{place.address}/run", tmp_path / "other") == 100
    assert files_of(tmp_path / "other") == files_of(run)


def test_what_did_not_change_is_not_sent_again(bucket: Place, tmp_path: Path) -> None:
    run = save(new_run(tmp_path), 100)
    mirror_folder(run, f"{bucket.address}/run")
    assert mirror_folder(run, f"{bucket.address}/run").n_files == 0
    (run / "metrics.jsonl").write_text("more\n")
    assert mirror_folder(run, f"{bucket.address}/run").n_files == 1
    assert remote.read(f"{bucket.address}/run/metrics.jsonl") == b"more\n"


def test_newer_checkpoints_come_and_pruned_ones_go_but_for_the_best(place: Place, tmp_path: Path) -> None:
    run = save(new_run(tmp_path), 100)
    for step in (200, 300, 400):
        save(run, step, best=100, keep=2)
        mirror_folder(run, f"{place.address}/run")
    keys = [entry.key for entry in remote.list_objects(f"{place.address}/run/checkpoints")]
    assert sorted({key.split("/")[-2] for key in keys}) == ["step-00000100", "step-00000300", "step-00000400"]
    assert restore_run(f"{place.address}/run", tmp_path / "other") == 400
    names = sorted(path.name for path in (tmp_path / "other" / "checkpoints").iterdir())
    assert names == ["step-00000100", "step-00000400"]


def test_a_network_lost_between_any_two_requests_leaves_the_older_checkpoint(
    bucket: Place, tmp_path: Path, clouds: pytest.MonkeyPatch
) -> None:
    run = save(new_run(tmp_path), 100)
    old = Path(shutil.copytree(run, tmp_path / "old"))
    mirror_folder(old, f"{bucket.address}/count")
    save(run, 200, keep=1)
    before = len(bucket.requests)
    mirror_folder(run, f"{bucket.address}/count")
    n_requests = len(bucket.requests) - before
    assert 8 < n_requests < 40
    clouds.setenv("RAILCAR_RETRY_S", "0")
    n_older = 0
    for n_allowed in range(n_requests):
        address = f"{bucket.address}/run{n_allowed}"
        mirror_folder(old, address)
        bucket.faults.n_allowed = n_allowed
        with pytest.raises(Unreachable):
            mirror_folder(run, address)
        bucket.faults.n_allowed = None
        restored = tmp_path / f"restored{n_allowed}"
        step = restore_run(address, restored)
        assert step == newest_step(restored) and step in (100, 200)
        assert (restored / "checkpoints" / json.loads((restored / "last.json").read_bytes())["checkpoint"]).is_dir()
        n_older += step == 100
        mirror_folder(run, address)
        assert restore_run(address, restored) == 200
    assert n_older >= 4


def test_a_process_killed_while_it_sends_leaves_the_older_checkpoint(bucket: Place, tmp_path: Path) -> None:
    run = save(new_run(tmp_path), 100)
    mirror_folder(run, f"{bucket.address}/run")
    save(run, 200, keep=1)
    bucket.faults.latency_s = 0.1
    imports = "from pathlib import Path; from railcar.storage.mirror import mirror_folder"
    program = f"{imports}; mirror_folder(Path({str(run)!r}), {bucket.address + '/run'!r})"
    before = len(bucket.requests)
    process = subprocess.Popen([sys.executable, "-c", program])
    while process.poll() is None and len(bucket.requests) - before < 4:
        time.sleep(0.005)
    process.kill()
    process.wait()
    bucket.faults.latency_s = 0
    step = restore_run(f"{bucket.address}/run", tmp_path / "other")
    assert step == newest_step(tmp_path / "other") == 100


def test_a_checkpoint_that_is_incomplete_or_damaged_there_is_passed_over(place: Place, tmp_path: Path) -> None:
    run = save(new_run(tmp_path), 100)
    save(run, 200)
    save(run, 300)
    address = f"{place.address}/run/checkpoints"
    mirror_folder(run, f"{place.address}/run")
    remote.delete(f"{address}/step-00000300/{COMPLETE}")
    content = bytearray(remote.read(f"{address}/step-00000200/variables.npz"))
    content[2000] ^= 1
    remote.write(f"{address}/step-00000200/variables.npz", bytes(content))
    assert restore_run(f"{place.address}/run", tmp_path / "other") == 100
    assert newest_step(tmp_path / "other") == 100
    mirror_folder(run, f"{place.address}/run")
    assert restore_run(f"{place.address}/run", tmp_path / "other") == 300


def test_a_folder_without_checkpoints_deletes_none_there(place: Place, tmp_path: Path) -> None:
    mirror_folder(save(new_run(tmp_path), 100), f"{place.address}/run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "recipe.yaml").write_text("name: example\n")
    mirror_folder(tmp_path / "empty", f"{place.address}/run")
    assert restore_run(f"{place.address}/run", tmp_path / "other") == 100


def test_nothing_there_is_no_run(place: Place, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run is there"):
        restore_run(f"{place.address}/run", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_checkpoint_that_is_damaged_here_does_not_replace_the_whole_one_there(place: Place, tmp_path: Path) -> None:
    run = save(new_run(tmp_path), 100)
    save(run, 200)
    mirror_folder(run, f"{place.address}/run")
    path = run / "checkpoints" / "step-00000200" / "variables.npz"
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(bytes(content))
    assert mirror_folder(run, f"{place.address}/run").newest_step == 100
    assert restore_run(f"{place.address}/run", tmp_path / "other") == newest_step(tmp_path / "other") == 200


def test_a_run_without_its_checkpoints_is_brought_quickly(bucket: Place, tmp_path: Path) -> None:
    run = save(new_run(tmp_path), 100)
    mirror_folder(run, f"{bucket.address}/run")
    before = len(bucket.requests)
    assert restore_run(f"{bucket.address}/run", tmp_path / "other", checkpoints=False) is None
    assert not any("step-" in one for one in bucket.requests[before:])
    expected = {name: content for name, content in files_of(run).items() if not name.startswith("checkpoints/")}
    assert files_of(tmp_path / "other") == expected
    before = len(bucket.requests)
    restore_run(f"{bucket.address}/run", tmp_path / "other", checkpoints=False)
    assert len(bucket.requests) - before <= 2, "what is the same is not fetched again"


def test_hidden_names_of_the_bucket_are_no_files_of_the_run(place: Place, tmp_path: Path) -> None:
    mirror_folder(save(new_run(tmp_path), 100), f"{place.address}/run")
    remote.write(f"{place.address}/run/.lease/000001.json", b"{}")
    restore_run(f"{place.address}/run", tmp_path / "other")
    assert not (tmp_path / "other" / ".lease").exists()


def test_no_checkpoint_is_there_before_the_history_that_it_counts_on(
    bucket: Place, tmp_path: Path, clouds: pytest.MonkeyPatch
) -> None:
    clouds.setenv("RAILCAR_RETRY_S", "0")
    run = save(new_run(tmp_path), 100)
    n_complete = 0
    for n_allowed in range(2, 40, 2):
        address = f"{bucket.address}/run{n_allowed}"
        bucket.faults.n_allowed = n_allowed
        with contextlib.suppress(Unreachable):
            mirror_folder(run, address)
        bucket.faults.n_allowed = None
        names = {entry.key.partition(f"run{n_allowed}/")[2] for entry in remote.list_objects(address)}
        if f"checkpoints/step-00000100/{COMPLETE}" in names:
            n_complete += 1
            assert {"metrics.jsonl", "recipe.yaml", "manifest.json"} <= names
    assert 3 <= n_complete < 19
