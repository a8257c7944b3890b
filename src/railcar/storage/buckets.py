"""Buckets through obstore: reading both clouds, and writing to S3. Writing to Google Cloud is `google.py`'s.

Owns what obstore is told and how its errors are understood. Each call is one attempt: obstore's own retries are off,
so that one policy (`retry.py`) rules all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from railcar.registry import check_installed
from railcar.storage.base import Content, Denied, Entry, Missing, Refused, Span, Store
from railcar.storage.credentials import Identity, find_google_identity, find_s3_identity
from railcar.storage.retry import Transient

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSStore, RetryConfig, S3Store

# A request may take long on a slow link; that nothing at all comes is what tells of a lost one.
_CLIENT: ClientConfig = {"timeout": "1h", "connect_timeout": "10s", "read_timeout": "30s", "user_agent": "railcar"}
_NO_RETRIES: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=60)}
_RETRIED_STATUS = (408, 425, 429)
_LIST_CHUNK = 1000


def open_s3(bucket: str) -> Store:
    """The S3 bucket `bucket`, in the name that the environment gives. Raises `MissingExtra` without obstore."""
    _check_obstore()
    from obstore.store import S3Store

    identity = find_s3_identity(bucket)
    store = S3Store(
        bucket,
        config=identity.config,  # type: ignore[arg-type]
        client_options=_client(identity),
        retry_config=_NO_RETRIES,
        credential_provider=identity.provider,
    )
    return Store(ObstoreReader(store), ObstoreWriter(store), identity.words, identity.is_anonymous)


def open_google(bucket: str) -> Store:
    """The bucket `bucket` of Google Cloud Storage. Raises `MissingExtra` without obstore."""
    _check_obstore()
    from obstore.store import GCSStore

    from railcar.storage.google import GoogleWriter

    identity = find_google_identity()
    store = GCSStore(
        bucket,
        config=identity.config,  # type: ignore[arg-type]
        client_options=_client(identity),
        retry_config=_NO_RETRIES,
        credential_provider=identity.provider,
    )
    writer = GoogleWriter(bucket, identity.google)
    return Store(ObstoreReader(store), writer, identity.words, identity.is_anonymous)


def _check_obstore() -> None:
    check_installed("obstore", package="obstore", extra="buckets", needed_for="reading a bucket")


def _client(identity: Identity) -> ClientConfig:
    return {**_CLIENT, "allow_http": True} if identity.is_plain_http else _CLIENT


class ObstoreReader:
    """Reads one bucket."""

    def __init__(self, store: S3Store | GCSStore) -> None:
        self._store = store

    def stat(self, key: str) -> Entry | None:
        import obstore

        try:
            with _understood():
                return _entry(obstore.head(self._store, key))
        except Missing:
            return None

    def list(self, prefix: str) -> Iterator[Entry]:
        import obstore

        with _understood():
            stream = obstore.list(self._store, prefix or None, chunk_size=_LIST_CHUNK)
        while True:
            with _understood():
                chunk = next(stream, None)
            if chunk is None:
                return
            yield from map(_entry, chunk)

    def list_names(self, prefix: str) -> list[str]:
        import obstore

        with _understood():
            found = obstore.list_with_delimiter(self._store, prefix or None)
        keys = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        return sorted(key.rstrip("/").rpartition("/")[2] for key in keys)

    def read(self, key: str, span: Span | None) -> Content:
        import obstore

        with _understood():
            found = obstore.get(self._store, key, options={} if span is None else {"range": span})
            entry = _entry(found.meta)
            return Content(memoryview(found.bytes()), entry)


class ObstoreWriter:
    """Writes to one bucket of S3."""

    def __init__(self, store: S3Store | GCSStore) -> None:
        self._store = store

    def write(self, key: str, content: bytes | Path) -> None:
        import obstore

        with _understood():
            obstore.put(self._store, key, content)

    def write_if_absent(self, key: str, content: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            with _understood():
                obstore.put(self._store, key, content, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def delete(self, key: str) -> None:
        import obstore

        try:
            with _understood():
                obstore.delete(self._store, key)
        except Missing:
            return


def _entry(meta: Any) -> Entry:
    return Entry(meta["path"], int(meta["size"]), meta.get("e_tag") or meta.get("version") or "")


@contextmanager
def _understood() -> Iterator[None]:
    """obstore's exceptions in the words of `base.py`. Those of conditional writes pass as they are."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        raise Missing(_first_line(error)) from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise Denied(_first_line(error)) from error
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise
    except (exceptions.InvalidPathError, exceptions.NotSupportedError) as error:
        raise Refused(_first_line(error)) from error
    except (exceptions.BaseError, OSError) as error:
        raise _judge(error) from error


def _judge(error: Exception) -> Exception:
    """Whether another attempt may help: not where the service answered that it will not."""
    text = str(error)
    found = re.search(r"[Ss]tatus(?: code)?:? (\d{3})", text)
    status = int(found[1]) if found else 0
    if status == 404 or "NoSuchBucket" in text or "no bucket named" in text:
        return Missing(_first_line(error))
    if status in (401, 403):
        return Denied(_first_line(error))
    if 300 <= status < 500 and status not in _RETRIED_STATUS:
        return Refused(_first_line(error))
    return Transient(f"the service answered {status}" if status else _first_line(error))


def _first_line(error: Exception) -> str:
    """What is for people in an error of obstore: its first line without the request, and not the debugging output."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = re.sub(r"^.*Error performing \S+ \S+ in \S+ - ", "", lines[0]) if lines else type(error).__name__
    if "error sending request" in line:
        return "the service cannot be reached"
    if "error decoding response body" in line or "error reading a body" in line:
        return "the connection broke"
    return line[:200].rstrip(": ")
