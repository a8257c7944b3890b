"""`railcar train --on` when something is lost: the connection, the client, the machine, or time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from railcar.machines.lease import list_leases
from railcar.runs.index import find_run, list_runs
from railcar.runs.run_dir import RunDir
from railcar.workflows.on_machine import MOST_AGAIN, Away, go_on_until_done
from tests.machines.away import (
    PACED,
    SHORT,
    assert_nothing_is_left,
    assert_same_weights,
    at_first_validation,
    railcar,
    train_away,
    train_watched,
    write_ssh_config,
)
from tests.machines.hosts import machine


def test_left_with_ctrl_c_the_training_goes_on_and_is_followed_again(network, place):
    words = ["train", *PACED, "--on", "fake", "--yes", "--python", sys.executable, "--set", "training.steps=150"]
    client = subprocess.Popen(
        [sys.executable, "-m", "railcar", *words, "--set", "training.validate_every=10"],
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert client.stderr and client.stdout
    seen = []
    for line in client.stderr:
        seen.append(line)
        if "step " in line and "val loss" in line:
            client.send_signal(signal.SIGINT)
            break
    rest = client.stderr.read()
    client.stdout.close()
    client.stderr.close()
    assert client.wait() == 130
    assert "the training goes on" in rest and "railcar machine logs" in rest and "Traceback" not in rest

    [lease] = list_leases()
    railcar("machine", "pull", lease.name)
    assert [run.state for run in list_runs(place / "runs")] == ["running"]
    assert "running" in railcar("runs", "list").stdout
    assert lease.name in railcar("machine", "list").stdout
    refused = railcar("machine", "down", lease.name, check=False)
    assert refused.returncode == 1 and "goes on there" in refused.stderr

    followed = railcar("machine", "logs", lease.name)
    lines = [line for line in (*seen, *rest.splitlines(True), *followed.stderr.splitlines(True)) if "val loss" in line]
    steps = [int(line.split()[1].partition("/")[0]) for line in lines]
    assert steps == sorted(set(steps)) and steps[-1] == 150  # none twice, none missing
    assert len(steps) == 15
    assert "accuracy" in followed.stdout
    assert find_run(None, place / "runs").state() == "finished"
    assert_nothing_is_left(network)


def test_a_killed_client_loses_nothing(network, place):
    words = ["train", "--on", "fake", "--yes", "--python", sys.executable, *SHORT]
    client = subprocess.Popen(
        [sys.executable, "-m", "railcar", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert client.stderr
    for line in client.stderr:
        if line.startswith("data "):
            os.kill(client.pid, signal.SIGKILL)
            break
    client.stderr.close()
    client.wait()
    [lease] = list_leases()
    railcar("machine", "logs", lease.name)
    assert find_run(None, place / "runs").state() == "finished"
    assert_nothing_is_left(network)


def test_after_a_reboot_of_ones_own_machine_the_training_goes_on_there(network, place):
    words = [*PACED, "--set", "training.steps=160", "--set", "training.checkpoint_every=20"]
    words += ["--set", "training.validate_every=20"]
    with machine(network) as (lease, _):
        reboot = at_first_validation(lambda: network.reboot(lease.name))
        text = train_watched(*words, "--on", lease.name, on_line=reboot)
        assert "its process is gone" in text
        [run] = list_runs(place / "runs")
        assert (run.state, run.step) == ("finished", 160)


def test_on_ones_own_machine_an_end_may_be_set_and_what_was_trained_comes_home(network, place):
    with machine(network) as (lease, shell):
        config = write_ssh_config(place, lease, shell)
        words = ["--set", "training.steps=100000", "--set", f"machine.ssh_config={config}"]
        ended = train_away(*PACED, *words, "--max-hours", str(40 / 3600), on="ssh:box", check=False)
    assert ended.returncode == 143
    assert "the time that was given is over" in ended.stderr and "--resume=" in ended.stderr
    [run] = list_runs(place / "runs")
    assert run.state == "interrupted"
    assert list((RunDir(run.path).checkpoints).glob("step-*"))


def test_a_machine_that_is_taken_away_before_anything_came_home_is_replaced_too(network, place):
    taken: list[str] = []

    def take(line: str) -> None:
        if line.startswith("data ") and not taken:
            taken.extend(lease.name for lease in list_leases())
            network.take_away(taken[0])

    words = [*PACED, "--set", "training.steps=40", "--on", "fake", "--spot", "--yes"]
    text = train_watched(*words, on_line=take)
    assert f"{taken[0]} was taken away" in text and ("it begins again" in text or "goes on" in text)
    assert {(run.state, run.step) for run in list_runs(place / "runs")} == {("finished", 40)}
    assert_nothing_is_left(network)


def test_what_is_lost_again_and_again_is_given_up_in_words():
    begun, told = [], []

    def once(load, words, *, is_agreed):
        begun.append((load, words, is_agreed))
        return Away(None, "box", 143, None, "", "box was taken away")  # type: ignore[arg-type]

    assert go_on_until_done(once, "load", ["mnist"], told.append).status == 143  # type: ignore[arg-type]
    assert begun == [("load", ["mnist"], False), *[("load", ["mnist"], True)] * MOST_AGAIN]
    assert told[0] == "box was taken away before anything of it came home; it begins again"
    assert told[-1] == f"box was taken away; it has gone on {MOST_AGAIN} times, and is not tried again"
    assert len(told) == MOST_AGAIN + 1


TAKEN = ("training.steps=120", "training.checkpoint_every=20", "training.validate_every=20", "training.log_every=5")
TAKEN_WORDS = [*PACED, *(word for one in TAKEN for word in ("--set", one))]


@pytest.fixture(scope="module")
def never_taken(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The same training, here and in one go."""
    runs = tmp_path_factory.mktemp("here") / "runs"
    return RunDir(json.loads(railcar("train", *TAKEN_WORDS, "--runs-dir", str(runs), "--json").stdout)["path"])


@pytest.mark.parametrize("after_s", [4.0, 0.0], ids=["with a notice", "at once"])
def test_a_machine_that_is_taken_away_is_replaced_and_the_training_goes_on(network, place, after_s, never_taken):
    """With a notice no step is made twice; without one, those since the last checkpoint that came home."""
    words = TAKEN_WORDS

    def take() -> None:
        [lease] = list_leases()
        time.sleep(0 if after_s else 3)  # some of it has come home
        threading.Thread(target=network.take_away, args=(lease.name,), kwargs={"after_s": after_s}).start()

    text = train_watched(*words, "--on", "fake", "--spot", "--yes", on_line=at_first_validation(take))
    assert "was taken away; mnist-sample-" in text and "goes on" in text
    made = [line for line in (network.folder / "calls").read_text().splitlines() if line.startswith("create")]
    assert len(made) == 2

    [run] = [RunDir(one.path) for one in list_runs(place / "runs")]
    assert run.state() == "finished"
    assert [row["step"] for row in run.read_metrics() if "val_loss" in row] == list(range(20, 121, 20))
    assert_same_weights(run, never_taken)
    assert_nothing_is_left(network)
