from __future__ import annotations

from pathlib import Path

import pytest

from railcar.errors import DataError
from railcar.storage.address import Address, is_remote, parse, url_of


@pytest.mark.parametrize(
    ("text", "expected", "name"),
    [
        ("gs://bucket/a/b.csv", Address("gs", "bucket", "a/b.csv"), "b.csv"),
        ("S3://bucket/a/b/", Address("s3", "bucket", "a/b/"), "b"),
        ("s3://bucket", Address("s3", "bucket", ""), "bucket"),
        ("https://host:8443/a/b%20c.zip?token=1#x", Address("https", "host:8443", "a/b%20c.zip?token=1"), "b c.zip"),
        ("/data/set.csv", Address("file", "", "/data/set.csv"), "set.csv"),
    ],
)
def test_an_address_is_taken_apart(text: str, expected: Address, name: str) -> None:
    assert parse(text) == expected
    assert parse(text).name == name
    assert parse(parse(text)) == expected


def test_a_path_is_local_whatever_it_looks_like() -> None:
    assert parse(Path("photos")).key == str(Path("photos").absolute())
    assert not is_remote("C:\\photos") and is_remote("ftp://host/file")


def test_names_are_put_below_an_address() -> None:
    assert str(parse("gs://bucket/a/") / "b") == str(parse("gs://bucket/a") / "b") == "gs://bucket/a/b"
    assert str(parse("gs://bucket") / "b") == "gs://bucket/b"


def test_a_signature_is_sent_and_never_shown() -> None:
    address = parse("https://host/a b.zip?X-Signature=secret")
    assert url_of(address) == "https://host/a%20b.zip?X-Signature=secret"
    assert str(address) == "https://host/a b.zip"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://host/file", "ftp://: addresses of this kind"),
        ("gs:///photos", "names no bucket"),
        ("https://host/", "names no file"),
        ("https://me:secret@host/file", "https://host: an address with a password"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_mend(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        parse(text)
    assert caught.value.hint and "secret" not in caught.value.what + caught.value.hint
