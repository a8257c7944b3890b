"""Files and folders of this computer: where the cache is, and writing that is whole or not there at all.

Owns atomic writes and the words for a disk that refuses. Knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from railcar.errors import OutputError

# In a folder of which a bucket has no whole copy yet.
UNSENT = ".unsent"
MOVED = "RAILCAR_MOVED"


def cache_dir() -> Path:
    """Where prepared and downloaded data is kept: `$RAILCAR_CACHE`, else `$XDG_CACHE_HOME/railcar`, else
    `~/.cache/railcar`. It need not exist yet."""
    if chosen := os.environ.get("RAILCAR_CACHE"):
        return Path(chosen).expanduser().absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser().absolute() / "railcar"
    return Path.home() / ".cache" / "railcar"


def expand_home(path: str | Path) -> Path:
    """`path` with a leading `~` or `~user` replaced; as it is when there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def find_here(path: str | Path) -> Path:
    """`path` on this computer, with a leading `~` replaced. On a machine that trains for another computer, what was
    copied there lies elsewhere: `RAILCAR_MOVED` (JSON, from paths there to paths here) tells where, so that a run says
    the same wherever it was trained."""
    found = expand_home(path)
    if not (moved := os.environ.get(MOVED)):
        return found
    for there, here in json.loads(moved).items():
        if found.is_relative_to(there):
            return Path(here) / found.relative_to(there)
    return found


@contextmanager
def explain_output_errors(path: Path, *, hint: str = "") -> Iterator[None]:
    """Turn what the disk says while `path` is written (full, read-only, not allowed) into `OutputError`."""
    try:
        yield
    except OSError as error:
        # numpy's short write has no number: "320000 requested and 155520 written"
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "requested and" in str(error):
            raise OutputError(
                f"{path}: the disk is full", hint=hint or f"free some space on the disk that holds {path.parent}"
            ) from error
        if error.errno == errno.EFBIG:
            raise OutputError(
                f"{path}: a limit on the size of files is reached", hint=hint or "raise it (ulimit -f)"
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise OutputError(
                f"{path} is not writable: {error.strerror}",
                hint=hint or "choose a folder that you may write to",
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise OutputError(
                f"{path} cannot be written: a file stands where a folder is needed", hint="choose another folder"
            ) from error
        raise


def check_writable(folder: Path) -> None:
    """Raise `OutputError` unless files could be made in `folder`, which need not exist. Leaves nothing behind."""
    folder = Path(folder).absolute()
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"{existing} is a file, not a folder", hint="choose another folder")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        what = f"{folder} is not writable: {reason}" if error.errno != errno.ENOSPC else f"{folder}: the disk is full"
        raise OutputError(what, hint="choose a folder that you may write to, with space left") from error


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` last through a power cut, where the system can (Windows cannot)."""
    if os.name == "nt":
        return
    _sync(folder, os.O_RDONLY)


def sync_file(path: Path) -> None:
    """Flush a file that is already written to the disk itself."""
    _sync(path, os.O_RDWR)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds the old or the new bytes at any moment, never a part. Makes the folder.

    Raises `OutputError` when the disk is full or refuses.
    """
    path = Path(path)
    with explain_output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def build_folder(target: Path) -> Iterator[Path]:
    """A new empty folder beside `target` that takes its name when the block ends well, and is removed when not.

    When another process got there first, its folder stays and ours goes: both hold the same.
    """
    with explain_output_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            yield folder
            for path in folder.iterdir():
                if path.is_file():
                    sync_file(path)
            sync_folder(folder)
            try:
                folder.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
            sync_folder(target.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove `folder` and what is in it; already gone is success. It is out of the way at once, by a rename."""
    with explain_output_errors(folder):
        doomed = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)) / "removed"
        try:
            folder.rename(doomed)
        except FileNotFoundError:
            pass
        finally:
            shutil.rmtree(doomed.parent, ignore_errors=True)
