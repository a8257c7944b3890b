"""Places to store things in: a folder, and real servers of Google's storage and of S3, each behind a bad network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.proxy import Faults, Proxy, run_proxy
from tests.servers import make_google_bucket, make_s3_bucket, run_google_storage, run_s3

BUCKET = "railcar-test"
_numbers = itertools.count()


@dataclass
class Place:
    """`address` is of this test alone. `proxy` is between the test and the server; None for a folder."""

    scheme: str
    address: str
    proxy: Proxy | None

    @property
    def faults(self) -> Faults:
        assert self.proxy is not None
        return self.proxy.faults

    @property
    def requests(self) -> list[str]:
        assert self.proxy is not None
        return self.proxy.requests

    def count(self, method: str) -> int:
        """How many requests of a method there were."""
        return sum(one.startswith(f"{method} ") for one in self.requests)

    def url(self, key: str) -> str:
        """The address of an object by plain HTTP."""
        assert self.proxy is not None
        return f"{self.proxy.url}/{self.address.split('://')[1]}/{key}"


@pytest.fixture(scope="session")
def google_endpoint() -> Iterator[str]:
    with run_google_storage() as endpoint:
        make_google_bucket(endpoint, BUCKET)
        yield endpoint


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with run_s3() as endpoint:
        make_s3_bucket(endpoint, BUCKET)
        yield endpoint


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment that knows no real credentials, a cache of the test's own, and short patience."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("RAILCAR_RETRY_S", "20")
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / "cache"))
    return monkeypatch


def _open(scheme: str, request: pytest.FixtureRequest, clouds: pytest.MonkeyPatch, folder: Path) -> Iterator[Place]:
    if scheme == "folder":
        yield Place("folder", str(folder / "place"), None)
        return
    name = "google_endpoint" if scheme == "gs" else "s3_endpoint"
    with run_proxy(request.getfixturevalue(name)) as proxy:
        clouds.setenv("STORAGE_EMULATOR_HOST" if scheme == "gs" else "AWS_ENDPOINT_URL", proxy.url)
        yield Place(scheme, f"{scheme}://{BUCKET}/test-{next(_numbers)}", proxy)


@pytest.fixture(params=["folder", "gs", "s3"])
def place(request: pytest.FixtureRequest, clouds: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """Every kind of storage."""
    yield from _open(request.param, request, clouds, tmp_path)


@pytest.fixture(params=["gs", "s3"])
def bucket(request: pytest.FixtureRequest, clouds: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """Every kind of bucket."""
    yield from _open(request.param, request, clouds, tmp_path)


@pytest.fixture
def s3(request: pytest.FixtureRequest, clouds: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """A bucket of S3: where one kind is enough."""
    yield from _open("s3", request, clouds, tmp_path)


@pytest.fixture
def google(request: pytest.FixtureRequest, clouds: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """A bucket of Google's."""
    yield from _open("gs", request, clouds, tmp_path)
