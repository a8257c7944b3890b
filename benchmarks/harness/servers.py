"""A server as a child: started, waited for, looked at and ended. Linux: memory is read from /proc."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.01


class NotReady(Exception):
    """The server ended, or did not answer in time; the text has its last lines."""


@dataclass
class Server:
    """A process under way that listens, or will, on 127.0.0.1:`port`; `log` has what it prints."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    began: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def await_ready(self, is_ready: Callable[[int], bool], timeout_s: float = 60.0) -> float:
        """Seconds from the start of the process to the first time that `is_ready(port)`. Raises `NotReady`."""
        while True:
            with suppress(OSError, http.client.HTTPException):
                if is_ready(self.port):
                    return time.perf_counter() - self.began
            seconds = time.perf_counter() - self.began
            if self.process.poll() is not None:
                raise NotReady(f"ended with status {self.process.returncode}: {self.said()[-2000:]}")
            if seconds > timeout_s:
                raise NotReady(f"no right answer after {seconds:.0f} s: {self.said()[-2000:]}")
            time.sleep(_POLL_S)

    def memory(self) -> dict[str, float]:
        """Of the process and all below it, in MB: `rss_mb` counts shared pages each time, `pss_mb` once."""
        rss = pss = 0
        tree = list_tree(self.pid)
        for pid in tree:
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    rss += int(line.split()[1]) if line.startswith("Rss:") else 0
                    pss += int(line.split()[1]) if line.startswith("Pss:") else 0
        return {"rss_mb": round(rss / 1024, 1), "pss_mb": round(pss / 1024, 1), "n_processes": len(tree)}

    def cpu_s(self) -> float:
        """Seconds of the cores that the process and all below it have had."""
        ticks = 0
        for pid in list_tree(self.pid):
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self, timeout_s: float = 15.0) -> int:
        """SIGTERM, and SIGKILL to what is left of its session after that. The exit status."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_server(
    command: Sequence[str], port: int, log: Path, *, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> Server:
    """In a session of its own, so that all that it starts ends with it."""
    began = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
            start_new_session=True,
        )
    return Server(process, port, log, began)


def find_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def list_tree(pid: int) -> list[int]:
    """The process and all below it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(path.name))
    tree = [pid]
    for one in tree:
        tree += parents.get(one, [])
    return tree


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    *,
    timeout_s: float = 30.0,
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own: status, headers by their names in lower case, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()
