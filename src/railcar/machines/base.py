"""What a machine is and what a provider of machines promises: the contract is in the docstrings.

Owns the records that all of `machines` speaks in. Every provider passes `tests/machines/contract.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Address:
    """How OpenSSH reaches a machine. `host_keys` ("ssh-ed25519 AAAA...") are the only ones that it may show; where
    there are none, the user's own known_hosts decides. `identity` is the file of the private key; None for those of the
    user's agent and configuration. `user` and `port` None: as the user's configuration says. `config` is a file to read
    in place of `~/.ssh/config`."""

    host: str
    port: int | None = None
    user: str | None = None
    host_keys: tuple[str, ...] = ()
    identity: Path | None = None
    config: Path | None = None


@dataclass(frozen=True)
class MachineSpec:
    """What is asked for. `gpu` is a name of `gpus.yaml` and how many, "T4:1", or None; `image` a provider's own name of
    one, or "auto"; `regions` are tried in their order. `or_on_demand`: one on demand where no spot machine can be had.
    `max_hours` is when the provider itself ends the machine."""

    gpu: str | None = None
    machine_type: str | None = None
    image: str = "auto"
    regions: tuple[str, ...] = ()
    spot: bool = False
    or_on_demand: bool = False
    disk_gb: int = 100
    max_hours: float = 4.0
    idle_minutes: float = 15.0
    budget_usd: float | None = None


@dataclass(frozen=True)
class Offer:
    """One way to have the machine: where, which type, and what an hour costs; None where no price is known."""

    zone: str
    machine_type: str
    spot: bool = False
    price_usd_per_hour: float | None = None


@dataclass(frozen=True)
class Request:
    """What `create` needs besides the offer. `token` makes repeated calls one machine; `owner` is written on everything
    that is made; `public_key` opens the machine; `host_key` is a private key for its sshd to begin with, where the
    provider has no other way to tell what key it shows; `allowed` is the address (CIDR) that may reach its port 22;
    `start_script` runs as root at the first boot; `ends_in_s` is after how many seconds the provider ends it."""

    name: str
    token: str
    owner: str
    public_key: str
    allowed: str
    start_script: str
    ends_in_s: int
    spec: MachineSpec
    host_key: str = ""


@dataclass(frozen=True)
class Machine:
    """A machine as its provider tells. `state` is starting, running, stopping, stopped or gone; `started_s` in seconds
    since 1970; `address` is None as long as it has none."""

    name: str
    provider: str
    state: str
    id: str = ""
    zone: str = ""
    machine_type: str = ""
    spot: bool = False
    started_s: float | None = None
    price_usd_per_hour: float | None = None
    address: Address | None = None


@dataclass(frozen=True)
class Inside:
    """Where things are on a machine of a provider's: who logs in; `folder`, which only root can write to; the folder of
    systemd's units and the command that manages them; the command that ends the machine from inside; his home, where it
    is not what the machine says. `has_one_time_key`: the first host key came with the request, and is replaced over the
    first connection; `host_key` is its file there. `has_own_end`: the provider ends a machine by itself, and powering
    off from inside would only stop it, so that the guard leaves the deadline alone. `notice` is where it says that a
    spot machine is taken away: `ec2`, `gce` or a file there."""

    user: str
    folder: str = "/opt/railcar"
    units: str = "/etc/systemd/system"
    systemctl: str = "systemctl"
    power_off: tuple[str, ...] = ("systemctl", "poweroff")
    home: str = ""
    has_one_time_key: bool = False
    host_key: str = "/etc/ssh/ssh_host_ed25519_key"
    has_own_end: bool = False
    notice: str = ""


class Provider(Protocol):
    """Rents machines. Calls return at once; `remote.py` waits, with a deadline.

    Every call may raise `Unreachable` (no answer: nothing is known of what was done), `NoPermission` and
    `MachineError`.
    """

    name: str

    def offers(self, spec: MachineSpec) -> Sequence[Offer]:
        """Ways to have such a machine, the best first. `MachineError` when there can be none."""
        ...

    def create(self, offer: Offer, request: Request) -> Machine:
        """Begin to make a machine. The same token again gives the same machine and makes no second one.

        Raises `NoCapacity` when that zone is sold out, `NoQuota` with the quota's name, `NoPermission`.
        """
        ...

    def find(self, name: str, owner: str) -> Machine | None:
        """The machine of that name that is this owner's, by its label; None when the provider's list has none."""
        ...

    def list(self, owner: str) -> Sequence[Machine]:
        """All machines of this owner, whoever made them and from where, those that are starting or stopping too."""
        ...

    def destroy(self, name: str, owner: str) -> None:
        """Begin to end the machine and all that was made for it. Already gone is success; others' are never touched."""
        ...

    def leftovers(self, name: str, owner: str) -> Sequence[str]:
        """What the provider still lists of the machine: itself, disks, keys, firewall rules, as it calls them. Only
        when there is nothing, the machine is gone."""
        ...

    def allow(self, name: str, owner: str, allowed: str) -> None:
        """Let `allowed` (a CIDR) reach port 22 of the machine, and nobody else."""
        ...

    def join(self, name: str, owner: str, addresses: Sequence[str]) -> None:
        """Let others of the same training, by their addresses inside the provider's network, reach all its ports."""
        ...

    def own_address(self) -> str:
        """This computer's address as the provider's network sees it, as a CIDR. `Unreachable` when it cannot be
        told."""
        ...

    def inside(self, name: str) -> Inside:
        """Where things are on its machines."""
        ...


def to_document(machine: Machine) -> dict[str, Any]:
    """A machine as JSON has it."""
    from dataclasses import asdict

    found = asdict(machine)
    if machine.address is not None:
        paths = {key: str(value) if value else None for key, value in found["address"].items() if key in _PATHS}
        found["address"] = {**found["address"], **paths}
    return found


_PATHS = ("identity", "config")


def read_address(document: dict[str, Any] | None) -> Address | None:
    """What `to_document` made of an address."""
    if not document:
        return None
    paths = {key: Path(document[key]) if document.get(key) else None for key in _PATHS}
    return Address(**{**document, **paths, "host_keys": tuple(document.get("host_keys", ()))})
