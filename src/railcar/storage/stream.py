"""Files of a bucket, read in parts while the whole of them comes into the cache.

Owns what a training that has begun needs of data that is not there yet: the parts that it asks for are read at once,
many at a time, and meanwhile `fetch.py` brings the files, one after the other; from then on parts are read from the
disk. Whether a part is what it should be is for its reader to check.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from railcar.errors import RailcarError
from railcar.storage.address import Address, parse
from railcar.storage.copies import Copy
from railcar.storage.fetch import SHORT_PATIENCE_S, Stopped, fetch_tree
from railcar.storage.images import read_image_file
from railcar.storage.local import cache_dir
from railcar.storage.remote import read_spans

__all__ = ["SHORT_PATIENCE_S", "Part", "Stream", "find_copy", "open_stream"]
# Small parts wait for answers, and take no memory.
_N_PARTS = 64

Part = tuple[str, int, int]
"""The name of a file below the address, and where in it: offset and number of bytes."""


class Stream:
    """The files below `place`, of a bucket."""

    def __init__(self, place: Address) -> None:
        self.place = place
        copy = Copy(place)
        copy.use()
        self._folder = copy.data / place.name
        self._there: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._n_users = 0
        self._stop = threading.Event()
        self._say: Callable[[str], None] | None = None

    def read(self, parts: Sequence[Part]) -> list[bytes]:
        """Their bytes, in order. Raises `DataError`: `NotFound`, `AccessDenied`, `Unreachable`."""
        contents: list[bytes] = [b""] * len(parts)
        missing = []
        for number, (name, offset, n_bytes) in enumerate(parts):
            if self._is_there(name):
                contents[number], _ = read_image_file(self._folder / name, offset=offset, n_bytes=n_bytes)
            else:
                missing.append(number)
        if not missing:
            return contents
        requests = ((self.place / name, (at, at + n)) for name, at, n in (parts[number] for number in missing))
        for number, content in zip(missing, read_spans(requests, min(_N_PARTS, len(missing))), strict=True):
            contents[number] = content
        with self._lock:
            say, self._say = self._say, None
        if say:
            threading.Thread(target=self._bring, args=(say,), name="railcar-stream", daemon=True).start()
        return contents

    def _is_there(self, name: str) -> bool:
        if not self._there.get(name):
            self._there[name] = (self._folder / name).is_file()
        return self._there[name]

    @contextmanager
    def bringing(self, say: Callable[[str], None]) -> Iterator[None]:
        """While this lasts, after the first parts were read, all files come into the cache. What stands in the way is
        said, and no reason to stop: parts are read all the same."""
        self._n_users += 1
        if self._n_users == 1:
            self._stop, self._say = threading.Event(), say
        try:
            yield
        finally:
            self._n_users -= 1
            if not self._n_users:
                self._say = None
                self._stop.set()

    def _bring(self, say: Callable[[str], None]) -> None:
        stop = self._stop
        try:
            fetch_tree(self.place, say=say, stop=stop)
        except Stopped:
            return
        except RailcarError as error:
            if not stop.is_set():
                say(f"{error.what}; the data is read from there again in each epoch")


def open_stream(address: str) -> Stream:
    """The one of this process for `address`."""
    return _open(address, cache_dir(), os.getpid())


@lru_cache(maxsize=8)
def _open(address: str, cache: Path, process: int) -> Stream:
    return Stream(parse(address))


def find_copy(address: Address) -> Path | None:
    """The folder that a complete copy of what lies below `address` is in."""
    return Copy(address).target()
