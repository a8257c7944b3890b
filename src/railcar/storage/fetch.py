"""What lies at a remote address -> the same files in the cache: many at a time, resumed, verified.

Owns what is fetched and in which order. The cache's folders are `copies.py`'s, single requests `remote.py`'s and
`download.py`'s.

A tree is the listing and nothing else: what is there with the tag that the listing gives stays, what is not in it goes.
An object of more than two parts is fetched in parts, each of which is remembered: a kill costs at most those under way.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from railcar.errors import DataError, NotFound, Unreachable
from railcar.storage.address import Address, parse, url_of
from railcar.storage.base import Entry
from railcar.storage.copies import Copy, FileTag, Say
from railcar.storage.download import download_part, stat_url
from railcar.storage.local import explain_output_errors
from railcar.storage.parts import PART_BYTES, PartialFile
from railcar.storage.remote import N_PARALLEL, ask, list_objects, read_view, stat, suggest
from railcar.storage.retry import patience_s

Progress = Callable[[str, int, int], None]
"""Called with what is done ("fetching photos, MB"), how many megabytes are there, and of how many."""

# Who has a complete copy need not wait long for a network that is not there.
SHORT_PATIENCE_S = 5.0
# Of small objects more at a time: they wait for answers, and take no memory.
_N_SMALL = 64
_SMALL_BYTES = 1 << 20
_N_AHEAD = 4 * _N_SMALL


class Stopped(Exception):
    """Somebody who wanted the files does not want them any more; what came stays."""


_listener: ContextVar[Say | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(say: Say) -> Iterator[None]:
    """While entered, `say` is told what this thread fetches has to say, in place of stderr. It is handed over so
    because those who fetch are far below those who know how much is printed."""
    token = _listener.set(say)
    try:
        yield
    finally:
        _listener.reset(token)


def print_note(text: str) -> None:
    """Say something to the user: to who listens, else on stderr."""
    say = _listener.get()
    if say is not None:
        say(text)
    else:
        print(text, file=sys.stderr)


def fetch_tree(
    address: str | Address,
    progress: Progress | None = None,
    *,
    say: Say = print_note,
    stop: threading.Event | None = None,
) -> Path:
    """The object at `address`, or everything below it, as a file or folder of the cache. A local path stays itself.

    What was fetched before and has not changed is not fetched again. When the address cannot be reached and a complete
    copy is there, that is used, and said. It is kept from being removed while this process lives. Setting `stop` ends
    it with `Stopped`.

    Raises `NotFound`, `AccessDenied`, `Unreachable` (the same call goes on where it was) and `OutputError`.
    """
    place = parse(address)
    if place.scheme == "file":
        return Path(place.key)
    copy = Copy(place)
    with explain_output_errors(copy.folder, hint="set RAILCAR_CACHE to a folder with space that you may write to"):
        copy.use()
        with copy.fetching(say):
            complete = copy.target()
            within_s = min(SHORT_PATIENCE_S, patience_s()) if complete else None
            try:
                if place.is_web:
                    return _fetch_file(place, copy, progress, within_s)
                files, target = _look(place, within_s)
            except Unreachable as error:
                if complete is None:
                    raise
                say(f"{error.what}; the copy that was fetched and verified before is used: {complete}")
                return complete
            return _fetch_files(place, copy, files, target, progress, say, stop or threading.Event())


def _look(place: Address, within_s: float | None) -> tuple[dict[str, Entry], str]:
    """What there is to fetch, by its name below the copy's data, and the name of the whole."""
    root = "data" if place.name in (".", "..") else place.name
    if place.key and not place.key.endswith("/") and (entry := stat(place, within_s=within_s)):
        return {root: entry}, root
    prefix = f"{place.key.rstrip('/')}/" if place.key else ""
    files = {f"{root}/{one.key[len(prefix) :]}": one for one in list_objects(place, within_s=within_s)}
    if not files:
        near = get_close_matches(place.name, suggest(place), n=1)
        parent = str(Address(place.scheme, place.bucket, place.key.rstrip("/").rpartition("/")[0]))
        hint = f"did you mean {parent}/{near[0]}?" if near else "check the address: upper and lower case count"
        raise NotFound(f"{place}: no such object, and nothing below it", hint=hint)
    _check_names(place, files)
    return files, root


def _check_names(place: Address, files: dict[str, Entry]) -> None:
    """Refuse keys that are no paths: they would lead out of the folder, or cannot lie in one."""
    for name, entry in files.items():
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise DataError(
                f"{place.scheme}://{place.bucket}/{entry.key}: a key that cannot be a path", hint="rename the object"
            )
        for n in range(1, len(parts)):
            if (parent := "/".join(parts[:n])) in files:
                raise DataError(
                    f"{place.scheme}://{place.bucket}/{files[parent].key}: an object and a folder at once",
                    hint="rename one of the two",
                )


def _fetch_files(
    place: Address,
    copy: Copy,
    files: dict[str, Entry],
    target: str,
    progress: Progress | None,
    say: Say,
    stop: threading.Event,
) -> Path:
    tags = {name: FileTag(entry.size, entry.etag) for name, entry in files.items()}
    there = copy.fetched()
    missing = {name: entry for name, entry in files.items() if there.get(name) != tags[name]}
    if not missing and there.keys() == tags.keys() and copy.target() == copy.data / target:
        return copy.data / target
    copy.begin()
    n_bytes = sum(entry.size for entry in missing.values())
    for removed in copy.make_room(n_bytes):
        say(f"removed from the cache, not used for longest: {removed}")
    n_all = sum(entry.size for entry in files.values())
    meter = _Meter(progress, f"fetching {place.name}, MB", n_all - n_bytes, n_all)
    fetch = _Fetch(place, copy, missing, meter, stop)
    fetch.run()
    return copy.finish(target, tags)


@dataclass
class _Meter:
    """Bytes that came, told in megabytes and not more often than they change."""

    progress: Progress | None
    what: str
    n_done: int
    n_all: int

    def add(self, n_bytes: int) -> None:
        before = self.n_done // 1_000_000
        self.n_done += n_bytes
        if self.progress and (self.n_done // 1_000_000 != before or self.n_done == self.n_all):
            self.progress(self.what, self.n_done // 1_000_000, max(1, self.n_all // 1_000_000))


class _Fetch:
    """Fetches files of one tree. Threads fetch and write; this one hands out work and keeps the journal."""

    def __init__(
        self, place: Address, copy: Copy, missing: dict[str, Entry], meter: _Meter, stop: threading.Event
    ) -> None:
        self._place = place
        self._copy = copy
        self._missing = missing
        self._meter = meter
        self._stop = stop
        self._large = threading.BoundedSemaphore(N_PARALLEL)
        self._partial: dict[str, PartialFile] = {}

    def run(self) -> None:
        """Raises the first error, after what was under way has been given up."""
        work = self._list_work()
        running: set[Future[tuple[str, int]]] = set()
        done: set[Future[tuple[str, int]]] = set()
        n_threads = _N_SMALL if any(one.size <= _SMALL_BYTES for one in self._missing.values()) else N_PARALLEL
        with ThreadPoolExecutor(n_threads, thread_name_prefix="railcar-fetch") as pool:
            try:
                while True:
                    # Few are handed out ahead: a million futures would fill the memory.
                    for call in work:
                        running.add(pool.submit(*call))
                        if len(running) >= _N_AHEAD:
                            break
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    if self._stop.is_set():
                        raise Stopped
                    while done:
                        self._take(*done.pop().result())
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                # What came meanwhile need not come again.
                for one in done | running:
                    if not one.cancelled() and one.exception() is None:
                        self._take(*one.result())
                raise
            finally:
                for partial in self._partial.values():
                    partial.close()

    def _list_work(self) -> Iterator[tuple]:
        for name, entry in self._missing.items():
            if entry.size <= 2 * PART_BYTES:
                yield self._fetch_whole, name, entry
                continue
            partial = PartialFile(self._copy.partial, name, entry)
            self._partial[name] = partial
            self._meter.add(partial.n_done)
            if not partial.missing_parts():
                yield self._close, name
            for number in partial.missing_parts():
                yield self._fetch_part, name, number

    def _address(self, entry: Entry) -> Address:
        return Address(self._place.scheme, self._place.bucket, entry.key)

    def _fetch_whole(self, name: str, entry: Entry) -> tuple[str, int]:
        with self._large if entry.size > _SMALL_BYTES else nullcontext():
            content = read_view(self._address(entry), expected=entry, stop=self._stop)
        path = self._copy.partial / hashlib.sha256(name.encode()).hexdigest()
        path.write_bytes(content)
        self._put(path, name)
        return name, len(content)

    def _fetch_part(self, name: str, number: int) -> tuple[str, int]:
        partial = self._partial[name]
        with self._large:
            content = read_view(
                self._address(partial.entry), partial.span(number), expected=partial.entry, stop=self._stop
            )
        if partial.write(number, content):
            self._close(name)
            return name, len(content)
        return "", len(content)

    def _close(self, name: str) -> tuple[str, int]:
        self._put(self._partial[name].finish(self._address(self._partial[name].entry)), name)
        return name, 0

    def _put(self, path: Path, name: str) -> None:
        target = self._copy.data / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)

    def _take(self, name: str, n_bytes: int) -> None:
        if name:
            entry = self._missing[name]
            self._copy.add(name, FileTag(entry.size, entry.etag))
        self._meter.add(n_bytes)


def _fetch_file(place: Address, copy: Copy, progress: Progress | None, within_s: float | None) -> Path:
    """One file of a web server."""
    url = url_of(place)
    name = place.name.replace("\0", "")
    name = "data" if name in (".", "..") else name.replace("/", "-")
    now = ask(place, lambda _: stat_url(url), within_s=within_s)
    there = copy.fetched().get(name)
    complete = copy.target()
    if complete and there and now.tag and there == FileTag(now.size if now.size is not None else there.size, now.tag):
        return complete
    copy.begin()
    copy.make_room(now.size or 0)
    partial = copy.partial / "file"
    meter = _Meter(progress, f"fetching {name}, MB", 0, now.size or 0)

    def tell(n_done: int, n_all: int) -> None:
        meter.n_all = n_all
        meter.add(n_done - meter.n_done)

    while True:
        n_before = partial.stat().st_size if partial.is_file() else 0
        try:
            version = ask(place, lambda _: download_part(url, partial, tell))
            break
        except Unreachable:
            # Patience is for a server that gives nothing; one that gives a little each time is asked on.
            if not partial.is_file() or partial.stat().st_size <= n_before:
                raise
    tag = FileTag(partial.stat().st_size, version.tag)
    partial.replace(copy.data / name)
    copy.add(name, tag)
    return copy.finish(name, {name: tag})
