"""A process that computes light networks for a server, so that none of its cores waits for Python's lock.

    python -m railcar.serving.worker DESCRIPTOR

Messages go over a socket, each with a header (`HEADER`: kind, key of the network, number of inputs, bytes that
follow). LOAD brings a network, and LOADED or REFUSED comes back; DROP takes it away; ASK is answered, in order, by
ANSWER, float32 [n, n_outputs] after the seconds it took, or by a FAULT in words. It ends with the connection, that is,
with its server; signals are for that alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import time
from contextlib import contextmanager

import numpy as np

from railcar.serving.networks import Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct("<BIIQ")
LOAD, DROP, ASK, LOADED, REFUSED, ANSWER, FAULT = range(7)
_SECONDS = struct.Struct("<d")


def pack(kind: int, key: int, n: int, *parts: bytes | memoryview) -> bytes:
    """A message."""
    return b"".join((HEADER.pack(kind, key, n, sum(len(one) for one in parts)), *parts))


def pack_network(key: int, network: Network) -> bytes:
    about = {"runtime": network.runtime, "shape": network.shape, "dtype": network.dtype, "plan": network.plan}
    head = json.dumps(about).encode()
    return pack(LOAD, key, len(head), head, network.content)


def unpack_answer(content: bytes, n: int) -> tuple[np.ndarray, float]:
    """Answers [n, n_outputs], and the seconds that they took."""
    found = np.frombuffer(content, np.float32, offset=_SECONDS.size)
    return found.reshape(n, -1), _SECONDS.unpack_from(content)[0]


def work(connection: socket.socket) -> None:
    """Answer until the other side closes the connection."""
    networks: dict[int, Network] = {}
    while head := _receive(connection, HEADER.size):
        kind, key, n, n_bytes = HEADER.unpack(head)
        content = _receive(connection, n_bytes)
        if content is None:
            return
        if kind == DROP:
            networks.pop(key, None)
            continue
        try:
            if kind == LOAD:
                networks[key] = _load(content, n)
                answer = pack(LOADED, key, 0)
            else:
                answer = _compute(networks[key], key, n, content)
        except Exception as error:  # the runtimes raise many kinds
            answer = pack(
                REFUSED if kind == LOAD else FAULT, key, n, f"{type(error).__name__}: {error}".encode()[:1000]
            )
        connection.sendall(answer)


def _load(content: bytearray, n_head: int) -> Network:
    about = json.loads(content[:n_head])
    with _quiet():  # LiteRT tells of itself when it is loaded
        found = Network(about.pop("runtime"), bytes(content[n_head:]), about.pop("shape"), about.pop("dtype"), **about)
        found.warm()
    return found


def _compute(network: Network, key: int, n: int, content: bytearray) -> bytes:
    began = time.perf_counter()
    given = np.frombuffer(content, network.dtype).reshape(n, *network.shape)
    found = np.ascontiguousarray(network.compute(given), np.float32)
    return pack(ANSWER, key, n, _SECONDS.pack(time.perf_counter() - began), found.tobytes())


def _receive(connection: socket.socket, n: int) -> bytearray | None:
    """`n` bytes; None when the connection has ended."""
    found = bytearray(n)
    view = memoryview(found)
    while n:
        got = connection.recv_into(view[-n:])
        if not got:
            return None
        n -= got
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def main(words: list[str]) -> int:
    # What ends a server is sent to its whole group; who waits for an answer still gets it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with socket.socket(fileno=int(words[0])) as connection:
        try:
            work(connection)
        except ConnectionError:
            return 0  # the server has gone
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
