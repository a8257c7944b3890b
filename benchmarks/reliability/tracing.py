"""A process killed exactly before its n-th file-system call: `ptrace` stops it there, and SIGKILL ends it before the
kernel does what was asked. What the disk holds then is what the calls before have made of it.

Owns the tracing and nothing of what is traced. Linux on x86-64 or ARM; no compiler and no other program needed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from collections.abc import Callable
from pathlib import Path

_TRACE_ME, _SYSCALL, _SET_OPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_OPTIONS = 0x1 | 0x8 | 0x100000  # tell calls from signals; follow new threads; kill with the tracer
_ENTRY = 1
_X86_64 = {
    "write": 1, "open": 2, "pwrite64": 18, "writev": 20, "fsync": 74, "fdatasync": 75, "ftruncate": 77, "rename": 82,
    "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "fchmod": 91,
    "openat": 257, "mkdirat": 258, "unlinkat": 263, "renameat": 264, "linkat": 265, "fchmodat": 268, "fallocate": 285,
    "pwritev": 296, "renameat2": 316, "copy_file_range": 326,
}  # fmt: skip
_AARCH64 = {
    "mkdirat": 34, "unlinkat": 35, "linkat": 37, "renameat": 38, "ftruncate": 46, "fallocate": 47, "fchmod": 52,
    "fchmodat": 53, "openat": 56, "write": 64, "writev": 66, "pwrite64": 68, "pwritev": 70, "fsync": 82,
    "fdatasync": 83, "renameat2": 276, "copy_file_range": 285,
}  # fmt: skip
_CALLS = {number: name for name, number in (_X86_64 if platform.machine() == "x86_64" else _AARCH64).items()}
_OPEN_FLAGS = {"open": 1, "openat": 2}


class _SyscallInfo(ctypes.Structure):
    """struct ptrace_syscall_info, as it is at the entry of a call."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


def run_until_call(work: Callable[[], None], n: int, log: Path) -> tuple[list[str], bool]:
    """Do `work` in a child that is killed before its `n`-th call that can change files (from 1). Returns the names of
    the calls, the one that was not let through included, and whether the child came to its end."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    libc.ptrace.restype = ctypes.c_long
    child = os.fork()
    if child == 0:
        _be_traced(libc, work, log)
    os.waitpid(child, 0)
    if libc.ptrace(_SET_OPTIONS, child, None, _OPTIONS):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise OSError(ctypes.get_errno(), "this system does not let a process trace its own child")
    libc.ptrace(_SYSCALL, child, None, None)
    return _follow(libc, child, n)


def _be_traced(libc: ctypes.CDLL, work: Callable[[], None], log: Path) -> None:
    status = 70
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(target, 1)
        os.dup2(target, 2)
        libc.ptrace(_TRACE_ME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()
        status = 0
    finally:
        os._exit(status)


def _follow(libc: ctypes.CDLL, child: int, n: int) -> tuple[list[str], bool]:
    calls: list[str] = []
    while True:
        thread, status = os.waitpid(-1, 0x40000000)  # __WALL: threads, too
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if thread == child:
                return calls, os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
            continue
        stopped_by = os.WSTOPSIG(status)
        is_call = stopped_by == signal.SIGTRAP | 0x80
        if is_call and (name := _name_of_call(libc, thread)):
            calls.append(name)
            if len(calls) == n:
                os.kill(child, signal.SIGKILL)
                continue
        # SIGSTOP greets a new thread, SIGTRAP an event; other signals are the process' own.
        own = 0 if is_call or stopped_by in (signal.SIGTRAP, signal.SIGSTOP) else stopped_by
        libc.ptrace(_SYSCALL, thread, None, own)


def _name_of_call(libc: ctypes.CDLL, thread: int) -> str | None:
    """The call that `thread` is about to make, if it can change files."""
    info = _SyscallInfo()
    libc.ptrace(_GET_SYSCALL_INFO, thread, ctypes.sizeof(info), ctypes.addressof(info))
    name = _CALLS.get(info.number) if info.op == _ENTRY else None
    if name in _OPEN_FLAGS and not info.arguments[_OPEN_FLAGS[name]] & (os.O_CREAT | os.O_TRUNC):
        return None
    return name
