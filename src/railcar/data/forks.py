"""Processes forked from this one, for what threads would do one after the other because it is Python.

Owns whether this process may be forked, and that what was forked ends with it. A fork knows what this process knew, at
no cost; what it changes in memory stays its own, so that work has to return what it found, or write it to files.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any

# Their threads do not survive a fork, and may hold locks at that moment.
_THREADED = ("tensorflow", "jax", "torch")
_PR_SET_PDEATHSIG = 1

_work: Callable[[Any], Any] | None = None


def may_fork() -> bool:
    """Only Linux ends forks with their parent, when the thread that forked is the main one."""
    is_main = threading.current_thread() is threading.main_thread()
    return sys.platform == "linux" and is_main and not any(name in sys.modules for name in _THREADED)


class Forks(Executor):
    """So many processes that do `work` on what is submitted; what it returns or raises must be picklable. Raises
    `OSError` where the system cannot have them; `concurrent.futures.process.BrokenProcessPool` comes from a future when
    one was killed."""

    def __init__(self, work: Callable[[Any], Any], n_processes: int) -> None:
        # the locks of processes: imported where it is needed, which most commands do not
        import multiprocessing

        try:
            context = multiprocessing.get_context("fork")
            # as the context forks, what the initializer gets is inherited, not pickled
            self._pool = ProcessPoolExecutor(n_processes, context, _begin, (work, os.getpid()))
            self._pool.submit(os.getpid).result()  # all of them are forked by the first call
        except (ImportError, NotImplementedError) as error:
            raise OSError(f"no processes can be had: {error}") from error

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """`fn` is the `work` that all of them know: only what it is to be done on is sent."""
        del fn
        return self._pool.submit(_do, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def _begin(work: Callable[[Any], Any], parent: int) -> None:
    global _work
    import ctypes

    # it would write to all that was inherited, and so copy it
    gc.disable()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # Ctrl-C goes to all processes of a terminal: the parent decides what becomes of these
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _work = work


def _do(item: Any) -> Any:
    if _work is None:
        raise RuntimeError("a fork without work")
    return _work(item)
