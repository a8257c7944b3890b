"""`railcar train --on`, as a user types it: real hosts, real sshd and rsync, real trainings."""

from __future__ import annotations

import json
import sys
import time

import pytest

from railcar.machines.lease import list_leases
from railcar.runs.index import find_run, list_runs
from railcar.runs.run_dir import RunDir
from tests.machines.away import (
    SAME,
    SHORT,
    assert_as_documented,
    assert_nothing_is_left,
    assert_same_weights,
    railcar,
    train_away,
    write_ssh_config,
)
from tests.machines.hosts import machine


def test_a_run_comes_home_equal_to_a_local_one_and_nothing_is_left(network, place):
    there = json.loads(train_away(*SHORT, "--json").stdout)
    here = json.loads(railcar("train", *SHORT, "--json").stdout)
    assert there["path"] == str(place / "runs" / there["run"])
    away, local = RunDir(there["path"]), RunDir(here["path"])

    assert_same_weights(away, local)
    assert there["evaluation"] == here["evaluation"]
    assert away.recipe_path.read_text() == local.recipe_path.read_text()
    assert names_of(away) == names_of(local)
    assert away.read_manifest()["machine"]["provider"] == "fake"
    assert away.read_manifest()["machine"]["cost_usd"] > 0
    assert away.read_manifest()["data"] == local.read_manifest()["data"]
    assert_nothing_is_left(network)
    assert railcar("evaluate", away.name, "--json").stdout  # on this computer, with its own data


def names_of(run: RunDir) -> set[str]:
    names = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(("tensorboard/", "."))}


def test_ones_own_folder_and_code_go_along_and_the_run_speaks_of_them_as_here(network, place, project):
    from tests.synthetic import write_image_folder

    data = write_image_folder(place / "my photos", n_per_class=12)
    code = place / "code" / "net.py"
    code.parent.mkdir()
    code.write_text((project / "examples" / "cifar_cnn.py").read_text())
    (code.parent / "secret.env").write_text("PASSWORD=1")
    done = train_away(str(data), "--model", f"{code}:build_model", "--set", "training.steps=2", "--json")
    run = RunDir(json.loads(done.stdout)["path"])
    manifest = run.read_manifest()
    assert manifest["data"]["source"] == str(data)
    assert manifest["model"]["code"]["path"] == str(code)
    assert run.recipe_path.read_text().count(".railcar") == 0
    assert railcar("evaluate", run.name, "--json").stdout
    assert_nothing_is_left(network)


def test_a_known_set_that_is_here_goes_along_to_a_host_without_a_network(network, place, mnist_here):
    if not network.network or mnist_here != "mnist":
        pytest.skip("needs a host without a network (root and iproute2) and the files of MNIST")
    with machine(network) as (lease, shell):
        train_away("mnist", "--set", "training.steps=2", *SAME, on=lease.name)
        assert len(shell.read("ls ~/.railcar/cache/datasets/mnist").split()) == 4


def test_a_host_of_ones_own_is_used_and_left_alone(network, place):
    with machine(network) as (lease, shell):
        config = write_ssh_config(place, lease, shell)
        first = train_away(*SHORT, "--set", f"machine.ssh_config={config}", on="ssh:box")
        assert_as_documented("machines.md", first.stderr + first.stdout)
        again = train_away(*SHORT, "--set", f"machine.ssh_config={config}", on="ssh:box")
        assert "copying railcar" not in again.stderr
        assert network.find(lease.name, lease.owner).state == "running"  # type: ignore[union-attr]
    runs = list_runs(place / "runs")
    assert [run.state for run in runs] == ["finished", "finished"]


def test_detached_it_is_fetched_by_down(network, place):
    begun = train_away(*SHORT, "--detach")
    assert "railcar machine logs" in begun.stdout
    [lease] = list_leases()
    until = time.monotonic() + 120
    while "goes on there" in railcar("machine", "down", lease.name, check=False).stderr:
        assert time.monotonic() < until
        time.sleep(0.5)
    assert find_run(None, place / "runs").state() == "finished"
    assert_nothing_is_left(network)


def test_a_training_that_fails_gives_its_machine_back_and_passes_its_status_on(network, place):
    (place / "empty").mkdir()
    (place / "empty" / "notes.txt").write_text("nothing")
    failed = train_away(str(place / "empty"), check=False)
    assert failed.returncode == 1
    assert failed.stderr.count("error:") == 1 and "hint:" in failed.stderr
    assert_nothing_is_left(network)


def test_a_machine_without_a_gpu_is_told_so_and_given_back(network):
    failed = railcar("train", "--on", "fake", "--gpu", "T4:1", "--yes", "--python", sys.executable, check=False)
    assert failed.returncode == 1
    assert "there is no NVIDIA driver (nvidia-smi is missing)" in failed.stderr
    assert "fake-gpu" in failed.stderr and "$1.00 an hour" in failed.stderr
    assert_nothing_is_left(network)


def test_nothing_is_rented_that_nobody_agreed_to(network):
    refused = railcar("train", "--on", "fake", check=False)
    assert refused.returncode == 2
    assert "$0.10 an hour, at most $0.40" in refused.stderr and "--yes" in refused.stderr
    assert not (network.folder / "calls").exists()


def test_a_run_of_this_computer_is_made_longer_on_another(network, place):
    run = RunDir(json.loads(railcar("train", *SHORT, "--json").stdout)["path"])
    longer = train_away(f"--resume={run.name}", "--set", "training.steps=9", "--json")
    assert json.loads(longer.stdout)["run"] == run.name
    [found] = list_runs(place / "runs")
    assert (found.state, found.step) == ("finished", 9)
    assert_nothing_is_left(network)


def test_nothing_is_rented_for_a_run_that_cannot_go_on(network):
    run = RunDir(json.loads(railcar("train", *SHORT, "--json").stdout)["path"])
    refusals = {
        (): "the run is finished already",
        ("--set", "training.steps=6"): "the run is finished already",
        ("--set", "training.steps=3"): "6 steps are done, and it cannot be made 3 long",
        ("--set", "training.batch_size=32"): "is not one of the keys of its length",
    }
    for words, told in refusals.items():
        refused = train_away(f"--resume={run.name}", *words, check=False)
        assert refused.returncode in (1, 2) and told in refused.stderr
    with run.hold():
        refused = train_away(f"--resume={run.name}", "--set", "training.steps=9", check=False)
    assert refused.returncode == 1 and "the run is still going on" in refused.stderr
    assert not (network.folder / "calls").exists()


def test_a_run_that_was_stopped_here_goes_on_there(network, place):
    begun = json.loads(railcar("train", *SHORT, "--set", "training.optimizer.schedule=constant", "--json").stdout)
    run = RunDir(begun["path"])
    run.write_manifest({**run.read_manifest(), "state": "interrupted"})
    done = train_away(f"--resume={run.name}", "--json")
    assert json.loads(done.stdout)["path"] == str(run.path)
    assert run.state() == "finished"
    assert_nothing_is_left(network)
