"""`railcar train --on`, as a user types it: real hosts, real sshd and rsync, real trainings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from railcar.machines.lease import Lease, list_leases
from railcar.machines.shell import Shell
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
)
from tests.machines.hosts import machine
from tests.servers import free_port


def write_ssh_config(place: Path, lease: Lease, shell: Shell) -> Path:
    """As a user's ~/.ssh/config has a machine of his own."""
    address, config = shell.address, place / "ssh_config"
    config.write_text(
        f"Host box\n  HostName {address.host}\n  Port {address.port}\n  IdentityFile {address.identity}\n"
        f"  UserKnownHostsFile {lease.folder}/known_hosts\n" + (f"  User {address.user}\n" if address.user else "")
    )
    return config


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


def test_left_with_ctrl_c_the_training_goes_on_and_is_followed_again(network, place):
    words = ["train", "--on", "fake", "--yes", "--python", sys.executable, "--set", "training.steps=150", *SAME]
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


def test_after_a_reboot_of_ones_own_machine_the_training_goes_on_there(network, place):
    words = ["train", "--set", "training.steps=160", "--set", "training.checkpoint_every=20", *SAME]
    words += ["--set", "training.validate_every=20"]
    with machine(network) as (lease, _):
        client = subprocess.Popen(
            [sys.executable, "-m", "railcar", *words, "--on", lease.name, "--python", sys.executable],
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert client.stderr
        lines: list[str] = []
        for line in client.stderr:
            if "val loss" in line and not any("val loss" in one for one in lines):
                network.reboot(lease.name)
            lines.append(line)
        client.stderr.close()
        text = "".join(lines)
        assert client.wait() == 0, text
        assert "its process is gone" in text and "Traceback" not in text
        [run] = list_runs(place / "runs")
        assert (run.state, run.step) == ("finished", 160)


def test_on_ones_own_machine_an_end_may_be_set_and_what_was_trained_comes_home(network, place):
    with machine(network) as (lease, shell):
        config = write_ssh_config(place, lease, shell)
        words = [
            "--set",
            "training.steps=100000",
            "--set",
            f"machine.ssh_config={config}",
            "--max-hours",
            str(40 / 3600),
        ]
        ended = train_away(*words, *SAME, on="ssh:box", check=False)
    assert ended.returncode == 143
    assert "the time that was given is over" in ended.stderr and "--resume=" in ended.stderr
    [run] = list_runs(place / "runs")
    assert run.state == "interrupted"
    assert list((RunDir(run.path).checkpoints).glob("step-*"))


def test_a_run_that_was_stopped_here_goes_on_there(network, place):
    begun = json.loads(railcar("train", *SHORT, "--set", "training.optimizer.schedule=constant", "--json").stdout)
    run = RunDir(begun["path"])
    run.write_manifest({**run.read_manifest(), "state": "interrupted"})
    done = train_away(f"--resume={run.name}", "--json")
    assert json.loads(done.stdout)["path"] == str(run.path)
    assert run.state() == "finished"
    assert_nothing_is_left(network)


@pytest.mark.parametrize("after_s", [4.0, 0.0], ids=["with a notice", "at once"])
def test_a_machine_that_is_taken_away_is_replaced_and_the_training_goes_on(network, place, after_s):
    """With a notice no step is made twice; without one, those since the last checkpoint that came home."""
    steps = ("--set", "training.steps=160", "--set", "training.checkpoint_every=20", *SAME)
    words = ["train", *steps, "--set", "training.validate_every=20", "--set", "training.log_every=5"]
    away = ["--on", "fake", "--spot", "--yes", "--python", sys.executable]
    client = subprocess.Popen(
        [sys.executable, "-m", "railcar", *words, *away],
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert client.stderr
    lines, is_taken = [], False
    for line in client.stderr:
        lines.append(line)
        if "val loss" in line and not is_taken:
            [lease] = list_leases()
            time.sleep(0 if after_s else 3)  # some of it has come home
            threading.Thread(target=network.take_away, args=(lease.name,), kwargs={"after_s": after_s}).start()
            is_taken = True
    client.stderr.close()
    text = "".join(lines)
    assert client.wait() == 0, text
    assert "was taken away; mnist-sample-" in text and "goes on" in text
    assert "Traceback" not in text
    made = [line for line in (network.folder / "calls").read_text().splitlines() if line.startswith("create")]
    assert len(made) == 2

    [run] = [RunDir(one.path) for one in list_runs(place / "runs")]
    assert run.state() == "finished"
    assert [row["step"] for row in run.read_metrics() if "val_loss" in row] == list(range(20, 161, 20))
    local = RunDir(json.loads(railcar(*words, "--json").stdout)["path"])
    assert_same_weights(run, local)
    assert_nothing_is_left(network)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--on", "fak"), "there is no machine fak"),
        (("--detach",), "--detach is for a training on a machine"),
        (("--on", "fake", "--resume"), "there are no runs yet"),
        (("--on", "fake", "--folds", "3"), "--on is for one training"),
        (("--on", "fake", "--dry-run"), "leave --dry-run out"),
        (("--on", "fake", "--resume", "--time", "5m"), "--time cannot change it"),
        (("mnist", "--on", "fake", "--resume=one"), "leave"),
        (("--on", "fake", "--or-on-demand"), "add --spot"),
        (("--on", "ssh:-oProxyCommand=x"), "is no host"),
    ],
)
def test_wrong_words_are_told_before_anything_is_done(network, words, told):
    refused = railcar("train", *words, "--yes", check=False)
    assert refused.returncode in (1, 2) and told in refused.stderr
    assert not (network.folder / "calls").exists()


def test_a_script_runs_on_a_copy_of_the_folder_and_its_status_is_passed_on(network, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text("import sys, numpy\nprint(open('words.txt').read())\nsys.exit(4)\n")
    (folder / "words.txt").write_text("from here")
    (folder / ".env").write_text("PASSWORD=hunter2-hunter2")
    with machine(network) as (lease, shell):
        words = ("machine", "run", lease.name, "--python", sys.executable, "--", "python3", "train.py")
        done = railcar(*words, check=False, cwd=folder)
        assert done.returncode == 4
        assert done.stdout == "from here\n"
        assert ".env stays here" in done.stderr
        assert (
            shell.run(f"grep -rq hunter2-hunter2 {network.inside(lease.name).home}/.railcar", check=False).status == 1
        )
        assert "is ready" not in done.stdout

        told = railcar("machine", "doctor", lease.name, check=False)
        assert told.stdout.count("ok ") >= 5, told.stdout


def test_a_port_of_the_machine_is_reached_through_a_tunnel(network, place):
    (place / "page").mkdir()
    (place / "page" / "words.txt").write_text("from there")
    port = free_port()
    with machine(network) as (lease, shell):
        server = (
            f"(cd {place}/page && exec python3 -m http.server --bind 127.0.0.1 {port + 1}) </dev/null >/dev/null 2>&1 &"
        )
        shell.run(server)
        words = [sys.executable, "-m", "railcar", "machine", "ssh", lease.name, "--tunnel", f"{port}:{port + 1}"]
        tunnel = subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert tunnel.stderr
        try:
            assert f"http://127.0.0.1:{port}" in tunnel.stderr.readline()
            assert fetch(f"http://127.0.0.1:{port}/words.txt") == "from there"
        finally:
            tunnel.send_signal(signal.SIGINT)
            assert tunnel.wait(20) == 130
            tunnel.stderr.close()


def fetch(address: str) -> str:
    until = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def test_the_users_own_command_gets_the_notice(network, place, monkeypatch):
    monkeypatch.setenv("RAILCAR_NOTIFY", f"sh -c 'echo \"$0|$1\" >> {place}/notices'")
    run = RunDir(json.loads(train_away(*SHORT, "--json").stdout)["path"])
    assert (place / "notices").read_text().startswith(f"railcar: {run.name}|finished on mnist-sample-")
