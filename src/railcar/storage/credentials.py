"""In whose name a bucket is asked: each cloud's usual means, in their usual order, else nobody's.

Owns finding credentials, regions and endpoints. Neither stores nor prints a secret: `Identity.words` says where they
came from.

    S3     AWS_ACCESS_KEY_ID, roles of containers and web identities, boto3 where it is installed (single sign-on,
           assumed roles), ~/.aws/credentials, the machine's role; endpoint AWS_ENDPOINT_URL, region AWS_REGION
    Google GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, the machine's service account
           (google.auth's application default credentials); endpoint STORAGE_EMULATOR_HOST
"""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from railcar.errors import DataError

_METADATA_TIMEOUT_S = 1.0
_REGION_TIMEOUT_S = 10.0
_DEFAULT_REGION = "us-east-1"
_NATIVE_VARIABLES = (
    ("AWS_ACCESS_KEY_ID", "the key in AWS_ACCESS_KEY_ID"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "the role of AWS_WEB_IDENTITY_TOKEN_FILE"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "this container's role"),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "this container's role"),
)
_GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


@dataclass(frozen=True)
class Identity:
    """What obstore is told (`config`, `provider`), the same for Google's library (`google`), and words for it."""

    words: str
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    provider: Callable[[], Any] | None = field(default=None, repr=False)
    google: Any = field(default=None, repr=False)
    is_anonymous: bool = False
    is_plain_http: bool = False


def environment_key() -> tuple[str | None, ...]:
    """The variables that decide; a bucket that was opened under others must be opened anew."""
    names = (
        *("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SKIP_SIGNATURE"),
        *("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SKIP_SIGNATURE"),
    )
    return tuple(os.environ.get(name) for name in names)


def find_s3_identity(bucket: str) -> Identity:
    """Who asks S3, and where. Asks the network only where the environment leaves something open."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    profile = _read_profile()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    if not region:
        region = profile.get("region", _DEFAULT_REGION) if endpoint else _find_region(bucket) or _DEFAULT_REGION
    config: dict[str, Any] = {"region": region, **({"endpoint": endpoint} if endpoint else {})}
    plain = endpoint.startswith("http://")

    def identity(words: str, extra: dict[str, Any] | None = None, **more: Any) -> Identity:
        return Identity(words, {**config, **(extra or {})}, is_plain_http=plain, **more)

    if _is_on("AWS_SKIP_SIGNATURE"):
        return identity("nobody, as AWS_SKIP_SIGNATURE says", {"skip_signature": True}, is_anonymous=True)
    for variable, words in _NATIVE_VARIABLES:
        if os.environ.get(variable) and not (os.environ.get("AWS_PROFILE") and variable != "AWS_ACCESS_KEY_ID"):
            return identity(words)
    if provider := _ask_boto3():
        return identity("the credentials that boto3 finds", provider=provider)
    if "aws_access_key_id" in profile:
        return identity(f"the profile {_profile_name()!r} of {_credentials_path()}", _profile_keys(profile))
    if profile.keys() & {"sso_session", "sso_start_url", "role_arn", "credential_process"}:
        raise DataError(
            f"the AWS profile {_profile_name()!r} has no key of its own, but a way to get one",
            hint="pip install boto3, which knows how; or put a key into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if _has_instance_role():
        return identity("this machine's role")
    return identity("nobody", {"skip_signature": True}, is_anonymous=True)


def find_google_identity() -> Identity:
    """Who asks Google Cloud Storage, and where."""
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        endpoint = emulator if "://" in emulator else f"http://{emulator}"
        account = {"gcs_base_url": endpoint, "disable_oauth": True}
        key = json.dumps({**account, "client_email": "", "private_key": "", "private_key_id": ""})
        words = "nobody, as is enough for STORAGE_EMULATOR_HOST"
        config = {"service_account_key": key}
        return Identity(words, config, is_plain_http=endpoint.startswith("http://"))
    nobody = {"skip_signature": True}
    if _is_on("GOOGLE_SKIP_SIGNATURE"):
        return Identity("nobody, as GOOGLE_SKIP_SIGNATURE says", nobody, is_anonymous=True)
    try:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
    except ImportError:
        # obstore finds keys of service accounts and the machine's own by itself; google.auth finds the rest, too.
        return Identity("the application default credentials")
    try:
        credentials, _ = google.auth.default(scopes=[_GOOGLE_SCOPE])
    except DefaultCredentialsError:
        return Identity("nobody", nobody, is_anonymous=True)
    who = getattr(credentials, "service_account_email", "") or getattr(credentials, "account", "")
    words = f"{who} (application default credentials)" if who else "the application default credentials"
    return Identity(words, provider=_google_provider(credentials), google=credentials)


def _google_provider(credentials: Any) -> Callable[[], Any]:
    from google.auth.transport.requests import Request

    def provide() -> dict[str, Any]:
        credentials.refresh(Request())
        expiry = credentials.expiry
        return {"token": credentials.token, "expires_at": expiry.replace(tzinfo=UTC) if expiry else None}

    return provide


def _ask_boto3() -> Callable[[], Any] | None:
    """boto3's credentials, renewed when asked again; None where it is not installed or finds none."""
    if importlib.util.find_spec("boto3") is None:
        return None
    import boto3

    found = boto3.Session().get_credentials()
    if found is None:
        return None

    def provide() -> dict[str, Any]:
        keys = found.get_frozen_credentials()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + timedelta(minutes=15),
        }

    return provide


def _read_profile() -> dict[str, str]:
    """The settings of the chosen profile in ~/.aws/config and ~/.aws/credentials, as far as there are any."""
    config_path = Path(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()
    name = _profile_name()
    found: dict[str, str] = {}
    for path, section in ((config_path, name if name == "default" else f"profile {name}"), (_credentials_path(), name)):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}", hint="mend the file") from error
        if parser.has_section(section):
            found.update(parser.items(section))
    return found


def _profile_name() -> str:
    return os.environ.get("AWS_PROFILE") or "default"


def _credentials_path() -> Path:
    return Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()


def _profile_keys(profile: dict[str, str]) -> dict[str, str]:
    names = ("access_key_id", "secret_access_key", "session_token")
    return {name: profile[f"aws_{name}"] for name in names if f"aws_{name}" in profile}


def _find_region(bucket: str) -> str:
    """The region of a bucket, which S3 tells anybody who asks; "" when it cannot be had."""
    request = urllib.request.Request(f"https://{bucket}.s3.amazonaws.com/", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_REGION_TIMEOUT_S) as reply:
            return reply.headers.get("x-amz-bucket-region", "")
    except urllib.error.HTTPError as error:
        error.close()
        return error.headers.get("x-amz-bucket-region", "")
    except (OSError, ValueError):
        return ""


def _has_instance_role() -> bool:
    """Whether this is a machine of EC2 that has been given a role: its metadata service answers at once, or never."""
    if _is_on("AWS_EC2_METADATA_DISABLED"):
        return False
    address = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or "http://169.254.169.254"
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    request = urllib.request.Request(f"{address.rstrip('/')}/latest/api/token", headers=headers, method="PUT")
    try:
        # Never through a proxy: it would answer for itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_METADATA_TIMEOUT_S) as reply:
            return reply.status == 200
    except (OSError, ValueError):
        return False


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes")
