"""Objects of buckets, files of web servers and of this computer, by their address: read, list, write, delete.

Owns trying again, checking what came, and what a user is told when it cannot be had. How each cloud is spoken to is in
`buckets.py`, `google.py` and `web.py`; whole trees and the cache are `fetch.py`'s.

A length that differs is never accepted, and neither is content whose MD5 differs where the service gives one.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from railcar.errors import AccessDenied, DataError, NotFound, Unreachable
from railcar.storage.address import Address, is_remote, parse
from railcar.storage.base import Denied, Entry, Missing, Refused, Span, Store, md5_of_etag
from railcar.storage.credentials import environment_key
from railcar.storage.retry import OutOfPatience, Transient, retry

__all__ = [
    "Address",
    "Entry",
    "ask",
    "delete",
    "delete_object",
    "is_remote",
    "list_names",
    "list_objects",
    "parse",
    "read",
    "read_many",
    "read_spans",
    "read_view",
    "stat",
    "suggest",
    "write",
    "write_if_absent",
]

T = TypeVar("T")
N_PARALLEL = 16
# Buckets whose tags look like MD5s and are none (S3 with keys of KMS): to find that out costs a second read.
_tags_are_no_md5: set[tuple[str, str]] = set()


def stat(address: Address | str, *, within_s: float | None = None) -> Entry | None:
    """The object at `address`; None where there is none. Raises `AccessDenied`, `Unreachable`, `DataError`."""
    place = parse(address)
    return ask(place, lambda store: store.reader.stat(place.key), within_s=within_s)


def list_objects(
    address: Address | str, *, within_s: float | None = None, stop: threading.Event | None = None
) -> Iterator[Entry]:
    """Every object below `address`, sorted by key. Markers of folders ("a/b/") are left out.

    Raises `NotFound` when there is no such bucket; an empty listing is no error. Here and below, `stop`,
    once set, ends the trying again.
    """
    place = parse(address)
    prefix = _as_prefix(place)
    entries = ask(place, lambda store: list(store.reader.list(prefix)), within_s=within_s, stop=stop)
    return iter(sorted((one for one in entries if not one.key.endswith("/")), key=lambda one: one.key))


def read(
    address: Address | str,
    span: Span | None = None,
    *,
    expected: Entry | None = None,
    stop: threading.Event | None = None,
    within_s: float | None = None,
) -> bytes:
    """The bytes of an object, or those from `span[0]` up to `span[1]`, which must lie within it.

    `expected` is what a listing said of it: other content than that is refused. Raises `NotFound`, `AccessDenied`,
    `Unreachable`.
    """
    return bytes(read_view(parse(address), span, expected=expected, stop=stop, within_s=within_s))


def read_view(
    address: Address,
    span: Span | None = None,
    *,
    expected: Entry | None = None,
    stop: threading.Event | None = None,
    within_s: float | None = None,
) -> memoryview:
    """As `read`, without a copy."""
    seen: set[bytes] = set()

    def attempt(store: Store) -> memoryview:
        content = store.reader.read(address.key, span)
        entry = expected or content.entry
        if expected and _differ(expected.etag, content.entry.etag):
            raise DataError(f"{address} was changed while it was read", hint="run the same command again")
        n_bytes = entry.size if span is None else max(0, min(span[1], entry.size) - span[0])
        if len(content.data) != n_bytes:
            raise Transient(f"{len(content.data):,} of {n_bytes:,} bytes came")
        if span is None:
            _check_md5(address, entry, content.data, seen)
        return content.data

    return ask(address, attempt, stop=stop, within_s=within_s)


def read_many(addresses: Iterable[Address | str], n_parallel: int = N_PARALLEL) -> Iterator[bytes]:
    """The bytes of each object, in the order of `addresses`, with `n_parallel` requests under way ahead of what is
    taken."""
    return read_spans(((parse(one), None) for one in addresses), n_parallel)


def read_spans(requests: Iterable[tuple[Address, Span | None]], n_parallel: int = N_PARALLEL) -> Iterator[bytes]:
    """As `read_many`, of parts of objects. What was not taken when the iterator is closed is given up."""
    stop = threading.Event()
    pool = ThreadPoolExecutor(n_parallel, thread_name_prefix="railcar-read")
    pending: deque[Future[bytes]] = deque()
    try:
        for address, span in requests:
            pending.append(pool.submit(read, address, span, stop=stop))
            if len(pending) >= n_parallel:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def write(address: Address | str, content: bytes | Path, *, stop: threading.Event | None = None) -> None:
    """Write an object, whole or not at all; one that is there is replaced. A path is read while it is sent."""
    place = parse(address)
    ask(place, lambda store: store.writer.write(place.key, content), writing=True, stop=stop)


def write_if_absent(address: Address | str, content: bytes) -> bool:
    """Write an object unless one is there; False then. Of several that try at once, one gets True.

    An attempt may have succeeded though its answer was lost: what is there then has our very content, and counts.
    """
    place = parse(address)
    n_attempts = 0

    def attempt(store: Store) -> bool:
        nonlocal n_attempts
        n_attempts += 1
        if store.writer.write_if_absent(place.key, content):
            return True
        return n_attempts > 1 and bytes(store.reader.read(place.key, None).data) == content

    return ask(place, attempt, writing=True)


def delete(address: Address | str) -> None:
    """Delete the object at `address` and everything below it; already gone is success."""
    place = parse(address)
    keys = [one.key for one in list_objects(place)]
    if place.key and not place.key.endswith("/"):
        keys.append(place.key)
    with ThreadPoolExecutor(N_PARALLEL) as pool:
        for done in [pool.submit(delete_object, Address(place.scheme, place.bucket, key)) for key in keys]:
            done.result()


def list_names(address: Address | str) -> list[str]:
    """The names right below `address`, sorted: of objects, and of what has objects below it."""
    place = parse(address)
    return ask(place, lambda store: store.reader.list_names(_as_prefix(place)))


def suggest(address: Address) -> list[str]:
    """The names beside `address`, for a message: none where they cannot be had."""
    parent = address.key.rstrip("/").rpartition("/")[0]
    prefix = f"{parent}/" if parent else ""
    try:
        return ask(address, lambda store: store.reader.list_names(prefix), within_s=5)
    except DataError:
        return []


def delete_object(address: Address, *, stop: threading.Event | None = None) -> None:
    """Delete one object and nothing below it; already gone is success."""
    ask(address, lambda store: store.writer.delete(address.key), writing=True, stop=stop)


def _as_prefix(address: Address) -> str:
    return f"{address.key.rstrip('/')}/" if address.key else ""


def _differ(tag: str, other: str) -> bool:
    """Whether two tags say that the content differs; listings and answers may write the same tag in two ways."""
    if not tag or not other or tag.strip('"') == other.strip('"'):
        return False
    md5 = md5_of_etag(tag)
    return md5 is None or md5 != md5_of_etag(other)


def _check_md5(address: Address, entry: Entry, data: memoryview, seen: set[bytes]) -> None:
    """Raise `Transient` when the MD5 differs from the tag; not when the same bytes came twice: then the tag is none."""
    place = (address.scheme, address.bucket)
    if entry.md5 is None or place in _tags_are_no_md5:
        return
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    if digest == entry.md5:
        return
    if digest in seen:
        _tags_are_no_md5.add(place)
        return
    seen.add(digest)
    raise Transient("the content came damaged: its MD5 differs")


@lru_cache(maxsize=32)
def _open(scheme: str, bucket: str, environment: tuple[str | None, ...], process: int) -> Store:
    if scheme == "s3":
        from railcar.storage.buckets import open_s3

        return open_s3(bucket)
    if scheme == "gs":
        from railcar.storage.buckets import open_google

        return open_google(bucket)
    if scheme == "file":
        from railcar.storage.folders import LocalFolders

        folders = LocalFolders()
        return Store(folders, folders)
    from railcar.storage.web import WebReader, WebWriter

    return Store(WebReader(scheme, bucket), WebWriter())


def ask(
    address: Address,
    call: Callable[[Store], T],
    *,
    writing: bool = False,
    within_s: float | None = None,
    stop: threading.Event | None = None,
) -> T:
    """What `call` returns of the store that `address` is in, tried again while that may help, else errors for users."""
    # A process that was forked needs connections of its own.
    store = _open(address.scheme, address.bucket, environment_key(), os.getpid())
    with _explained(address, store, writing):
        return retry(lambda: call(store), within_s=within_s, stop=stop)


@contextmanager
def _explained(address: Address, store: Store, writing: bool) -> Iterator[None]:
    """What is left after trying again, as errors for users."""
    try:
        yield
    except Missing as error:
        raise _explain_missing(address, store) from error
    except Denied as error:
        raise _explain_denied(address, store, writing) from error
    except Refused as error:
        raise DataError(f"{address}: {error}", hint=_hint_refused(address, str(error))) from error
    except OutOfPatience as error:
        times = f"{error.n_attempts} attempts in {error.waited_s:.0f} s" if error.n_attempts > 1 else "one attempt"
        raise Unreachable(
            f"{address}: {error.reason} ({times})",
            hint="check the network, then run the same command again: it goes on where it was; "
            "RAILCAR_RETRY_S=600 waits longer",
        ) from error


def _explain_missing(address: Address, store: Store) -> NotFound:
    if address.is_bucket and not _has_bucket(store):
        kind = "Google Cloud Storage" if address.scheme == "gs" else "S3"
        return NotFound(
            f"{address}: there is no bucket {address.bucket!r}",
            hint=f"check its spelling and the account; {kind} was asked as: {store.identity}",
        )
    return NotFound(f"{address}: not there", hint="check the address: upper and lower case count")


def _has_bucket(store: Store) -> bool:
    try:
        next(store.reader.list(""), None)
    except Missing:
        return False
    except (Denied, Refused, Transient):
        return True
    return True


def _explain_denied(address: Address, store: Store, writing: bool) -> AccessDenied:
    verb = "written" if writing else "read"
    if store.is_anonymous:
        mend = {
            "gs": "log in: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
            "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        }[address.scheme]
        return AccessDenied(f"{address} may not be {verb} without credentials", hint=mend)
    if address.scheme == "gs":
        role = "roles/storage.objectUser" if writing else "roles/storage.objectViewer"
        mend = f"ask the bucket's owner for {role}, or use other credentials"
    elif address.scheme == "s3":
        rights = "s3:PutObject, s3:DeleteObject and s3:ListBucket" if writing else "s3:GetObject and s3:ListBucket"
        mend = f"ask the bucket's owner for {rights}, or use other credentials"
    else:
        mend = "fetch it with your own browser or tool, and give its path" if address.is_web else "change its rights"
    who = f" by {store.identity}" if store.identity else ""
    return AccessDenied(f"{address} may not be {verb}{who}", hint=mend)


def _hint_refused(address: Address, reason: str) -> str:
    if address.scheme == "s3" and ("region" in reason.lower() or "301" in reason or "redirect" in reason.lower()):
        return "the bucket is in another region: set AWS_REGION to it"
    return "check the address"


def check_md5_of_file(address: Address, entry: Entry, path: Path, digest: bytes) -> None:
    """Remove the file and raise `DataError` when its MD5 `digest` is not its tag; not when it is so twice."""
    place = (address.scheme, address.bucket)
    if entry.md5 is None or place in _tags_are_no_md5 or digest == entry.md5:
        return
    memory = path.with_name(f"{path.name}.md5")
    if memory.is_file() and memory.read_bytes() == digest:
        memory.unlink()
        return
    memory.write_bytes(digest)
    path.unlink()
    raise DataError(
        f"{address} came damaged: its MD5 differs",
        hint="run the same command again: it is fetched anew, and believed if the same comes twice",
    )
