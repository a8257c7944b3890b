"""Archives (zip, tar, and tar packed by gzip, bzip2, xz or zstd) -> a folder of the cache, unpacked once.

Owns what is refused: names and links that lead out of the folder, bombs, encryption, damage. Nothing of an archive
stays when it is refused. Knows nothing of what the files mean.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import importlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from railcar.errors import DataError, OutputError
from railcar.storage.local import build_folder, cache_dir, explain_output_errors, remove_folder, sync_folder

SUFFIXES = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst",
)  # fmt: skip
_FORMAT = 1
_BLOCK_BYTES = 1 << 20
_TAR_BLOCK = 512
_SPARE_BYTES = 1 << 28
_CHECK_EVERY_BYTES = 1 << 28
_ZSTD_MODULES = ("compression.zstd", "backports.zstd", "zstandard")
_DAMAGED = "the archive is damaged or was not fetched completely; fetch it again"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to: `n_bytes` in all, `ratio` times its own size (never less than `small_bytes`), and
    `n_files`."""

    n_bytes: int = 500_000_000_000
    ratio: int = 200
    small_bytes: int = 1_000_000_000
    n_files: int = 20_000_000


def is_archive(path: Path) -> bool:
    """By its name alone."""
    return path.name.lower().endswith(SUFFIXES)


def unpack_archive(path: Path, *, progress: Progress | None = None, limits: Limits | None = None) -> Path:
    """The folder of the cache with what is in the archive; unpacked when it is not there yet, or when the archive has
    another size or time now. A single folder at its top is looked through.

    Raises `DataError` for what is refused, and `OutputError` when the disk has no space for it.
    """
    found = path.stat()
    key = repr([_FORMAT, str(path.resolve()), found.st_size, found.st_mtime_ns]).encode(errors="surrogateescape")
    suffix = next((end for end in SUFFIXES if path.name.lower().endswith(end)), "")
    # its folder is named after it: messages about what is inside say so
    name = path.name[: len(path.name) - len(suffix)].lstrip(".") or "archive"
    target = cache_dir() / "unpacked" / hashlib.blake2b(key, digest_size=12).hexdigest()
    if not (target / name).is_dir():
        if target.exists():  # someone has tidied up in it
            remove_folder(target)
        with build_folder(target) as folder:
            root = folder / name
            root.mkdir()
            with explain_output_errors(target, hint="set RAILCAR_CACHE to a folder with space that you may write to"):
                _unpack(path, _Writer(path, root, found.st_size, limits or Limits()), progress)
            sync_folder(root)
    return look_through(target / name)


def look_through(folder: Path) -> Path:
    """`folder`, or the one that it holds and nothing else, and so on; a single file in the last one is given itself."""
    while True:
        entries = [e for e in folder.iterdir() if not e.name.startswith(".") and e.name != "__MACOSX"]
        if len(entries) != 1 or entries[0].is_symlink():
            return folder
        if entries[0].is_file():
            has_suffix_of_data = "." in entries[0].name
            return entries[0] if has_suffix_of_data else folder
        folder = entries[0]


def _unpack(path: Path, writer: _Writer, progress: Progress | None) -> None:
    with path.open("rb") as file:
        start = file.read(8)
    with _explain_damage(path):
        if start.startswith(b"PK"):
            _unpack_zip(path, writer, progress)
        else:
            _unpack_tar(path, start, writer, progress)
    if not writer.n_files:
        raise DataError(f"{path}: the archive is empty", hint="put the data into it")


@contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except NotImplementedError as error:
        what = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be unpacked: {what}", hint="unpack it, then give the folder") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: truncated or damaged: {_one_line(error)}", hint=_DAMAGED) from error
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, which others explain
            raise
        raise DataError(f"{path}: truncated or damaged: {_one_line(error)}", hint=_DAMAGED) from error
    except Exception as error:
        if type(error).__name__ not in ("ZstdError", "ZstdException"):
            raise
        raise DataError(f"{path}: truncated or damaged: {_one_line(error)}", hint=_DAMAGED) from error


class _Writer:
    """Makes the files below `root`, each by a checked name, and keeps to the limits."""

    def __init__(self, archive: Path, root: Path, n_packed: int, limits: Limits) -> None:
        self.archive = archive
        self.n_files = 0
        self._root = str(root)
        self._limits = limits
        self._most = min(limits.n_bytes, max(limits.small_bytes, limits.ratio * n_packed))
        self._n_bytes = 0
        self._next_check = 0
        self._folders = {""}
        self._links: set[str] = set()

    def expect(self, n_bytes: int) -> None:
        """Refuse before it is written what would be too much; `n_bytes` more come."""
        if self._n_bytes + n_bytes > self._most:
            raise DataError(
                f"{self.archive}: unpacks to more than {self._most:,} bytes, the limit for an archive of its size",
                hint="if it is what it should be, unpack it by hand and give the folder",
            )
        if self._n_bytes + n_bytes >= self._next_check:
            free = shutil.disk_usage(self._root).free
            if n_bytes + _SPARE_BYTES > free:
                needs = f"{self.archive.name} needs {n_bytes / 1e9:.1f} GB to be unpacked"
                raise OutputError(
                    f"{self._root}: {needs}, {free / 1e9:.1f} GB are free",
                    hint="free some space, or set RAILCAR_CACHE to a folder on another disk",
                )
            self._next_check = self._n_bytes + _CHECK_EVERY_BYTES

    def check_name(self, name: str) -> str:
        """`name` with plain slashes, relative and inside. Raises `DataError`."""
        clean = name.replace("\\", "/")
        parts = [part for part in clean.split("/") if part not in ("", ".")]
        is_absolute = clean.startswith("/") or (len(clean) > 1 and clean[1] == ":")
        if is_absolute or ".." in parts or "\0" in clean:
            raise self._refuse(f"holds the name {name[:100]!r}, which leads out of its folder")
        checked = "/".join(parts)
        if self._links and any(str(above) in self._links for above in PurePosixPath(checked).parents):
            raise self._refuse(f"holds the name {name[:100]!r}, which leads through a link")
        return checked

    def _refuse(self, what: str) -> DataError:
        hint = "do not trust this archive; if it is your own, pack it again from within its folder"
        return DataError(f"{self.archive}: {what}; nothing is unpacked", hint=hint)

    def make_folder(self, name: str) -> None:
        if name not in self._folders:
            self._make_folder(name)

    def _make_folder(self, name: str) -> None:
        try:
            Path(self._root, name).mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise DataError(f"{self.archive}: {name!r} is a file and a folder at once", hint=_DAMAGED) from error
        self._folders.add(name)

    def write_file(self, name: str, source: IO[bytes], n_bytes: int) -> None:
        """`n_bytes` of `source` to the file `name`, which has been checked. Raises `DataError` when it ends before."""
        self.expect(n_bytes)
        descriptor = self._create(name)
        try:
            left = n_bytes
            while left:
                block = source.read(min(left, _BLOCK_BYTES))
                if not block:
                    raise DataError(f"{self.archive}: cut off inside {name}", hint=_DAMAGED)
                _write_all(descriptor, block)
                left -= len(block)
        finally:
            os.close(descriptor)
        self._count(n_bytes)

    def _create(self, name: str) -> int:
        self.make_folder(name.rpartition("/")[0])
        path = f"{self._root}/{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            return os.open(path, flags, 0o644)
        except FileExistsError:  # the later of two of one name counts, as in tar
            if Path(path).is_dir() and not Path(path).is_symlink():
                raise DataError(f"{self.archive}: {name!r} is a file and a folder at once", hint=_DAMAGED) from None
            Path(path).unlink()
            self._links.discard(name)
            return os.open(path, flags, 0o644)

    def _count(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        self.n_files += 1
        if self.n_files > self._limits.n_files:
            raise DataError(
                f"{self.archive}: holds more than {self._limits.n_files:,} files, the limit",
                hint="unpack it by hand and give the folder",
            )

    def write_link(self, name: str, target: str) -> None:
        """A symbolic link. Only names above at its start keep `..` from being led astray by other links."""
        parts = target.replace("\\", "/").split("/")
        n_up = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
        if target.startswith("/") or ":" in parts[0] or ".." in parts[n_up:] or n_up > name.count("/"):
            raise self._refuse(f"holds the link {name[:100]!r} to {target[:100]!r}, which leads out of its folder")
        if name in self._folders:
            raise DataError(f"{self.archive}: {name!r} is a link and a folder at once", hint=_DAMAGED)
        os.close(self._create(name))
        Path(self._root, name).unlink()
        Path(self._root, name).symlink_to(target)
        self._links.add(name)
        self._count(0)

    def write_copy(self, name: str, of: str) -> None:
        """What a hard link stands for: another file of the archive, which came before."""
        source = Path(self._root, of)
        if of in self._links or not source.is_file():
            raise self._refuse(f"holds the link {name[:100]!r} to {of[:100]!r}, which is no file in it")
        with source.open("rb") as file:
            if name != of:
                self.write_file(name, file, source.stat().st_size)


def _write_all(descriptor: int, block: bytes) -> None:
    n_written = os.write(descriptor, block)
    while n_written < len(block):
        n_written += os.write(descriptor, memoryview(block)[n_written:])


def _unpack_zip(path: Path, writer: _Writer, progress: Progress | None) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [one for one in archive.infolist() if not _is_left_out(one.filename)]
        for member in members:  # all names before the first byte
            writer.check_name(member.filename)
            if member.flag_bits & 1:
                raise DataError(
                    f"{path}: {member.filename[:100]} is encrypted", hint="unpack it with its password, give the folder"
                )
        n_all = sum(member.file_size for member in members)
        writer.expect(n_all)
        n_done = 0
        for number, member in enumerate(members):
            name = writer.check_name(member.filename)
            mode = member.external_attr >> 16
            if member.is_dir():
                writer.make_folder(name)
            elif stat.S_ISLNK(mode):
                writer.write_link(name, archive.read(member)[:4096].decode("utf-8", "surrogateescape"))
            else:
                with archive.open(member) as source:
                    writer.write_file(name, source, member.file_size)
                    if source.read(1):
                        raise DataError(f"{path}: {name} is longer than the archive says", hint=_DAMAGED)
            n_done += member.file_size
            if progress and (number % 256 == 0 or number + 1 == len(members)):
                progress(f"unpacking {path.name} (MB)", n_done // 1_000_000, n_all // 1_000_000)


def _unpack_tar(path: Path, start: bytes, writer: _Writer, progress: Progress | None) -> None:
    n_packed = path.stat().st_size
    writer.expect(n_packed)
    with path.open("rb") as packed, _open_packed(path, packed, start) as plain:
        stream = _Tail(plain)
        with tarfile.open(fileobj=cast(Any, stream), mode="r|", errorlevel=2) as archive:
            for number, member in enumerate(archive):
                cast(Any, archive).members = []  # which it would keep, all of them
                if not _is_left_out(member.name):
                    _unpack_member(archive, member, writer)
                if progress and number % 256 == 0:
                    progress(f"unpacking {path.name} (MB)", packed.tell() // 1_000_000, n_packed // 1_000_000)
        while stream.read(_BLOCK_BYTES):  # the sums of gzip and xz stand at the end
            pass
        if stream.tail.strip(b"\0"):
            raise DataError(f"{path}: cut off: the end of the archive is missing", hint=_DAMAGED)
    if progress:
        progress(f"unpacking {path.name} (MB)", n_packed // 1_000_000, n_packed // 1_000_000)


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, writer: _Writer) -> None:
    name = writer.check_name(member.name)
    if not name:
        return
    if member.isdir():
        writer.make_folder(name)
    elif member.isreg():
        source = archive.extractfile(member)
        if source is not None:
            writer.write_file(name, source, member.size)
    elif member.issym():
        writer.write_link(name, member.linkname)
    elif member.islnk():
        writer.write_copy(name, writer.check_name(member.linkname))
    else:
        raise DataError(f"{writer.archive}: {name} is a device or a pipe", hint="pack files and folders only")


class _Tail:
    """A stream that remembers the last block that was read: an archive that is whole ends in zeros."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.tail = b""

    def read(self, n_bytes: int) -> bytes:
        block = self._stream.read(n_bytes)
        if block:
            self.tail = (self.tail + block)[-_TAR_BLOCK:] if len(block) < _TAR_BLOCK else block[-_TAR_BLOCK:]
        return block


def _open_packed(path: Path, file: IO[bytes], start: bytes) -> Any:
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(file)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return _open_zstd(path, file)
    if not start:
        raise DataError(f"{path}: an empty file", hint=_DAMAGED)
    if not tarfile.is_tarfile(path):
        what = "an HTML page" if start.lstrip().lower().startswith((b"<!doct", b"<html")) else "no archive"
        what = "a git-LFS pointer (git lfs pull fetches the archive)" if start.startswith(b"version ") else what
        raise DataError(f"{path}: not a zip or tar, but {what}", hint="fetch the file again")
    return _Plain(file)


class _Plain:
    """`file` as a context that does not close it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *args: object) -> None:
        pass


def _open_zstd(path: Path, file: IO[bytes]) -> Any:
    for name in _ZSTD_MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if name == "zstandard":
            return module.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return module.ZstdFile(file)
    raise DataError(
        f"{path}: packed by zstd, which this Python cannot read",
        hint="pip install backports.zstd, or unpack it by hand (tar xf) and give the folder",
    )


def _is_left_out(name: str) -> bool:
    """What macOS adds: the resources of files that are there anyway."""
    return name.startswith("__MACOSX/") or "/__MACOSX/" in name


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__
