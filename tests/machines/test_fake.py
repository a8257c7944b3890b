"""The fake keeps the contract, with both kinds of hosts, and its faults are those that are planted."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from railcar.errors import MachineUnreachable, NoCapacity, NoPermission, NoQuota
from railcar.machines.base import MachineSpec
from railcar.machines.fake import FakeProvider
from railcar.machines.shell import Shell
from tests.machines.contract import OWNER, ProviderContract, wait_for_ssh, wait_until_gone, wait_until_running


class TestFake(ProviderContract):
    @pytest.fixture
    def provider(self, cloud: FakeProvider) -> FakeProvider:
        return cloud

    def test_it_ends_by_itself_when_its_time_is_over(self, provider: FakeProvider, request_of):
        began = time.time()
        provider.create(provider.offers(MachineSpec())[0], request_of("short", ends_in_s=2))
        wait_until_gone(provider, "short")
        assert 2 <= time.time() - began < 6

    def test_a_reboot_keeps_its_files_and_not_its_processes(self, provider: FakeProvider, request_of, key, tmp_path):
        provider.create(provider.offers(MachineSpec())[0], request_of("one"))
        address = wait_until_running(provider, "one").address
        assert address
        shell = Shell(replace(address, identity=key), tmp_path / "ssh")
        wait_for_ssh(shell)
        began = shell.read("echo kept > ~/file; cat /proc/1/stat")
        shell.close()
        provider.reboot("one")
        time.sleep(0.3)
        assert wait_for_ssh(shell) == "hello"
        assert shell.read("cat ~/file") == "kept"
        if provider.network:  # on the loopback, process 1 is this computer's
            assert shell.read("cat /proc/1/stat") != began
        shell.close()

    def test_the_start_script_runs_once_and_as_root(self, provider: FakeProvider, request_of, key, tmp_path):
        request = replace(request_of("one"), start_script=f"id -u >> {tmp_path}/ran")
        provider.create(provider.offers(MachineSpec())[0], request)
        wait_until_running(provider, "one")
        until = time.monotonic() + 10
        while not ((tmp_path / "ran").exists() and (tmp_path / "ran").read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        provider.reboot("one")
        time.sleep(1)
        assert len((tmp_path / "ran").read_text().split()) == 1


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("NoCapacity", NoCapacity),
        ("NoQuota", NoQuota),
        ("NoPermission", NoPermission),
        ("Unreachable", MachineUnreachable),
    ],
)
def test_a_planted_fault_is_raised_as_often_as_it_says(network: FakeProvider, word: str, kind: type[Exception]):
    (network.folder / "faults.json").write_text(json.dumps([{"call": "find", "error": word, "times": 2}]))
    for _ in range(2):
        with pytest.raises(kind):
            network.find("one", OWNER)
    assert network.find("one", OWNER) is None
