from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from railcar.errors import DataError
from railcar.storage.credentials import find_google_identity, find_s3_identity


@pytest.fixture
def bare(clouds: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment in which nothing is found: no key, no profile, no machine's role, no region to ask for."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "STORAGE_EMULATOR_HOST"):
        clouds.delenv(name, raising=False)
    clouds.setenv("HOME", str(tmp_path))
    clouds.setenv("NO_GCE_CHECK", "true")
    clouds.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    clouds.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    # Installed for the tests' own S3 server; most users have none.
    clouds.setitem(sys.modules, "boto3", None)
    return clouds


def write_profile(home: Path, *, config: str = "", keys: str = "") -> None:
    (home / ".aws").mkdir()
    (home / ".aws" / "config").write_text(config)
    (home / ".aws" / "credentials").write_text(keys)


def test_who_has_nothing_asks_in_nobodys_name(bare: pytest.MonkeyPatch) -> None:
    for identity in (find_s3_identity("bucket"), find_google_identity()):
        assert identity.is_anonymous and identity.config["skip_signature"] is True


def test_keys_of_the_environment_come_first(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_profile(tmp_path, keys="[default]\naws_access_key_id = A\naws_secret_access_key = B\n")
    bare.setenv("AWS_ACCESS_KEY_ID", "test")
    identity = find_s3_identity("bucket")
    assert identity.words == "the key in AWS_ACCESS_KEY_ID" and "access_key_id" not in identity.config


def test_a_profile_gives_keys_and_region(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = "[default]\naws_access_key_id = A\naws_secret_access_key = B\n[work]\naws_access_key_id = C\n"
    write_profile(tmp_path, config="[profile work]\nregion = eu-west-1\n", keys=keys + "aws_secret_access_key = %D\n")
    assert find_s3_identity("bucket").config["access_key_id"] == "A"
    bare.setenv("AWS_PROFILE", "work")
    bare.delenv("AWS_REGION")
    bare.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    identity = find_s3_identity("bucket")
    assert identity.config == {
        "region": "eu-west-1", "endpoint": "http://127.0.0.1:9", "access_key_id": "C", "secret_access_key": "%D",
    }  # fmt: skip
    assert "'work'" in identity.words and "%D" not in repr(identity)
    assert identity.is_plain_http


def test_a_profile_that_needs_boto3_says_so(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_profile(tmp_path, config="[default]\nsso_session = company\n")
    with pytest.raises(DataError, match="'default' has no key of its own") as caught:
        find_s3_identity("bucket")
    assert "pip install boto3" in caught.value.hint


class Metadata(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_machine_of_ec2_is_asked_for_its_role(bare: pytest.MonkeyPatch, metadata: str) -> None:
    bare.delenv("AWS_EC2_METADATA_DISABLED")
    bare.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata)
    assert find_s3_identity("bucket").words == "this machine's role"


def test_application_default_credentials_are_googles(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    about = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
    (tmp_path / "adc.json").write_text(json.dumps(about))
    bare.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    identity = find_google_identity()
    assert identity.provider is not None and identity.google is not None and not identity.is_anonymous
    assert "application default credentials" in identity.words
