from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest
from tritonclient import http

from railcar.serving import open_inference
from railcar.serving.open_inference import Output
from railcar.serving.spec import BadRequest, Spec
from tests.serving.wire_specs import DIGITS, PENGUINS, PHOTOS, PRICES, SPAM

ALL = ("probabilities", "label", "probability")
GIF = b"GIF89a\x00\xff"


def tensor(name: str, datatype: str, shape: list[int], data: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def ask(spec: Spec, *tensors: dict[str, Any], **more: Any) -> open_inference.Question:
    return open_inference.read_infer(json.dumps({"inputs": tensors, **more}).encode(), None, spec)


def listed(inputs: Any) -> Any:
    return inputs.tolist() if isinstance(inputs, np.ndarray) else inputs


def spell(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


def binary(document: dict[str, Any], *data: bytes) -> tuple[bytes, int]:
    head = json.dumps(document).encode()
    return b"".join([head, *data]), len(head)


@pytest.mark.parametrize("datatype", ["UINT8", "INT8", "INT32", "INT64", "UINT64", "FP32", "FP64", "FP16"])
@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([1, 2, 2, 1], [1, 2, 3, 4]),
        ([1, 2, 2], [1, 2, 3, 4]),
        ([1, 2, 2, 1], [[[[1], [2]], [[3], [4]]]]),
        ([1, 2, 2], [[[1, 2], [3, 4]]]),
    ],
)
def test_pixels_are_taken_in_every_datatype_that_holds_them_exactly(datatype: str, shape: list[int], data: Any) -> None:
    inputs = ask(DIGITS, tensor("image", datatype, shape, data)).inputs

    assert isinstance(inputs, np.ndarray)
    assert (inputs.dtype, inputs.tolist()) == (np.uint8, [[[[1], [2]], [[3], [4]]]])


@pytest.mark.parametrize(
    ("spec", "tensors", "inputs"),
    [
        (PHOTOS, [tensor("image_bytes", "BYTES", [1], [base64.b64encode(GIF).decode()])], [GIF]),
        (SPAM, [tensor("text", "BYTES", [2], ["a", "größer"])], ["a", "größer"]),
        (SPAM, [tensor("text", "BYTES", [2, 1], [["a"], ["b"]])], ["a", "b"]),
        (PRICES, [tensor("rooms", "FP32", [3], [3, 4.5, None])], [{"rooms": 3.0}, {"rooms": 4.5}, {"rooms": None}]),
        (PRICES, [tensor("rooms", "INT64", [1, 1], [[3]])], [{"rooms": 3}]),
        (PRICES, [tensor("rooms", "BYTES", [2], ["3.5", ""])], [{"rooms": "3.5"}, {"rooms": None}]),
        (
            PENGUINS,
            [tensor("island", "BYTES", [2], ["Dream", ""]), tensor("is_adult", "BOOL", [2], [True, False])],
            [{"island": "Dream", "is_adult": True}, {"island": None, "is_adult": False}],
        ),
        (
            PENGUINS,
            [tensor("island", "INT32", [1], [3]), tensor("seen", "FP64", [1], [19000.5])],
            [{"island": 3, "seen": 19000.5}],
        ),
    ],
)
def test_tensors_in_json_become_inputs(spec: Spec, tensors: list[Any], inputs: Any) -> None:
    assert ask(spec, *tensors).inputs == inputs


@pytest.mark.parametrize(
    ("spec", "tensors", "words"),
    [
        (DIGITS, [], "Expected 'inputs'"),
        (DIGITS, [{"datatype": "UINT8"}], "to have a 'name'"),
        (DIGITS, [tensor("image", "UINT7", [1, 1, 1, 1], [1])], 'Received "UINT7"'),
        (DIGITS, [tensor("image", "UINT8", [], [1])], "expected 'shape'"),
        (DIGITS, [tensor("image", "UINT8", [1, -1, 1, 1], [1])], "expected 'shape'"),
        (DIGITS, [tensor("image", "UINT8", [1, 2, 2, 1], [1, 2, 3])], "has 4 values. Received 3"),
        (DIGITS, [tensor("image", "UINT8", [1, 2, 2, 1], [[1, 2], [3, 4]])], "nested otherwise"),
        (DIGITS, [tensor("image", "UINT8", [1, 2, 2], [[[1, 2], [3]]])], "nested otherwise"),
        (DIGITS, [tensor("image", "UINT8", [1, 2, 2], [[[1, 2, 3], [4]]])], "nested otherwise"),
        (DIGITS, [tensor("image", "UINT8", [1, 1, 2], [1, [2]])], "Received [2]"),
        (DIGITS, [tensor("image", "UINT8", [1, 1, 2, 1], [1, 256])], "too large for UINT8"),
        (DIGITS, [tensor("image", "UINT8", [1, 1, 2, 1], [1, 2.0])], "Received 2.0"),
        (DIGITS, [tensor("image", "UINT8", [1, 1, 2, 1], [1, None])], "Received null"),
        (DIGITS, [tensor("image", "INT32", [1, 1, 2, 1], [1, 300])], "whole numbers from 0 to 255"),
        (DIGITS, [tensor("image", "INT32", [1, 1, 2, 1], [1, -1])], "whole numbers from 0 to 255"),
        (DIGITS, [tensor("image", "FP32", [1, 1, 2, 1], [1, 2.5])], "whole numbers from 0 to 255"),
        (DIGITS, [tensor("image", "FP32", [1, 1, 2, 1], [1, None])], "whole numbers from 0 to 255"),
        (DIGITS, [tensor("image", "BYTES", [1], ["AA=="])], "files are image_bytes"),
        (DIGITS, [tensor("image", "UINT8", [2, 2], [1, 2, 3, 4])], "Expected pixels of shape"),
        (PHOTOS, [tensor("image", "UINT8", [1, 2, 2, 1], [1, 2, 3, 4])], "[height][width][3]. Received [2, 2, 1]"),
        (DIGITS, [tensor("image", "UINT8", [0, 2, 2, 1], [])], "at least one input"),
        (DIGITS, [tensor("image", "UINT8", [1, 1, 1], [1])] * 2, "'image' is there twice"),
        (
            DIGITS,
            [tensor("image", "UINT8", [1, 1, 1], [1]), tensor("image_bytes", "BYTES", [1], ["AA=="])],
            "Received both",
        ),
        (DIGITS, [tensor("picture", "UINT8", [1, 1, 1], [1])], "Unexpected input 'picture'; expected image or image_b"),
        (DIGITS, [tensor("image_bytes", "UINT8", [1], [1])], "expected datatype BYTES"),
        (DIGITS, [tensor("image_bytes", "BYTES", [1], ["!"])], "base64"),
        (SPAM, [tensor("text", "BYTES", [1], [3])], "expected values of BYTES. Received 3"),
        (SPAM, [tensor("text", "BYTES", [1, 2], ["a", "b"])], "expected shape [n] or [n, 1]"),
        (SPAM, [tensor("text", "BYTES", [1025], ["a"] * 1025)], "at most 1,024"),
        (SPAM, [tensor("text", "BYTES", [1], "a")], "expected 'data' as a list. Received a string"),
        (SPAM, [tensor("text", "BYTES", [1], ["a"], parameters={"shared_memory_region": "x"})], "shared memory"),
        (SPAM, [tensor("text", "BYTES", [1], ["a"], parameters=[])], "'parameters' as an object"),
        (SPAM, [tensor("text", "BYTES", [1], ["a"], parameters={"binary_data_size": 1})], "has 'data', too"),
        (PENGUINS, [tensor("iland", "BYTES", [1], ["a"])], "did you mean 'island'?"),
        (PENGUINS, [tensor("island", "FP32", [1], [1.5])], "expected datatype BYTES"),
        (PENGUINS, [tensor("bill_length_mm", "FP64", [1], [1e39])], "finite numbers"),
        (
            PENGUINS,
            [tensor("island", "BYTES", [1], ["a"]), tensor("seen", "FP32", [2], [1, 2])],
            "one first size. Received island [1], seen [2]",
        ),
    ],
)
def test_wrong_tensors_are_refused_in_words(spec: Spec, tensors: list[Any], words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ask(spec, *tensors)

    assert caught.value.status == 400
    assert words in caught.value.what


@pytest.mark.parametrize(
    ("more", "outputs"),
    [
        ({}, tuple(Output(name) for name in ALL)),
        ({"outputs": []}, tuple(Output(name) for name in ALL)),
        ({"parameters": {"binary_data_output": True}}, tuple(Output(name, True) for name in ALL)),
        ({"outputs": [{"name": "label"}, {"name": "probabilities"}]}, (Output("label"), Output("probabilities"))),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "label", "parameters": {"binary_data": False}}, {"name": "probability"}],
            },
            (Output("label"), Output("probability", True)),
        ),
        (
            {"outputs": [{"name": "probabilities", "parameters": {"classification": 2, "binary_data": True}}]},
            (Output("probabilities", True, 2),),
        ),
    ],
)
def test_outputs_are_those_asked_for_in_their_order(more: dict[str, Any], outputs: tuple[Output, ...]) -> None:
    assert ask(SPAM, tensor("text", "BYTES", [1], ["a"]), **more).outputs == outputs


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"outputs": [{"name": "logits"}]}, 'Unexpected output "logits"; expected probabilities, label, probability'),
        ({"outputs": ["label"]}, "Expected 'outputs' as a list"),
        ({"outputs": "label"}, "Expected 'outputs' as a list"),
        ({"outputs": [{"name": "label", "parameters": {"shared_memory_region": "x"}}]}, "shared memory"),
        ({"outputs": [{"name": "label", "parameters": {"classification": 2}}]}, "'classification'"),
        ({"parameters": 3}, "'parameters' as an object"),
        ({"id": 3}, "Expected 'id' as a string"),
    ],
)
def test_outputs_that_cannot_be_given_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ask(SPAM, tensor("text", "BYTES", [1], ["a"]), **more)

    assert words in caught.value.what


def test_binary_tensors_follow_the_json_in_their_order() -> None:
    inputs = [
        {"name": "island", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 13}},
        tensor("is_adult", "BOOL", [2], [True, False]),
        {"name": "bill_length_mm", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}},
    ]
    body, length = binary({"inputs": inputs}, spell(b"Dream", b""), np.array([39.5, np.nan], "<f4").tobytes())

    question = open_inference.read_infer(body, str(length), PENGUINS)

    assert question.inputs == [
        {"island": "Dream", "is_adult": True, "bill_length_mm": 39.5},
        {"island": None, "is_adult": False, "bill_length_mm": None},
    ]


@pytest.mark.parametrize(
    ("given", "data", "words"),
    [
        ({"name": "text", "datatype": "BYTES", "shape": [1]}, b"\x05\0\0\0abc", "beyond the tensor's end"),
        ({"name": "text", "datatype": "BYTES", "shape": [1]}, b"\x05\0", "beyond the tensor's end"),
        ({"name": "text", "datatype": "BYTES", "shape": [1]}, b"\xff\xff\xff\xff", "beyond the tensor's end"),
        ({"name": "text", "datatype": "BYTES", "shape": [2]}, spell(b"a"), "has 2 elements. Received 1"),
        ({"name": "text", "datatype": "BYTES", "shape": [1]}, spell(b"a\xff"), "UTF-8"),
        ({"name": "text", "datatype": "FP32", "shape": [2]}, b"\0" * 4, "take 8 bytes. Received 4"),
        ({"name": "text", "datatype": "FP32", "shape": [1]}, b"\0" * 4, "expected datatype BYTES"),
    ],
)
def test_broken_binary_tensors_are_refused(given: dict[str, Any], data: bytes, words: str) -> None:
    body, length = binary({"inputs": [{**given, "parameters": {"binary_data_size": len(data)}}]}, data)

    with pytest.raises(BadRequest) as caught:
        open_inference.read_infer(body, length, SPAM)

    assert words in caught.value.what


@pytest.mark.parametrize(
    ("size", "header", "words"),
    [
        (100, None, "binary_data_size is 100, and 5 bytes are left"),
        (-1, None, "binary_data_size is -1"),
        (True, None, "binary_data_size is true"),
        ("5", None, 'binary_data_size is "5"'),
        (5, "x", "Inference-Header-Content-Length: expected a number"),
        (5, "-1", "Inference-Header-Content-Length"),
        (5, "1000000", "the body's length"),
        (5, "3", "no JSON"),
    ],
)
def test_sizes_that_do_not_add_up_are_refused(size: Any, header: str | None, words: str) -> None:
    given = {"name": "text", "datatype": "BYTES", "shape": [0], "parameters": {"binary_data_size": size}}
    body, length = binary({"inputs": [given]}, spell(b"a"))

    with pytest.raises(BadRequest) as caught:
        open_inference.read_infer(body, header or length, SPAM)

    assert words in caught.value.what


def test_bytes_after_the_last_tensor_are_refused() -> None:
    given = {"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
    body, length = binary({"inputs": [given]}, spell(b"a"), b"more")

    with pytest.raises(BadRequest, match="4 bytes more"):
        open_inference.read_infer(body, length, SPAM)


def test_a_body_without_json_is_one_input() -> None:
    assert open_inference.read_infer(GIF, "0", PHOTOS).inputs == [GIF]
    assert open_inference.read_infer("größer".encode(), 0, SPAM).inputs == ["größer"]
    with pytest.raises(BadRequest, match="one input"):
        open_inference.read_infer(b"a", "0", PENGUINS)


def test_answers_in_json_are_flat_and_echo_the_id() -> None:
    question = ask(PHOTOS, tensor("image_bytes", "BYTES", [2], ["AA==", "AA=="]), id="é-1")
    answers = np.array([[0.1, 0.9], [0.75, 0.25]], np.float32)

    body, length = open_inference.write_infer(answers, question, PHOTOS, "pets", 3)

    assert length is None
    assert json.loads(body) == {
        "model_name": "pets",
        "model_version": "3",
        "id": "é-1",
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": [0.1, 0.9, 0.75, 0.25]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ['the "dog"', "cat"]},
            {"name": "probability", "datatype": "FP32", "shape": [2], "data": [0.9, 0.75]},
        ],
    }


def test_the_best_classes_are_given_as_tritons_classification_extension_writes_them() -> None:
    question = open_inference.Question([b""], (Output("probabilities", False, 5),))

    body, _ = open_inference.write_infer(np.array([[0.25, 0.75]], np.float32), question, SPAM, "m", 1)

    assert json.loads(body)["outputs"] == [
        {"name": "probabilities", "datatype": "BYTES", "shape": [1, 2], "data": ["0.750000:1:spam", "0.250000:0:ham"]}
    ]


def through_the_client(
    spec: Spec, given: dict[str, np.ndarray], answers: Any, is_binary: bool, wanted: dict[str, bool] | None
) -> tuple[open_inference.Question, Any]:
    inputs = []
    for name, values in given.items():
        datatype = {"O": "BYTES", "u": "UINT8", "f": "FP32"}[values.dtype.kind]
        inputs.append(http.InferInput(name, list(values.shape), datatype))
        inputs[-1].set_data_from_numpy(values, binary_data=is_binary)
    outputs = [http.InferRequestedOutput(name, binary_data=one) for name, one in wanted.items()] if wanted else None
    body, length = http.InferenceServerClient.generate_request_body(inputs, outputs=outputs, request_id="7")
    question = open_inference.read_infer(body, length, spec)
    body, length = open_inference.write_infer(np.array(answers, np.float32), question, spec, "m", 1)
    return question, http.InferenceServerClient.parse_response_body(body, header_length=length)


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize(
    "wanted",
    [
        None,
        dict.fromkeys(ALL, True),
        dict.fromkeys(ALL, False),
        {"label": True, "probabilities": False, "probability": True},
    ],
)
def test_the_client_of_triton_is_understood_and_understands(is_binary: bool, wanted: dict[str, bool] | None) -> None:
    texts = np.array(["größer", ""], object)

    question, result = through_the_client(SPAM, {"text": texts}, [[0.1, 0.9], [0.75, 0.25]], is_binary, wanted)

    assert question.inputs == ["größer", ""]
    assert result.get_response()["id"] == "7"
    np.testing.assert_array_equal(result.as_numpy("probabilities"), np.array([[0.1, 0.9], [0.75, 0.25]], np.float32))
    np.testing.assert_array_equal(result.as_numpy("probability"), np.array([0.9, 0.75], np.float32))
    labels = [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy("label")]
    assert labels == ["spam", "ham"]


@pytest.mark.parametrize("is_binary", [True, False])
def test_images_and_rows_come_through_the_client_as_they_are(is_binary: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), np.uint8)
    rows = {"bill_length_mm": np.array([39.1, np.nan], np.float32), "island": np.array(["Dream", ""], object)}

    asked, _ = through_the_client(PHOTOS, {"image": images}, [[1, 0], [0, 1]], is_binary, None)

    np.testing.assert_array_equal(asked.inputs, images)
    asked, _ = through_the_client(PENGUINS, rows, [[1, 0, 0], [0, 1, 0]], is_binary, None)
    bill = float(np.float32(39.1))
    assert asked.inputs == [{"bill_length_mm": bill, "island": "Dream"}, {"bill_length_mm": None, "island": None}]


def test_files_come_through_the_client_as_bytes() -> None:
    asked, _ = through_the_client(PHOTOS, {"image_bytes": np.array([GIF], object)}, [[1, 0]], True, None)

    assert asked.inputs == [GIF]


def test_numbers_of_a_regression_are_value() -> None:
    rooms = {"rooms": np.array([3, 4], np.float32)}

    asked, result = through_the_client(PRICES, rooms, [[1.5], [-2]], True, None)

    assert asked.inputs == [{"rooms": 3.0}, {"rooms": 4.0}]
    assert result.as_numpy("value").tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("spec", "inputs", "outputs"),
    [
        (DIGITS, [("image", "UINT8", [-1, -1, -1, 1]), ("image_bytes", "BYTES", [-1])], ALL),
        (SPAM, [("text", "BYTES", [-1])], ALL),
        (PRICES, [("rooms", "FP32", [-1])], ("value",)),
        (
            PENGUINS,
            [
                ("bill_length_mm", "FP32", [-1]),
                ("island", "BYTES", [-1]),
                ("seen", "FP32", [-1]),
                ("is_adult", "FP32", [-1]),
            ],
            ALL,
        ),
    ],
)
def test_the_metadata_tell_names_types_and_shapes(spec: Spec, inputs: list[Any], outputs: tuple[str, ...]) -> None:
    found = open_inference.describe_model("m", 4, spec, "railcar_onnx")

    assert (found["name"], found["versions"], found["platform"]) == ("m", ["4"], "railcar_onnx")
    assert [(one["name"], one["datatype"], one["shape"]) for one in found["inputs"]] == inputs
    assert tuple(one["name"] for one in found["outputs"]) == outputs
    if not spec.is_number:
        assert found["outputs"][0] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(spec.labels)]}


def test_the_server_and_its_models_are_described() -> None:
    assert open_inference.describe_server("1.2")["extensions"][0] == "binary_tensor_data"
    assert open_inference.describe_ready("a", True) == {"name": "a", "ready": True}
    cards = [{"name": "a", "version": 2, "state": "ready"}, {"name": "b", "version": None, "state": "loading"}]
    assert open_inference.describe_repository(cards) == [
        {"name": "a", "version": "2", "state": "READY", "reason": ""},
        {"name": "b", "version": "", "state": "UNAVAILABLE", "reason": "loading"},
    ]
