"""A cloud of its own for each test: leases, hosts and their network; nothing of it is left afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from railcar.machines.fake import FakeProvider, can_have_namespaces


def require_programs() -> None:
    """Without sshd and rsync the test is skipped; where CI is set it fails."""
    missing = [one for one in ("ssh", "ssh-keygen", "rsync") if shutil.which(one) is None]
    missing += [] if Path("/usr/sbin/sshd").exists() else ["sshd"]
    if missing:
        words = f"needs {', '.join(missing)}: apt install openssh-server openssh-client rsync"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's leases, cloud and runs are."""
    require_programs()
    monkeypatch.setenv("RAILCAR_MACHINES", str(tmp_path / "machines"))
    monkeypatch.setenv("RAILCAR_FAKE_CLOUD", str(tmp_path / "cloud"))
    monkeypatch.setenv("RAILCAR_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("RAILCAR_OWNER", "tester")
    return tmp_path


@pytest.fixture
def mnist_here(place: Path, mnist_folder: Path | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """MNIST, as if this computer had downloaded it before; where its files are not here, the embedded sample."""
    if mnist_folder is None:
        return "mnist-sample"
    monkeypatch.setenv("RAILCAR_CACHE", str(place / "cache"))
    (place / "cache" / "datasets").mkdir(parents=True)
    (place / "cache" / "datasets" / "mnist").symlink_to(mnist_folder)
    return "mnist"


@pytest.fixture(params=["namespaces", "loopback"])
def cloud(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """The fake provider, with both kinds of hosts."""
    yield from open_cloud(place, monkeypatch, network=request.param == "namespaces")


@pytest.fixture
def network(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """The fake provider, with hosts that have a network of their own where that can be."""
    yield from open_cloud(place, monkeypatch, network=can_have_namespaces())


def open_cloud(place: Path, monkeypatch: pytest.MonkeyPatch, *, network: bool) -> Iterator[FakeProvider]:
    if network and not can_have_namespaces():
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail("needs iproute2: apt install iproute2")
        pytest.skip("network namespaces need root and iproute2")
    monkeypatch.setenv("RAILCAR_FAKE_HOSTS", "namespaces" if network else "loopback")
    provider = FakeProvider(place / "cloud", network=network)
    try:
        yield provider
    finally:
        provider.close()


@pytest.fixture(scope="session", autouse=True)
def no_hosts_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end, no host of these tests runs on."""
    yield
    pattern = f"fake_host.py supervise {tmp_path_factory.getbasetemp()}/"
    left = subprocess.run(["pgrep", "-fa", pattern], capture_output=True, text=True)
    assert not left.stdout, left.stdout
