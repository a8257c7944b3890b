"""A cloud's stand-in as a process of its own, started and ended around a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from railcar.machines.fake import can_have_namespaces
from tests.servers import free_port, wait_for_port

PROJECT = Path(__file__).resolve().parent.parent.parent


class Cloud:
    """A running cloud: its folder, its address, and what was asked of it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.address = folder, f"http://127.0.0.1:{port}"

    def plant(self, *faults: Mapping[str, Any]) -> None:
        (self.folder / "faults.json").write_text(json.dumps(faults))

    def calls(self, **wanted: str) -> list[dict[str, Any]]:
        path = self.folder / "calls.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [one for one in found if all(one[key].endswith(value) for key, value in wanted.items())]

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts-cloud" / "hosts"

    def host(self) -> Path:
        """The newest host's folder."""
        return max(self.hosts.iterdir(), key=lambda one: one.stat().st_ctime)


@contextmanager
def run_cloud(module: str, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Cloud]:
    """`module` as a server, with hosts on port 22."""
    if not can_have_namespaces():
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail("needs iproute2: apt install iproute2")
        pytest.skip("hosts on port 22 need network namespaces: root and iproute2")
    port = free_port()
    command = [sys.executable, "-m", module, str(folder), str(port)]
    variables = {**os.environ, "PYTHONPATH": str(PROJECT), **(environment or {})}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_for_port(port, server)
        yield Cloud(folder, port)
    finally:
        (folder / "closing").touch()  # no host is begun any more
        time.sleep(0.15)
        server.terminate()
        server.wait(10)
        end_hosts(folder / "hosts-cloud" / "hosts")


def end_hosts(folder: Path) -> None:
    states = [host / "state" for host in folder.glob("*") if (host / "supervisor").exists()]
    for state in states:
        (state.parent / "destroy").touch()
    until = time.monotonic() + 10
    while any(state.read_text() != "gone" for state in states):
        assert time.monotonic() < until, "a host does not end"
        time.sleep(0.05)
