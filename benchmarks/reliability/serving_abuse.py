"""Row 21: `railcar serve` asked nonsense, and handed broken images."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.harness.load import Answer, Load, LoadGenerator, Question, build_question, name_problem
from benchmarks.harness.servers import Server, ask
from benchmarks.reliability import served
from benchmarks.reliability.mutations import change_bytes, change_json, change_png
from benchmarks.reliability.run import Outcome

_KINDS = ("image", "table", "text")
Seed = tuple[str, str, Any]


def measure_nonsense(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 21, first part: right requests of every protocol with something changed, in their JSON, their bytes, their
    headers or their path. None is answered with 5xx, each has an answer, and then right ones are answered as before."""
    trials = trials or 10_000
    kinds = _KINDS if trials >= 1000 else _KINDS[:2]
    with served.serve([f"{kind}={served.find_run(kind)}" for kind in kinds], folder / "log") as server:
        checks = [one for kind in kinds for one in served.build_questions(server.port, kind, model=kind)]
        seeds = list_seeds(kinds)
        _check_seeds(server, seeds)
        nonsense = (change_request(chance, *chance.choice(seeds)) for _ in range(trials))
        return _conclude(server, *_send(server, nonsense), checks, folder)


def measure_broken_images(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 21, second part: image files with bytes changed, cut, doubled and mixed. The server answers each, with the
    status of a bad request or an answer, and does not crash."""
    trials = trials or 100_000
    with served.serve([served.find_run("image")], folder / "log") as server:
        checks = served.build_questions(server.port, "image")
        files = list_files()

        def make() -> Question:
            kind, content = chance.choice(files)
            change = change_png if kind == "png" and chance.random() < 0.5 else change_bytes
            body = change(chance, content, chance.choice(files)[1])
            return build_question("/predict", body, chance.choice((f"image/{kind}", "application/octet-stream")))

        return _conclude(server, *_send(server, (make() for _ in range(trials))), checks, folder)


def list_files() -> list[tuple[str, bytes]]:
    """Right image files of the formats and modes that are taken."""
    draw = np.random.default_rng(0)
    gray = draw.integers(0, 255, (20, 30)).astype(np.uint8)
    color = draw.integers(0, 255, (24, 16, 3)).astype(np.uint8)
    made = [("png", gray, {}), ("png", color, {}), ("png", color, {"optimize": True}), ("gif", gray, {})]
    made += [("jpeg", gray, {}), ("jpeg", color, {"progressive": True}), ("jpeg", color, {"quality": 30})]
    made += [("webp", color, {}), ("webp", color, {"lossless": True}), ("bmp", color, {}), ("bmp", gray, {})]
    return [(form, served.encode_image(pixels, form.upper(), **options)) for form, pixels, options in made]


def list_seeds(kinds: Sequence[str]) -> list[Seed]:
    """(path, content type, body) of right requests; a body is bytes, or what JSON holds."""
    json_type = "application/json"
    seeds: list[Seed] = []
    for kind in kinds:
        inputs = served.list_inputs(kind, 2)
        seeds += [(f"/predict?model={kind}", json_type, {"inputs": inputs})]
        seeds += [(f"/predict?model={kind}&top=2", json_type, {"input": inputs[0]})]
        seeds += [(f"/explain?model={kind}", json_type, {"input": inputs[0]})]
        seeds += [(f"/v1/models/{kind}:predict", json_type, {"instances": inputs})]
        seeds += [(f"/v1/models/{kind}/versions/1:predict", json_type, {"instances": inputs})]
        seeds += [(f"/v2/models/{kind}/infer", json_type, _build_inference(kind, inputs))]
    seeds += [("/predict?model=image", f"image/{form}", content) for form, content in list_files()]
    form = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + list_files()[0][1]
    seeds += [("/predict?model=image", "multipart/form-data; boundary=edge", form + b"\r\n--edge--\r\n")]
    seeds += [("/predict?model=text", "text/plain", b"call me tonight")] if "text" in kinds else []
    seeds += [("/v2/repository/index", json_type, {})]
    return seeds


def _build_inference(kind: str, inputs: list[Any]) -> dict[str, Any]:
    """The Open Inference Protocol's form of `inputs`."""
    if kind == "image":
        pixels = np.array(inputs, np.uint8)[..., None]
        tensor = {"name": "image", "shape": list(pixels.shape), "datatype": "UINT8", "data": pixels.ravel().tolist()}
        return {"id": "1", "inputs": [tensor]}
    if kind == "text":
        return {"inputs": [{"name": "text", "shape": [len(inputs)], "datatype": "BYTES", "data": inputs}]}
    tensors = []
    for name in inputs[0]:
        values = [one[name] for one in inputs]
        datatype = "BYTES" if any(isinstance(one, str) for one in values) else "FP32"
        tensors.append({"name": name, "shape": [len(values)], "datatype": datatype, "data": values})
    return {"inputs": tensors}


def _check_seeds(server: Server, seeds: list[Seed]) -> None:
    """All but a few must be taken as they are: changed ones would else be refused at the door."""
    faults = []
    for path, kind, body in seeds:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, found = ask(server.port, "POST", path, content, {"Content-Type": kind})
        if status != 200:
            faults.append(f"{path} ({kind}): {status} {found[:100]!r}")
    if len(faults) > len(seeds) // 10:
        raise RuntimeError(f"right requests are refused: {faults}")


def change_request(chance: random.Random, path: str, kind: str, body: Any) -> Question:
    """A request with something changed; its framing stays, so that it has an answer."""
    headers: dict[str, str] = {}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    how = chance.random()
    if how < 0.6 and not isinstance(body, bytes):
        content = change_json(chance, body)
    elif how < 0.8:
        content = change_bytes(chance, content, content[::-1])
    if chance.random() < 0.15:
        kind = chance.choice(
            ("", "application/json; charset=utf-16", "image/png", "text/plain", "multipart/form-data", "*")
        )
    if chance.random() < 0.1:
        headers["Content-Encoding"] = chance.choice(("gzip", "br", "identity", "gzip, gzip", "x"))
    if chance.random() < 0.1:
        headers["Inference-Header-Content-Length"] = chance.choice(("0", "-1", "12", str(len(content)), "1e9", "x"))
    if chance.random() < 0.15:
        path = _change_path(chance, path)
    return build_question(path, content, kind, headers=headers)


def _change_path(chance: random.Random, path: str) -> str:
    odd = (
        "%00",
        "..",
        "//",
        "%2e%2e%2f",
        "\u00e9",
        "?top=-1",
        "?top=99999999999999999999",
        "&model=",
        "versions/0",
        ":",
        "%",
    )
    where = chance.randrange(len(path) + 1)
    changed = path[:where] + chance.choice(odd) + path[where + chance.randrange(4) :]
    return "/" + changed.lstrip("/").encode("ascii", "xmlcharrefreplace").decode().replace(" ", "")


def _send(server: Server, questions: Iterable[Question]) -> tuple[Load, list[tuple[str, bytes]]]:
    """All of them, from 8 clients; and those that were answered with 5xx or not at all."""
    bad: list[tuple[str, bytes]] = []

    def watch(answer: Answer, question: Question) -> None:
        if answer.status == 0 or answer.status >= 500:
            bad.append((name_problem(answer), question.request))

    generator = LoadGenerator(server.port, iter(questions), timeout_s=60)
    generator.watch = watch
    return generator.run(3600.0, clients=8), bad


def _conclude(
    server: Server, load: Load, bad: list[tuple[str, bytes]], checks: list[Question], folder: Path
) -> Outcome:
    n = len(load.answers)
    failures = [f"{problem}: {request[:300]!r}" for problem, request in bad[:5]]
    if server.process.poll() is not None:
        return Outcome(n - len(bad), n + 1, failures=[*failures, f"it ended: {server.said()[-500:]}"])
    after = LoadGenerator(server.port, iter(checks)).run(60, clients=2)
    failures += [f"right requests afterwards: {after.problems()}"] if after.wrong() else []
    said = server.said()
    failures += [f"a traceback: {said[said.index('Traceback') :][:500]}"] if "Traceback" in said else []
    statuses = Counter(one.status for one in load.answers)
    note = ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items()))
    return Outcome(n - max(len(bad), bool(failures)), n, f"{note}; {n / load.seconds:,.0f} a second", failures)
