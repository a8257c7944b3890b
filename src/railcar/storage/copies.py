"""Copies of remote data in the cache: where each one is, whether it is whole, which go when there is too much.

Owns the folders `remote/` of the cache, their locks and the limit of their size. Does not fetch: that is `fetch.py`'s.

    remote/<name>-<hash of the address>/data/    the files
                                        files.jsonl    what was fetched: a line for each file, as it came
                                        complete.json  written when all of them were there, verified
                                        partial/       files under way
    remote/.locks/<same name>.use   shared by every process that reads the copy, for as long as it lives
                  <same name>.fetch held by the one that fetches
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from railcar.errors import OutputError, UsageError
from railcar.storage.address import Address
from railcar.storage.local import cache_dir, remove_folder, write_atomic
from railcar.storage.lock import LockHeld, hold_lock, is_held, share_lock

Say = Callable[[str], None]
LIMIT_GB = 100.0
FORMAT = 1
# Descriptors of the locks of copies that this process uses: open until it ends.
_in_use: dict[Path, int | None] = {}


@dataclass(frozen=True)
class FileTag:
    """What a file was when it was fetched."""

    size: int
    etag: str


class Copy:
    """The copy of one address. Making the object touches nothing."""

    def __init__(self, address: Address) -> None:
        # The hash is over the query, too, which is not shown.
        digest = hashlib.sha256(f"{address.scheme}://{address.bucket}/{address.key}".encode()).hexdigest()[:16]
        name = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', address.name)[:40].strip('.-') or 'data'}-{digest}"
        self.address = address
        self.folder = _root() / name
        self.data = self.folder / "data"
        self.partial = self.folder / "partial"
        self._journal = self.folder / "files.jsonl"
        self._complete = self.folder / "complete.json"

    def use(self) -> None:
        """Keep it from being removed for as long as this process lives, and make it the one that was used last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _lock_path(self.folder, "use").parent.mkdir(exist_ok=True)
        if _in_use.get(self.folder) is None:
            _in_use[self.folder] = share_lock(_lock_path(self.folder, "use"))
        os.utime(self.folder)

    @contextmanager
    def fetching(self, say: Say) -> Iterator[None]:
        """Be the only one that fetches it; waits while another does."""
        with ExitStack() as stack:
            told = False
            while True:
                try:
                    stack.enter_context(hold_lock(_lock_path(self.folder, "fetch")))
                    break
                except LockHeld:
                    if not told:
                        say(f"waiting for another process that fetches {self.address}")
                    told = True
            yield

    def fetched(self) -> dict[str, FileTag]:
        """What is there, by name: fetched before and still of the same size."""
        found: dict[str, FileTag] = {}
        try:
            lines = self._journal.read_text(encoding="utf-8").splitlines()
        except OSError:
            return {}
        for line in lines:
            try:
                name, size, etag = json.loads(line)
            except ValueError:  # a line that a kill cut
                continue
            found[name] = FileTag(size, etag)
        return {name: tag for name, tag in found.items() if _size_of(self.data / name) == tag.size}

    def add(self, name: str, tag: FileTag) -> None:
        """Remember that a file came. Its line ends with the newline, so that one that was cut is none."""
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, tag.size, tag.etag]) + "\n")

    def target(self) -> Path | None:
        """What `fetch_tree` returns, when the copy was complete and every file still has its size; else None."""
        try:
            record = json.loads(self._complete.read_bytes())
            whole = record["format"] == FORMAT and all(
                _size_of(self.data / name) == size for name, (size, _) in record["files"].items()
            )
            return self.data / record["target"] if whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self) -> None:
        """From here on the copy is not complete."""
        self._complete.unlink(missing_ok=True)
        for folder in (self.data, self.partial):
            folder.mkdir(parents=True, exist_ok=True)
        if self._journal.exists() and not self._journal.read_bytes().endswith(b"\n"):
            with self._journal.open("a", encoding="utf-8") as file:
                file.write("\n")

    def finish(self, target: str, files: dict[str, FileTag]) -> Path:
        """Drop what is not among `files`, and remember that all of them are there."""
        for folder, _, names in os.walk(self.data, topdown=False):
            for name in names:
                path = Path(folder) / name
                if path.relative_to(self.data).as_posix() not in files:
                    path.unlink()
            if Path(folder) != self.data and not any(Path(folder).iterdir()):
                Path(folder).rmdir()
        shutil.rmtree(self.partial, ignore_errors=True)
        # Files were renamed without waiting for the disk, each: once for all of them is quicker.
        if hasattr(os, "sync"):
            os.sync()
        record = {
            "format": FORMAT,
            "address": str(self.address),
            "target": target,
            "files": {name: [tag.size, tag.etag] for name, tag in files.items()},
        }
        write_atomic(self._complete, json.dumps(record).encode())
        return self.data / target

    def make_room(self, n_bytes: int) -> list[str]:
        """Remove the copies that were used longest ago until `n_bytes` more fit under the limit; never one in use.

        Returns the names of those removed. Raises `OutputError` when it cannot be.
        """
        limit = limit_bytes()
        sizes = {folder: _measure(folder) for folder in list_copies()}
        total = sum(sizes.values()) + n_bytes
        removed = []
        for folder in sorted(sizes, key=lambda one: one.stat().st_mtime):
            if total <= limit:
                break
            if folder != self.folder and remove_unused(folder):
                total -= sizes[folder]
                removed.append(folder.name)
        if total > limit:
            raise OutputError(
                f"{self.address}: needs {n_bytes / 1e9:.2f} GB more in the cache, which may hold {limit / 1e9:g} GB "
                f"and has {(total - n_bytes) / 1e9:.2f} GB in use",
                hint=f"set RAILCAR_CACHE_LIMIT_GB to {total / 1e9:.0f} or more, or RAILCAR_CACHE to a larger disk"
                if total >= 1e9
                else "raise RAILCAR_CACHE_LIMIT_GB",
            )
        free = shutil.disk_usage(self.folder).free
        if n_bytes > free:
            raise OutputError(
                f"{self.folder}: {n_bytes / 1e9:.2f} GB are needed, and {free / 1e9:.2f} GB are free",
                hint="set RAILCAR_CACHE to a folder on a larger disk, or free some space",
            )
        return removed


def list_copies() -> list[Path]:
    """The folder of each copy."""
    root = _root()
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def is_fetched_now(folder: Path) -> bool:
    """Whether a process is at fetching the copy."""
    return bool(is_held(_lock_path(folder, "fetch")))


def read_address(folder: Path) -> str:
    """What a copy is of; empty while it is not complete."""
    try:
        return str(json.loads((folder / "complete.json").read_bytes())["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def limit_bytes() -> float:
    """How much all copies together may take: `$RAILCAR_CACHE_LIMIT_GB`, else 100 GB."""
    text = os.environ.get("RAILCAR_CACHE_LIMIT_GB", "")
    try:
        limit_gb = float(text) if text else LIMIT_GB
    except ValueError:
        limit_gb = -1.0
    if not limit_gb >= 0:
        raise UsageError(f"RAILCAR_CACHE_LIMIT_GB: {text!r} is no size", hint="for example RAILCAR_CACHE_LIMIT_GB=200")
    return limit_gb * 1e9


def _root() -> Path:
    return cache_dir() / "remote"


def _lock_path(folder: Path, kind: str) -> Path:
    # Beside the copies, and never removed: who waits for a lock must not wait for one of a file that is gone.
    return folder.parent / ".locks" / f"{folder.name}.{kind}"


def remove_unused(folder: Path) -> bool:
    """Remove a copy; False when a process uses it, or it is gone already."""
    try:
        with hold_lock(_lock_path(folder, "use")):
            remove_folder(folder)
    except (LockHeld, FileNotFoundError):
        return False
    return True


def _measure(folder: Path) -> int:
    return sum(_size_of(Path(parent) / name) or 0 for parent, _, names in os.walk(folder) for name in names)


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
