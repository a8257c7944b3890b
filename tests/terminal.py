"""A terminal for tests: programs run in a pseudo-terminal, and what a person would see of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

_PART = re.compile(r"\x1b\[(\d*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Screen:
    """What is shown, scrolled-off lines included, as long as only the sequences come that railcar writes."""

    def __init__(self, n_rows: int = 24) -> None:
        self.lines = [""]
        self.written = ""
        self._n_rows, self._row, self._column = n_rows, 0, 0

    def feed(self, text: str) -> None:
        self.written += text
        for part in _PART.finditer(text):
            n = int(part[1] or 1) if part[2] else 1
            if part[2] == "A":
                self._row = max(self._row - n, len(self.lines) - self._n_rows, 0)
            elif part[2] == "B":
                self._row = min(self._row + n, len(self.lines) - 1)
            elif part[2] == "J":
                del self.lines[self._row + 1 :]
                self.lines[self._row] = self.lines[self._row][: self._column]
            elif part[2] == "K":
                self.lines[self._row] = self.lines[self._row][: self._column]
            elif part[0] == "\r":
                self._column = 0
            elif part[0] == "\n":
                self._row, self._column = self._row + 1, 0
                self.lines += [""] * (self._row + 1 - len(self.lines))
            elif not part[2]:
                line = self.lines[self._row].ljust(self._column)
                self.lines[self._row] = line[: self._column] + part[0] + line[self._column + len(part[0]) :]
                self._column += len(part[0])

    def __str__(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")


def set_size(descriptor: int, columns: int, rows: int = 24) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def run_in_terminal(
    command: Sequence[str],
    *,
    columns: int = 80,
    rows: int = 24,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 60,
    on_output: Callable[[Screen, subprocess.Popen[bytes]], None] = lambda screen, process: None,
) -> tuple[int, Screen]:
    """Run `command` with all its streams on a terminal; its status and what the terminal shows at the end. `on_output`
    is called with the screen and the process whenever something has come."""
    leader, follower = os.openpty()
    set_size(follower, columns, rows)
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "NO_COLOR", "COLUMNS")}
    environment = {**kept, "TERM": "xterm-256color", "PYTHONUTF8": "1", **(env or {})}
    process = subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=environment, start_new_session=True
    )
    os.close(follower)
    screen, pending, deadline = Screen(rows), b"", time.monotonic() + timeout_s
    try:
        with contextlib.suppress(OSError):  # the program has ended
            while time.monotonic() < deadline:
                if not select.select([leader], [], [], 0.1)[0]:
                    continue
                pending += os.read(leader, 65536)
                whole, pending = _cut(pending)
                screen.feed(whole)
                on_output(screen, process)
        return process.wait(max(deadline - time.monotonic(), 0.1)), screen
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def _cut(content: bytes) -> tuple[str, bytes]:
    """What can be shown of the bytes that have come, and the beginning of a character or a sequence that is left."""
    for n_left in range(8):
        head = content[: len(content) - n_left]
        with contextlib.suppress(UnicodeDecodeError):
            text = head.decode()
            if not re.search(r"\x1b(\[\d*)?$", text):
                return text, content[len(head) :]
    return content.decode(errors="replace"), b""
