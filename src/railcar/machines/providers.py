"""Providers by name, found only when they are used."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from railcar.errors import NotFound, UsageError
from railcar.machines.base import Provider
from railcar.machines.lease import Lease, machines_dir, read_lease

PROVIDERS = {"aws": "Amazon EC2", "gcp": "Google Compute Engine", "fake": "hosts on this computer, to try railcar out"}
"""Name -> what it is."""


def find_provider(name: str, lease: Lease | None = None) -> Provider:
    """The provider of that name; with a `lease`, looking only where that one was asked for. Raises `UsageError` for a
    name that is none, `MissingExtra` where its library is not installed."""
    if name == "aws":
        from railcar.machines.ec2 import Ec2Provider, region_of

        return Ec2Provider([region_of(offer.zone) for offer in lease.offers] if lease else ())
    if name == "gcp":
        from railcar.machines.gce import GceProvider

        return GceProvider([offer.zone for offer in lease.offers] if lease else ())
    if name == "fake":
        from railcar.machines.fake import FakeProvider

        chosen = os.environ.get("RAILCAR_FAKE_CLOUD")
        return FakeProvider(Path(chosen) if chosen else machines_dir().parent / "fake-cloud")
    raise UsageError(f"there is no provider {name!r}", hint=_suggest(name))


def find_lease(name: str) -> Lease:
    """The machine that --on names, where that is no provider. Raises `NotFound`."""
    try:
        return read_lease(name)
    except NotFound as error:
        raise NotFound(error.what, hint=f"{_suggest(name)}; {error.hint}") from error


def _suggest(name: str) -> str:
    close = get_close_matches(name, PROVIDERS, n=1)
    known = f"providers are: {', '.join(PROVIDERS)}; your own machines are ssh:HOST"
    return f"did you mean {close[0]!r}?" if close else known
