from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from railcar.serving import plain
from railcar.serving.spec import BadRequest, Spec
from tests.serving.wire_specs import DIGITS, PENGUINS, PHOTOS, PRICES, SPAM

GIF = b"GIF89a\r\n--x\r\n\x00\xff"
SPELLED = {"b64": base64.b64encode(GIF).decode()}
FORM = "multipart/form-data; boundary=x1"


def form(*parts: tuple[str, str | None, bytes], boundary: str = "x1", end: str = "--\r\n") -> bytes:
    made = b""
    for name, filename, data in parts:
        of_file = f'; filename="{filename}"\r\nContent-Type: application/octet-stream' if filename is not None else ""
        made += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n\r\n'.encode() + data + b"\r\n"
        )
    return made + f"--{boundary}{end}".encode()


def listed(inputs: list[Any]) -> list[Any]:
    return [one.tolist() if isinstance(one, np.ndarray) else one for one in inputs]


def spell(document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("body", "kind", "spec", "inputs"),
    [
        (GIF, "image/gif", DIGITS, [GIF]),
        (GIF, "application/octet-stream", PHOTOS, [GIF]),
        ("größer".encode(), "text/plain", SPAM, ["größer"]),
        (b"\xef\xbb\xbfhello", "Text/Plain; charset=UTF-8", SPAM, ["hello"]),
        (b"hello", "application/octet-stream", SPAM, ["hello"]),
        (spell({"input": "a"}), "application/json", SPAM, ["a"]),
        (spell({"inputs": ["a", "b"]}), "application/json; charset=utf-8", SPAM, ["a", "b"]),
        (spell({"input": {"island": "Dream"}}), "application/json", PENGUINS, [{"island": "Dream"}]),
        (spell({"inputs": [{"rooms": 3}, {}]}), "application/json", PRICES, [{"rooms": 3}, {}]),
        (spell({"input": SPELLED}), "application/json", DIGITS, [GIF]),
        (spell({"input": [[1, 2]]}), "application/json", DIGITS, [[[[1], [2]]]]),
        (spell({"input": [[[1, 2, 3]]]}), "application/json", PHOTOS, [[[[1, 2, 3]]]]),
        (spell({"inputs": [[[1, 2]], [[3, 4]]]}), "application/json", DIGITS, [[[[1], [2]]], [[[3], [4]]]]),
        (spell({"inputs": [[[1, 2]], SPELLED]}), "application/json", DIGITS, [[[[1], [2]]], GIF]),
        (form(("file", "a.gif", GIF)), FORM, DIGITS, [GIF]),
        (form(("file", "a.gif", GIF), ("file", "ü.png", b"PNG")), FORM, DIGITS, [GIF, b"PNG"]),
        (form(("file", None, GIF)), FORM, DIGITS, [GIF]),
        (form(("text", None, "größer".encode()), ("file", "a.txt", b"hi")), FORM, SPAM, ["größer", "hi"]),
        (form(("file", "a", b"hi"), boundary="a b"), 'multipart/form-data; boundary="a b"', SPAM, ["hi"]),
        (form(("text", None, b"")), FORM, SPAM, [""]),
        (form(("file", "a", b"x" * 200_000)), FORM, DIGITS, [b"x" * 200_000]),
    ],
)
def test_questions_are_read_by_their_type(body: bytes, kind: str, spec: Spec, inputs: list[Any]) -> None:
    assert listed(plain.read_question(body, kind, spec)) == inputs


@pytest.mark.parametrize(
    ("body", "kind", "spec", "words"),
    [
        (spell({"inputs": ["a", 3, "b"]}), "application/json", SPAM, [None, "Expected a text", None]),
        (spell({"inputs": [SPELLED, {"b64": "!"}]}), "application/json", DIGITS, [None, "base64"]),
        (spell({"inputs": [[[1]], [[1, 2], [3]]]}), "application/json", DIGITS, [None, "one of 1 at level 2"]),
        (spell({"inputs": [{"iland": 1}, {}]}), "application/json", PENGUINS, ["did you mean 'island'", None]),
        (spell({"input": 3}), "application/json", SPAM, ["Expected a text"]),
        (form(("file", "a", GIF), ("file", "", b"")), FORM, DIGITS, [None, "The file is empty"]),
        (form(("file", "a", b"\xff"), ("text", None, b"hi")), FORM, SPAM, ["UTF-8", None]),
        (b"", "image/png", DIGITS, ["The file is empty"]),
    ],
)
def test_what_cannot_be_read_fails_alone(body: bytes, kind: str, spec: Spec, words: list[str | None]) -> None:
    found = plain.read_question(body, kind, spec)

    assert len(found) == len(words)
    for one, expected in zip(found, words, strict=True):
        assert isinstance(one, BadRequest) is (expected is not None)
        if isinstance(one, BadRequest):
            assert str(expected) in one.what


@pytest.mark.parametrize(
    ("body", "kind", "spec", "status", "words"),
    [
        (b"{}", "application/x-www-form-urlencoded", SPAM, 415, "curl takes -H 'Content-Type: application/json'"),
        (b"{}", None, SPAM, 415, "Received none"),
        (b"{}", "", SPAM, 415, "Received none"),
        (GIF, "image/png", SPAM, 415, "Expected Content-Type text/plain, multipart/form-data or application/json"),
        (b"a", "text/plain", DIGITS, 415, "Expected Content-Type image/*"),
        (b"a", "text/plain; charset=utf-16", SPAM, 415, "Received charset 'utf-16'"),
        (b"a\xff", "text/plain", SPAM, 400, "UTF-8"),
        (b"a", "application/octet-stream", PENGUINS, 415, "Expected Content-Type application/json"),
        (form(("file", "a", b"a")), FORM, PENGUINS, 415, "application/json for rows"),
        (b"", "application/json", SPAM, 400, "empty"),
        (b"[1]", "application/json", SPAM, 400, "Expected a JSON object"),
        (b"{}", "application/json", SPAM, 400, "Received an empty object"),
        (spell({"input": "a", "inputs": ["a"]}), "application/json", SPAM, 400, "Received input, inputs"),
        (spell({"text": "a"}), "application/json", SPAM, 400, "Received text"),
        (spell({"input": [[1]], "top": 3}), "application/json", DIGITS, 400, "Received input, top"),
        (spell({"inputs": "a"}), "application/json", SPAM, 400, "'inputs' as a list"),
        (spell({"inputs": []}), "application/json", SPAM, 400, "at least one"),
        (spell({"inputs": ["a"] * 1025}), "application/json", SPAM, 400, "at most 1,024"),
        (spell({"inputs": [[[1]]] * 1025}), "application/json", DIGITS, 400, "at most 1,024"),
        (spell({"inputs": [[[1, 2, 3]]]}), "application/json", PHOTOS, 400, "Received [1, 3]"),
        (form(("image", "a", GIF)), FORM, DIGITS, 400, "Received 'image'"),
        (form(("text", None, b"a")), FORM, DIGITS, 400, "Received 'text'"),
        (form(), FORM, DIGITS, 400, "empty form"),
        (form(("file", "a", GIF)), "multipart/form-data", DIGITS, 400, "Expected a boundary"),
        (form(("file", "a", GIF)), "multipart/form-data; boundary=" + "x" * 300, DIGITS, 400, "broken"),
        (form(("file", "a", GIF), end=""), FORM, DIGITS, 400, "broken"),
        (form(("file", "a", GIF))[:-20], FORM, DIGITS, 400, "broken"),
        (b"", FORM, DIGITS, 400, "broken"),
        (b"nonsense", FORM, DIGITS, 400, "broken"),
        (form(*[("text", None, b"a")] * 1025), FORM, SPAM, 413, "at most 1,024 parts"),
        (form(("a" * 5000, None, b"a")), FORM, SPAM, 400, "broken"),
        (form(("file", "a\r\n" + "\r\n".join(f"A{n}: 1" for n in range(20)), b"a")), FORM, SPAM, 400, "broken"),
    ],
)
def test_what_is_wrong_as_a_whole_is_refused(
    body: bytes, kind: str | None, spec: Spec, status: int, words: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        plain.read_question(body, kind, spec)

    assert words in caught.value.what
    assert caught.value.status == status


ANSWERS = np.array([[0.1, 0.7, 0.2], [1 / 3, 1 / 3, 1 / 3]], np.float32)


def test_predictions_are_best_first_and_rounded() -> None:
    found = plain.write_predictions(ANSWERS, PENGUINS)

    assert found == [
        {"label": "Chinstrap", "probability": 0.7, "probabilities": {"Chinstrap": 0.7, "Gentoo": 0.2, "Adelie": 0.1}},
        {"label": "Adelie", "probability": 0.333333, "probabilities": dict.fromkeys(PENGUINS.labels, 0.333333)},
    ]
    assert [list(one["probabilities"]) for one in found] == [["Chinstrap", "Gentoo", "Adelie"], list(PENGUINS.labels)]


@pytest.mark.parametrize(("top", "n"), [(1, 1), (2, 2), (3, 3), (100, 3), (None, 3)])
def test_top_keeps_the_best(top: int | None, n: int) -> None:
    (found, _) = plain.write_predictions(ANSWERS, PENGUINS, top)

    assert list(found["probabilities"]) == ["Chinstrap", "Gentoo", "Adelie"][:n]
    assert found["probability"] == 0.7


def test_a_number_is_written_as_short_as_float32_allows() -> None:
    assert plain.write_predictions(np.array([[12.3], [-4]], np.float32), PRICES) == [{"value": 12.3}, {"value": -4.0}]
