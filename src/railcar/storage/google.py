"""Writing to Google Cloud Storage, by Google's own library.

Reading is obstore's (`buckets.py`), which is faster; its uploads use an interface that the test server does not have.
Each call is one attempt. Uploads carry their CRC32C, so that the service refuses what was damaged on the way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from railcar.errors import MissingExtra
from railcar.storage.base import Denied, Missing, Refused
from railcar.storage.retry import Transient

_TIMEOUT_S = (10.0, 60.0)  # to connect, and between two bytes


class GoogleWriter:
    """Writes to one bucket. `credentials` are google.auth's; None is nobody's name (a public bucket, a test server)."""

    def __init__(self, bucket: str, credentials: Any) -> None:
        self._name = bucket
        self._credentials = credentials
        self._lock = threading.Lock()
        self._made: Any = None

    def write(self, key: str, content: bytes | Path) -> None:
        with _understood():
            blob = self._bucket().blob(key)
            options = {"checksum": "crc32c", "timeout": _TIMEOUT_S, "retry": None}
            if isinstance(content, Path):
                blob.upload_from_filename(str(content), **options)
            else:
                blob.upload_from_string(content, content_type="application/octet-stream", **options)

    def write_if_absent(self, key: str, content: bytes) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        try:
            with _understood():
                self._bucket().blob(key).upload_from_string(
                    content,
                    content_type="application/octet-stream",
                    if_generation_match=0,
                    checksum="crc32c",
                    timeout=_TIMEOUT_S,
                    retry=None,
                )
        except PreconditionFailed:
            return False
        return True

    def delete(self, key: str) -> None:
        try:
            with _understood():
                self._bucket().blob(key).delete(timeout=_TIMEOUT_S, retry=None)
        except Missing:
            return

    def _bucket(self) -> Any:
        """Made when first needed: who only reads needs no Google library beyond its credentials."""
        with self._lock:
            if self._made is None:
                try:
                    from google.auth.credentials import AnonymousCredentials
                    from google.cloud import storage
                except ImportError as error:
                    raise MissingExtra("google-cloud-storage", "buckets", needed_for="writing to gs://") from error

                # A project is only asked for by calls that make or list buckets.
                client = storage.Client(project="none", credentials=self._credentials or AnonymousCredentials())
                self._made = client.bucket(self._name)
            return self._made


@contextmanager
def _understood() -> Iterator[None]:
    """Google's and requests' exceptions in the words of `base.py`. A failed precondition passes as it is."""
    import requests
    from google.api_core import exceptions
    from google.auth import exceptions as auth

    try:
        yield
    except exceptions.PreconditionFailed:
        raise
    except exceptions.NotFound as error:
        raise Missing(error.message) from error
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise Denied(error.message) from error
    except (exceptions.TooManyRequests, exceptions.ServerError) as error:
        raise Transient(f"answered {error.code}") from error
    except exceptions.GoogleAPICallError as error:
        raise (Transient if error.code == 408 else Refused)(str(error.message)) from error
    except auth.RefreshError as error:
        raise Denied(str(error)) from error
    except (requests.RequestException, auth.TransportError, ConnectionError, TimeoutError) as error:
        raise Transient(f"{type(error).__name__}: {error}"[:200]) from error
