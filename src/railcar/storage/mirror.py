"""A run's folder and its like in a bucket: sent there after each checkpoint, brought back on another machine.

Owns the order of uploads. The bucket has the same names as the folder, so that anybody can look into it. What makes a
checkpoint exist there is `complete.json`, its last object, with size and SHA-256 of the others:

    ADDRESS/recipe.yaml metrics.jsonl ...      first, each as a whole: a checkpoint counts on the history before it
    ADDRESS/checkpoints/step-00001000/variables.npz state.json checksums.json   then   complete.json
    ADDRESS/manifest.json best.json last.json  after what they speak of; the first manifest before the first checkpoint
    old checkpoints                            go last, their complete.json first

So a kill between any two requests leaves the older complete checkpoint, and files that name no newer one. The folder
may be written to meanwhile: checkpoints and the pointers to them are sent as they were together at one moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
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
MANIFEST = "manifest.json"
FORMAT = 1
_POINTERS = ("best.json", "last.json")
# A run exists once its manifest does, so it comes after what a run has from its first moment, and before checkpoints
# that nobody would find. The pointers name checkpoints, which must be there before.
_LAST_SENT = (MANIFEST, *_POINTERS)
_LAST_RESTORED = (*_POINTERS, MANIFEST)

_SMALL_BYTES = 32 << 20
_SNAPSHOT = ".sending"
_N_LOOKS = 20

FileSum = tuple[int, str]


@dataclass(frozen=True)
class Mirrored:
    """What one call sent, and the newest checkpoint that is complete there (None: there is none)."""

    n_files: int
    n_bytes: int
    newest_step: int | None


def mirror_folder(local: Path, address: str | Address, *, stop: threading.Event | None = None) -> Mirrored:
    """Send what changed of a run's folder to `address`. Called again it sends nothing; after a kill, what was missing.

    Hidden files and folders are not sent. Checkpoints may come and go meanwhile: those that there are when it begins
    are sent. One process at a time may do this for a folder. `stop`, once set, ends the trying again. Raises
    `DataError` (`AccessDenied`, `Unreachable`); what is there is then usable, and the next call goes on.
    """
    place = parse(address)
    there = _list(place, stop)
    sender = _Sender(place, there, stop)
    with _taking_snapshot(local) as snapshot:
        steps = list_steps(snapshot)
        small = _small_files(local)
        manifest = [name for name in small if name == MANIFEST]
        sender.send_files(local, [name for name in small if name not in _LAST_SENT])
        if MANIFEST not in there:
            sender.send_files(local, manifest)
        newest_first = sorted(steps.items(), reverse=True)
        sent = [step for step, name in newest_first if sender.send_checkpoint(snapshot, f"{CHECKPOINTS}/{name}")]
        if MANIFEST in there:
            sender.send_files(local, manifest)
        sender.send_files(snapshot, [name for name in _POINTERS if (snapshot / name).is_file()])
    if steps:
        _prune(place, there, set(steps.values()), stop)
    return Mirrored(sender.n_files, sender.n_bytes, max(sent, default=None))


def send_files(local: Path, address: str | Address, wanted: Iterable[str]) -> Mirrored:
    """Send what changed of the named files and folders of a run's folder; none of them is of a checkpoint."""
    place = parse(address)
    names = [name for name in _small_files(local) if any(name == one or name.startswith(f"{one}/") for one in wanted)]
    sender = _Sender(place, _list(place))
    sender.send_files(local, names)
    return Mirrored(sender.n_files, sender.n_bytes, None)


def restore_run(address: str | Address, local: Path, *, checkpoints: bool = True) -> int | None:
    """Bring a run's files back into `local`, with its newest complete checkpoint, those that `best.json` and
    `last.json` name, and the one that was the best when the newest was written. Returns the newest's step; None where
    no checkpoint is complete, or `checkpoints` says that none is needed.

    Every file of a checkpoint is verified; a damaged one is passed over for the next older. Files that are there
    already and are the same are not fetched. The run's manifest comes last: before it there is no run. What is in
    `local` is overwritten: whoever has something newer there must not call this. Raises `NotFound` when nothing is at
    `address`.
    """
    place = parse(address)
    there = _list(place)
    if not there:
        raise NotFound(f"{place}: no run is there", hint="check the address; a run's own name is its last part")
    with explain_output_errors(local):
        local.mkdir(parents=True, exist_ok=True)
        newest = None
        for step, name in sorted(_complete_steps(there).items(), reverse=True) if checkpoints else ():
            if _restore_checkpoint(place, there, name, local):
                newest = step
                break
        small = [name for name in there if not _is_in_checkpoint(name) and _is_safe(name)]
        with ThreadPoolExecutor(remote.N_PARALLEL, thread_name_prefix="railcar-restore") as pool:
            firsts = [name for name in small if name not in _LAST_RESTORED]
            list(pool.map(lambda name: _restore_file(place, there[name], name, local), firsts))
        for name in _LAST_RESTORED:
            if name not in there:
                continue
            _restore_file(place, there[name], name, local)
            for wanted in _named_checkpoints(local / name, local, newest) if checkpoints else ():
                _restore_checkpoint(place, there, wanted, local)
        return newest


def find_newest_step(address: str | Address) -> int | None:
    """The step of the newest checkpoint that says there that it is complete; it is not verified."""
    return max(_complete_steps(_list(parse(address) / CHECKPOINTS, prefix=f"{CHECKPOINTS}/")), default=None)


def list_steps(local: Path) -> dict[int, str]:
    """The checkpoints of a run's folder by their steps, rising; not verified."""
    folder = local / CHECKPOINTS
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return {step: name for name in sorted(names) if (step := _step_of(name)) is not None}


class _Sender:
    def __init__(self, place: Address, there: Mapping[str, Entry], stop: threading.Event | None = None) -> None:
        self._place = place
        self._there = there
        self._stop = stop
        self.n_files = 0
        self.n_bytes = 0

    def send_checkpoint(self, local: Path, name: str) -> bool:
        """Its files, then `complete.json`; nothing when what is there says the same. False for one that is damaged
        here: what is there may be whole, and stays."""
        sums = _sums_of(local / name)
        if not _is_intact(local / name, sums):
            return False
        complete = f"{name}/{COMPLETE}"
        if complete in self._there:
            if _is_whole(self._there, name, sums) and _read_complete(self._place / complete, self._stop) == sums:
                return True
            remote.delete_object(self._place / complete, stop=self._stop)
        self.send_files(local, [f"{name}/{file}" for file in sorted(sums)])
        record = {"format": FORMAT, "files": sums}
        remote.write(self._place / complete, json.dumps(record, indent=1).encode(), stop=self._stop)
        self.n_files += 1
        return True

    def send_files(self, local: Path, names: Iterable[str]) -> None:
        """Those that differ, in no order. One that has disappeared is passed over."""
        with ThreadPoolExecutor(remote.N_PARALLEL, thread_name_prefix="railcar-mirror") as pool:
            for n_bytes in list(pool.map(lambda name: self._send(local / name, name), names)):
                if n_bytes is not None:
                    self.n_files += 1
                    self.n_bytes += n_bytes

    def _send(self, path: Path, name: str) -> int | None:
        """The bytes that were sent; None when the object there is the same already, or the file is gone."""
        entry = self._there.get(name)
        try:
            size = path.stat().st_size
            if entry is not None and _is_same(path, entry):
                return None
            # A log may grow while it is sent: what is small is sent as it was at one moment.
            content = path.read_bytes() if size <= _SMALL_BYTES else path
            remote.write(self._place / name, content, stop=self._stop)
        except FileNotFoundError:
            return None
        return size


@contextmanager
def _taking_snapshot(local: Path) -> Iterator[Path]:
    """A hidden folder in `local` with its checkpoints and the pointers to them, as they were at one moment. They are
    hard links where there are such: training deletes old checkpoints while they are sent, and never changes one."""
    snapshot = local / _SNAPSHOT
    before: dict[str, bytes] = {}
    try:
        for _ in range(_N_LOOKS):
            shutil.rmtree(snapshot, ignore_errors=True)  # of a process that was killed, too
            (snapshot / CHECKPOINTS).mkdir(parents=True)
            before = _read_pointers(local)
            for name in list_steps(local).values():
                _link_folder(local / CHECKPOINTS / name, snapshot / CHECKPOINTS / name)
            if _read_pointers(local) == before:
                break
        for name, content in before.items():
            (snapshot / name).write_bytes(content)
        yield snapshot
    finally:
        shutil.rmtree(snapshot, ignore_errors=True)


def _read_pointers(local: Path) -> dict[str, bytes]:
    found = {}
    for name in _POINTERS:
        with suppress(FileNotFoundError):
            found[name] = (local / name).read_bytes()
    return found


def _link_folder(source: Path, target: Path) -> None:
    """All files of `source` in a new folder `target`, or none, where it is deleted meanwhile."""
    try:
        target.mkdir()
        for path in source.iterdir():
            try:
                (target / path.name).hardlink_to(path)
            except FileNotFoundError:
                raise
            except OSError:  # a file system without hard links
                shutil.copyfile(path, target / path.name)
        if not source.is_dir():
            raise FileNotFoundError(source)
    except FileNotFoundError:
        shutil.rmtree(target, ignore_errors=True)


def _list(place: Address, stop: threading.Event | None = None, *, prefix: str = "") -> dict[str, Entry]:
    """What is at the address, by its name below it with `prefix` before it. Hidden names are not the run's."""
    n = len(place.key.rstrip("/")) + 1 if place.key else 0
    found = {f"{prefix}{entry.key[n:]}": entry for entry in remote.list_objects(place, stop=stop)}
    return {name: entry for name, entry in found.items() if not _is_hidden(name)}


def _is_same(path: Path, entry: Entry) -> bool:
    if entry.md5 is None or not path.is_file() or entry.size != path.stat().st_size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest() == entry.md5


def _complete_steps(there: Mapping[str, Entry]) -> dict[int, str]:
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


def _is_in_checkpoint(name: str) -> bool:
    return name.startswith(f"{CHECKPOINTS}/")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _is_safe(name: str) -> bool:
    """Whether an object's name stays within the folder that it is restored to."""
    return ".." not in PurePosixPath(name).parts and not name.startswith("/") and "\0" not in name


def _prune(place: Address, there: Mapping[str, Entry], kept: set[str], stop: threading.Event | None) -> None:
    """Delete the checkpoints that the folder no longer has, each one's `complete.json` before the rest of it."""
    gone = [name for name in there if _is_in_checkpoint(name) and name.split("/")[1] not in kept]
    for name in sorted(gone, key=lambda one: (not one.endswith(f"/{COMPLETE}"), one)):
        remote.delete_object(place / name, stop=stop)


def _read_complete(address: Address, stop: threading.Event | None = None) -> dict[str, FileSum] | None:
    try:
        found: dict[str, Any] = json.loads(remote.read(address, stop=stop))["files"]
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


def _is_intact(folder: Path, sums: Mapping[str, FileSum]) -> bool:
    """Whether a checkpoint is what its own checksums say; one without any is damaged."""
    try:
        own = json.loads((folder / "checksums.json").read_bytes())
        return all(name in sums and sums[name][1] == digest for name, digest in own.items())
    except (FileNotFoundError, ValueError, AttributeError):
        return False


def _restore_file(place: Address, entry: Entry, name: str, local: Path) -> None:
    path = local / name
    if _is_same(path, entry):
        return
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
