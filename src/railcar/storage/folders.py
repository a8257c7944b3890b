"""Folders of this computer behind the same face as buckets. A key is an absolute path."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from railcar.storage.base import Content, Denied, Entry, Missing, Refused, Span
from railcar.storage.local import explain_output_errors, sync_folder, write_atomic


class LocalFolders:
    """Reads and writes. The tag of a file is its time of change and its size."""

    def stat(self, key: str) -> Entry | None:
        path = Path(key)
        return _describe(path) if path.is_file() else None

    def list(self, prefix: str) -> Iterator[Entry]:
        root = Path(prefix)
        if not root.is_dir():
            return
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder) / name
                # A name that begins with a dot and ends with eight random letters is a write that was cut.
                if path.is_file() and not name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):  # another process may delete it meanwhile
                        yield _describe(path)

    def list_names(self, prefix: str) -> list[str]:
        root = Path(prefix)
        return sorted(path.name for path in root.iterdir()) if root.is_dir() else []

    def read(self, key: str, span: Span | None) -> Content:
        path = Path(key)
        try:
            with path.open("rb") as file:
                entry = _describe(path)
                if span is None:
                    return Content(memoryview(file.read()), entry)
                file.seek(span[0])
                return Content(memoryview(file.read(span[1] - span[0])), entry)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Missing(key) from error
        except PermissionError as error:
            raise Denied(key) from error
        except OSError as error:
            raise Refused(error.strerror or str(error)) from error

    def write(self, key: str, content: bytes | Path) -> None:
        path = Path(key)
        if isinstance(content, bytes):
            write_atomic(path, content)
            return
        with explain_output_errors(path):
            partial = _copy_beside(content, path)
            partial.replace(path)
            sync_folder(path.parent)

    def write_if_absent(self, key: str, content: bytes) -> bool:
        path = Path(key)
        with explain_output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
                new = Path(folder) / "new"
                write_atomic(new, content)
                try:
                    path.hardlink_to(new)
                except FileExistsError:
                    return False
            sync_folder(path.parent)
        return True

    def delete(self, key: str) -> None:
        path = Path(key)
        with explain_output_errors(path):
            if path.is_dir():
                _remove_empty(path)
                return
            path.unlink(missing_ok=True)
            _remove_empty(path.parent)


def _describe(path: Path) -> Entry:
    found = path.stat()
    return Entry(str(path), found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}")


def _copy_beside(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file, source.open("rb") as old:
            shutil.copyfileobj(old, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _remove_empty(folder: Path) -> None:
    """A bucket has no empty folders, so neither is one left here by deleting the last file in it."""
    try:
        folder.rmdir()
    except OSError:
        return
