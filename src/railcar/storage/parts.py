"""A large object that comes in parts, out of order: which of them are on the disk, whatever was killed when.

Owns the file under way and the list of its parts beside it. A part is in the list only after its bytes are on the disk.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from railcar.storage.address import Address
from railcar.storage.base import Entry, Span
from railcar.storage.remote import check_md5_of_file

PART_BYTES = 8 << 20


class PartialFile:
    """One object on its way into `folder`. Its file is named after name, tag and size: other content, other file."""

    def __init__(self, folder: Path, name: str, entry: Entry) -> None:
        self.entry = entry
        digest = hashlib.sha256(f"{name}\0{entry.etag}\0{entry.size}".encode()).hexdigest()
        self._path = folder / f"{digest}.parts"
        self._list = folder / f"{digest}.list"
        self._lock = threading.Lock()
        self._hash_lock = threading.Lock()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._n_hashed = 0
        self._n_parts = -(-entry.size // PART_BYTES)
        self._done = self._read_list()
        # The file keeps its holes until they are filled.
        with self._path.open("ab") as file:
            file.truncate(entry.size)
        self._file = self._path.open("r+b", buffering=0)

    @property
    def n_done(self) -> int:
        """Bytes that are there."""
        return sum(stop - start for start, stop in map(self.span, self._done))

    def missing_parts(self) -> list[int]:
        return [number for number in range(self._n_parts) if number not in self._done]

    def span(self, number: int) -> Span:
        return number * PART_BYTES, min((number + 1) * PART_BYTES, self.entry.size)

    def write(self, number: int, content: memoryview) -> bool:
        """Put a part in its place; True when it was the last one."""
        with self._lock:
            self._file.seek(self.span(number)[0])
            while content:
                content = content[self._file.write(content) :]
        os.fsync(self._file.fileno())
        with self._lock:
            with self._list.open("a") as file:
                file.write(f"{number}\n")
            self._done.add(number)
            is_last = len(self._done) == self._n_parts
        # Whoever is at it goes on to the parts that came meanwhile; the last one waits for its turn.
        if self._hash_lock.acquire(blocking=is_last):
            try:
                self._hash_on()
            finally:
                self._hash_lock.release()
        return is_last

    def finish(self, address: Address) -> Path:
        """The whole file, verified where its service gives a checksum. Raises `DataError` when it came damaged."""
        self._hash_on()
        self.close()
        self._list.unlink(missing_ok=True)
        check_md5_of_file(address, self.entry, self._path, self._md5.digest())
        return self._path

    def _hash_on(self) -> None:
        """Take the parts that follow on what was hashed before, while the others are still under way."""
        if self.entry.md5 is None:
            return
        with self._path.open("rb") as file:
            while self._n_hashed in self._done:
                start, stop = self.span(self._n_hashed)
                file.seek(start)
                self._md5.update(file.read(stop - start))
                self._n_hashed += 1

    def close(self) -> None:
        """What is there stays for the next attempt."""
        self._file.close()

    def _read_list(self) -> set[int]:
        try:
            lines = self._list.read_text().split("\n")[:-1]
        except OSError:
            return set()
        found = {int(line) for line in lines if line.isdigit()}
        return {number for number in found if number < self._n_parts}
