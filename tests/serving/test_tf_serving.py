from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from railcar.serving import tf_serving
from railcar.serving.spec import BadRequest, Spec
from tests.serving.wire_specs import DIGITS, PENGUINS, PHOTOS, PRICES, SPAM

GIF = base64.b64encode(b"GIF89a").decode()
ROW = {"bill_length_mm": 39.1, "island": "Dream"}


def predict(document: Any, spec: Spec) -> tf_serving.Question:
    return tf_serving.read_predict(json.dumps(document).encode(), spec)


def listed(inputs: Any) -> Any:
    return inputs.tolist() if isinstance(inputs, np.ndarray) else inputs


@pytest.mark.parametrize(
    ("path", "method", "found"),
    [
        ("/v1/models/a", "GET", ("a", None, None, "status")),
        ("/v1/models/a/versions/7", "GET", ("a", 7, None, "status")),
        ("/v1/models/a/labels/stable", "GET", ("a", None, "stable", "status")),
        ("/v1/models/a/metadata", "GET", ("a", None, None, "metadata")),
        ("/v1/models/a/versions/7/metadata", "GET", ("a", 7, None, "metadata")),
        ("/v1/models/a:predict", "POST", ("a", None, None, "predict")),
        ("/v1/models/a b.c-d/versions/7:classify", "POST", ("a b.c-d", 7, None, "classify")),
        ("/v1/models/a/labels/canary:regress", "POST", ("a", None, "canary", "regress")),
        ("/V1/Models/Ab:Predict", "POST", ("Ab", None, None, "predict")),
    ],
)
def test_paths_are_parsed(path: str, method: str, found: tuple[Any, ...]) -> None:
    assert tf_serving.parse_path(path, method) == found


@pytest.mark.parametrize(
    ("path", "method", "status", "words"),
    [
        ("/v1/models", "GET", 400, "Missing model name in request."),
        ("/v1/models/a:explain", "POST", 400, "Malformed request: POST /v1/models/a:explain"),
        ("/v1/models/a/", "GET", 400, "Malformed request: GET /v1/models/a/"),
        ("/v1/models/a/versions/x:predict", "POST", 400, "Malformed request: POST"),
        ("/v1/models/a/versions/1/labels/b:predict", "POST", 400, "Malformed request"),
        ("/v1/models/a/metadata:predict", "POST", 400, "Malformed request"),
        ("/v1/models/a:predict", "GET", 405, "Method not allowed: GET"),
        ("/v1/models/a", "DELETE", 405, "it takes GET"),
    ],
)
def test_other_paths_and_methods_are_refused(path: str, method: str, status: int, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        tf_serving.parse_path(path, method)

    assert caught.value.status == status
    assert words in caught.value.what


@pytest.mark.parametrize(
    ("path", "method", "status", "words"),
    [
        ("/v1/models/a:predict", "POST", 404, "Servable not found for request: Latest(a)"),
        ("/v1/models/a/versions/7:predict", "POST", 404, "Servable not found for request: Specific(a, 7)"),
        ("/v1/models/a/metadata", "GET", 404, "Servable not found for request: Latest(a)"),
        ("/v1/models/a", "GET", 404, "Could not find any versions of model a"),
        ("/v1/models/a/versions/7", "GET", 404, "Could not find version 7 of model a"),
        ("/v1/models/a/labels/b:predict", "POST", 400, "Unrecognized servable version label: b"),
    ],
)
def test_what_is_not_there_is_told_as_tensorflow_serving_tells_it(
    path: str, method: str, status: int, words: str
) -> None:
    error = tf_serving.describe_missing(tf_serving.parse_path(path, method))

    assert (error.status, error.what) == (status, words)


PIXELS = [[1, 2], [3, 4]]
IMAGE = [[[1], [2]], [[3], [4]]]


@pytest.mark.parametrize(
    ("document", "spec", "inputs", "is_row"),
    [
        ({"instances": [PIXELS]}, DIGITS, [IMAGE], True),
        ({"instances": [IMAGE, IMAGE]}, DIGITS, [IMAGE, IMAGE], True),
        ({"signature_name": "serving_default", "instances": [IMAGE]}, DIGITS, [IMAGE], True),
        ({"instances": [{"image": IMAGE}]}, DIGITS, [IMAGE], True),
        ({"inputs": [IMAGE]}, DIGITS, [IMAGE], False),
        ({"inputs": {"image": [PIXELS, PIXELS]}}, DIGITS, [IMAGE, IMAGE], False),
        ({"instances": [{"b64": GIF}]}, DIGITS, [b"GIF89a"], True),
        ({"signature_name": "serving_bytes", "instances": [{"b64": GIF}]}, DIGITS, [b"GIF89a"], True),
        ({"signature_name": "serving_bytes", "instances": [{"image_bytes": {"b64": GIF}}]}, PHOTOS, [b"GIF89a"], True),
        ({"inputs": {"image_bytes": [{"b64": GIF}, {"b64": GIF}]}}, PHOTOS, [b"GIF89a"] * 2, False),
        ({"inputs": {"b64": GIF}}, PHOTOS, [b"GIF89a"], False),
        ({"instances": ["a", "b"]}, SPAM, ["a", "b"], True),
        ({"signature_name": "", "instances": [{"text": "a"}]}, SPAM, ["a"], True),
        ({"inputs": ["a"]}, SPAM, ["a"], False),
        ({"inputs": "a"}, SPAM, ["a"], False),
        ({"inputs": {"text": ["a", {"b64": "Yg=="}]}}, SPAM, ["a", "b"], False),
        ({"instances": [ROW, {}]}, PENGUINS, [ROW, {}], True),
        ({"inputs": {"bill_length_mm": [39.1], "island": ["Dream"]}}, PENGUINS, [ROW], False),
        ({"inputs": {"bill_length_mm": [[39.1]], "island": [["Dream"]]}}, PENGUINS, [ROW], False),
        ({"inputs": {"bill_length_mm": 39.1, "island": "Dream"}}, PENGUINS, [ROW], False),
        ({"instances": [{"bill_length_mm": float("nan")}]}, PENGUINS, [{"bill_length_mm": None}], True),
        ({"instances": [3, {"rooms": 4}]}, PRICES, [{"rooms": 3}, {"rooms": 4}], True),
        ({"inputs": [3, 4]}, PRICES, [{"rooms": 3}, {"rooms": 4}], False),
    ],
)
def test_questions_are_read_in_both_forms(document: Any, spec: Spec, inputs: Any, is_row: bool) -> None:
    question = predict(document, spec)

    assert listed(question.inputs) == inputs
    assert question.is_row is is_row


def test_images_of_one_size_come_as_one_array_and_others_as_a_list() -> None:
    alike = predict({"instances": [PIXELS] * 3}, DIGITS).inputs
    others = predict({"instances": [PIXELS, [[1]]]}, DIGITS).inputs

    assert isinstance(alike, np.ndarray)
    assert (alike.shape, alike.dtype) == ((3, 2, 2, 1), np.uint8)
    assert [one.shape for one in others] == [(2, 2, 1), (1, 1, 1)]


@pytest.mark.parametrize(
    ("document", "spec", "words"),
    [
        ([1], SPAM, "JSON Value: [1] Is not object"),
        ({}, SPAM, "Missing 'inputs' or 'instances' key"),
        ({"instances": ["a"], "inputs": ["a"]}, SPAM, "expecting only one of 'inputs' or 'instances' keys to exist"),
        ({"instances": "a"}, SPAM, "Excepting 'instances' to be an list/array"),
        ({"instances": []}, SPAM, "No values in 'instances' array"),
        ({"inputs": []}, SPAM, "at least one input"),
        ({"instances": ["a"] * 1025}, SPAM, "at most 1,024"),
        ({"signature_name": 3, "instances": ["a"]}, SPAM, "'signature_name' key must be a string value."),
        ({"signature_name": "x", "instances": ["a"]}, SPAM, 'Serving signature name: "x" not found in signature def'),
        ({"signature_name": "serving_bytes", "instances": ["a"]}, SPAM, '"serving_bytes" not found'),
        ({"signature_name": "x", "instances": [PIXELS]}, DIGITS, '"x" not found'),
        (
            {"instances": [{"words": "a"}]},
            SPAM,
            'element: 0 of \'instances\' list. JSON object: {"words": "a"} keys must',
        ),
        ({"instances": ["a", 3]}, SPAM, "instances[1]: Expected a text"),
        ({"instances": [PIXELS, [[1, 2], [3]]]}, DIGITS, "instances[1]: Expected pixels"),
        ({"instances": [[[[1, 2, 3]]]]}, DIGITS, "Received [1, 1, 3]"),
        ({"instances": [IMAGE] * 1025}, DIGITS, "at most 1,024"),
        ({"instances": [[[0.5]]]}, DIGITS, "Received 0.5"),
        ({"instances": [3]}, PENGUINS, "instances is a plain list, but expecting list of objects"),
        ({"instances": [{}, 3]}, PENGUINS, "instances[1]: Expected a row"),
        ({"instances": [{"iland": 1}]}, PENGUINS, "instances[0]: Unknown column 'iland'; did you mean 'island'?"),
        ({"instances": [{"bill_length_mm": float("inf")}]}, PENGUINS, "Infinity is no JSON"),
        ({"instances": [float("nan")]}, SPAM, "NaN is no JSON"),
        ({"inputs": [3]}, PENGUINS, "inputs is a plain value/list, but expecting an object"),
        ({"inputs": {"bill_length_mm": [1, 2], "island": ["a"]}}, PENGUINS, "bill_length_mm has 2, island has 1"),
        ({"inputs": {"iland": [1]}}, PENGUINS, "Unknown column 'iland'"),
        ({"inputs": {}}, PENGUINS, "at least one"),
        ({"inputs": {"words": ["a"]}}, SPAM, "Missing named input: text in 'inputs' object."),
        ({"inputs": {"text": ["a"], "more": 1}}, SPAM, "Received text, more"),
    ],
)
def test_wrong_questions_are_refused_in_words(document: Any, spec: Spec, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        predict(document, spec)

    assert caught.value.status == 400
    assert words in caught.value.what


def answers(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_predictions_in_rows_have_every_output_by_its_name() -> None:
    question = tf_serving.Question([b"", b""], True)

    written = json.loads(tf_serving.write_predict(answers([0.1, 0.9], [0.75, 0.25]), question, PHOTOS))

    assert written == {
        "predictions": [
            {"probabilities": [0.1, 0.9], "label": 'the "dog"', "probability": 0.9},
            {"probabilities": [0.75, 0.25], "label": "cat", "probability": 0.75},
        ]
    }


def test_predictions_in_columns_have_a_list_for_each_output() -> None:
    question = tf_serving.Question([b"", b""], False)

    written = json.loads(tf_serving.write_predict(answers([0.1, 0.9], [0.75, 0.25]), question, PHOTOS))

    assert written == {
        "outputs": {
            "probabilities": [[0.1, 0.9], [0.75, 0.25]],
            "label": ['the "dog"', "cat"],
            "probability": [0.9, 0.75],
        }
    }


@pytest.mark.parametrize(("is_row", "key"), [(True, "predictions"), (False, "outputs")])
def test_the_only_output_of_a_regression_has_no_name(is_row: bool, key: str) -> None:
    question = tf_serving.Question([{}, {}], is_row)

    assert json.loads(tf_serving.write_predict(answers([1.5], [-2e20]), question, PRICES)) == {key: [1.5, -2e20]}


def test_numbers_are_short_and_are_read_as_the_same_float32() -> None:
    numbers = np.random.default_rng(0).random(2000, np.float32) ** 8

    texts = tf_serving.join_numbers(numbers).split(", ")

    np.testing.assert_array_equal(np.array(json.loads(f"[{', '.join(texts)}]"), np.float32), numbers)
    assert max(len(text.partition("e")[0].replace(".", "").lstrip("0")) for text in texts) <= 9


@pytest.mark.parametrize(
    ("document", "spec", "inputs"),
    [
        ({"examples": [{"text": "a"}, {"text": ["b"]}]}, SPAM, ["a", "b"]),
        ({"examples": [{"image_bytes": {"b64": GIF}}, {"image_bytes": [{"b64": GIF}]}]}, DIGITS, [b"GIF89a"] * 2),
        ({"examples": [{"image": PIXELS}]}, DIGITS, [IMAGE]),
        ({"examples": [{"image": [[1, 2]]}]}, DIGITS, [[[[1], [2]]]]),
        (
            {
                "signature_name": "tensorflow/serving/classify",
                "examples": [{"bill_length_mm": [39.1], "island": "Dream"}],
            },
            PENGUINS,
            [ROW],
        ),
        (
            {"context": {"island": "Dream"}, "examples": [{"bill_length_mm": 39.1}, {}]},
            PENGUINS,
            [ROW, {"island": "Dream"}],
        ),
    ],
)
def test_examples_are_read(document: Any, spec: Spec, inputs: Any) -> None:
    # Keys of a row may come in any order.
    assert listed(tf_serving.read_examples(json.dumps(document).encode(), spec, "classify")) == inputs


@pytest.mark.parametrize(
    ("document", "spec", "verb", "words"),
    [
        ({}, SPAM, "classify", "When method is classify, key 'examples' is expected and was not found"),
        ({"examples": "a"}, SPAM, "classify", "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, SPAM, "classify", "'examples' value is an empty array"),
        ({"examples": ["a"]}, SPAM, "classify", "Example must be JSON object but got JSON String"),
        ({"examples": [{}], "context": 3}, SPAM, "classify", "Example must be JSON object but got JSON Number"),
        ({"examples": [{}]}, SPAM, "classify", "keys must be equal to: text"),
        ({"examples": [{"island": "a"}], "context": {"island": "b"}}, PENGUINS, "classify", "must not appear"),
        ({"examples": [{"island": ["a", "b"]}]}, PENGUINS, "classify", "examples[0]: Column 'island'"),
        (
            {"examples": [{"text": "a"}]},
            SPAM,
            "regress",
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/classify",
        ),
        (
            {"examples": [{"rooms": 3}]},
            PRICES,
            "classify",
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/regress",
        ),
        (
            {"signature_name": "tensorflow/serving/regress", "examples": [{}]},
            SPAM,
            "classify",
            "not found in signature",
        ),
    ],
)
def test_wrong_examples_are_refused_in_words(document: Any, spec: Spec, verb: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        tf_serving.read_examples(json.dumps(document).encode(), spec, verb)

    assert words in caught.value.what


def test_classes_keep_the_order_of_the_model() -> None:
    written = json.loads(tf_serving.write_classify(answers([0.1, 0.9], [0.75, 0.25]), PHOTOS))

    assert written == {"results": [[["cat", 0.1], ['the "dog"', 0.9]], [["cat", 0.75], ['the "dog"', 0.25]]]}


def test_regressions_are_a_list_of_numbers() -> None:
    assert json.loads(tf_serving.write_regress(answers([1.5], [3.0]))) == {"results": [1.5, 3.0]}


def test_the_status_is_that_of_the_model_service() -> None:
    status = {"error_code": "OK", "error_message": ""}
    ready = {"model_version_status": [{"version": "3", "state": "AVAILABLE", "status": status}]}

    assert tf_serving.describe_status(3) == ready
    failed = tf_serving.describe_status(4, "failed", "damaged")["model_version_status"][0]
    assert (failed["state"], failed["status"]["error_message"]) == ("END", "damaged")


def test_the_metadata_are_the_signatures_of_the_saved_model() -> None:
    found = tf_serving.describe_metadata("digits", 2, DIGITS)

    assert found["model_spec"] == {"name": "digits", "signature_name": "", "version": "2"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "serving_bytes"}
    image = signatures["serving_default"]["inputs"]["image"]
    assert image["name"] == "serving_default_image:0"
    assert image["dtype"] == "DT_UINT8"
    sizes = [{"size": size, "name": ""} for size in ("-1", "-1", "-1", "1")]
    assert image["tensor_shape"] == {"dim": sizes, "unknown_rank": False}
    assert signatures["serving_bytes"]["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
    assert set(signatures["serving_bytes"]["outputs"]) == {"probabilities", "label", "probability"}
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("spec", "inputs", "outputs"),
    [
        (SPAM, {"text": "DT_STRING"}, {"label", "probability", "probabilities"}),
        (PRICES, {"rooms": "DT_FLOAT"}, {"value"}),
        (
            PENGUINS,
            {"bill_length_mm": "DT_FLOAT", "island": "DT_STRING", "seen": "DT_FLOAT", "is_adult": "DT_FLOAT"},
            {"label", "probability", "probabilities"},
        ),
    ],
)
def test_the_metadata_name_every_tensor_with_its_type(spec: Spec, inputs: dict[str, str], outputs: set[str]) -> None:
    signatures = tf_serving.describe_metadata("m", 1, spec)["metadata"]["signature_def"]["signature_def"]

    assert set(signatures) == {"serving_default"}
    found = {name: one["dtype"] for name, one in signatures["serving_default"]["inputs"].items()}
    assert found == inputs
    assert set(signatures["serving_default"]["outputs"]) == outputs


def test_errors_are_json() -> None:
    assert json.loads(tf_serving.write_error('a "b" ü')) == {"error": 'a "b" ü'}
