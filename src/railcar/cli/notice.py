"""A notice when something long has ended: on the desktop, or by a command of the user's.

`RAILCAR_NOTIFY` is that command; it is run with two more words, a title and a text. Where it is not set, `notify-send`
(Linux) or `osascript` (macOS) is asked, if there is a desktop. That a notice fails is no error.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress

_WITHIN_S = 10.0


def give_notice(title: str, text: str) -> None:
    if (command := _find_command(title, text)) is None:
        return
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        subprocess.run(command, timeout=_WITHIN_S, check=False, **quiet)  # type: ignore[call-overload]


def _find_command(title: str, text: str) -> list[str] | None:
    if (chosen := os.environ.get("RAILCAR_NOTIFY")) is not None:
        return [*shlex.split(chosen), title, text] if chosen else None
    if sys.platform == "darwin" and shutil.which("osascript"):
        script = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"
        return ["osascript", "-e", script, title, text]
    has_desktop = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return ["notify-send", title, text] if has_desktop and shutil.which("notify-send") else None
