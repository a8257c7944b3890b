"""Who made an artifact or a run: a signature (HMAC-SHA256) by a key that only this user has, on this computer.

Owns the key and what is signed. Checksums say that a file is as it was written, and nothing about who wrote it: whoever
changes a file can change its checksum as well. Imports neither NumPy nor TensorFlow: machines use it, too.

The key is 32 random bytes that only the user can read: `$RAILCAR_KEY_FILE`, else `$XDG_CONFIG_HOME/railcar/key`, else
`~/.config/railcar/key`. It is made when something is first signed. The same file on another computer of the same user
makes that trust what this one has made.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from railcar.errors import ArtifactError
from railcar.storage.local import hash_file, write_atomic

SIGNATURE = "hmac"
"""The key of artifact.json, and of a run's manifest, under which the signature stands."""
_N_BYTES, _MOST_BYTES = 32, 4096
_BINARY = getattr(os, "O_BINARY", 0)  # Windows
# So long another process may take between making the key file and filling it, where there are no hard links.
_FILLED_WITHIN_S = 2.0


@dataclass(frozen=True)
class Key:
    """`note` is a line about what was mended; empty where nothing was."""

    secret: bytes
    note: str = ""


def key_path() -> Path:
    """Where the key is, or will be. Raises `ArtifactError` where there is no home."""
    if chosen := os.environ.get("RAILCAR_KEY_FILE"):
        return Path(chosen).absolute()
    if shared := os.environ.get("XDG_CONFIG_HOME"):
        return Path(shared).absolute() / "railcar" / "key"
    try:
        return Path.home() / ".config" / "railcar" / "key"
    except RuntimeError as error:
        raise ArtifactError("there is no home folder for the key", hint="set RAILCAR_KEY_FILE") from error


def find_key(*, mend: bool = False) -> Key | None:
    """The user's key, None where none was made yet. With `mend`, a key file that others could read is closed to them.

    Raises `ArtifactError` for a file that is no key, is somebody else's, or to which others may write."""
    path = key_path()
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unusable(path, f"the key cannot be read: {error.strerror}", "make it readable for you alone") from error
    try:
        note = _check_rights(path, descriptor, mend=mend)
        secret = _read_filled(descriptor)
    finally:
        os.close(descriptor)
    if not _N_BYTES <= len(secret) <= _MOST_BYTES:
        what = f"is no key: it has {len(secret)} bytes, and {_N_BYTES} are needed"
        raise _unusable(path, what, "put it back from a copy, or remove it: the next training makes a new one")
    return Key(secret, note)


def make_key() -> Key:
    """The user's key, made where there is none; of several processes that make it at once, all get the same. Raises
    `ArtifactError` where it can be neither read nor made."""
    if (key := find_key()) is not None:
        return key
    path = key_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError):  # another process was faster
            _create(path, secrets.token_bytes(_N_BYTES))
    except OSError as error:
        hint = "set RAILCAR_KEY_FILE to a file where you may write"
        raise _unusable(path, f"the key cannot be made: {error.strerror}", hint) from error
    if (key := find_key()) is None:
        raise _unusable(path, "the key is gone again", "try once more")
    return key


def sign(document: Mapping[str, Any]) -> dict[str, Any]:
    """`document`, as JSON gives it back, with a signature of all of it. Raises `ArtifactError` where there is no
    key."""
    plain = json.loads(json.dumps({name: value for name, value in document.items() if name != SIGNATURE}))
    return {**plain, SIGNATURE: _digest(make_key().secret, plain)}


def is_signed(document: Mapping[str, Any], key: Key | None) -> bool:
    """Whether `document`, as it was read from JSON, was signed by the user's own key and is unchanged since."""
    given = document.get(SIGNATURE)
    if key is None or not isinstance(given, str) or not given.isascii():
        return False
    plain = {name: value for name, value in document.items() if name != SIGNATURE}
    with suppress(RecursionError):
        return hmac.compare_digest(given, _digest(key.secret, plain))
    return False


def sign_run(recipe: bytes) -> str:
    """The signature of a run, which is one of its recipe.yaml; empty where there is no key."""
    try:
        return _digest(make_key().secret, {"recipe": hashlib.sha256(recipe).hexdigest()})
    except ArtifactError:
        return ""


def is_own_run(recipe: bytes, signature: Any) -> bool:
    """Whether a run with this recipe.yaml was begun by this user. Raises `ArtifactError` for a key that is none."""
    return is_signed({"recipe": hashlib.sha256(recipe).hexdigest(), SIGNATURE: signature}, find_key())


def sign_again(folder: Path) -> bool:
    """Sign the artifact in `folder`, which came from another computer of this user's by a way that is safe. Only one
    that is whole is signed; says whether it was."""
    path = folder / "artifact.json"
    try:
        manifest = json.loads(path.read_bytes())
        if any(hash_file(find_file(folder, name)) != checksum for name, checksum in manifest["checksums"].items()):
            return False
        write_atomic(path, (json.dumps(sign(manifest), indent=1) + "\n").encode())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArtifactError):
        return False
    return True


def find_file(folder: Path, name: str) -> Path:
    """The file of an artifact that is called `name`. Raises `ValueError` for a name that leads out of its folder."""
    parts = name.split("/")
    if "\\" in name or "\0" in name or any(part in ("", ".", "..") or ":" in part for part in parts):
        raise ValueError(f"{name!r} is no name of a file in it")
    path = folder.joinpath(*parts)
    if path.exists() and not path.is_file():
        raise ValueError(f"{name!r} is no file")
    return path


def _digest(secret: bytes, document: Mapping[str, Any]) -> str:
    content = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(secret, b"railcar 1\n" + content.encode("ascii"), hashlib.sha256).hexdigest()


def _check_rights(path: Path, descriptor: int, *, mend: bool) -> str:
    """Take from others the right to read an open key file; returns what is to be said of it. Raises `ArtifactError` for
    another user's and one that others may write to."""
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        raise _unusable(path, "is no file", "remove it")
    # A file that is named on purpose, such as a container's secret, is as its owner wants it.
    if os.name == "nt" or os.environ.get("RAILCAR_KEY_FILE"):
        return ""
    if about.st_uid not in (os.geteuid(), 0):
        raise _unusable(path, "the key belongs to somebody else", "remove it, or set RAILCAR_KEY_FILE")
    if about.st_mode & 0o022:
        hint = f"remove it, for a new one; or, if nobody has changed it: chmod 600 {path}"
        raise _unusable(path, "others may write to the key, so it proves nothing", hint)
    if mend and about.st_mode & 0o044:
        with suppress(OSError):  # a disk that is read-only
            os.fchmod(descriptor, 0o600)
            return f"{path}: others could read your key; now only you can. If somebody did, remove it"
    return ""


def _read_filled(descriptor: int) -> bytes:
    until = time.monotonic() + _FILLED_WITHIN_S
    while True:
        content = os.pread(descriptor, _MOST_BYTES + 1, 0) if hasattr(os, "pread") else _read(descriptor)
        if len(content) >= _N_BYTES or time.monotonic() > until:
            return content
        time.sleep(0.02)


def _read(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, _MOST_BYTES + 1)


def _create(path: Path, secret: bytes) -> None:
    """Write a new file with all of `secret` in it, or none. Raises `FileExistsError` where there is one."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    _write_new(partial, secret)
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links there
        _write_new(path, secret)
    finally:
        partial.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, what: str, hint: str) -> ArtifactError:
    return ArtifactError(f"{path}: {what}", hint=hint)
