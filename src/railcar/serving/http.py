"""Connections: uvicorn's protocol with deadlines, and a server that ends without losing a question.

Owns how long headers and bodies may take and how large headers may be, and what happens at SIGTERM. Bodies, paths and
answers are `app.py`'s.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_S, BODY_S, IDLE_S, UNREAD_S = 10.0, 20.0, 25.0, 25.0
"""Seconds from a connection, or the first byte of a request, to the end of its headers; from there to the end of its
body; that a connection may stay without a request; and without taking its answer."""
MAX_HEADER_BYTES = 32 * 1024
LINGER_S = 0.5
"""Seconds after SIGTERM in which what comes is still answered: a load balancer has not looked yet."""
REST_S = 0.3
"""Seconds that who connected last has to send its question."""
GRACE_S = 30.0
"""Seconds that questions have to be answered after that."""

# libuv takes one connection from each listening descriptor in a turn of the loop. Under load turns are long, and who
# comes anew would wait for a second: so there are several descriptors of the one socket.
_ACCEPTED = 16
_READING, _SENDING, _WAITING = "headers", "body", ""


class Protocol(HttpToolsProtocol):
    """Of one connection. `check_deadline` is asked once a second: a timer for each request would cost more."""

    def connection_made(self, transport: Any) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._phase, self._since, self._n_header_bytes = _READING, time.monotonic(), 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._since, self._n_header_bytes = _READING, time.monotonic(), 0

    def on_url(self, url: bytes) -> None:
        self._count_header(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_header(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _count_header(self, n: int) -> None:
        self._n_header_bytes += n
        if self._n_header_bytes > MAX_HEADER_BYTES:
            raise ValueError("headers too large")  # the parser makes its own error of it, and 400 is answered

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._phase, self._since = _SENDING, time.monotonic()

    def on_message_complete(self) -> None:
        self._phase = _WAITING
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        # A request that breaks the parser in its middle never ends in `on_message_complete`: the deadline closes it.
        if not self.transport.is_closing():
            super().data_received(data)

    def check_deadline(self, now: float) -> None:
        """Close the connection where its request takes too long to come, or its answer to be taken."""
        limit = {_READING: HEADERS_S, _SENDING: BODY_S}.get(self._phase)
        if limit is not None and now - self._since > limit:
            if self.cycle is None or self._phase == _READING or not self.cycle.response_started:
                self.transport.write(_TOO_SLOW)
            self.transport.close()
            self._phase = _WAITING
        elif self.flow is not None and self.flow.write_paused:
            if now - getattr(self, "_paused_since", now) > UNREAD_S:
                self.transport.abort()
        else:
            self._paused_since = now


_SLOW_BODY = b'{"error": "the request took too long to come"}\n'
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: "
    + str(len(_SLOW_BODY)).encode()
    + b"\r\n\r\n"
    + _SLOW_BODY
)


class Server(uvicorn.Server):
    """Ends in three steps: `leave` is called at the signal, what still comes is answered for `LINGER_S`, with the last
    answer on each connection closing it, and then only what has been asked is waited for."""

    def __init__(self, config: uvicorn.Config, leave: Callable[[], None]) -> None:
        super().__init__(config)
        self._leave = leave
        self._ends_at: float | None = None
        self._listeners: list[socket.socket] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Descriptors of our own: the loop's are closed first, and who is in the kernel's queue then is taken by these.
        self._listeners = [one.dup() for one in sockets or []]
        more = [one.dup() for one in sockets or [] for _ in range(_ACCEPTED - 1)]
        await super().startup([*(sockets or []), *more])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in [one for listener in self._listeners for one in _take_rest(listener)]:
            await loop.connect_accepted_socket(self._build_protocol, connection)
        await asyncio.sleep(REST_S)
        await super().shutdown(sockets)

    def _build_protocol(self) -> Protocol:
        return Protocol(self.config, self.server_state, self.lifespan.state)

    async def on_tick(self, counter: int) -> bool:
        now = time.monotonic()
        if self._ends_at is not None and now >= self._ends_at:
            self.should_exit = True
        if counter % 10 == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Protocol):
                    connection.check_deadline(now)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._ends_at is not None:
            self.should_exit = self.force_exit = True  # asked twice: at once
            return
        self._leave()
        self._ends_at = time.monotonic() + (0.0 if sig == signal.SIGINT else LINGER_S)


def _take_rest(listener: socket.socket) -> list[socket.socket]:
    """Who has connected and was not taken yet; then it listens no more."""
    found = []
    listener.setblocking(False)
    with listener, suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            found.append(connection)
    return found


def build_server(app: Any, leave: Callable[[], None]) -> Server:
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="uvloop" if _has("uvloop") else "asyncio",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=int(IDLE_S),
        timeout_graceful_shutdown=int(GRACE_S),
        backlog=2048,
        proxy_headers=False,
    )
    return Server(config, leave)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None
