"""A run's folder and its like in a bucket: sent there after each checkpoint, brought back on another machine.

Owns the order of uploads. The bucket has the same names as the folder, so that anybody can look into it. What makes a
checkpoint exist there is `complete.json`, its last object, with size and SHA-256 of the others:

    ADDRESS/checkpoints/step-00001000/variables.npz state.json checksums.json   then   complete.json
    ADDRESS/recipe.yaml metrics.jsonl ...                                       replaced, each as a whole
    old checkpoints                                                             go last, their complete.json first

So a kill between any two requests leaves the older complete checkpoint, and files that name no newer one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from railcar.errors import NotFound
from railcar.storage import remote
from railcar.storage.address import Address, parse
from railcar.storage.base import Entry
from railcar.storage.local import explain_output_errors, hash_file, sync_folder, write_atomic

COMPLETE = "complete.json"
CHECKPOINTS = "checkpoints"
FORMAT = 1
# A run exists once its manifest does; the pointers name checkpoints, which must be there before.
_LAST_SENT = ("best.json", "last.json")
_LAST_RESTORED = ("best.json", "last.json", "manifest.json")

_SMALL_BYTES = 32 << 20

FileSum = tuple[int, str]


@dataclass(frozen=True)
class Mirrored:
    """What one call sent, and the newest checkpoint that is complete there (None: there is none)."""

    n_files: int
    n_bytes: int
    newest_step: int | None


def mirror_folder(local: Path, address: str | Address) -> Mirrored:
    """Send what changed of a run's folder to `address`. Called again it sends nothing; after a kill, what was missing.

    Hidden files and folders are not sent. A checkpoint that disappears meanwhile is passed over. Raises `DataError`
    (`AccessDenied`, `Unreachable`); what is there is then usable, and the next call goes on.
    """
    place = parse(address)
    there = _list(place)
    sender = _Sender(place, there)
    steps = _local_steps(local)
    for name in steps.values():
        try:
            sender.send_checkpoint(local, f"{CHECKPOINTS}/{name}")
        except FileNotFoundError:
            continue
    sender.send_files(local, _small_files(local))
    if steps:
        _prune(place, there, set(steps.values()))
    return Mirrored(sender.n_files, sender.n_bytes, max(steps, default=None))


def restore_run(address: str | Address, local: Path) -> int | None:
    """Bring a run's files back into `local`, with its newest complete checkpoint, those that `best.json` and
    `last.json` name, and the one that was the best when the newest was written. Returns the newest's step; None where
    no checkpoint is complete.

    Every file of a checkpoint is verified; a damaged one is passed over for the next older. Files that are there
    already and are the same are not fetched. The run's manifest comes last: before it there is no run. Raises
    `NotFound` when nothing is at `address`.
    """
    place = parse(address)
    there = _list(place)
    if not there:
        raise NotFound(f"{place}: no run is there", hint="check the address; a run's own name is its last part")
    with explain_output_errors(local):
        local.mkdir(parents=True, exist_ok=True)
        newest = None
        for step, name in sorted(_remote_steps(there).items(), reverse=True):
            if _restore_checkpoint(place, there, name, local):
                newest = step
                break
        small = [name for name in there if not _is_in_checkpoint(name) and _is_safe(name)]
        for name in _ordered(small, _LAST_RESTORED):
            _restore_file(place, name, local / name)
            if name in _LAST_SENT:
                for wanted in _named_checkpoints(local / name, local, newest):
                    _restore_checkpoint(place, there, wanted, local)
        return newest


class _Sender:
    def __init__(self, place: Address, there: Mapping[str, Entry]) -> None:
        self._place = place
        self._there = there
        self.n_files = 0
        self.n_bytes = 0

    def send_checkpoint(self, local: Path, name: str) -> None:
        """Its files, then `complete.json`; nothing when what is there says the same."""
        sums = {path.name: (path.stat().st_size, hash_file(path)) for path in sorted((local / name).iterdir())}
        complete = f"{name}/{COMPLETE}"
        if complete in self._there:
            if _is_whole(self._there, name, sums) and _read_complete(self._place / complete) == sums:
                return
            remote.delete_object(self._place / complete)
        self._send_all(local, [f"{name}/{file}" for file in sums])
        record = {"format": FORMAT, "files": sums}
        remote.write(self._place / complete, json.dumps(record, indent=1).encode())
        self.n_files += 1

    def send_files(self, local: Path, names: Iterable[str]) -> None:
        ordered = _ordered(names, _LAST_SENT)
        first = [name for name in ordered if name not in _LAST_SENT]
        self._send_all(local, first, may_vanish=True)
        self._send_all(local, ordered[len(first) :], may_vanish=True)

    def _send_all(self, local: Path, names: list[str], *, may_vanish: bool = False) -> None:
        def send(name: str) -> int | None:
            try:
                return self._send(local / name, name)
            except FileNotFoundError:
                if not may_vanish:
                    raise
                return None

        with ThreadPoolExecutor(remote.N_PARALLEL, thread_name_prefix="railcar-mirror") as pool:
            for n_bytes in list(pool.map(send, names)):
                if n_bytes is not None:
                    self.n_files += 1
                    self.n_bytes += n_bytes

    def _send(self, path: Path, name: str) -> int | None:
        """The bytes that were sent; None when the object there is the same already."""
        entry = self._there.get(name)
        size = path.stat().st_size
        if entry is not None and entry.size == size and _is_same(path, entry):
            return None
        # A log may grow while it is sent: what is small is sent as it was at one moment.
        remote.write(self._place / name, path.read_bytes() if size <= _SMALL_BYTES else path)
        return size


def _list(place: Address) -> dict[str, Entry]:
    """What is at the address, by its name below it."""
    n = len(place.key.rstrip("/")) + 1 if place.key else 0
    return {entry.key[n:]: entry for entry in remote.list_objects(place)}


def _is_same(path: Path, entry: Entry) -> bool:
    if entry.md5 is None:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest() == entry.md5


def _local_steps(local: Path) -> dict[int, str]:
    folder = local / CHECKPOINTS
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return {step: name for name in sorted(names) if (step := _step_of(name)) is not None}


def _remote_steps(there: Mapping[str, Entry]) -> dict[int, str]:
    """Those that say that they are complete."""
    names = {name.split("/")[1] for name in there if _is_in_checkpoint(name) and name.endswith(f"/{COMPLETE}")}
    return {step: name for name in names if (step := _step_of(name)) is not None}


def _step_of(name: str) -> int | None:
    found = re.fullmatch(r"step-(\d+)", name)
    return int(found[1]) if found else None


def _small_files(local: Path) -> list[str]:
    """Every file that is not of a checkpoint; hidden ones and what lies in hidden folders left out."""
    found = []
    for folder, folders, names in os.walk(local):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        inside = Path(folder).relative_to(local)
        if inside.parts[:1] == (CHECKPOINTS,):
            continue
        found += [(inside / name).as_posix() for name in sorted(names) if not name.startswith(".")]
    return found


def _ordered(names: Iterable[str], last: tuple[str, ...]) -> list[str]:
    return sorted(names, key=lambda name: (last.index(name) + 1 if name in last else 0, name))


def _is_in_checkpoint(name: str) -> bool:
    return name.startswith(f"{CHECKPOINTS}/")


def _is_safe(name: str) -> bool:
    """Whether an object's name stays within the folder that it is restored to."""
    return ".." not in PurePosixPath(name).parts and not name.startswith("/") and "\0" not in name


def _prune(place: Address, there: Mapping[str, Entry], kept: set[str]) -> None:
    """Delete the checkpoints that the folder no longer has, each one's `complete.json` before the rest of it."""
    gone = [name for name in there if _is_in_checkpoint(name) and name.split("/")[1] not in kept]
    for name in sorted(gone, key=lambda one: (not one.endswith(f"/{COMPLETE}"), one)):
        remote.delete_object(place / name)


def _read_complete(address: Address) -> dict[str, FileSum] | None:
    try:
        found: dict[str, Any] = json.loads(remote.read(address))["files"]
        return {name: (int(size), str(digest)) for name, (size, digest) in found.items()}
    except (NotFound, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_whole(there: Mapping[str, Entry], name: str, sums: Mapping[str, FileSum]) -> bool:
    sizes = {file: there[f"{name}/{file}"].size for file in sums if f"{name}/{file}" in there}
    return sizes == {file: size for file, (size, _) in sums.items()}


def _restore_checkpoint(place: Address, there: Mapping[str, Entry], name: str, local: Path) -> bool:
    """Whether it is in `local`, whole, now."""
    remote_name = f"{CHECKPOINTS}/{name}"
    sums = _read_complete(place / f"{remote_name}/{COMPLETE}")
    if (
        not sums
        or not all(_is_safe(file) and "/" not in file for file in sums)
        or not _is_whole(there, remote_name, sums)
    ):
        return False
    target = local / CHECKPOINTS / name
    if target.is_dir() and _sums_of(target) == sums:
        return True
    partial = target.with_name(f".partial-{name}-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for file, (_, digest) in sums.items():
            with (partial / file).open("wb") as opened:
                for part in _read_parts(place / f"{remote_name}/{file}", sums[file][0]):
                    opened.write(part)
                opened.flush()
                os.fsync(opened.fileno())
            if hash_file(partial / file) != digest:
                return False
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        sync_folder(target.parent)
        return True
    except NotFound:  # pruned by the machine that trains
        return False
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read_parts(address: Address, size: int) -> Iterator[bytes]:
    part = 8 << 20
    return remote.read_spans((address, (at, min(at + part, size))) for at in range(0, size, part))


def _sums_of(folder: Path) -> dict[str, FileSum]:
    return {path.name: (path.stat().st_size, hash_file(path)) for path in folder.iterdir() if path.is_file()}


def _restore_file(place: Address, name: str, path: Path) -> None:
    try:
        content = remote.read(place / name)
    except NotFound:  # deleted since it was listed
        return
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, content)


def _named_checkpoints(pointer: Path, local: Path, newest: int | None) -> list[str]:
    """The checkpoint that a pointer names, and the best one by the time of the newest."""
    names = []
    try:
        names.append(json.loads(pointer.read_bytes())["checkpoint"])
        state = local / CHECKPOINTS / f"step-{newest or 0:08d}" / "state.json"
        names.append(f"step-{json.loads(state.read_bytes())['best_step']:08d}")
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return [name for name in names if isinstance(name, str) and _step_of(name) is not None]
