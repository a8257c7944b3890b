"""`railcar serve` as a process of its own, and questions to it."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEADLINE_S = 90.0


@dataclass
class Server:
    """`lines` are what it has said on stderr so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        status, _, body = self.ask("GET", path, headers=headers)
        return status, json.loads(body)

    def post(self, path: str, document: Any, **headers: str) -> tuple[int, Any]:
        sent = {"Content-Type": "application/json", **headers}
        status, _, body = self.ask("POST", path, json.dumps(document).encode(), sent)
        return status, json.loads(body)

    def wait_for_line(self, pattern: str, seconds: float = DEADLINE_S) -> str:
        """The first line that has `pattern` in it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for line in list(self.lines):
                if re.search(pattern, line):
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no line with {pattern!r} among: {self.lines}")


@contextmanager
def serve(sources: Sequence[str | Path], *words: str, n_models: int | None = None) -> Iterator[Server]:
    """A server that is ready; it is ended afterwards."""
    command = [sys.executable, "-m", "railcar", "serve", *map(str, sources), "--port", "0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    server = Server(process)

    def read() -> None:
        for line in process.stderr or ():
            server.lines.append(line.rstrip("\n"))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        line = server.wait_for_line(r"^serving .* at http://")
        server.port = int(line.rpartition(":")[2])
        _wait_until_ready(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        if process.stderr:
            process.stderr.close()


def _wait_until_ready(server: Server) -> None:
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        try:
            if server.ask("GET", "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"not ready: {server.lines}")
