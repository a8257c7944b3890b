"""Locks that die with their process: `flock` on a file, released by the kernel however the process ends.

Owns taking and asking. A file system without locks, or a system without `flock` (Windows), is no fault: then nobody is
kept out, and `is_held` says that it does not know.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Asking takes the lock for a moment, too: who wants it for good tries again for so long.
_PATIENCE_S = 1.0
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "virtiofs", "fuse", "lustre", "ceph", "gpfs", "beegfs", "afs")


class LockHeld(Exception):
    """Another process has the lock."""


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Have the lock on `path` while entered; the file is made, and stays. Raises `LockHeld` when another has it."""
    if fcntl is None:
        yield
        return
    # Python's descriptors are not inherited by programs that this process starts: the lock is this process' alone.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while _try(descriptor, fcntl.LOCK_EX) is False:
            if time.monotonic() > deadline:
                raise LockHeld(str(path))
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Whether a process has the lock on `path`; None where that cannot be known: no such file, no locks there."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        taken = _try(descriptor, fcntl.LOCK_SH)
        return None if taken is None else not taken
    finally:
        os.close(descriptor)


def _try(descriptor: int, how: int) -> bool | None:
    """Take the lock if it is free. None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES) else None
    return True


def is_on_own_disk(path: Path) -> bool:
    """Whether only this computer can have `path` mounted, so that its locks tell of every process there is. False where
    the system does not say (no /proc)."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        there = str(path.resolve())
    except OSError:
        return False
    found, kind = "", ""
    for fields in (line.split() for line in mounts):
        point = fields[4].replace("\\040", " ")
        inside = there == point or there.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found):
            found, kind = point, fields[fields.index("-") + 1]
    return bool(kind) and not kind.startswith(_NETWORK_FILE_SYSTEMS)


def share_lock(path: Path) -> int | None:
    """Take part in the lock on `path`, which then nobody can hold alone; others may share it, too. Returns a descriptor
    that keeps it until it is closed; None where there are no locks, or another holds it alone."""
    if fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + _PATIENCE_S
    while (taken := _try(descriptor, fcntl.LOCK_SH)) is False and time.monotonic() < deadline:
        time.sleep(0.02)
    if taken:
        return descriptor
    os.close(descriptor)
    return None
