"""Who may ask: the Host, the Origin and the token of a request. Nothing of a request is read before it has passed.

A page of another site can send requests to a server on this computer, and with a name that it points here (DNS
rebinding) read the answers: so only known names of hosts, and only pages of our own, are let in.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from railcar.serving.spec import BadRequest

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
OPEN_PATHS = frozenset(("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"))
"""Answered without a token: what a load balancer looks at."""


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """`hosts` are the names that a request may be for, without ports; none of them: any, which needs a `token`."""

    def __init__(self, hosts: Iterable[str], token: str | None = None) -> None:
        self._hosts = frozenset(one.lower().strip("[]") for one in hosts)
        self._token = token.encode() if token else None

    @property
    def wants_token(self) -> bool:
        return self._token is not None

    def check(self, path: str, method: str, headers: Sequence[tuple[bytes, bytes]], *, is_page: bool = False) -> None:
        """Raise `BadRequest` 403 or 401 for a request that may not be answered, 400 for one without a Host. The page's
        own files (`is_page`) ask for the token themselves."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            raise BadRequest("one Host header is needed")
        host = hosts[0].decode("latin-1").lower()
        if self._hosts and _name_of(host) not in self._hosts:
            raise BadRequest(f"{_short(host)} is no name of this server; --allow-host lets it in", 403)
        origins = [value for name, value in headers if name == b"origin"]
        if any(not _is_same(origin.decode("latin-1").lower(), host) for origin in origins):
            raise BadRequest("pages of other sites may not ask this server", 403)
        if method != "GET" and any(name == b"sec-fetch-site" and value == b"cross-site" for name, value in headers):
            raise BadRequest("pages of other sites may not ask this server", 403)
        if self._token is not None and not is_page and path not in OPEN_PATHS and not self._has_token(headers):
            raise BadRequest("a token is needed: Authorization: Bearer TOKEN", 401)

    def _has_token(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1 or self._token is None:
            return False
        scheme, _, token = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


@lru_cache(1024)
def _name_of(host: str) -> str:
    """The name in a Host header, without its port; "" for what is none."""
    try:
        found = urlsplit(f"//{host}")
        _ = found.port
        return "" if found.username is not None or found.path else (found.hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_same(origin: str, host: str) -> bool:
    found = urlsplit(origin)
    return found.scheme in ("http", "https") and found.netloc == host


def _short(host: str) -> str:
    return host if len(host) <= 60 else f"{host[:59]}…"
