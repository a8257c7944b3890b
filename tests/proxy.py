"""An HTTP proxy that makes the network bad, on purpose: latency, a slow link, busy servers, cut and lying answers."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
CHUNK_BYTES = 1 << 16
_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")


@dataclass
class Faults:
    """What goes wrong. Counts are used up by the requests that they hit; `only` limits those to a method."""

    latency_s: float = 0.0
    bytes_per_s: float = 0.0
    only: str = ""
    path: str = ""
    n_busy: int = 0  # answered `busy_status` without being passed on
    busy_status: int = 503
    n_cut: int = 0  # the connection breaks after `cut_after` bytes of the answer
    cut_after: int = 0
    n_wrong_length: int = 0  # the answer is shorter than the object, and says so in Content-Length
    n_damaged: int = 0  # one byte of the answer differs
    n_allowed: int | None = None  # requests passed on before the network is gone for good
    lost_answers: int = 0  # passed on, and the answer thrown away


@dataclass
class Proxy:
    """`requests` are "METHOD path" of all that came."""

    url: str
    faults: Faults = field(default_factory=Faults)
    requests: list[str] = field(default_factory=list)


class _Link:
    """A token bucket that all connections share: so many bytes a second, in either of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, n_bytes: int, bytes_per_s: float) -> None:
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + n_bytes / bytes_per_s
            pause = self._free_at - now
        # Sleeping less than this costs more than it slows.
        if pause > 0.002:
            time.sleep(pause)


@contextmanager
def run_proxy(target: str) -> Iterator[Proxy]:
    """In front of the server at `target` ("http://host:port")."""
    link, lock = _Link(), threading.Lock()
    host = target.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.upstream = http.client.HTTPConnection(host, timeout=60)

        def finish(self) -> None:
            self.upstream.close()
            super().finish()

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            faults = proxy.faults
            with lock:
                proxy.requests.append(f"{self.command} {self.path}")
                hit = (not faults.only or faults.only == self.command) and faults.path in self.path
                fault = _next_fault(faults) if hit else ""
            time.sleep(faults.latency_s)
            if fault == "gone":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            elif fault == "busy":
                self.answer(faults.busy_status, [], b"", body_length=0)
            else:
                self.pass_on(body, faults, fault)

        def pass_on(self, body: bytes, faults: Faults, fault: str) -> None:
            try:
                self.upstream.request(self.command, self.path, body, dict(self.headers.items()))
                reply = self.upstream.getresponse()
                content = reply.read()
            except (http.client.HTTPException, ConnectionError):  # closed by the server as idle
                self.upstream.close()
                self.upstream.request(self.command, self.path, body, dict(self.headers.items()))
                reply = self.upstream.getresponse()
                content = reply.read()
            if fault == "lost":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            n_bytes = int(reply.headers.get("Content-Length") or 0) if self.command == "HEAD" else len(content)
            if fault == "wrong_length":
                content = content[: len(content) // 2]
                n_bytes = len(content)
            elif fault == "damaged" and content:
                content = bytes([content[0] ^ 1]) + content[1:]
            cut = faults.cut_after if fault == "cut" else None
            self.answer(reply.status, reply.getheaders(), content, body_length=n_bytes, cut=cut)

        def answer(
            self, status: int, headers: list[Any], content: bytes, *, body_length: int, cut: int | None = None
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("Content-Length", str(body_length))
            self.end_headers()
            if self.command == "HEAD":
                return
            view = memoryview(content if cut is None else content[:cut])
            for start in range(0, len(view), CHUNK_BYTES):
                chunk = view[start : start + CHUNK_BYTES]
                if proxy.faults.bytes_per_s:
                    link.wait(len(chunk), proxy.faults.bytes_per_s)
                self.wfile.write(chunk)
            if cut is not None:
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients hang up; that is what they are tested for."""

    with Server((HOST, 0), Handler) as server:
        proxy = Proxy(f"http://{HOST}:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


def _next_fault(faults: Faults) -> str:
    if faults.n_allowed is not None:
        faults.n_allowed -= 1
        if faults.n_allowed < 0:
            return "gone"
    for count, name in (
        ("n_busy", "busy"),
        ("n_cut", "cut"),
        ("n_wrong_length", "wrong_length"),
        ("n_damaged", "damaged"),
        ("lost_answers", "lost"),
    ):
        if left := getattr(faults, count):
            setattr(faults, count, left - 1)
            return name
    return ""
