"""Single files of web servers behind the same face as buckets: read, whole or in part; nothing is listed or written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from railcar.storage.address import Address, url_of
from railcar.storage.base import Content, Denied, Entry, Missing, Refused, Span
from railcar.storage.download import open_url, size_of, tag_of


class WebReader:
    """Reads from one host. A server that ignores ranges costs the bytes before them."""

    def __init__(self, scheme: str, host: str) -> None:
        self._scheme = scheme
        self._host = host

    def stat(self, key: str) -> Entry | None:
        try:
            with open_url(self._url(key), {}) as reply:
                return Entry(key, size_of(reply) or 0, tag_of(reply))
        except Missing:
            return None

    def list(self, prefix: str) -> Iterator[Entry]:
        raise Refused("a web server does not list what it has")

    def list_names(self, prefix: str) -> list[str]:
        return []

    def read(self, key: str, span: Span | None) -> Content:
        headers = {} if span is None else {"Range": f"bytes={span[0]}-{span[1] - 1}"}
        with open_url(self._url(key), headers) as reply:
            data = reply.read()
            size = size_of(reply)
            if size is None:
                size = len(data)
            if span is not None and reply.status != 206:
                data = data[span[0] : span[1]]
            return Content(memoryview(data), Entry(key, size, ""))

    def _url(self, key: str) -> str:
        return url_of(Address(self._scheme, self._host, key))


class WebWriter:
    """Refuses."""

    def write(self, key: str, content: bytes | Path) -> None:
        raise Refused("nothing is written to a web server")

    def write_if_absent(self, key: str, content: bytes) -> bool:
        raise Refused("nothing is written to a web server")

    def delete(self, key: str) -> None:
        raise Denied("nothing is deleted from a web server")
