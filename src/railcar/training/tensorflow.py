"""TensorFlow, imported without its chatter. Owns the import and nothing of what is done with it.

The lines that TensorFlow's C++ writes to file descriptor 2 while it loads (absl before its logger is set up, oneDNN's
notice, CUDA libraries that it looked for in vain) go to a log or to nowhere; errors come as ours.
"""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

from railcar.errors import RailcarError
from railcar.registry import check_tensorflow
from railcar.training.hardware import cpu_flags, describe_memory

_lock = threading.Lock()
_is_ready = False
_importing: threading.Thread | None = None
# Where stderr is turned, newest last, as descriptors; the first is the terminal's. Empty when it is where it belongs.
_targets: list[int] = []
_turning = threading.Lock()
# The rest is for Python, the data's pages and the system.
_SHARE_OF_MEMORY = 0.9
# Keras imports them where they are installed, for what none of our commands does: as long as all the rest of it.
_UNUSED = frozenset({"sklearn", "matplotlib", "pandas"})


def import_tensorflow(log_path: Path | str | None = None, *, needed_for: str = "this command") -> ModuleType:
    """The module `tensorflow`, its devices found, nothing of it written to the user's terminal.

    `log_path`: a file to which what TensorFlow said is appended; nowhere when absent. Raises `MissingExtra` when it is
    not installed and `RailcarError` when it is but cannot be loaded. Costs 3 to 6 seconds the first time.
    """
    global _is_ready
    check_tensorflow(needed_for)
    _check_processor(cpu_flags())
    with _lock:
        if _is_ready:
            return sys.modules["tensorflow"]
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        _keep_memory()
        with quiet_stderr(log_path), _lean():
            module = _load()
        _is_ready = True
        return module


def begin_import() -> None:
    """Begin to import TensorFlow in a thread, for who waits for something else now and will need it:
    `import_tensorflow` then only waits for what is left. Who may end before that calls `await_import`."""
    global _importing
    if _importing is None and not _is_ready:
        _importing = threading.Thread(target=_try_import, name="railcar-import", daemon=True)
        _importing.start()


def await_import() -> None:
    """Wait until what `begin_import` began is over: stderr is turned away until then."""
    if _importing is not None:
        _importing.join()


def _try_import() -> None:
    with contextlib.suppress(RailcarError):  # it comes again where somebody hears it
        import_tensorflow()


def _keep_memory() -> None:
    """Let TensorFlow keep the memory of tensors that are gone for the next ones.

    Otherwise each goes back to the system, which hands out large ones page by page: that takes up to five times as long
    as the operation that fills them. More than the machine has is then an error of TensorFlow's, where the kernel would
    end the process. Both settings are read when TensorFlow starts; a user's own stay.
    """
    for name, value in memory_settings().items():
        os.environ.setdefault(name, value)


def memory_settings(n_processes: int = 1) -> dict[str, str]:
    """Environment variables of each of so many processes that share this machine's memory; none where its size is
    unknown."""
    memory = describe_memory()
    known = [size for size in (memory["limit_gb"], memory["total_gb"]) if size]
    if not known:
        return {}
    limit_mb = int(min(known) * 1024 * _SHARE_OF_MEMORY / n_processes)
    return {"TF_CPU_ALLOCATOR_USE_BFC": "true", "TF_CPU_BFC_MEM_LIMIT_IN_MB": str(limit_mb)}


def _check_processor(flags: frozenset[str]) -> None:
    """TensorFlow's x86 builds end the process, with a line that would be lost, where AVX is missing."""
    if flags and platform.machine().lower() in ("x86_64", "amd64") and "avx" not in flags:
        raise RailcarError(
            "this processor has no AVX instructions, which TensorFlow needs",
            hint="use another computer; in a virtual machine, let it pass the host's processor through",
        )


@contextlib.contextmanager
def _lean() -> Iterator[None]:
    """In the process of a command (`cli/main.py` says so), spare the import what only other programs need: half of its
    time. A user's own Python gets all of Keras."""
    if "RAILCAR_COMMAND" not in os.environ:
        yield
        return
    finder = _Absent(threading.get_ident())
    sys.meta_path.insert(0, finder)
    was_enabled = gc.isenabled()
    gc.disable()  # modules are no garbage
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        if was_enabled:
            gc.enable()


class _Absent(MetaPathFinder):
    """To one thread, `_UNUSED` are not installed; what is imported already stays."""

    def __init__(self, thread: int) -> None:
        self._thread = thread

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname in _UNUSED and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is not needed", name=fullname)


def _load() -> ModuleType:
    try:
        import tensorflow as tf

        # The first look at the devices is what CUDA and absl have most to say about.
        tf.config.list_physical_devices()
        tf.sysconfig.get_build_info()
    except Exception as error:
        # A broken installation fails with anything: ImportError, a protobuf TypeError, a numpy AttributeError.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise RailcarError(
            f"TensorFlow is installed but cannot be loaded: {type(error).__name__}: {lines[0]}",
            hint='install it afresh in a new virtual environment: pip install "railcar[cpu]"',
        ) from error
    return tf


@contextlib.contextmanager
def quiet_stderr(log_path: Path | str | None = None) -> Iterator[None]:
    """Point file descriptor 2 at a file (appending) or at nowhere for a while; it is one for the whole process.

    For what TensorFlow says below Python: when it loads, and when the first operation starts a GPU. Threads may come
    and go in any order: the newest place counts, and the terminal is back when the last has left.
    """
    try:
        target = _turn_to(Path(log_path) if log_path else Path(os.devnull))
    except OSError:  # there is no stderr: nothing to keep quiet
        yield
        return
    try:
        yield
    finally:
        _turn_back(target)


def _open_log(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _turn_to(path: Path) -> int:
    with _turning:
        if not _targets:
            _targets.append(os.dup(2))
        target = _open_log(path)
        sys.stderr.flush()
        os.dup2(target, 2)
        _targets.append(target)
        return target


def _turn_back(target: int) -> None:
    with _turning:
        _targets.remove(target)
        sys.stderr.flush()
        os.dup2(_targets[-1], 2)
        os.close(target)
        if len(_targets) == 1:
            os.close(_targets.pop())
