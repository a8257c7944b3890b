"""One file from a web server: checked against its hash where that is known, else resumed, verified by length.

Owns requests to web servers, time limits, mirrors and the progress line. Knows nothing of what is downloaded.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from railcar.errors import DataError, NotFound
from railcar.storage.base import Denied, Missing, Refused
from railcar.storage.local import explain_output_errors, hash_file
from railcar.storage.retry import Transient

TIMEOUT_S = 20.0
BLOCK_BYTES = 1 << 16
_RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)


def download(
    urls: str | Sequence[str],
    path: Path,
    *,
    sha256: str,
    hint: str,
    timeout_s: float = TIMEOUT_S,
    show_progress: bool = True,
) -> Path:
    """Fetch the first of `urls` that answers to `path`, unless `path` already has this hash. Returns `path`.

    `hint` says how to get the file by hand. Raises `NotFound` when no address can be reached, `DataError` when what
    came has another hash; `path` is then as it was before.
    """
    if path.is_file() and hash_file(path) == sha256:
        return path
    addresses = [urls] if isinstance(urls, str) else list(urls)
    failure: DataError | None = None
    for url in addresses:
        try:
            return _download_one(url, path, sha256=sha256, hint=hint, timeout_s=timeout_s, show=show_progress)
        except DataError as error:
            failure = failure or error
    raise failure or NotFound(f"{path.name}: no address to download it from", hint=hint)


def _download_one(url: str, path: Path, *, sha256: str, hint: str, timeout_s: float, show: bool) -> Path:
    with explain_output_errors(path, hint="set RAILCAR_CACHE to a folder with space that you may write to"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                found = _copy(url, file.write, timeout_s=timeout_s, label=path.name if show else "", hint=hint)
                file.flush()
                os.fsync(file.fileno())
            if found != sha256:
                raise DataError(f"{url} is not the file that was expected: sha256 {found[:12]}…", hint=hint)
            partial.chmod(0o644)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def _copy(url: str, write, *, timeout_s: float, label: str, hint: str) -> str:
    """Stream `url` into `write`; returns its sha256. Network faults become `NotFound`."""
    digest = hashlib.sha256()
    try:
        with _request(url, {}, timeout_s) as reply:
            n_bytes = int(reply.headers.get("Content-Length") or 0)
            n_done = 0
            while block := reply.read(BLOCK_BYTES):
                write(block)
                digest.update(block)
                n_done += len(block)
                _show_progress(label, n_done, n_bytes)
            if n_bytes and n_done < n_bytes:
                raise NotFound(f"{url}: the connection broke after {n_done:,} of {n_bytes:,} bytes", hint=hint)
    except urllib.error.HTTPError as error:
        error.close()
        raise NotFound(f"{url} answered {error.code} {error.reason}", hint=hint) from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise NotFound(f"{url} cannot be reached: {reason}", hint=hint) from error
    return digest.hexdigest()


def _request(url: str, headers: Mapping[str, str], timeout_s: float) -> Any:
    # "identity": a length and a range are those of the file, not of what a server may pack it into on the way.
    usual = {"User-Agent": "railcar", "Accept-Encoding": "identity"}
    return urllib.request.urlopen(urllib.request.Request(url, headers={**usual, **headers}), timeout=timeout_s)


def _show_progress(label: str, n_done: int, n_bytes: int) -> None:
    """One rewritten line on a terminal, one plain line at the end elsewhere; nothing without a label."""
    if not label or not n_bytes:
        return
    if sys.stderr.isatty():
        end = "\n" if n_done == n_bytes else ""
        print(f"\rdownloading {label}: {n_done / 1e6:.1f} of {n_bytes / 1e6:.1f} MB", end=end, file=sys.stderr)
    elif n_done == n_bytes:
        print(f"downloaded {label}: {n_bytes / 1e6:.1f} MB", file=sys.stderr)


@dataclass(frozen=True)
class Version:
    """Which content an address had: its length (None: the server does not say) and its tag ("" likewise)."""

    size: int | None
    tag: str


@contextmanager
def open_url(url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """One request. Raises `Missing`, `Denied`, `Refused` and `Transient`, also for what fails while it is read."""
    try:
        with _request(url, headers, TIMEOUT_S) as reply:
            yield reply
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise Missing(str(error.code)) from error
        if error.code in (401, 403, 407):
            raise Denied(str(error.code)) from error
        kind = Transient if error.code in _RETRIED_STATUS else Refused
        raise kind(f"answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise Transient(f"cannot be reached: {reason or type(error).__name__}") from error


def size_of(reply: Any) -> int | None:
    """The length of the whole file, of a whole answer or of one to a range."""
    if found := re.fullmatch(r"bytes \d+-\d+/(\d+)", reply.headers.get("Content-Range") or ""):
        return int(found[1])
    length = reply.headers.get("Content-Length") or ""
    return int(length) if length.isdigit() and reply.status != 206 else None


def tag_of(reply: Any) -> str:
    """A strong ETag, else the time of change: what may be sent back as `If-Range`."""
    tag = reply.headers.get("ETag") or ""
    return tag if tag and not tag.startswith("W/") else reply.headers.get("Last-Modified") or ""


def stat_url(url: str) -> Version:
    """Length and tag of what is there now, from the head of an answer whose body is not read."""
    with open_url(url, {}) as reply:
        return Version(size_of(reply), tag_of(reply))


def download_part(url: str, partial: Path, progress: Callable[[int, int], None] | None = None) -> Version:
    """One attempt to complete `partial`: what an earlier one left is kept when the server can go on behind it and says
    that the content is still the same. Returns which content it is, when all of it is there.

    Raises as `open_url` does; what came stays in `partial`, for the next attempt.
    """
    about = partial.with_name(f"{partial.name}.version")
    before = _read_version(about)
    n_kept = partial.stat().st_size if before and before.tag and partial.is_file() else 0
    headers = {"Range": f"bytes={n_kept}-", "If-Range": before.tag} if n_kept and before else {}
    if before and n_kept and n_kept == before.size:
        return before
    with open_url(url, headers) as reply:
        if reply.status == 206:
            if not (reply.headers.get("Content-Range") or "").startswith(f"bytes {n_kept}-"):
                partial.unlink(missing_ok=True)
                raise Transient("the server answered with another part than was asked for")
            version = Version(size_of(reply), before.tag if before else "")
        else:
            n_kept, version = 0, Version(size_of(reply), tag_of(reply))
        about.write_text(json.dumps(asdict(version)))
        n_done = n_kept
        with partial.open("ab" if n_kept else "wb") as file:
            while block := reply.read(BLOCK_BYTES):
                file.write(block)
                n_done += len(block)
                if progress:
                    progress(n_done, version.size or n_done)
    if version.size is not None and n_done != version.size:
        if n_done > version.size:
            partial.unlink()
        raise Transient(f"the connection broke after {n_done:,} of {version.size:,} bytes")
    about.unlink()
    return version


def _read_version(path: Path) -> Version | None:
    try:
        return Version(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
