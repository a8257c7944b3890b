"""Where a thing is: a folder of this computer, a bucket of Google Cloud (`gs://`) or Amazon (`s3://`), `https://`.

Owns taking addresses apart and saying them without what is secret in them. Touches neither disk nor network.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from railcar.errors import DataError
from railcar.storage.local import expand_home

BUCKET_SCHEMES = ("gs", "s3")
WEB_SCHEMES = ("https", "http")


@dataclass(frozen=True)
class Address:
    """`scheme` is "file", "gs", "s3", "https" or "http"; `bucket` that of a cloud, or the host; `key` the path in it,
    without a leading slash (of "file": the absolute path). `str` of it says no query, which may hold a signature."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        if self.scheme == "file":
            return self.key
        key = self.key.partition("?")[0] if self.is_web else self.key
        return f"{self.scheme}://{self.bucket}/{key}" if key else f"{self.scheme}://{self.bucket}"

    def __truediv__(self, name: str) -> Address:
        """The address of `name` below this one."""
        return Address(self.scheme, self.bucket, f"{self.key.rstrip('/')}/{name}" if self.key else name)

    @property
    def name(self) -> str:
        """The last part: a file's or folder's name; the bucket's where there is no key."""
        path = urllib.parse.unquote(self.key.partition("?")[0]) if self.is_web else self.key
        return path.rstrip("/").rpartition("/")[2] or self.bucket or "data"

    @property
    def is_web(self) -> bool:
        return self.scheme in WEB_SCHEMES

    @property
    def is_bucket(self) -> bool:
        return self.scheme in BUCKET_SCHEMES


def is_remote(address: str) -> bool:
    """Whether `address` is written as that of a bucket or a web server, known or not: `anything://`."""
    return "://" in address


def parse(address: str | Path | Address) -> Address:
    """Take an address apart; what has no `://` is a path of this computer. Raises `DataError` for what cannot be
    read."""
    if isinstance(address, Address):
        return address
    text = str(address)
    if isinstance(address, Path) or not is_remote(text):
        return Address("file", "", str(expand_home(text).absolute()))
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    bucket, _, key = rest.partition("/")
    if scheme not in BUCKET_SCHEMES + WEB_SCHEMES:
        raise DataError(
            f"{scheme}://: addresses of this kind cannot be read",
            hint="known are gs://, s3:// and https://; fetch the data by other means and give its path",
        )
    if "@" in bucket:
        raise DataError(
            f"{scheme}://{bucket.rpartition('@')[2]}: an address with a password in it is not read",
            hint="fetch the data by other means and give its path",
        )
    if not bucket:
        raise DataError(f"{text}: names no {'host' if scheme in WEB_SCHEMES else 'bucket'}", hint=_example(scheme))
    if scheme in WEB_SCHEMES and not key.partition("?")[0].rstrip("/"):
        raise DataError(f"{text}: names no file", hint=_example(scheme))
    return Address(scheme, bucket, key.partition("#")[0] if scheme in WEB_SCHEMES else key)


def url_of(address: Address) -> str:
    """The whole address of a file on a web server, with its query: to be asked for, never to be shown."""
    path, mark, query = address.key.partition("?")
    # What is quoted already stays; spaces and letters beyond ASCII are quoted.
    return f"{address.scheme}://{address.bucket}/{urllib.parse.quote(path, safe='/%:@!$&()*+,;=~')}{mark}{query}"


def _example(scheme: str) -> str:
    rest = "example.org/photos.zip" if scheme in WEB_SCHEMES else "my-bucket/photos"
    return f"for example {scheme}://{rest}"
