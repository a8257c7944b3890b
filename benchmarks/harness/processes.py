"""Commands run to their end: what they printed as JSON, how long they took, and how much memory they had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

_POLL_S = 0.05
_FIELDS = {"VmRSS": "rss_mb", "RssAnon": "anonymous_mb", "RssFile": "file_mb"}


class Failed(Exception):
    """A command ended with an error; the text has its last lines."""


def run_json(command: list[str], *, environment: dict[str, str] | None = None, watch: bool = False) -> dict[str, Any]:
    """Run to the end; all of stdout, or its last line, is JSON. Adds `process_s`, and with `watch` the highest
    `rss_mb`, `anonymous_mb` and `file_mb` of the process (not of its children). Raises `Failed`."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env={**os.environ, **(environment or {})})
        peaks: dict[str, float] = {}
        if watch:
            watcher = threading.Thread(target=_watch_memory, args=(process, peaks))
            watcher.start()
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - started
        if watch:
            watcher.join()
        output.seek(0)
        errors.seek(0)
        text = output.read().strip()
        if status:
            raise Failed(f"{' '.join(command)} ended with status {status}:\n{errors.read()[-2000:]}")
    document = json.loads(text if text.startswith("{\n") else text.splitlines()[-1])
    return {**document, "process_s": round(seconds, 2), **peaks}


def _watch_memory(process: subprocess.Popen[bytes], peaks: dict[str, float]) -> None:
    """Note the peaks of /proc/PID/status in MB until the process ends; nothing where there is no such file. Pages of
    mapped files count in `file_mb`: the system takes them back when it needs them."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            return
        for line in lines:
            name, _, value = line.partition(":")
            if name in _FIELDS:
                key = _FIELDS[name]
                peaks[key] = max(peaks.get(key, 0.0), round(int(value.split()[0]) / 1024, 1))
        time.sleep(_POLL_S)


def railcar_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "railcar", *arguments]
