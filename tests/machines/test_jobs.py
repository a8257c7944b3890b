"""A job goes on without us: neither a lost connection nor a killed client ends it, and it is begun once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from railcar.errors import MachineError
from railcar.machines.jobs import Job, Patience
from tests.machines.hosts import machine, make_ready


def job_on(ready, name: str = "job") -> Job:
    return Job(name, ready.home, ready.package)


def test_a_job_is_followed_from_any_byte_and_its_status_is_passed_on(network):
    with machine(network) as (_, shell):
        ready = make_ready(shell)
        job = job_on(ready)
        job.begin(shell, ["sh", "-c", "echo one; sleep 0.3; echo two >&2; exit 5"])
        log = bytearray()
        assert job.follow(shell, log.extend) == 5
        assert log == b"one\ntwo\n"
        log.clear()
        assert job.follow(shell, log.extend, offset=4) == 5
        assert log == b"two\n"


def test_begun_twice_it_runs_once(network):
    with machine(network) as (_, shell):
        job = job_on(make_ready(shell))
        for _ in range(3):
            job.begin(shell, ["sh", "-c", "echo ran"])
        log = bytearray()
        assert job.follow(shell, log.extend) == 0
        assert log == b"ran\n"


def test_its_result_may_lie_beside_its_log(network):
    with machine(network) as (_, shell):
        job = job_on(make_ready(shell))
        job.begin(shell, ["sh", "-c", "echo result; echo said >&2"], stdout="result")
        log = bytearray()
        job.follow(shell, log.extend)
        assert log == b"said\n"
        assert shell.read(f"cat {job.folder}/result") == "result"


def test_a_command_that_is_not_there_is_told_in_its_log(network):
    with machine(network) as (_, shell):
        job = job_on(make_ready(shell))
        job.begin(shell, ["no-such-command"])
        log = bytearray()
        assert job.follow(shell, log.extend) == 127
        assert b"no-such-command" in log


def test_told_to_stop_it_gets_sigterm_and_all_that_it_started(network):
    with machine(network) as (_, shell):
        job = job_on(make_ready(shell))
        job.begin(shell, ["sh", "-c", "trap 'echo saved; exit 3' TERM; sleep 60 & wait"])
        time.sleep(0.3)
        job.stop(shell)
        log = bytearray()
        assert job.follow(shell, log.extend) == 3
        assert log == b"saved\n"
        assert shell.run("pgrep -x sleep", check=False).status == 1 or not network.network


def test_it_ends_when_its_time_is_over(network):
    with machine(network) as (_, shell):
        job = job_on(make_ready(shell))
        began = time.time()
        job.begin(shell, ["sleep", "60"], ends_s=time.time() + 1)
        log = bytearray()
        assert job.follow(shell, log.extend) == 128 + signal.SIGTERM
        assert time.time() - began < 10
        assert b"time that was given is over" in log


def test_a_reboot_is_told_as_a_lost_job(network):
    with machine(network) as (lease, shell):
        job = job_on(make_ready(shell))
        job.begin(shell, ["sleep", "60"])
        shell.close()
        network.reboot(lease.name)
        with pytest.raises(MachineError, match="rebooted"):
            job.follow(shell, lambda block: None)


def test_a_lost_network_is_waited_for_and_no_line_is_lost_or_doubled(network):
    if not network.network:
        pytest.skip("needs a network to cut: root and iproute2")
    with machine(network) as (lease, shell):
        job = job_on(make_ready(shell))
        job.begin(shell, ["sh", "-c", "for i in $(seq 300); do echo line $i; sleep 0.1; done"])
        log, lost = bytearray(), []

        def cut() -> None:
            time.sleep(1)
            network.set_link(lease.name, is_up=False)
            time.sleep(20)
            network.set_link(lease.name, is_up=True)

        thread = threading.Thread(target=cut)
        thread.start()
        assert job.follow(shell, log.extend, patience=Patience(lost.append)) == 0
        thread.join()
    assert log.decode().split("\n")[:-1] == [f"line {n}" for n in range(1, 301)]
    assert len(lost) == 1


def test_a_client_that_is_killed_leaves_it_running(network, tmp_path):
    with machine(network) as (lease, shell):
        ready = make_ready(shell)
        code = textwrap.dedent(f"""
            from railcar.machines.jobs import Job
            from railcar.machines.lease import read_lease
            shell = read_lease({lease.name!r}).shell()
            job = Job("job", {ready.home!r}, {ready.package!r})
            job.begin(shell, ["sh", "-c", "echo one; sleep 2; echo two"])
            job.follow(shell, lambda block: print("seen", flush=True))
        """)
        client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
        assert client.stdout and client.stdout.readline() == b"seen\n"
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()
        client.stdout.close()
        log = bytearray()
        assert job_on(ready).follow(shell, log.extend) == 0
        assert log == b"one\ntwo\n"
