"""A real server with models of every kind, on both small runtimes: what its clients send, and what they get."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.serving.exports import KINDS, Made, answers_of, exports, scale_of
from tests.serving.server import Server, serve

__all__ = ["exports"]
ENGINES = ("litert", "onnx")
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def server(exports: dict[str, Made]) -> Iterator[Server]:
    sources = [f"{kind}-{engine}={exports[kind].folders[engine]}" for kind in KINDS for engine in ENGINES]
    with serve(sources) as found:
        found.wait_for_line("serving numbers-onnx")
        yield found


def to_json(one: Any) -> Any:
    return one.tolist() if isinstance(one, np.ndarray) else one


def to_png(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()


def expect_close(found: Any, made: Made, rows: slice = slice(None)) -> None:
    np.testing.assert_allclose(found, made.expected[rows], atol=TOLERANCE * scale_of(made))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_predict_gives_the_answers_of_the_run_with_the_names_of_labels(
    server: Server, exports: dict[str, Made], kind: str, engine: str
):
    made = exports[kind]
    status, found = server.post(f"/predict?model={kind}-{engine}", {"inputs": [to_json(one) for one in made.raw]})
    assert status == 200 and found["model"] == f"{kind}-{engine}" and found["version"] == 1
    labels = list(found["predictions"][0].get("probabilities", {}))
    expect_close(answers_of(found["predictions"], sorted(labels)), made)
    if labels:
        assert [one["label"] for one in found["predictions"]] == [
            sorted(labels)[index] for index in made.expected.argmax(-1)
        ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_tensorflow_servings_clients_get_rows_and_columns(
    server: Server, exports: dict[str, Made], kind: str, engine: str
):
    made, place = exports[kind], f"/v1/models/{kind}-{engine}"
    status, rows = server.post(f"{place}:predict", {"instances": [to_json(one) for one in made.raw]})
    assert status == 200
    columns: Any = [to_json(one) for one in made.raw]
    if kind in ("rows", "numbers"):
        columns = {name: [row[name] for row in made.raw] for name in made.raw[0]}
    _, turned = server.post(f"{place}/versions/1:predict", {"signature_name": "serving_default", "inputs": columns})
    if kind == "numbers":
        expect_close(np.array(rows["predictions"])[:, None], made)
        assert turned["outputs"] == rows["predictions"]
        _, values = server.post(f"{place}:regress", {"examples": made.raw})
        assert values["results"] == rows["predictions"]
        return
    expect_close([one["probabilities"] for one in rows["predictions"]], made)
    assert turned["outputs"]["probabilities"] == [one["probabilities"] for one in rows["predictions"]]
    assert turned["outputs"]["label"] == [one["label"] for one in rows["predictions"]]
    name = {"images": "image", "texts": "text", "words": "text"}.get(kind)
    examples = [{name: to_json(one)} for one in made.raw] if name else made.raw
    _, classes = server.post(f"{place}:classify", {"examples": examples})
    expect_close([[score for _, score in one] for one in classes["results"]], made)
    assert [label for label, _ in classes["results"][0]] == sorted(label for label, _ in classes["results"][0])


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_tritons_client_works_unchanged(server: Server, exports: dict[str, Made], kind: str, is_binary: bool):
    from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

    made, name = exports[kind], f"{kind}-litert"
    client = InferenceServerClient(server.address.removeprefix("http://"))
    try:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(name, "1")
        told: Any = client.get_model_metadata(name)
        given = []
        for tensor in told["inputs"]:
            values = tensor_of(made, tensor["name"])
            if values is not None:
                given.append(InferInput(tensor["name"], list(values.shape), tensor["datatype"]))
                given[-1].set_data_from_numpy(values, binary_data=is_binary)
        wanted = [InferRequestedOutput(one["name"], binary_data=is_binary) for one in told["outputs"]]
        found: Any = client.infer(name, given, outputs=wanted, request_id="7")
        assert found.get_response()["id"] == "7" and found.get_response()["model_version"] == "1"
        if kind == "numbers":
            expect_close(found.as_numpy("value")[:, None], made)
            return
        expect_close(found.as_numpy("probabilities"), made)
        labels = [one.decode() if isinstance(one, bytes) else one for one in found.as_numpy("label")]
        _, plain = server.post(f"/predict?model={name}", {"inputs": [to_json(one) for one in made.raw]})
        assert labels == [one["label"] for one in plain["predictions"]]
    finally:
        client.close()


def tensor_of(made: Made, name: str) -> np.ndarray | None:
    """The inputs as a client of tensors has them."""
    if made.kind == "images":
        return np.stack(made.raw) if name == "image" else None
    if made.kind in ("texts", "words"):
        return np.array([one.encode() for one in made.raw], object)
    cells = [row[name] for row in made.raw]
    if name in ("size", "age"):
        return np.array([np.nan if cell is None else cell for cell in cells], np.float32)
    if name == "town":
        return np.array([(cell or "").encode() for cell in cells], object)
    if name == "garden":
        return np.array([cell == "yes" for cell in cells], np.float32)
    return np.array([np.datetime64(cell).astype("datetime64[D]").astype(int) for cell in cells], np.float32)


def test_files_of_images_are_taken_in_every_way(server: Server, exports: dict[str, Made]):
    made, place = exports["images"], "images-litert"
    png = to_png(made.raw[0])
    encoded = {"b64": base64.b64encode(png).decode()}
    ways = [
        json.loads(server.ask("POST", f"/predict?model={place}", png, {"Content-Type": "image/png"})[2]),
        server.post(f"/predict?model={place}", {"input": encoded})[1],
    ]
    form = b"".join(
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n', png, b"\r\n--x--\r\n")
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    ways.append(json.loads(server.ask("POST", f"/predict?model={place}", form, kind)[2]))
    for found in ways:
        expect_close(answers_of(found["predictions"], sorted(found["predictions"][0]["probabilities"])), made, slice(1))
    asked = {"signature_name": "serving_bytes", "instances": [{"image_bytes": encoded}, encoded]}
    _, served = server.post(f"/v1/models/{place}:predict", asked)
    assert len(served["predictions"]) == 2
    for one in served["predictions"]:
        expect_close([one["probabilities"]], made, slice(1))


def test_curl_sends_a_file_as_the_guide_says(server: Server, exports: dict[str, Made], tmp_path: Any):
    (tmp_path / "a.png").write_bytes(to_png(exports["images"].raw[1]))
    words = ["curl", "-s", "-F", f"file=@{tmp_path / 'a.png'}", f"{server.address}/predict?model=images-onnx&top=2"]
    found = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert len(found["predictions"][0]["probabilities"]) == 2


def test_one_input_that_cannot_be_read_fails_alone(server: Server, exports: dict[str, Made]):
    made = exports["images"]
    broken = base64.b64encode(b"\xff\xd8\xff broken").decode()
    inputs = [to_json(made.raw[0]), {"b64": broken}, to_json(made.raw[1]), "no image", {"b64": "????"}]
    status, found = server.post("/predict?model=images-litert", {"inputs": inputs})
    errors = [one.get("error") for one in found["predictions"]]
    assert status == 200 and [bool(one) for one in errors] == [False, True, False, True, True]
    right = [found["predictions"][0], found["predictions"][2]]
    expect_close(answers_of(right, sorted(right[0]["probabilities"])), made, slice(2))
    status, found = server.post("/predict?model=images-litert", {"inputs": inputs[1:2]})
    assert status == 400 and "image" in found["error"]
    rows = [{"size": 10}, {"size": "large"}]
    status, found = server.post("/predict?model=rows-litert", {"inputs": rows})
    assert status == 200 and "column 'size': 'large' is no number" in found["predictions"][1]["error"]


@pytest.mark.parametrize("kind", KINDS)
def test_why_is_answered_for_every_kind(server: Server, exports: dict[str, Made], kind: str):
    made = exports[kind]
    status, found = server.post(f"/explain?model={kind}-litert", {"input": to_json(made.raw[0])})
    told = found["explanation"]
    assert status == 200
    assert told["kind"] == {"images": "image", "texts": "text", "words": "text"}.get(kind, "table")
    parts = {"image": "weights", "text": "words", "table": "columns"}[told["kind"]]
    assert len(told[parts]) >= 1
    if kind != "numbers":
        assert told["label"] == found["prediction"]["label"]


JSON_TYPE = {"Content-Type": "application/json"}
PIXELS = json.dumps({"instances": [np.zeros((14, 14), int).tolist()]}).encode()
FAULTS: list[tuple[str, str, bytes | None, dict[str, str], int, str]] = [
    ("GET", "/v1/models/nobody", None, {}, 404, "Could not find any versions of model nobody"),
    ("GET", "/v1/models/images-litert/versions/9", None, {}, 404, "Could not find version 9"),
    ("POST", "/v1/models/nobody:predict", PIXELS, {}, 404, "Servable not found for request: Latest(nobody)"),
    ("POST", "/v1/models/images-litert/versions/9:predict", PIXELS, {}, 404, "Specific(images-litert, 9)"),
    ("POST", "/v1/models/images-litert:fly", b"{}", {}, 400, "Malformed request: POST /v1/models/images-litert:fly"),
    ("GET", "/v1/models/images-litert:predict", None, {}, 405, "Method not allowed"),
    ("POST", "/v1/models/images-litert:predict", b"", {}, 400, "empty"),
    ("POST", "/v1/models/images-litert:predict", b"[1, 2", {}, 400, "no JSON"),
    ("POST", "/v1/models/images-litert:predict", b"{}", {}, 400, "Missing 'inputs' or 'instances' key"),
    ("POST", "/v1/models/images-litert:predict", b'{"instances": []}', {}, 400, "No values"),
    ("POST", "/v1/models/images-litert:predict", b'{"instances": [[[1], [2, 3]]]}', {}, 400, "instances[0]"),
    ("POST", "/v1/models/images-litert:regress", b'{"examples": []}', {}, 400, "regression signature"),
    ("POST", "/v1/models/rows-litert:predict", b'{"instances": [{"siez": 1}]}', {}, 400, "did you mean 'size'?"),
    ("POST", "/v1/models/rows-litert:predict", b'{"instances": [{"size": "big"}]}', {}, 400, "is no number"),
    ("GET", "/v2/models/nobody", None, {}, 404, "no model 'nobody'"),
    ("GET", "/v2/models/rows-onnx/versions/3", None, {}, 404, "version 3"),
    ("POST", "/v2/models/rows-onnx/infer", b"{}", {}, 400, "Expected 'inputs'"),
    ("GET", "/v2/models/rows-onnx/infer", None, {}, 405, "POST is"),
    ("POST", "/v2/models/rows-onnx/infer", b'{"inputs": [{"name": "size", "datatype": []}]}', {}, 400, "datatype"),
    ("POST", "/v1/models/rows-onnx:predict", b"[" + b"[]," * 2_000_000 + b"[]]", {}, 413, "values are more than"),
    ("GET", "/v2/nothing", None, {}, 404, "nothing at"),
    ("POST", "/predict?model=nobody", b"{}", JSON_TYPE, 404, "no model 'nobody'"),
    ("POST", "/predict", b"{}", JSON_TYPE, 400, "Expected"),
    ("POST", "/predict", b"x", {"Content-Type": "text/csv"}, 415, "Content-Type"),
    ("POST", "/predict", b"x", {"Content-Encoding": "gzip"}, 415, "without Content-Encoding"),
    ("POST", "/predict?top=none", b'{"input": [[1]]}', JSON_TYPE, 400, "top"),
    ("GET", "/predict", None, {}, 405, "POST is"),
    ("POST", "/models", b"{}", JSON_TYPE, 405, "GET is"),
    ("GET", "/models/nobody", None, {}, 404, "no model"),
    ("GET", "/../etc/passwd", None, {}, 404, "nothing at"),
    ("GET", "/page/%2e%2e/spec.py", None, {}, 404, "nothing at"),
    ("POST", "/explain", b'{"inputs": [[[1]], [[2]]]}', JSON_TYPE, 400, "one input"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "told"), FAULTS)
def test_what_is_wrong_is_told_with_its_status(
    server: Server, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, told: str
):
    found, _, answer = server.ask(method, path, body, headers)
    assert (found, told in json.loads(answer)["error"]) == (status, True), answer


def test_status_metadata_and_cards_say_what_is_served(server: Server):
    _, status = server.get("/v1/models/rows-litert")
    assert [(one["version"], one["state"]) for one in status["model_version_status"]] == [("1", "AVAILABLE")]
    _, metadata = server.get("/v1/models/rows-litert/metadata")
    assert metadata["model_spec"]["name"] == "rows-litert"
    assert "size" in metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    _, cards = server.get("/models")
    assert [one["name"] for one in cards["models"]] == [f"{kind}-{engine}" for kind in KINDS for engine in ENGINES]
    _, card = server.get("/models/rows-onnx")
    assert card["engine"] == "onnx" and card["metrics"]["test"]["accuracy"] >= 0
    columns = {one["name"]: one for one in card["input"]["columns"]}
    assert set(columns["town"]["values"]) == {"Ulm", "Bonn", "Köln"} and columns["sold"]["example"].startswith("202")
    # A card's examples are questions that are answered.
    status, found = server.post("/predict?model=rows-onnx", {"inputs": card["examples"]})
    assert status == 200 and all("label" in one for one in found["predictions"])
    _, document = server.get("/openapi.json")
    assert document["openapi"].startswith("3.1") and "/predict" in document["paths"]


def test_metrics_count_questions_by_model_route_and_status(server: Server):
    server.post("/v1/models/rows-litert:predict", {"instances": [{"size": 1}]})
    server.post("/v1/models/rows-litert:predict", {"instances": [{"size": "x"}]})
    text = server.ask("GET", "/metrics")[2].decode()
    assert 'railcar_requests_total{model="rows-litert",version="1",route="v1:predict",status="200"}' in text
    assert 'railcar_batch_inputs_count{model="rows-litert"}' in text
    assert 'railcar_model_version{model="rows-litert"} 1' in text
    assert "# TYPE railcar_request_seconds histogram" in text


def test_answers_carry_the_headers_that_keep_browsers_safe(server: Server):
    _, headers, body = server.ask("GET", "/")
    assert headers["content-security-policy"].startswith("default-src 'none'") and b"<title>" in body
    assert headers["x-content-type-options"] == "nosniff" and "server" not in headers
    assert "access-control-allow-origin" not in server.ask("GET", "/models")[1]
