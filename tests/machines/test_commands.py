"""What `railcar train --on` and `railcar machine` refuse, scripts, tunnels and notices."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from railcar.runs.run_dir import RunDir
from tests.machines.away import (
    SHORT,
    railcar,
    train_away,
)
from tests.machines.hosts import machine
from tests.servers import free_port


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--on", "fak"), "there is no machine fak\nhint: did you mean 'fake'?"),
        (
            ("--on", "box"),
            "there is no machine box\nhint: providers are: aws, gcp, fake; your own machines are ssh:HOST",
        ),
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
