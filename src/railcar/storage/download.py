"""One file from an https address, checked against its hash before it takes its name.

Owns time limits, mirrors and the progress line. Knows nothing of what is downloaded.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from railcar.errors import DataError, NotFound
from railcar.storage.local import explain_output_errors, hash_file

TIMEOUT_S = 20.0
BLOCK_BYTES = 1 << 16


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
    request = urllib.request.Request(url, headers={"User-Agent": "railcar"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            n_bytes = int(reply.headers.get("Content-Length") or 0)
            n_done = 0
            while block := _read_block(reply):
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


def _read_block(reply: http.client.HTTPResponse) -> bytes:
    return reply.read(BLOCK_BYTES)


def _show_progress(label: str, n_done: int, n_bytes: int) -> None:
    """One rewritten line on a terminal, one plain line at the end elsewhere; nothing without a label."""
    if not label or not n_bytes:
        return
    if sys.stderr.isatty():
        end = "\n" if n_done == n_bytes else ""
        print(f"\rdownloading {label}: {n_done / 1e6:.1f} of {n_bytes / 1e6:.1f} MB", end=end, file=sys.stderr)
    elif n_done == n_bytes:
        print(f"downloaded {label}: {n_bytes / 1e6:.1f} MB", file=sys.stderr)
