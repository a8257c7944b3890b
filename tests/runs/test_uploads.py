"""Sending while training goes on: nothing waits, nothing piles up, nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from railcar.errors import OutputError
from railcar.runs.lease import Lease, hold_lease
from railcar.runs.run_dir import RunDir
from railcar.runs.uploads import Uploads
from railcar.storage.address import parse
from railcar.storage.mirror import find_newest_step, restore_run
from tests.places import Place
from tests.storage.test_mirror import newest_step, save


@pytest.fixture
def lease(google: Place) -> Iterator[Lease]:
    with hold_lease(parse(f"{google.address}/run")) as lease:
        yield lease


def make_run(tmp_path: Path, lease: Lease) -> RunDir:
    run = RunDir(tmp_path / "run", lease.address)
    run.path.mkdir()
    return run


def test_a_request_returns_at_once_and_many_become_one_upload_with_the_newest(
    google: Place, lease: Lease, tmp_path: Path
) -> None:
    run, warned = make_run(tmp_path, lease), []
    google.faults.latency_s = 0.05
    with Uploads(run, lease, warned.append) as uploads:
        started = time.monotonic()
        for step in range(1, 41):
            save(run.path, step, keep=1)
            uploads.request()
        assert time.monotonic() - started < 5
        uploads.finish()
    assert google.count("POST") < 40 * 6 / 2, "each upload of its own would be six requests or more"
    assert warned == [] and not run.unsent_path.exists()
    assert restore_run(lease.address, tmp_path / "other") == newest_step(tmp_path / "other") == 40


def test_checkpoints_that_go_faster_than_they_are_sent_leave_a_whole_one_at_any_moment(
    google: Place, lease: Lease, tmp_path: Path
) -> None:
    run, warned, over, seen = make_run(tmp_path, lease), [], threading.Event(), []
    google.faults.latency_s = 0.03

    def train() -> None:
        step = 0
        while not over.is_set():
            step += 1
            save(run.path, step, keep=1)
            uploads.request()

    with Uploads(run, lease, warned.append) as uploads:
        thread = threading.Thread(target=train)
        thread.start()
        deadline = time.monotonic() + 60
        while len(set(seen)) < 4 and time.monotonic() < deadline:
            step = find_newest_step(lease.address)
            assert step is not None or not seen, "what was there is gone"
            seen += [step] if step is not None else []
        over.set()
        thread.join()
    assert len(set(seen)) >= 4 and seen == sorted(seen) and warned == []


def test_a_lost_network_is_told_once_and_what_was_missing_comes_with_the_next_checkpoint(
    google: Place, lease: Lease, tmp_path: Path, clouds: pytest.MonkeyPatch
) -> None:
    clouds.setenv("RAILCAR_RETRY_S", "0")
    run, warned = make_run(tmp_path, lease), []
    save(run.path, 1)
    google.faults.n_busy, google.faults.only = 10**6, "POST"
    with Uploads(run, lease, warned.append) as uploads:
        for step in (2, 3, 4):
            save(run.path, step)
            n_requests = len(google.requests)
            uploads.request()
            while len(google.requests) == n_requests:
                time.sleep(0.01)
        google.faults.n_busy = 0
        save(run.path, 5)
        uploads.request()
        deadline = time.monotonic() + 30
        while find_newest_step(lease.address) != 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        uploads.finish()
    assert len(warned) == 1 and "training goes on; tried again with the next checkpoint" in warned[0]
    assert find_newest_step(lease.address) == 5


def test_what_could_not_be_sent_is_marked_and_the_error_says_where_it_is(
    google: Place, lease: Lease, tmp_path: Path, clouds: pytest.MonkeyPatch
) -> None:
    clouds.setenv("RAILCAR_RETRY_S", "0")
    run = make_run(tmp_path, lease)
    save(run.path, 1)
    google.faults.n_busy, google.faults.only = 10**6, "POST"
    with Uploads(run, lease, lambda line: None) as uploads:
        assert str(run.path) in uploads.send_last()
        with pytest.raises(OutputError) as caught:
            uploads.finish()
    assert f"railcar train --resume={lease.address}" in caught.value.hint and str(run.path) in caught.value.hint
    assert run.unsent_path.exists()


def test_a_run_in_a_folder_is_not_sent(tmp_path: Path) -> None:
    run = RunDir(save(tmp_path, 1))
    with Uploads(run, None, lambda line: None) as uploads:
        uploads.request()
        assert uploads.send_last() == ""
        uploads.finish()
    assert not run.unsent_path.exists()


def test_who_has_lost_the_run_sends_nothing_more(google: Place, lease: Lease, tmp_path: Path) -> None:
    run, warned = make_run(tmp_path, lease), []
    save(run.path, 1)
    with Uploads(run, lease, warned.append) as uploads:
        with hold_lease(lease.address, take_over=True):
            assert "has taken up this run meanwhile" in uploads.send_last()
        assert find_newest_step(lease.address) is None
        with pytest.raises(OutputError, match="has taken up this run meanwhile"):
            uploads.finish()
