"""A port of a machine's made reachable here, for as long as it is wanted: a connection that is lost is made again.

Owns the ssh process that holds it. What is asked through it, and whether that is answered, it does not know.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
from contextlib import suppress

from railcar.errors import OutputError
from railcar.machines.shell import Shell

HOST = "127.0.0.1"
_AGAIN_AFTER_S = (0.2, 0.5, 1, 2, 5)


class Tunnel:
    """While entered, 127.0.0.1:`here` is the port `there` of the machine's own 127.0.0.1. Ctrl-C on this terminal does
    not reach it, so that what has been asked is still answered; it ends with this process at the latest."""

    def __init__(self, shell: Shell, here: int, there: int) -> None:
        self._shell, self._here, self._there = shell, here, there
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._told = tempfile.TemporaryFile()  # noqa: SIM115  closed by __exit__
        self._thread = threading.Thread(target=self._run, name="railcar-tunnel", daemon=True)

    def __enter__(self) -> Tunnel:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._is_over.set()
            if self._process is not None:
                self._process.terminate()
        self._thread.join()
        self._told.close()

    def last_words(self) -> str:
        """What ssh complained of last; empty where it did not."""
        with self._lock:
            self._told.seek(0)
            lines = self._told.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def _run(self) -> None:
        n_tries = 0
        while not self._is_over.is_set():
            with self._lock:
                if self._is_over.is_set():
                    return
                self._told.seek(0)
                self._told.truncate()
                self._process = self._shell.forward(self._here, self._there, apart=True, stderr=self._told)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(60)
                n_tries += 1
            if self._process.poll() is None:  # it holds: the next loss is a first one
                n_tries = 0
                self._process.wait()
            if self._process.stdin:
                self._process.stdin.close()
            self._is_over.wait(_AGAIN_AFTER_S[min(n_tries, len(_AGAIN_AFTER_S) - 1)])


def find_port(port: int) -> int:
    """`port` where nobody listens on it here, of 0 one that is free. Raises `OutputError`."""
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, port))
            found.listen()
        except OSError as error:
            raise OutputError(
                f"{HOST}:{port}: cannot be listened on: {error.strerror or error}",
                hint="choose another with --port; --port 0 takes one that is free",
            ) from error
        return found.getsockname()[1]
