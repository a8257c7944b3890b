"""HTTP: which path goes where, limits before anything is parsed, and errors as each protocol spells them.

An ASGI application. What questions and answers look like is in `tf_serving.py`, `open_inference.py` and `plain.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from railcar.errors import RailcarError
from railcar.serving import cards, openapi, plain
from railcar.serving.batching import DeadlinePassed, QueueFull
from railcar.serving.explain import explain
from railcar.serving.guarding import Guard
from railcar.serving.metrics import Metrics
from railcar.serving.models import Model, Models
from railcar.serving.protocols import Answered, Protocols, Reader
from railcar.serving.spec import MAX_EXPLAINED, BadRequest

PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
_DISCARD_S = 1.0
_OPEN = "railcar.open_bytes"
_LOG = logging.getLogger("railcar.serving")
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Limits:
    """`max_body` in bytes; `timeout_s` from a whole question to its answer; `max_open_bytes` of bodies of all
    questions that are not answered yet."""

    max_body: int = 32 << 20
    timeout_s: float = 30.0
    max_open_bytes: int = 256 << 20


class App:
    """`log` is given a dict for each request that was answered, or is None."""

    def __init__(
        self,
        models: Models,
        guard: Guard,
        metrics: Metrics,
        *,
        limits: Limits,
        log: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.models, self.guard, self.metrics, self.limits = models, guard, metrics, limits
        self.is_leaving = False
        self._log = log
        self._reader = Reader()
        self._protocols = Protocols(models, limits.timeout_s, self._reader)
        self._n_open_bytes = 0
        self._pages = {f"/{one.name}": one for one in PAGE.iterdir() if one.suffix in _TYPES}
        self._pages["/"] = PAGE / "index.html"
        self._routes: dict[str, dict[str, Callable[..., Awaitable[Answered]]]] = {
            "/predict": {"POST": self._predict},
            "/explain": {"POST": self._explain},
            "/models": {"GET": self._list_models},
            "/openapi.json": {"GET": self._describe},
            "/metrics": {"GET": self._measure},
            "/healthz": {"GET": self._live},
            "/readyz": {"GET": self._ready},
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        path, method, headers = scope["path"], scope["method"], scope["headers"]
        method = "GET" if method == "HEAD" else method
        try:
            self.guard.check(path, method, headers, is_page=path in self._pages)
            answer = await self._route(path, method, scope, receive)
        except Exception as error:
            answer = _explain_failure(error)
        self._n_open_bytes -= scope.get(_OPEN, 0)
        seconds = time.perf_counter() - began
        await self._send(send, answer)
        if answer.model:
            self.metrics.count_request(answer.model, answer.version, _name_route(path), answer.status, seconds)
        if self._log is not None:
            self._log(_describe_request(scope, answer, seconds))

    async def _route(self, path: str, method: str, scope: Any, receive: Any) -> Answered:
        if path.startswith(("/v1/", "/v2")):
            return await self._ask_protocol(path, method, scope, receive)
        if path in self._pages:
            return _only(("GET",), method) or self._send_page(path)
        if path.startswith("/models/"):
            return _only(("GET",), method) or await self._show_model(path.removeprefix("/models/"))
        found = self._routes.get(path)
        if found is None:
            raise BadRequest(f"there is nothing at {path[:80]}; /openapi.json lists what there is", 404)
        refused = _only(tuple(found), method)
        return refused or await found[method](scope, receive)

    # Reading

    async def _read_body(self, scope: Any, receive: Any) -> bytes:
        """The whole body. Raises `BadRequest` 413 as soon as it is known to be too large. It counts among the open
        ones until the question is answered."""
        length = 0
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = int(value) if value.isdigit() else 0
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise BadRequest("bodies are taken as they are, without Content-Encoding", 415)
        if length > self.limits.max_body:
            await _discard(receive, self.limits.max_body)
            raise BadRequest(f"{length:,} bytes are more than the limit of {self.limits.max_body:,}", 413)
        if self._n_open_bytes + length > self.limits.max_open_bytes:
            raise QueueFull(0.5)
        parts = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("the connection was closed", 408)
            part = message.get("body", b"")
            scope[_OPEN] = scope.get(_OPEN, 0) + len(part)
            self._n_open_bytes += len(part)
            if scope[_OPEN] > self.limits.max_body:
                await _discard(receive, self.limits.max_body)
                raise BadRequest(f"more than the limit of {self.limits.max_body:,} bytes", 413)
            if not message.get("more_body"):
                return part if not parts else b"".join((*parts, part))
            if self._n_open_bytes > self.limits.max_open_bytes:
                raise QueueFull(0.5)
            parts.append(part)

    async def _ask_protocol(self, path: str, method: str, scope: Any, receive: Any) -> Answered:
        """TensorFlow Serving and Open Inference."""
        try:
            body = await self._read_body(scope, receive) if method == "POST" else b""
            headers: Headers = scope["headers"]
            return await self._protocols.answer(path, method, headers, body, is_leaving=self.is_leaving)
        except Exception as error:
            return _explain_failure(error)

    # The plain interface

    async def _predict(self, scope: Any, receive: Any) -> Answered:
        return await self._ask(scope, receive, self._answer_plain)

    async def _explain(self, scope: Any, receive: Any) -> Answered:
        return await self._ask(scope, receive, self._answer_why)

    async def _ask(self, scope: Any, receive: Any, answer: Callable[..., Awaitable[dict[str, Any]]]) -> Answered:
        began = time.perf_counter()
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        model: Model | None = None
        version = 0
        try:
            model = self.models.find(query["model"][0] if "model" in query else None)
            body = await self._read_body(scope, receive)
            kind = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-type"), "")
            async with model.use() as used:
                version = used.number
                found = await answer(model, used, body, kind, query)
            passed = round((time.perf_counter() - began) * 1e3, 2)
            document = {"model": model.name, "version": version, "milliseconds": passed, **found}
            result = Answered(200, json.dumps(document, ensure_ascii=False).encode())
        except Exception as error:
            result = _explain_failure(error)
        result.model, result.version = model.name if model else "", version
        return result

    async def _answer_plain(self, model: Model, used: Any, body: bytes, kind: str, query: Any) -> dict[str, Any]:
        top = _read_top(query)
        inputs = await self._reader.read(plain.read_question, body, kind, used.spec)
        return {"predictions": await self._answer_each(model, used, inputs, top)}

    async def _answer_each(self, model: Model, used: Any, inputs: list[Any], top: int | None) -> list[dict[str, Any]]:
        """An answer, or an error in its place, for each input. Raises `BadRequest` where none can be read."""
        found: list[Any] = list(inputs)
        right = [at for at, one in enumerate(inputs) if not isinstance(one, Exception)]
        try:
            if not right:
                raise inputs[0]
            answers = await model.answer(used, [inputs[at] for at in right], self.limits.timeout_s)
        except (BadRequest, RailcarError) as error:
            if len(inputs) == 1:
                raise
            return await self._answer_one_by_one(model, used, found, right, top, error)
        for at, made in zip(right, plain.write_predictions(answers, used.spec, top), strict=True):
            found[at] = made
        return [{"error": _say(one)} if isinstance(one, Exception) else one for one in found]

    async def _answer_one_by_one(
        self, model: Model, used: Any, found: list[Any], right: list[int], top: int | None, error: Exception
    ) -> list[dict[str, Any]]:
        n_right = 0
        for at in right:
            try:
                answers = await model.answer(used, [found[at]], self.limits.timeout_s)
                found[at] = plain.write_predictions(answers, used.spec, top)[0]
                n_right += 1
            except (BadRequest, RailcarError) as alone:
                found[at] = alone
        if not n_right:
            raise error
        return [{"error": _say(one)} if isinstance(one, Exception) else one for one in found]

    async def _answer_why(self, model: Model, used: Any, body: bytes, kind: str, query: Any) -> dict[str, Any]:
        inputs = await self._reader.read(plain.read_question, body, kind, used.spec)
        if len(inputs) != 1:
            raise BadRequest(f"one input is explained at a time; {len(inputs)} were given")
        if isinstance(inputs[0], Exception):
            raise inputs[0]
        if isinstance(inputs[0], str) and len(inputs[0]) > MAX_EXPLAINED:
            raise BadRequest(f"texts of at most {MAX_EXPLAINED:,} characters are explained", 413)
        answers = await model.answer(used, inputs, self.limits.timeout_s)
        loop = asyncio.get_running_loop()

        def answer(some: Any) -> Any:
            # Through the queue as any other question: nobody is kept waiting for an explanation.
            waiting = asyncio.run_coroutine_threadsafe(model.answer(used, some, self.limits.timeout_s), loop)
            return waiting.result()

        made = await asyncio.to_thread(explain, answer, inputs[0], used.spec)
        return {"prediction": plain.write_predictions(answers, used.spec, _read_top(query))[0], "explanation": made}

    # Everything else

    async def _list_models(self, scope: Any, receive: Any) -> Answered:
        found = [cards.describe_model(one) for one in self.models.by_name.values()]
        return Answered(200, json.dumps({"models": found}, ensure_ascii=False).encode())

    async def _show_model(self, name: str) -> Answered:
        return Answered(200, json.dumps(cards.describe_model(self.models.find(name)), ensure_ascii=False).encode())

    async def _describe(self, scope: Any, receive: Any) -> Answered:
        from railcar import __version__

        found = [cards.describe_model(one) for one in self.models.by_name.values()]
        return Answered(200, json.dumps(openapi.build_openapi(found, __version__), ensure_ascii=False).encode())

    async def _measure(self, scope: Any, receive: Any) -> Answered:
        at_work = {name: one.current for name, one in self.models.by_name.items()}
        queued = {name: one.batcher.n_waiting if one else 0 for name, one in at_work.items()}
        versions = {name: one.number if one else 0 for name, one in at_work.items()}
        return Answered(200, self.metrics.write(queued, versions).encode(), "text/plain; version=0.0.4; charset=utf-8")

    async def _live(self, scope: Any, receive: Any) -> Answered:
        return Answered(200, b'{"status": "alive"}')

    async def _ready(self, scope: Any, receive: Any) -> Answered:
        if self.is_leaving:
            return Answered(503, b'{"status": "leaving"}')
        return (
            Answered(200, b'{"status": "ready"}') if self.models.is_ready else Answered(503, b'{"status": "loading"}')
        )

    def _send_page(self, path: str) -> Answered:
        file = self._pages[path]
        policy = ((b"content-security-policy", _POLICY.encode()),)
        return Answered(200, file.read_bytes(), _TYPES[file.suffix], policy)

    async def _send(self, send: Any, answer: Answered) -> None:
        headers: Headers = [
            (b"content-type", answer.kind.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            *_SAFE,
            *answer.headers,
        ]
        if self.is_leaving or answer.status in (408, 413):
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


async def _discard(receive: Any, n_most: int) -> None:
    """Take what is still sent for a moment: who is cut off while sending does not read why."""
    until, n = time.monotonic() + _DISCARD_S, 0
    while n < n_most and time.monotonic() < until:
        try:
            message = await asyncio.wait_for(receive(), _DISCARD_S)
        except TimeoutError:
            return
        n += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


def _explain_failure(error: Exception) -> Answered:
    if isinstance(error, BadRequest):
        return _refuse(error.what, error.status)
    if isinstance(error, QueueFull):
        answer = _refuse("too many questions wait; ask again a little later", 429)
        answer.headers = ((b"retry-after", str(max(1, round(error.retry_s))).encode()),)
        return answer
    if isinstance(error, DeadlinePassed):
        return _refuse("no answer in time", 504)
    if isinstance(error, RailcarError):
        return _refuse(_say(error), 400)
    _LOG.error("a question failed", exc_info=error)
    return _refuse(f"the server failed: {type(error).__name__}", 500)


def _say(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    what = getattr(error, "what", None) or str(error)
    return f"{what}; {hint}" if hint else what


def _refuse(what: str, status: int) -> Answered:
    headers = ((b"www-authenticate", b"Bearer"),) if status == 401 else ()
    return Answered(status, json.dumps({"error": what}, ensure_ascii=False).encode(), headers=headers)


def _only(allowed: tuple[str, ...], method: str) -> Answered | None:
    if method in allowed:
        return None
    answer = _refuse(f"{method[:20]} is not taken here; {', '.join(allowed)} is", 405)
    answer.headers = ((b"allow", ", ".join(allowed).encode()),)
    return answer


def _read_top(query: dict[str, list[str]]) -> int | None:
    if "top" not in query:
        return None
    given = query["top"][0]
    if not given.isdecimal() or not int(given[:9]) >= 1:
        raise BadRequest(f"top: {given[:20]!r} is no whole number from 1 on")
    return int(given[:9])


def _name_route(path: str) -> str:
    """For the metrics: few names, whatever is asked."""
    if path.startswith("/v1/"):
        return f"v1:{path.rpartition(':')[2]}" if path.endswith((":predict", ":classify", ":regress")) else "v1"
    return "v2" if path.startswith("/v2") else path


def _describe_request(scope: Any, answer: Answered, seconds: float) -> dict[str, Any]:
    client = scope.get("client")
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "client": client[0] if client else "",
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": answer.status,
        "reason": HTTPStatus(answer.status).phrase,
        "bytes": len(answer.body),
        "ms": round(seconds * 1e3, 3),
        **({"model": answer.model, "version": answer.version} if answer.model else {}),
    }
