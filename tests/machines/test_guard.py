"""The guard powers a machine off at its deadline and when nobody uses it, after a reboot too, and not before."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from railcar.machines.base import Inside, MachineSpec, Request
from railcar.machines.fake import FakeProvider
from railcar.machines.guarding import guard_config, is_guarded, write_start_script
from railcar.machines.jobs import Job
from railcar.machines.lease import make_key
from railcar.machines.shell import Shell
from tests.machines.contract import OWNER, wait_for_ssh, wait_until_gone, wait_until_running
from tests.machines.hosts import machine, make_ready


@pytest.fixture
def guarded(cloud: FakeProvider, tmp_path: Path):
    """Makes a machine whose provider would let it run on; returns a shell."""
    shells = []

    def make(*, ends_in_s: float, idle_s: float) -> Shell:
        make_key(tmp_path / "key", "test")
        script = write_start_script(cloud.inside("one"), ends_s=time.time() + ends_in_s, idle_s=idle_s)
        public = (tmp_path / "key.pub").read_text().strip()
        request = Request("one", "token", OWNER, public, "", script, 600, MachineSpec())
        cloud.create(cloud.offers(MachineSpec())[0], request)
        address = wait_until_running(cloud, "one").address
        assert address
        shells.append(Shell(replace(address, identity=tmp_path / "key"), tmp_path / "ssh"))
        return shells[-1]

    yield make
    for shell in shells:
        shell.close()


def test_at_its_deadline_the_machine_goes_off_though_nobody_is_there(cloud, guarded):
    began = time.time()
    guarded(ends_in_s=3, idle_s=600)
    wait_until_gone(cloud, "one")
    assert 3 <= time.time() - began < 15


def test_the_deadline_survives_a_reboot(cloud, guarded):
    began = time.time()
    shell = guarded(ends_in_s=5, idle_s=600)
    wait_until_guarded(cloud, shell)
    shell.close()
    cloud.reboot("one")
    time.sleep(0.5)
    wait_until_guarded(cloud, shell)
    shell.close()
    wait_until_gone(cloud, "one")
    assert 5 <= time.time() - began < 20


def test_killed_it_is_started_again(cloud, guarded):
    shell = guarded(ends_in_s=600, idle_s=600)
    wait_until_guarded(cloud, shell)
    folder = cloud.inside("one").folder
    pid = shell.read(f"pgrep -f '{folder}/[g]uard.py run'")
    shell.run(f"kill -9 {pid}")
    time.sleep(0.3)
    wait_until_guarded(cloud, shell)
    assert shell.read(f"pgrep -f '{folder}/[g]uard.py run'") != pid


def test_nobody_there_it_goes_off_after_its_idle_time(network, tmp_path):
    with machine(network, spec=MachineSpec(max_hours=0.5, idle_minutes=2 / 60)) as (lease, shell):
        wait_until_guarded(network, shell)
        shell.close()
        assert wait_until_gone(network, lease.name, lease.owner) >= 1


def test_a_job_and_its_untaken_result_keep_it_on(network):
    with machine(network, spec=MachineSpec(max_hours=0.5, idle_minutes=1 / 60)) as (lease, shell):
        ready = make_ready(shell)
        wait_until_guarded(network, shell)
        job = Job("job", ready.home, ready.package)
        job.begin(shell, ["sleep", "2"])
        shell.close()
        time.sleep(12)
        assert network.find(lease.name, lease.owner).state == "running"  # type: ignore[union-attr]
        job.mark_taken(shell)
        shell.close()
        wait_until_gone(network, lease.name, lease.owner)


def test_what_runs_at_the_deadline_is_told_to_save(network, tmp_path):
    with machine(network) as (_, shell):
        ready = make_ready(shell)
        wait_until_guarded(network, shell)
        job = Job("job", ready.home, ready.package)
        job.begin(shell, ["sh", "-c", f"trap 'sleep 1; echo saved > {tmp_path}/saved; exit 0' TERM; sleep 60 & wait"])
        time.sleep(0.3)
        path = f"{network.inside('one').folder}/guard.json"
        config = json.loads(shell.read(f"cat {path}"))
        shell.run(f"cat > {path}", stdin=json.dumps({**config, "ends_s": time.time() + 0.5}).encode())
        shell.close()
        wait_until_gone(network, "one", "tester")
    assert (tmp_path / "saved").read_text() == "saved\n"


def test_the_unit_is_one_that_systemd_takes(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze, of the package systemd")
    from railcar.machines.onboard import guard

    path = tmp_path / guard.UNIT
    path.write_text(guard._TEXT % "/usr/bin/env true run /opt/railcar/guard.json")
    told = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert guard.UNIT not in told.stderr


def test_the_start_script_is_short_enough_for_every_cloud_and_holds_no_secret():
    script = write_start_script(Inside("railcar", "/home/railcar"), ends_s=1.0, idle_s=2.0)
    assert len(script) < 12_000  # EC2 takes 16 kB
    assert "PRIVATE" not in script
    config = guard_config(Inside("railcar", "/home/railcar"), ends_s=1.0, idle_s=2.0)
    assert config["power_off"] == ["systemctl", "poweroff"]


@pytest.mark.parametrize(
    ("notice", "answers", "is_taken"),
    [
        ("ec2", {"/latest/api/token": "t", "/latest/meta-data/spot/instance-action": "{}"}, True),
        ("ec2", {"/latest/api/token": "t"}, False),
        ("gce", {"/computeMetadata/v1/instance/preempted": "TRUE"}, True),
        ("gce", {"/computeMetadata/v1/instance/preempted": "FALSE"}, False),
        ("gce", {}, False),
        ("", {}, False),
    ],
)
def test_the_notice_is_read_as_each_cloud_gives_it(monkeypatch, notice, answers, is_taken):
    from railcar.machines.onboard import guard

    class Metadata(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked = {"ec2": self.headers.get("X-aws-ec2-metadata-token") or self.command == "PUT"}
            is_allowed = asked["ec2"] if notice == "ec2" else self.headers.get("Metadata-Flavor") == "Google"
            self.send_response(200 if is_allowed and self.path in answers else 404)
            self.end_headers()
            self.wfile.write(answers.get(self.path, "").encode())

        do_GET = do_PUT = answer

        def log_message(self, format: str, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for name in ("EC2", "GCE"):
            monkeypatch.setattr(guard, name, f"http://127.0.0.1:{server.server_address[1]}")
        assert guard.is_taken_away(notice) is is_taken
    finally:
        server.shutdown()
        server.server_close()


def wait_until_guarded(provider: FakeProvider, shell: Shell) -> None:
    wait_for_ssh(shell)
    until = time.monotonic() + 10
    while not is_guarded(shell, provider.inside("one")):
        assert time.monotonic() < until, "the guard does not run"
        time.sleep(0.05)
