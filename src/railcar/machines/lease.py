"""What this computer knows of machines: written before a machine is asked for, kept until it is seen to be gone.

Owns the folder `~/.local/state/railcar/machines` (`$RAILCAR_MACHINES`, `$XDG_STATE_HOME`), one folder a machine:

    lease.json    what was asked for and what is known; mode 0600, as all here
    id_ed25519    the key that opens it, made for it alone
    host_key      the key that its sshd begins with, where a provider has no other way to tell which that is
    known_hosts   the keys that it may show
    jobs/*.json   what was begun there, and how much of it has come home

It holds no credential of a provider's.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from railcar.errors import MachineError, NotFound, UsageError
from railcar.machines.base import Address, Machine, MachineSpec, Offer, read_address, to_document
from railcar.machines.shell import Shell
from railcar.storage.local import write_atomic
from railcar.storage.lock import LockHeld, hold_lock, is_held

WANTED, MADE, OWN = "wanted", "made", "own"
"""Asked for, and perhaps there; there; a machine of the user's own, which nobody makes or destroys."""


@dataclass(frozen=True)
class Lease:
    """One machine. `token` makes repeated calls one machine; `offers` are those that were tried, the last one last;
    `ends_s` is when the provider itself ends it, in seconds since 1970; `host_keys` are those that its sshd may show,
    where the provider does not tell them; `others` are the machines of the same training, where this one is its
    chief: they end with it."""

    name: str
    provider: str
    state: str
    owner: str
    token: str
    created_s: float
    spec: MachineSpec = field(default_factory=MachineSpec)
    offers: tuple[Offer, ...] = ()
    ends_s: float | None = None
    machine: Machine | None = None
    is_kept: bool = False
    host_keys: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return machines_dir() / self.name

    @property
    def identity(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def offer(self) -> Offer | None:
        return self.offers[-1] if self.offers else None

    def token_for(self, offer: Offer) -> str:
        """An idempotency token: the same for the same lease and offer, whoever repeats the call."""
        text = f"{self.token}/{offer.zone}/{offer.machine_type}/{offer.spot}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def cost_usd(self, now_s: float | None = None) -> float | None:
        """What it has cost so far, as far as the price is known."""
        machine = self.machine
        if machine is None or machine.started_s is None or machine.price_usd_per_hour is None:
            return None
        return machine.price_usd_per_hour * ((now_s or time.time()) - machine.started_s) / 3600

    def shell(self) -> Shell:
        """Raises `MachineError` as long as the machine has no address."""
        address = self.machine.address if self.machine else None
        if address is None:
            raise MachineError(f"{self.name}: has no address yet", hint="look at it with: railcar machine list")
        if self.state != OWN:
            keys = self.host_keys or address.host_keys
            if not keys:
                raise MachineError(f"{self.name}: its host key is not known yet", hint="wait until it has booted")
            address = replace(address, identity=self.identity, host_keys=keys)
        return Shell(address, self.folder)

    def save(self) -> Lease:
        document = {
            **asdict(self),
            "format": 1,
            "machine": to_document(self.machine) if self.machine else None,
        }
        _make_private(self.folder)
        path = self.folder / "lease.json"
        write_atomic(path, (json.dumps(document, indent=2) + "\n").encode())
        path.chmod(0o600)
        return self

    def change(self, **what: Any) -> Lease:
        """The same lease with that changed, written down."""
        return replace(self, **what).save()

    def forget(self) -> None:
        """The machine is gone. What came home of it stays where it is."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """One process at a time makes or ends this machine."""
        _make_private(self.folder)
        try:
            with hold_lock(self.folder / "lock"):
                yield
        except LockHeld as error:
            raise MachineError(
                f"{self.name}: another railcar is making or ending it right now", hint="wait for that one"
            ) from error

    def is_at_work(self) -> bool:
        """Whether a process is making or ending it."""
        return bool(is_held(self.folder / "lock"))


def machines_dir() -> Path:
    """Where leases are."""
    if chosen := os.environ.get("RAILCAR_MACHINES"):
        return Path(chosen).expanduser().absolute()
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser().absolute() / "railcar" / "machines"


def find_owner() -> str:
    """Who owns what this user makes: what is written on it as a label. `$RAILCAR_OWNER`, else a name that was drawn
    here once; on another computer, set the variable to see the same machines."""
    if chosen := os.environ.get("RAILCAR_OWNER"):
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", chosen):
            raise UsageError(
                f"RAILCAR_OWNER: {chosen!r} is no label of a cloud's", hint="take small letters, digits and hyphens"
            )
        return chosen
    path = machines_dir() / ".owner"
    with suppress(FileNotFoundError):
        return path.read_text().strip()
    _make_private(machines_dir())
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "user"
    plain = re.sub(r"[^a-z0-9]+", "-", user.lower()).strip("-")[:24] or "user"
    write_atomic(path, f"u-{plain}-{secrets.token_hex(3)}\n".encode())
    return path.read_text().strip()


def new_lease(name: str, provider: str, spec: MachineSpec) -> Lease:
    """Write down that a machine is wanted, and make its key. Raises `UsageError` for a name that is taken."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
        raise UsageError(f"{name!r} is no name for a machine", hint="take small letters, digits and hyphens: my-gpu")
    if (machines_dir() / name / "lease.json").exists():
        raise UsageError(
            f"there is a machine {name} already", hint=f"take another name, or end it: railcar machine down {name}"
        )
    lease = Lease(name, provider, WANTED, find_owner(), secrets.token_hex(16), time.time(), spec).save()
    lease.identity.unlink(missing_ok=True)
    make_key(lease.identity, f"railcar-{name}")
    return lease


def own_machine(host: str, config: Path | None = None) -> Lease:
    """A machine of the user's own by what he calls it for ssh; not written down before something is done there."""
    target, _, port = host.partition(":") if host.count(":") == 1 else (host, "", "")
    user, _, name = target.rpartition("@")
    if not name or name.startswith("-") or user.startswith("-") or (port and not port.isdigit()):
        raise UsageError(f"ssh:{host}: is no host", hint="write ssh:HOST, ssh:USER@HOST or ssh:USER@HOST:PORT")
    address = Address(name, int(port) if port else None, user or None, config=config)
    machine = Machine(f"ssh:{host}", "ssh", "running", address=address)
    folder = "ssh-" + re.sub(r"[^A-Za-z0-9.-]+", "-", host)
    return Lease(folder, "ssh", OWN, find_owner(), "", time.time(), machine=machine)


def read_lease(name: str) -> Lease:
    """Raises `NotFound`."""
    try:
        document = json.loads((machines_dir() / name / "lease.json").read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        names = [one.name for one in list_leases()]
        known = f"machines are: {', '.join(names)}" if names else "make one with: railcar machine up"
        raise NotFound(f"there is no machine {name}", hint=known) from error
    except ValueError as error:
        path = machines_dir() / name / "lease.json"
        raise MachineError(
            f"{path}: is damaged, not JSON", hint="railcar machine list --all finds what is rented"
        ) from error
    return _from_document(document)


def list_leases() -> list[Lease]:
    """All that this computer knows of, oldest first; damaged ones are left out."""
    found = []
    folder = machines_dir()
    for path in folder.iterdir() if folder.is_dir() else ():
        if (path / "lease.json").is_file():
            with suppress(MachineError, NotFound):
                found.append(read_lease(path.name))
    return sorted(found, key=lambda one: one.created_s)


def make_key(path: Path, comment: str) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    try:
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    except FileNotFoundError as error:
        raise MachineError(
            "ssh-keygen is not installed here", hint="install it, for example with: apt install openssh-client"
        ) from error


def _make_private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _from_document(document: dict[str, Any]) -> Lease:
    known = {key: value for key, value in document.items() if key in Lease.__dataclass_fields__}
    machine = document.get("machine")
    if machine:
        machine = Machine(**{**machine, "address": read_address(machine.get("address"))})
    spec = document.get("spec") or {}
    spec = MachineSpec(**{**spec, "regions": tuple(spec.get("regions", ()))})
    offers = tuple(Offer(**one) for one in document.get("offers", ()))
    lists = {key: tuple(document.get(key, ())) for key in ("host_keys", "others")}
    return Lease(**{**known, **lists, "machine": machine, "spec": spec, "offers": offers})
