"""A machine is made ready from nothing: railcar by its hash, TensorFlow from a wheelhouse where there is no network."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from railcar.errors import MachineError, UsageError
from railcar.machines import bootstrap
from railcar.machines.bootstrap import Wishes, prepare
from railcar.machines.wheel import build_wheel, read_constraints
from railcar.runs.run_dir import RunDir
from tests.machines.hosts import OUTSIDE, machine, make_ready, say_nothing


def test_the_package_is_sent_once_and_only_with_its_own_hash(network, monkeypatch):
    with machine(network) as (_, shell):
        ready = make_ready(shell)
        assert shell.read(f"test -e {ready.package}/complete && echo yes") == "yes"
        told: list[str] = []
        prepare(shell, Wishes(python=sys.executable), told.append)
        assert not told

        shell.run(f"rm -rf {ready.package}")
        honest = build_wheel()
        damaged = type(honest)(honest.name, honest.content[:-1] + b"?")
        damaged.__dict__["sha256"] = honest.sha256
        monkeypatch.setattr(bootstrap, "build_wheel", lambda: damaged)
        with pytest.raises(MachineError, match=r"FAILED|WARNING|checksum"):
            prepare(shell, Wishes(python=sys.executable), say_nothing)
        assert shell.run(f"ls {ready.package}", check=False).status != 0


def test_a_python_without_tensorflow_is_told_by_what_it_lacks(network):
    with machine(network) as (_, shell), pytest.raises(MachineError, match=r"has no .*tensorflow") as caught:
        shell.run("python3 -m venv --without-pip ~/bare")
        prepare(shell, Wishes(python=f"{network.inside('one').home}/bare/bin/python"), say_nothing)
    assert "--python" in caught.value.hint


def test_a_python_that_is_not_there_is_told(network):
    with machine(network) as (_, shell), pytest.raises(MachineError, match="there is no /no/python"):
        prepare(shell, Wishes(python="/no/python"), say_nothing)


NVIDIA_SMI = """#!/bin/sh
case "$*" in
    *query-gpu=driver_version*) echo {driver} ;;
    *query-gpu=name,memory.total,driver_version*) echo "Tesla T4, 15360 MiB, {driver}" ;;
    *query-gpu=name*) echo "Tesla T4" ;;
esac
"""


def pretend_gpu(shell, driver: str) -> None:
    """A driver that says so; there is no GPU behind it."""
    shell.run(
        "mkdir -p ~/bin && cat > ~/bin/nvidia-smi && chmod +x ~/bin/nvidia-smi",
        stdin=NVIDIA_SMI.format(driver=driver).encode(),
    )
    shell.run("echo 'PATH=$HOME/bin:$PATH' > ~/.bashrc")


def test_a_driver_that_is_too_old_is_told_before_anything_is_installed(network):
    if not network.network:
        pytest.skip("needs a login shell that reads ~/.bashrc: root and iproute2")
    with machine(network) as (_, shell):
        pretend_gpu(shell, "470.82.01")
        with pytest.raises(MachineError, match=r"driver 470\.82\.01 is too old for TensorFlow, which needs 525"):
            prepare(shell, Wishes(), say_nothing)
        assert not shell.read("ls -d ~/.railcar/environments/* ~/.railcar/packages/* 2>/dev/null || true")


def test_a_gpu_on_which_nothing_runs_is_told_by_what_is_missing(network):
    """The driver sees one, and TensorFlow does not: on this computer because it was built without CUDA."""
    if not network.network:
        pytest.skip("needs a login shell that reads ~/.bashrc: root and iproute2")
    with machine(network) as (_, shell):
        pretend_gpu(shell, "580.95.05")
        with pytest.raises(MachineError, match="built without CUDA") as caught:
            prepare(shell, Wishes(n_gpus=1, python=sys.executable), say_nothing)
        assert "tensorflow[and-cuda]" in caught.value.hint
        with pytest.raises(MachineError, match="2 GPUs were asked for, and the driver sees 1"):
            prepare(shell, Wishes(n_gpus=2, python=sys.executable), say_nothing)


def test_gpus_that_nobody_asked_for_are_no_hindrance_to_a_python_of_the_users_own(network):
    if not network.network:
        pytest.skip("needs a login shell that reads ~/.bashrc: root and iproute2")
    with machine(network) as (_, shell):
        pretend_gpu(shell, "580.95.05")
        told: list[str] = []
        assert prepare(shell, Wishes(python=sys.executable), told.append).n_gpus == 1
        assert "its GPUs stay unused" in told[-1] and "built without CUDA" in told[-1] and "--gpu" in told[-1]


def test_jobs_that_came_home_a_week_ago_are_removed_and_no_others(network):
    with machine(network) as (_, shell):
        make_ready(shell)
        shell.run("cd ~/.railcar/jobs && mkdir old new going && touch old/log new/taken going/log")
        shell.run("cd ~/.railcar/jobs && touch -d '8 days ago' old/taken going/log")
        make_ready(shell)
        assert shell.read("ls ~/.railcar/jobs").split() == ["going", "new"]


def test_a_folder_without_wheels_is_refused(network, tmp_path):
    with machine(network) as (_, shell), pytest.raises(UsageError, match="no wheels are in there"):
        prepare(shell, Wishes(wheelhouse=tmp_path), say_nothing)


def test_without_a_network_or_wheels_the_error_says_what_to_give(network):
    if not network.network:
        pytest.skip("needs a host without a network: root and iproute2")
    with machine(network) as (_, shell), pytest.raises(MachineError, match="could not be installed") as caught:
        prepare(shell, Wishes(), say_nothing)
    assert "--wheelhouse" in caught.value.hint


@pytest.mark.timeout(900)
def test_the_whole_way_from_a_wheelhouse_on_a_host_without_a_network(network, place):
    """pip on the host, from wheels alone, then a training there and its run home; the second time nothing is made."""
    house = place / "wheels"
    filled = subprocess.run(
        [sys.executable, "-m", "railcar", "machine", "wheelhouse", str(house)],
        env=OUTSIDE,
        capture_output=True,
        text=True,
    )
    assert filled.returncode == 0, filled.stderr
    words = [
        sys.executable,
        "-m",
        "railcar",
        "machine",
        "up",
        "fake",
        "--name",
        "one",
        "--yes",
        "--wheelhouse",
        str(house),
    ]
    up = subprocess.run(words, capture_output=True, text=True)
    assert up.returncode == 0, up.stderr
    assert "installing TensorFlow" in up.stderr

    words = [sys.executable, "-m", "railcar", "train", "--on", "one", "--set", "training.steps=5", "--json"]
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "installing" not in done.stderr and "copying" not in done.stderr
    run = RunDir(json.loads(done.stdout)["path"])
    assert run.state() == "finished"
    versions = run.read_manifest()["versions"]
    assert f"keras=={versions['keras']}" in read_constraints().splitlines()
    print(f"the second time: {time.monotonic() - began:.1f} s")

    down = subprocess.run([sys.executable, "-m", "railcar", "machine", "down", "one"], capture_output=True, text=True)
    assert down.returncode == 0 and "is gone" in down.stderr, down.stderr
    assert not network.list("tester")
