"""This computer's address as others see it: the only one that may reach a rented machine.

Asked of https://checkip.amazonaws.com, which answers with nothing but the address. `RAILCAR_MY_ADDRESS` (an address or
a CIDR) says it in its place: behind a proxy that only speaks for web pages, or where several addresses take turns.
"""

from __future__ import annotations

import ipaddress
import os
import urllib.request

from railcar.errors import MachineUnreachable, UsageError

WHERE = "https://checkip.amazonaws.com"
_WITHIN_S = 10.0


def find_own_address() -> str:
    """A CIDR. Raises `MachineUnreachable` when nobody tells it."""
    if chosen := os.environ.get("RAILCAR_MY_ADDRESS"):
        return _read(chosen, "RAILCAR_MY_ADDRESS")
    try:
        with urllib.request.urlopen(WHERE, timeout=_WITHIN_S) as answer:
            text = answer.read(100).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise MachineUnreachable(
            f"{WHERE} does not tell this computer's address ({error})",
            hint="say it yourself: RAILCAR_MY_ADDRESS=203.0.113.7",
        ) from error
    return _read(text, WHERE)


def _read(text: str, where: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(
            f"{where}: {text[:40]!r} is no address", hint="write it as 203.0.113.7 or as a CIDR"
        ) from error
    if network.prefixlen == 0:
        raise UsageError(f"{where}: {text} is everybody", hint="name the addresses that may reach your machines")
    return str(network)
