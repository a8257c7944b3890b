"""What lies in the cache: prepared data, unpacked archives, downloads, copies of buckets and of runs in buckets; how
large it is, when it was used, and how it is removed.

Owns what counts as an entry, and that none is touched which is being built, or which is nowhere else. What is inside is
others' business.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from railcar.storage.copies import is_fetched_now, read_address, remove_unused
from railcar.storage.local import UNSENT, cache_dir, remove_folder

KINDS = {
    "prepared": "prepared data",
    "unpacked": "unpacked archive",
    "datasets": "download",
    "remote": "remote copy",
    "runs": "copy of a run",
    "serving": "model made ready for serving",
}
"""Folder of the cache -> what an entry in it is called."""

# `build_folder` gives a folder that is being built a name with a point before it; killed, it leaves it. Nothing says
# which of both it is but time.
MAX_BUILD_S = 7 * 86400
_INDEX = "prepared.json"
_LOCKS = ".locks"


@dataclass(frozen=True)
class CacheEntry:
    """`what` says what is inside, as far as it is known. `used` is when a file of it was last read or written, as the
    file system tells (to the day, on most). `is_building`: a process is at it, or may be. `is_unsent`: a run
    that its bucket lacks, or has in part."""

    kind: str
    name: str
    path: Path
    what: str
    n_bytes: int
    used: datetime
    is_building: bool = False
    is_unsent: bool = False


def list_entries(folder: Path | None = None) -> list[CacheEntry]:
    """All entries of the cache (or of `folder`), those used last first."""
    root = folder or cache_dir()
    entries = [
        _describe(path, kind)
        for name, kind in KINDS.items()
        if (root / name).is_dir()
        for path in sorted((root / name).glob("*/*" if name == "runs" else "*"))
        if path.is_dir() and not path.is_symlink() and path.name != _LOCKS
    ]
    return sorted(entries, key=lambda one: one.used, reverse=True)


def choose_entries(entries: Sequence[CacheEntry], *, older_than_s: float = 0.0) -> list[CacheEntry]:
    """Those that are not being built, can be had again and were not used for so long."""
    now = datetime.now(UTC)
    free = [one for one in entries if not (one.is_building or one.is_unsent)]
    return [one for one in free if (now - one.used).total_seconds() >= older_than_s]


def remove_entry(entry: CacheEntry) -> int | None:
    """Remove it whole; returns the bytes that it had, or None when a process uses it and it stays. Already gone is
    success, and frees nothing. Raises `OutputError` where it may not be removed."""
    if not entry.path.is_dir():
        return 0
    if entry.kind == KINDS["remote"]:
        return entry.n_bytes if remove_unused(entry.path) else None
    # Whoever has it open keeps what is open; whoever opens it next makes it again.
    remove_folder(entry.path)
    return entry.n_bytes


def _describe(path: Path, kind: str) -> CacheEntry:
    n_bytes, used = 0, 0.0
    for file in _list_files(path):
        try:
            found = file.stat(follow_symlinks=False)
        except OSError:  # it went while we looked
            continue
        n_bytes += found.st_size
        # The index is read by this very listing.
        used = max(used, found.st_mtime, 0.0 if file.name == _INDEX else found.st_atime)
    if not used:
        used = path.stat().st_mtime
    is_hidden = path.name.startswith(".")
    is_building = is_hidden and time.time() - used < MAX_BUILD_S
    if kind == KINDS["remote"]:
        used, is_building = path.stat().st_mtime, is_fetched_now(path)
    is_unsent = (path / UNSENT).exists()
    what = "being built" if is_building else "left by a process that was killed" if is_hidden else _say_what(path, kind)
    return CacheEntry(kind, path.name, path, what, n_bytes, datetime.fromtimestamp(used, UTC), is_building, is_unsent)


def _list_files(folder: Path) -> Iterator[Path]:
    for inner in folder.rglob("*"):
        if inner.is_symlink() or not inner.is_dir():
            yield inner


def _say_what(path: Path, kind: str) -> str:
    if kind == KINDS["datasets"]:
        return path.name
    if kind == KINDS["runs"]:
        bucket = path.parent.name.rpartition("-")[0]
        return f"{'not sent to' if (path / UNSENT).exists() else 'of'} {bucket}"
    if kind == KINDS["remote"]:
        return read_address(path) or f"{path.name.rpartition('-')[0]}, not complete"
    if kind == KINDS["serving"]:
        return _read_artifact_path(path)
    if kind == KINDS["unpacked"]:
        return next((one.name for one in path.iterdir()), "empty")
    try:
        index = json.loads((path / _INDEX).read_text(encoding="utf-8"))
        n = sum(side["n"] for side in index["sides"].values())
        noun = {"image": "images", "text": "texts", "table": "rows"}[index.get("kind", "image")]
        return f"{n:,} {noun} ({index['form']})"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "damaged"


def _read_artifact_path(path: Path) -> str:
    try:
        return f"of {json.loads((path / 'about.json').read_bytes())['artifact']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"
