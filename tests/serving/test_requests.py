from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from railcar.serving import requests
from railcar.serving.spec import BadRequest, Spec
from tests.serving.wire_specs import DIGITS, PENGUINS, PHOTOS, SPAM


def refusal(read: Any, *given: Any, **more: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        read(*given, **more)
    assert caught.value.status == 400
    return caught.value.what


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 2.5, true, null, "\\u00e9"]}', {"a": [1, 2.5, True, None, "é"]}),
        (b"\xef\xbb\xbf[1]", [1]),
        (b" 3 ", 3),
        (b"[1e3, -0.0, 1234567890123456789012]", [1000.0, 0.0, 1234567890123456789012]),
        (b"[" * 64 + b"]" * 64, json.loads("[" * 64 + "]" * 64)),
        (json.dumps(["[{" * 100]).encode(), ["[{" * 100]),
    ],
)
def test_json_is_read(body: bytes, value: Any) -> None:
    assert requests.read_json(body) == value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b"[1] x", "column 5"),
        (b'["\xff"]', "UTF-8: byte 2"),
        (b"[NaN]", "NaN is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        (b"[1e999]", "1e999 is too large"),
        (b'["\\ud800"]', "surrogate"),
        (b"[" * 65 + b"]" * 65, "more than 64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "more than 64 levels"),
        (b"[" * 100_000, "more than 64 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "more than 64 levels"),
        (b"[" + b"1" * 10_000 + b"]", "cannot be read as JSON"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(body: bytes, words: str) -> None:
    assert words in refusal(requests.read_json, body)


def test_nan_is_taken_only_where_it_is_asked_for() -> None:
    (found,) = requests.read_json(b"[NaN]", takes_nan=True)

    assert found != found
    assert "Infinity" in refusal(requests.read_json, b"[Infinity]", takes_nan=True)


def test_a_list_is_no_object() -> None:
    assert "Received a list" in refusal(requests.read_object, b"[1]")


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 4, 4, 1), (2, 5, 7, 3), (6, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("indent", [None, 2])
def test_pixels_of_a_document_are_found_without_python_objects(shape: tuple[int, ...], indent: int | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape)
    body = json.dumps({"signature_name": "a[1]", "instances": pixels.tolist()}, indent=indent).encode()
    plain = json.dumps({"signature_name": "serving_default", "instances": pixels.tolist()}, indent=indent).encode()

    found = requests.find_pixels(plain, ("instances",))

    assert found is not None
    others, key, read = found
    assert (others, key, read.dtype) == ({"signature_name": "serving_default"}, "instances", np.uint8)
    np.testing.assert_array_equal(read, pixels)
    assert requests.find_pixels(body, ("instances",)) is None  # a bracket elsewhere: read the slow way


@pytest.mark.parametrize(
    "value",
    [
        [[[1, 2], [3]]],
        [[[1, 2], [3, 4]], [[5, 6], [7]], [[8], [9, 10]]],
        [[[1, 2], [3, 4]], [[5, 6, 7], [8]]],
        [[[1, 2], [3, 4]], [[5, 6], [7, [8]]]],
        [[[1], [2]], [3, 4]],
        [[[1, 2], []]],
        [[[1, 256]]],
        [[[1, -1]]],
        [[[1, 2.0]]],
        [[[1, True]]],
        [[[1, None]]],
        [[[1, "2"]]],
        [[[]]],
        [],
        [1, 2],
        [[[[[1]]]]],
        {"b64": "AA=="},
        "[[1,2],[3,4]]",
    ],
)
def test_pixels_that_are_not_full_arrays_of_bytes_are_not_found(value: Any) -> None:
    assert requests.find_pixels(json.dumps({"instances": value}).encode(), ("instances",)) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[[[1]]]",
        b'{"other": [[[1]]]}',
        b'{"instances": [[[1]]], "more": [[[1]]]}',
        b'{"instances": [[[1]]], "instances": [[[1]]]}',
        b'{"instances": "[[[1,2],[3,4]]]", "inputs": 1}',
    ],
)
def test_documents_of_another_form_hold_no_pixels(body: bytes) -> None:
    assert requests.find_pixels(body, ("instances",)) is None


@pytest.mark.parametrize(
    ("value", "spec", "shape"),
    [
        ([[0, 255], [1, 2], [3, 4]], DIGITS, (3, 2, 1)),
        ([[[0], [255]]], DIGITS, (1, 2, 1)),
        ([[[0, 1, 2], [3, 4, 5]]], PHOTOS, (1, 2, 3)),
    ],
)
def test_pixels_become_an_image(value: Any, spec: Spec, shape: tuple[int, ...]) -> None:
    image = requests.read_pixels(value, spec)

    assert (image.shape, image.dtype) == (shape, np.uint8)
    assert image.ravel().tolist() == np.array(value).ravel().tolist()


@pytest.mark.parametrize(
    ("value", "spec", "words"),
    [
        ([[1, 2], [3]], DIGITS, "Received a list of 2 and one of 1 at level 2"),
        ([[1, 2], []], DIGITS, "one of 0 at level 2"),
        ([[1, 2], 3], DIGITS, "and a number at level 2"),
        ([[[1], [2]], [[3], [4, 5]]], DIGITS, "one of 2 at level 3"),
        ([[1, 2.5]], DIGITS, "Received 2.5"),
        ([[1, True]], DIGITS, "Received true"),
        ([[1, [2]]], DIGITS, "Received [2]"),
        ([[1, None]], DIGITS, "Received null"),
        ([[0, 256]], DIGITS, "Received 256"),
        ([[0, -1]], DIGITS, "Received -1"),
        ([[0, 10**30]], DIGITS, "Received 1000000"),
        ([], DIGITS, "shape [0]"),
        ([[]], DIGITS, "shape [1, 0]"),
        ([1, 2], DIGITS, "shape [2]"),
        ([[[[1]]]], DIGITS, "shape [1, 1, 1, 1]"),
        ("12", DIGITS, "a string"),
        ([[[1, 2, 3]]], DIGITS, "[height][width][1]. Received [1, 1, 3]"),
        ([[1, 2]], PHOTOS, "[height][width][3]. Received [1, 2]"),
        ([[[1, 2, 3, 4]]], PHOTOS, "Received [1, 1, 4]"),
    ],
)
def test_wrong_pixels_are_refused_in_words(value: Any, spec: Spec, words: str) -> None:
    message = refusal(requests.read_pixels, value, spec)

    assert message.startswith("Expected pixels")
    assert words in message


def test_more_than_a_hundred_megapixels_are_refused() -> None:
    huge = np.broadcast_to(np.uint8(0), (1, 10_001, 10_000, 1))

    assert "at most 100 megapixels" in refusal(requests.fit_pixels, huge, DIGITS)


@pytest.mark.parametrize(
    "text",
    [
        "iVBORw0KGgo+/w==",
        "iVBORw0KGgo+/w",
        "iVBORw0KGgo-_w",
        "iVBORw0K\nGgo+/w==\n",
        "data:image/png;base64,iVBORw0KGgo+/w==",
    ],
)
def test_base64_is_read_in_its_spellings(text: str) -> None:
    assert requests.read_input({"b64": text}, DIGITS) == b"\x89PNG\r\n\x1a\n>\xff"


@pytest.mark.parametrize(
    ("value", "spec", "words"),
    [
        ({"b64": "a"}, DIGITS, "Unable to base64 decode"),
        ({"b64": "!!!!"}, DIGITS, "Unable to base64 decode"),
        ({"b64": "é"}, DIGITS, "Unable to base64 decode"),
        ({"b64": ""}, DIGITS, "empty"),
        ({"b64": 3}, DIGITS, "Received an object"),
        ({"b64": "AA==", "more": 1}, DIGITS, "Received an object"),
        ("photo.jpg", DIGITS, "Expected an image"),
        (None, DIGITS, "Received null"),
        (3, SPAM, "Expected a text as a string. Received a number"),
        (["a"], SPAM, "Received a list"),
        ({"b64": base64.b64encode(b"a\xff").decode()}, SPAM, "Byte 1"),
        ([1], PENGUINS, "Expected a row"),
        ({"bill_lenght_mm": 3}, PENGUINS, "'bill_lenght_mm'; did you mean 'bill_length_mm'?"),
        ({"zzz": 3}, PENGUINS, "the columns are bill_length_mm, island"),
        ({"island": ["Biscoe"]}, PENGUINS, "Column 'island': expected a number, a string, true, false or null"),
        ({"island": {"a": 1}}, PENGUINS, "Received {"),
        ({"bill_length_mm": 1e39}, PENGUINS, "too large"),
        ({"bill_length_mm": 10**400}, PENGUINS, "too large"),
    ],
)
def test_inputs_that_the_model_does_not_take_are_refused(value: Any, spec: Spec, words: str) -> None:
    assert words in refusal(requests.read_input, value, spec)


@pytest.mark.parametrize(
    ("value", "spec", "found"),
    [
        ("hello", SPAM, "hello"),
        ("", SPAM, ""),
        ({"b64": base64.b64encode("größer".encode()).decode()}, SPAM, "größer"),
        ({}, PENGUINS, {}),
        (
            {"island": "Dream", "is_adult": True, "seen": None},
            PENGUINS,
            {"island": "Dream", "is_adult": True, "seen": None},
        ),
        ({"bill_length_mm": float("nan")}, PENGUINS, {"bill_length_mm": None}),
        ({"island": {"b64": "RHJlYW0="}}, PENGUINS, {"island": "Dream"}),
    ],
)
def test_texts_and_rows_are_read(value: Any, spec: Spec, found: Any) -> None:
    assert requests.read_input(value, spec) == found


def test_images_of_one_size_are_one_array_and_others_a_list() -> None:
    alike = requests.read_inputs([[[1, 2]], [[3, 4]]], DIGITS, "instances")
    others = requests.read_inputs([[[1, 2]], [[3]]], DIGITS, "instances")

    assert isinstance(alike, np.ndarray)
    assert alike.shape == (2, 1, 2, 1)
    assert [one.shape for one in others] == [(1, 2, 1), (1, 1, 1)]


def test_the_fault_of_one_of_many_inputs_tells_which() -> None:
    assert refusal(requests.read_inputs, ["a", 3], SPAM, "inputs").startswith("inputs[1]: Expected a text")


def test_none_and_too_many_inputs_are_refused() -> None:
    assert "at least one" in refusal(requests.check_count, 0)
    assert "at most 1,024 inputs in a request. Received 1,025" in refusal(requests.check_count, 1025)


def test_long_values_are_cut_in_messages() -> None:
    assert len(requests.show("x" * 1000)) == 80
    assert requests.show(list(range(1000))) == "a list"
