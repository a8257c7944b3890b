"""The two protocols of other servers: which path asks what, and how each says that it failed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from railcar import __version__
from railcar.serving import open_inference, tf_serving
from railcar.serving.models import Model, Models, Version
from railcar.serving.spec import BadRequest

_PATH = re.compile(r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>\d{1,18}))?(?:/(?P<verb>ready|infer))?/?")
_SMALL_BYTES = 1 << 17
Read = TypeVar("Read")
_LENGTH = open_inference.HEADER.lower().encode()


@dataclass
class Answered:
    """`model` and `version` are those that were asked; "" for what is of none."""

    status: int
    body: bytes
    kind: str = "application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    model: str = ""
    version: int = 0


class Reader:
    """Reads bodies: small ones at once, large ones in a thread, one after the other, so that neither the others wait
    nor many of them fill the memory."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def read(self, read: Callable[..., Read], body: bytes, *more: Any) -> Read:
        """`read(body, *more)`; raises what it raises."""
        if len(body) <= _SMALL_BYTES:
            return read(body, *more)
        async with self._lock:
            return await asyncio.to_thread(read, body, *more)


class Protocols:
    """Answers below /v1 (TensorFlow Serving) and /v2 (Open Inference)."""

    def __init__(self, models: Models, timeout_s: float, reader: Reader) -> None:
        self._models, self._timeout_s, self._reader = models, timeout_s, reader

    async def answer(
        self, path: str, method: str, headers: Sequence[tuple[bytes, bytes]], body: bytes, *, is_leaving: bool
    ) -> Answered:
        """Raises what the models raise; errors are written by the caller, in the one form that both protocols share:
        {"error": words}."""
        if path.startswith("/v1"):
            return await self._answer_tf_serving(path, method, body)
        return await self._answer_open_inference(path, method, headers, body, is_leaving)

    # TensorFlow Serving

    async def _answer_tf_serving(self, path: str, method: str, body: bytes) -> Answered:
        asked = tf_serving.parse_path(path, method)
        model = self._models.by_name.get(asked.name)
        if model is None or asked.label is not None:
            raise tf_serving.describe_missing(asked)
        if asked.verb == "status":
            return _json(self._describe_status(model, asked))
        if model.current is not None and asked.version not in (None, model.current.number):
            raise tf_serving.describe_missing(asked)
        async with model.use(asked.version) as used:
            if asked.verb == "metadata":
                return _json(tf_serving.describe_metadata(model.name, used.number, used.spec))
            if asked.verb == "predict":
                question = await self._reader.read(tf_serving.read_predict, body, used.spec)
                answers = await model.answer(used, question.inputs, self._timeout_s)
                written = tf_serving.write_predict(answers, question, used.spec)
            else:
                inputs = await self._reader.read(tf_serving.read_examples, body, used.spec, asked.verb)
                answers = await model.answer(used, inputs, self._timeout_s)
                is_regress = asked.verb == "regress"
                written = (
                    tf_serving.write_regress(answers) if is_regress else tf_serving.write_classify(answers, used.spec)
                )
            return Answered(200, written, model=model.name, version=used.number)

    def _describe_status(self, model: Model, asked: tf_serving.Path) -> dict[str, Any]:
        """Of the version that answers, and of those that could not be loaded."""
        rows: list[Any] = []
        if model.current is not None:
            rows += tf_serving.describe_status(model.current.number)["model_version_status"]
        for number, fault in model.faults.items():
            rows += tf_serving.describe_status(number, "failed", fault.what)["model_version_status"]
        if asked.version is not None:
            rows = [one for one in rows if one["version"] == str(asked.version)]
        if not rows:
            raise tf_serving.describe_missing(asked)
        return {"model_version_status": rows}

    # Open Inference

    async def _answer_open_inference(
        self, path: str, method: str, headers: Sequence[tuple[bytes, bytes]], body: bytes, is_leaving: bool
    ) -> Answered:
        asked = [one for one in path.split("/")[2:] if one]
        if found := self._describe_server(asked, is_leaving):
            _check_method(method, "POST" if asked[:1] == ["repository"] else "GET")
            return found
        parsed = _PATH.fullmatch(path)
        if parsed is None:
            raise BadRequest(f"there is nothing at {path[:80]}", 404)
        name, version, verb = parsed["name"], parsed["version"], parsed["verb"]
        _check_method(method, "POST" if verb == "infer" else "GET")
        model = self._models.find(name)
        if verb == "ready":
            is_there = model.current is not None and version in (None, str(model.current.number))
            return _json(open_inference.describe_ready(name, is_there), 200 if is_there and not is_leaving else 503)
        if model.current is not None and version not in (None, str(model.current.number)):
            raise BadRequest(f"version {version} of {name} is not there; {model.current.number} is", 404)
        async with model.use() as used:
            if verb is None:
                platform = used.engine.name
                return _json(open_inference.describe_model(name, used.number, used.spec, platform))
            return await self._infer(model, used, headers, body)

    async def _infer(
        self, model: Model, used: Version, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> Answered:
        length = next((value.decode("latin-1") for name, value in headers if name == _LENGTH), None)
        question = await self._reader.read(open_inference.read_infer, body, length, used.spec)
        answers = await model.answer(used, question.inputs, self._timeout_s)
        written, length_there = open_inference.write_infer(answers, question, used.spec, model.name, used.number)
        told: tuple[tuple[bytes, bytes], ...] = ()
        kind = "application/json"
        if length_there is not None:
            told, kind = ((_LENGTH, str(length_there).encode()),), "application/octet-stream"
        return Answered(200, written, kind, told, model.name, used.number)

    def _describe_server(self, asked: list[str], is_leaving: bool) -> Answered | None:
        """What is of no single model; None for all else."""
        if not asked:
            return _json(open_inference.describe_server(__version__))
        if asked == ["health", "live"]:
            return _json({"live": True})
        if asked == ["health", "ready"]:
            is_ready = self._models.is_ready and not is_leaving
            return _json({"ready": is_ready}, 200 if is_ready else 503)
        if asked == ["repository", "index"]:
            found = [
                {
                    "name": one.name,
                    "version": one.current.number if one.current else "",
                    "state": "ready" if one.is_ready else "loading",
                }
                for one in self._models.by_name.values()
            ]
            return Answered(200, json.dumps(open_inference.describe_repository(found)).encode())
        return None


def _check_method(method: str, wanted: str) -> None:
    if method != wanted:
        raise BadRequest(f"{method[:20]} is not taken here; {wanted} is", 405)


def _json(document: dict[str, Any], status: int = 200) -> Answered:
    return Answered(status, json.dumps(document, indent=1, ensure_ascii=False).encode())
