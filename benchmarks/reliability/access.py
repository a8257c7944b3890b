"""Row 23: who may ask a server of `railcar serve`, by the Host, the Origin and the token of a request."""

from __future__ import annotations

import itertools
import json
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness.servers import find_port
from benchmarks.reliability import served
from benchmarks.reliability.run import Outcome

_TOKEN = "s3cret-Token"


def measure_access(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 23: every Host, Origin and token with every path, with a server that has a token and one that has none; and
    servers that others could reach without a token, which must not begin. Those that may are let in."""
    failures: list[str] = []
    n, n_in = 0, 0
    for token in (None, _TOKEN):
        options = ("--token", token) if token else ()
        with served.serve([f"image={served.find_run('image')}"], folder / "log", *options) as server:
            cases = list(list_cases(server.port, token))
            for case in cases if trials is None else chance.sample(cases, trials):
                status = _ask_raw(server.port, case)
                n, n_in = n + 1, n_in + case.may
                is_in = status not in (400, 401, 403, 421)
                if is_in != case.may:
                    failures.append(f"{'let in' if is_in else 'kept out'} ({status}): {case.request[:250]!r}")
    for host in ("0.0.0.0", "::") if trials is None else ("0.0.0.0",):
        n += 1
        failures += [] if _is_refused(host) else [f"--host {host} without a token begins to serve"]
    n_wrong = sum(one.startswith("let in") or "begins" in one for one in failures)
    note = f"{n_in:,} that may, {n - n_in:,} that may not; wrongly let in {n_wrong}, kept out {len(failures) - n_wrong}"
    return Outcome(n - len(failures), n, note, failures[:8])


class Case:
    """A whole request, and whether whoever sends it may ask."""

    def __init__(self, request: bytes, may: bool) -> None:
        self.request, self.may = request, may


def list_cases(port: int, token: str | None) -> Iterator[Case]:
    hosts = {f"127.0.0.1:{port}": True, f"localhost:{port}": True, "localhost": True, f"[::1]:{port}": True}
    evil = (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil-localhost",
    )
    evil += (
        "localhost@evil.example",
        "evil.example/localhost",
        "evil.example#localhost",
        "",
        "169.254.169.254",
        "0.0.0.0",
    )
    hosts |= dict.fromkeys(evil, False)
    origins: dict[str | None, bool] = {None: True, f"http://127.0.0.1:{port}": True}
    wrong = (
        "null",
        "http://evil.example",
        f"http://127.0.0.1:{port}.evil.example",
        "http://127.0.0.1:1",
        "file://",
        "",
    )
    origins |= dict.fromkeys(wrong, False)
    tokens: dict[str | None, bool] = {None: token is None}
    if token:
        tokens |= {f"Bearer {token}": True, f"bearer {token}": True}
        bad = (f"Bearer {token[:-1]}", f"Bearer {token}x", f"Bearer {token.lower()}", f"Basic {token}", token, "Bearer")
        tokens |= dict.fromkeys((*bad, "Bearer ", "Bearer null"), False)
    paths = list_paths()
    for (host, is_known), (origin, is_same), (given, is_token) in itertools.product(
        hosts.items(), origins.items(), tokens.items()
    ):
        for method, path, is_open, body in paths:
            lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
            lines += ["Content-Type: application/json"] if body else []
            lines += [f"Origin: {origin}"] if origin is not None else []
            lines += [f"Authorization: {given}"] if given is not None else []
            # an Origin is that of the page: of the very name that the request is for
            fits = is_same and (origin is None or origin == f"http://{host}")
            may = is_known and fits and (is_token or is_open)
            yield Case("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body, may)
    yield from _list_doubled(port, token)


def list_paths() -> list[tuple[str, str, bool, bytes]]:
    """(method, path, whether it needs no token, body)."""
    one = json.dumps({"input": served.list_inputs("image", 1)[0]}).encode()
    many = one.replace(b'"input": [', b'"instances": [[', 1)[:-1] + b"]}"
    opened = [
        ("GET", path)
        for path in ("/", "/page.css", "/page.js", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
    ]
    closed = [
        ("GET", path) for path in ("/models", "/models/image", "/openapi.json", "/metrics", "/v1/models/image", "/v2")
    ]
    posts = [("/predict", one), ("/explain", one), ("/v1/models/image:predict", many)]
    return [
        *((method, path, True, b"") for method, path in opened),
        *((method, path, False, b"") for method, path in closed),
        *(("POST", path, False, body) for path, body in posts),
    ]


def _list_doubled(port: int, token: str | None) -> Iterator[Case]:
    """Headers given twice, none at all, names in the first line, tokens in other places."""
    right = f"Authorization: Bearer {token}\r\n" if token else ""
    end = "Connection: close\r\n\r\n"
    host = f"Host: 127.0.0.1:{port}\r\n"
    for head in ("Host: evil.example\r\n" + host, host + "Host: evil.example\r\n", ""):
        yield Case(f"GET /models HTTP/1.1\r\n{head}{right}{end}".encode(), False)
    yield Case(f"GET http://evil.example/models HTTP/1.1\r\nHost: evil.example\r\n{right}{end}".encode(), False)
    yield Case(
        f"POST /predict HTTP/1.1\r\n{host}{right}Sec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n{end}".encode(),
        False,
    )
    if token:
        for path in (f"/models?token={token}", f"/models?access_token={token}", f"/models#{token}"):
            yield Case(f"GET {path} HTTP/1.1\r\n{host}{end}".encode(), False)
        yield Case(f"GET /models HTTP/1.1\r\n{host}Cookie: token={token}\r\n{end}".encode(), False)
        yield Case(f"GET /models HTTP/1.1\r\n{host}Authorization: Bearer x\r\n{right}{end}".encode(), False)
        for path in (
            "//models",
            "/healthz/../models",
            "/page.js/../models",
            "/readyz%2f..%2fmodels",
            "/healthz;/models",
        ):
            yield Case(f"GET {path} HTTP/1.1\r\n{host}{end}".encode(), False)


def _ask_raw(port: int, case: Case) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
        one.sendall(case.request)
        with one.makefile("rb") as file:
            line = file.readline()
    return int(line.split()[1]) if line else 400


def _is_refused(host: str) -> bool:
    """Whether `railcar serve` on an address that others can reach ends at once, without a token."""
    command = [sys.executable, "-m", "railcar", "serve", str(served.find_run("image")), "--host", host]
    try:
        done = subprocess.run([*command, "--port", str(find_port())], capture_output=True, check=False, timeout=15)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode in (1, 2) and b"token" in done.stderr
