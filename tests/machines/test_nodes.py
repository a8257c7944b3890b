"""One training on two hosts: the same curve as on one, and on when one of them dies."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from railcar.machines.lease import list_leases
from railcar.runs.index import list_runs
from railcar.runs.run_dir import RunDir
from tests.machines.away import (
    PACED,
    SAME,
    assert_nothing_is_left,
    at_first_validation,
    railcar,
    train_away,
    train_watched,
)

STEPS = ("--set", "training.steps=60", "--set", "training.validate_every=10")
TWO = ("--set", "machine.nodes=2")


@pytest.fixture(autouse=True)
def two_hosts(network):
    if not network.network:
        pytest.skip("hosts that reach each other need network namespaces: root and iproute2")


def test_two_hosts_give_the_curve_of_one(network, place):
    # without batch normalisation, whose statistics are each worker's own
    settings = ("model.name=mlp", "model.dropout=0", "training.batch_size=64")
    words = ["penguins", *(word for one in settings for word in ("--set", one)), *STEPS, *SAME]
    done = train_away(*words, *TWO, "--json")
    assert "2 times fake-small in fake-1a: $0.20 an hour, at most $0.80" in done.stderr
    assert "TF_CONFIG names 2 workers; each takes 32 of the" in done.stderr
    away = RunDir(json.loads(done.stdout)["path"])
    local = RunDir(json.loads(railcar("train", *words, "--json").stdout)["path"])
    curves = [[row["val_loss"] for row in run.read_metrics() if "val_loss" in row] for run in (away, local)]
    assert len(curves[0]) == 6
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-3)
    assert_nothing_is_left(network)


@pytest.mark.parametrize("which", [0, 1], ids=["the chief", "another"])
def test_one_of_two_hosts_dies_and_the_training_goes_on_on_new_ones(network, place, which):
    def take_when_some_of_it_is_home() -> None:
        while not any(any(Path(run.path).glob("checkpoints/step-*")) for run in list_runs(place / "runs")):
            time.sleep(0.1)
        network.take_away(list_leases()[which].name)

    words = [*PACED, *STEPS, *TWO, "--set", "training.steps=120", "--set", "training.checkpoint_every=10"]
    words += ["--set", "model.options={step_s: 0.15}"]  # long enough for some of it to come home
    take = at_first_validation(threading.Thread(target=take_when_some_of_it_is_home, daemon=True).start)
    text = train_watched(*words, "--on", "fake", "--yes", on_line=take)
    assert ", was lost; mnist-sample-" in text, text
    [run] = list_runs(place / "runs")
    assert (run.state, run.step) == ("finished", 120)
    steps = [row["step"] for row in RunDir(run.path).read_metrics() if "val_loss" in row]
    assert steps == list(range(10, 121, 10))
    made = [line for line in (network.folder / "calls").read_text().splitlines() if line.startswith("create")]
    assert len(made) == 4
    assert_nothing_is_left(network)


def test_left_alone_they_train_on_and_all_are_given_back_by_whoever_follows(network, place):
    left = train_away(*PACED, *STEPS, *TWO, "--detach", "--json")
    chief, other = list_leases()
    assert json.loads(left.stdout)["machine"] == chief.name and chief.others == (other.name,)
    followed = railcar("machine", "logs", chief.name)
    assert f"{other.name} is gone" in followed.stderr
    [run] = list_runs(place / "runs")
    assert (run.state, run.step) == ("finished", 60)
    assert_nothing_is_left(network)


def test_stopped_by_hand_they_do_not_begin_again(network, place):
    train_away(*PACED, *STEPS, *TWO, "--set", "training.steps=100000", "--detach")
    chief, _ = list_leases()
    railcar("machine", "stop", chief.name)
    followed = railcar("machine", "logs", chief.name, check=False)
    assert followed.returncode == 143, followed.stderr
    assert "was lost" not in followed.stderr
    assert_nothing_is_left(network)


def test_several_machines_of_ones_own_are_refused_in_words(network):
    refused = railcar("train", "--on", "ssh:box", *TWO, check=False)
    assert refused.returncode == 2 and "machine.nodes: 2 machines are rented, not ssh:box" in refused.stderr
