"""A provider whose machines are hosts on this computer: for trying railcar out, and for its tests.

It keeps its cloud in a folder (`RAILCAR_FAKE_CLOUD`; with `RAILCAR_FAKE_HOSTS=loopback` its hosts need no root), as
a provider would in its own computers: who lost his laptop finds his machines there. It has zones that can be sold out,
repeats what a token has made, ends machines at their deadline whether anybody is there or not, and answers badly where
`faults.json` in that folder says so:

    [{"call": "create", "error": "NoCapacity", "zone": "fake-1a"},     until the list is changed
     {"call": "destroy", "error": "Unreachable", "times": 2},          twice
     {"call": "create", "error": "Unreachable", "when": "after"},      it was done, and the answer was lost
     {"call": "create", "error": "kill", "when": "after"}]             who asked is killed
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from railcar import errors
from railcar.errors import MachineError, NoCapacity
from railcar.machines import fake_host
from railcar.machines.base import Address, Inside, Machine, MachineSpec, Offer, Request
from railcar.machines.prices import find_price, spot_share
from railcar.storage.local import write_atomic

ZONES = ("fake-1a", "fake-1b", "fake-2a")
_ERRORS: dict[str, tuple[type[MachineError], str, str]] = {
    "NoCapacity": (NoCapacity, "{zone} has no {type} left", "try another zone, or later"),
    "NoQuota": (errors.NoQuota, "the quota FAKE_GPUS is 0 in {zone}", "raise it where the fake's quotas are"),
    "NoPermission": (errors.NoPermission, "this account may not {call}", "ask for fake.machines.{call}"),
    "Unreachable": (errors.MachineUnreachable, "the fake's API did not answer", "try again"),
    "MachineError": (MachineError, "the fake's API failed: 500", "try again"),
}


class FakeProvider:
    """See `base.Provider`. `folder` is the cloud's; `network` None: namespaces where that can be, else loopback."""

    name = "fake"

    def __init__(self, folder: Path, *, network: bool | None = None) -> None:
        self.folder = folder
        self.network = _wants_namespaces() if network is None else network
        (folder / "hosts").mkdir(parents=True, exist_ok=True)

    def offers(self, spec: MachineSpec) -> Sequence[Offer]:
        price = find_price(self.name, spec)
        zones = [zone for zone in ZONES if not spec.regions or zone[:-1] in spec.regions]
        if not zones:
            raise MachineError(f"the fake has no {', '.join(spec.regions)}", hint=f"zones are: {', '.join(ZONES)}")
        usd = price.usd_per_hour * (spot_share(self.name) if spec.spot else 1.0)
        return [Offer(zone, price.machine_type, spec.spot, round(usd, 4)) for zone in zones]

    def create(self, offer: Offer, request: Request) -> Machine:
        with self._call("create", offer.zone, offer.machine_type, spot=offer.spot):
            with self._locked():
                for host in self._hosts():
                    if host["token"] == request.token:
                        return self._describe(host)
                folder = self._make(offer, request)
            self._start(folder)
            return self._describe(json.loads((folder / "host.json").read_text()))

    def find(self, name: str, owner: str) -> Machine | None:
        with self._call("find"):
            return next((self._describe(one) for one in self._hosts() if _is(one, name, owner)), None)

    def list(self, owner: str) -> Sequence[Machine]:
        with self._call("list"):
            return [self._describe(one) for one in self._hosts() if one["owner"] == owner]

    def destroy(self, name: str, owner: str) -> None:
        with self._call("destroy"):
            for host in self._hosts():
                if _is(host, name, owner):
                    (self.folder / "hosts" / host["id"] / "destroy").touch()

    def leftovers(self, name: str, owner: str) -> Sequence[str]:
        with self._call("leftovers"):
            return [f"machine {host['id']}" for host in self._hosts() if _is(host, name, owner)]

    def allow(self, name: str, owner: str, allowed: str) -> None:
        with self._call("allow"):
            for host in self._hosts():
                if _is(host, name, owner):
                    path = self.folder / "hosts" / host["id"] / "host.json"
                    write_atomic(path, json.dumps({**host, "allowed": allowed}).encode())

    def join(self, name: str, owner: str, addresses: Sequence[str]) -> None:
        """All hosts of a cloud are on one bridge."""

    def own_address(self) -> str:
        return "198.18.0.0/15" if self.network else "127.0.0.1/32"

    def inside(self, name: str) -> Inside:
        disk = self.folder / "hosts" / self._id_of(name) / "disk"
        home = fake_host.HOME if self.network else str(disk / "home")
        systemctl = str(disk / "bin" / "systemctl")
        folder, units = str(disk / "opt"), str(disk / "units")
        notice = str(disk / "notice")
        return Inside(fake_host.USER, folder, units, systemctl, (systemctl, "poweroff"), home, notice=notice)

    def reboot(self, name: str) -> None:
        """As somebody's hand on its button does."""
        (self.folder / "hosts" / self._id_of(name) / "reboot").touch()

    def take_away(self, name: str, *, after_s: float = 0.0) -> None:
        """As a spot machine is: at once, or with a notice so long before."""
        folder = self.folder / "hosts" / self._id_of(name)
        if after_s:
            (folder / "disk" / "notice").touch()
            time.sleep(after_s)
        (folder / "destroy").touch()

    def set_link(self, name: str, *, is_up: bool) -> None:
        """Cut a host's network, or mend it. Namespaces only."""
        host = json.loads((self.folder / "hosts" / self._id_of(name) / "host.json").read_text())
        subprocess.run(["ip", "link", "set", host["link"], "up" if is_up else "down"], check=True)

    def _id_of(self, name: str) -> str:
        return re.sub(r"[^A-Za-z0-9-]", "-", name)

    def _hosts(self) -> list[dict[str, Any]]:
        """Those that are there."""
        found = []
        for folder in sorted((self.folder / "hosts").iterdir()):
            with suppress(FileNotFoundError):
                host = json.loads((folder / "host.json").read_text())
                if _read_state(folder) != "gone":
                    found.append(host)
        return found

    def _make(self, offer: Offer, request: Request) -> Path:
        name = self._id_of(request.name)
        folder = self.folder / "hosts" / name
        if folder.exists():
            if _read_state(folder) != "gone":
                raise MachineError(f"the fake has a machine {name} already", hint="take another name")
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / "host_key")]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
        (folder / "start.sh").write_text(request.start_script)
        mark = hashlib.sha256(f"{self.folder}/{name}".encode()).hexdigest()[:8]
        place = self._place() if self.network else {"ip": "127.0.0.1", "port": _free_port(), "bridge": None}
        host = {
            "id": name,
            "name": request.name,
            "owner": request.owner,
            "token": request.token,
            "zone": offer.zone,
            "machine_type": offer.machine_type,
            "spot": offer.spot,
            "price_usd_per_hour": offer.price_usd_per_hour,
            "authorized_keys": [request.public_key],
            "user": fake_host.USER,
            "allowed": request.allowed,
            "started_s": time.time(),
            "ends_s": time.time() + request.ends_in_s,
            "network": self.network,
            "namespace": f"railcar-{mark}",
            "link": f"rc{mark}",
            **place,
        }
        (folder / "state").write_text("starting")
        write_atomic(folder / "host.json", json.dumps(host).encode())
        return folder

    def _place(self) -> dict[str, Any]:
        """A bridge for this cloud, and an address on it (of RFC 2544's range, which no network of anybody's uses)."""
        bridge = "rcb" + hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:8]
        with _all_clouds():
            told = subprocess.run(["ip", "-j", "addr"], capture_output=True, check=True).stdout
            links = {link["ifname"]: [one["local"] for one in link["addr_info"]] for link in json.loads(told)}
            if bridge not in links:
                taken = {address for addresses in links.values() for address in addresses}
                net = next(f"198.18.{n}" for n in range(256) if f"198.18.{n}.1" not in taken)
                subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
                subprocess.run(["ip", "addr", "add", f"{net}.1/24", "dev", bridge], check=True)
                subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
                links[bridge] = [f"{net}.1"]
        net = next(one for one in links[bridge] if "." in one).rpartition(".")[0]
        used = {host["ip"] for host in self._hosts()}
        ip = next(f"{net}.{n}" for n in range(2, 255) if f"{net}.{n}" not in used)
        return {"ip": ip, "port": 22, "bridge": bridge}

    def _start(self, folder: Path) -> None:
        words = [sys.executable, str(Path(fake_host.__file__)), "supervise", str(folder)]
        with (folder / "log").open("ab") as log:
            subprocess.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=True)

    def close(self) -> None:
        """End all hosts and what they needed of this computer."""
        for host in self._hosts():
            (self.folder / "hosts" / host["id"] / "destroy").touch()
        until = time.monotonic() + 20
        while self._hosts() and time.monotonic() < until:
            time.sleep(0.05)
        bridge = "rcb" + hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:8]
        if self.network:
            subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)

    def _describe(self, host: dict[str, Any]) -> Machine:
        folder = self.folder / "hosts" / host["id"]
        state = _read_state(folder)
        if (folder / "destroy").exists() and state != "gone":
            state = "stopping"
        key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        return Machine(
            name=host["name"],
            provider=self.name,
            state=state,
            id=host["id"],
            zone=host["zone"],
            machine_type=host["machine_type"],
            spot=host["spot"],
            started_s=host["started_s"],
            price_usd_per_hour=host["price_usd_per_hour"],
            address=Address(host["ip"], host["port"], fake_host.USER if self.network else None, (key,)),
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _call(self, call: str, zone: str = "", kind: str = "", *, spot: bool = False) -> Iterator[None]:
        """One call of the API, with the faults that are planted for it; each is noted in `calls`."""
        with self._locked(), (self.folder / "calls").open("a") as file:
            file.write(f"{call} {zone}{' spot' if spot else ''}\n")
        told = {"call": call, "zone": zone, "type": kind, "spot": spot}
        self._fail({**told, "when": "before"})
        yield
        self._fail({**told, "when": "after"})

    def _fail(self, told: dict[str, Any]) -> None:
        path = self.folder / "faults.json"
        with self._locked():
            faults = json.loads(path.read_text()) if path.exists() else []
            fault = next((one for one in faults if _applies(one, told)), None)
            if fault is None:
                return
            if "skip" in fault and fault["skip"] > 0:
                fault["skip"] -= 1
                write_atomic(path, json.dumps(faults).encode())
                return
            if "times" in fault:
                fault["times"] -= 1
                write_atomic(path, json.dumps(faults).encode())
        if fault["error"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        kind_of, what, hint = _ERRORS[fault["error"]]
        raise kind_of(what.format(**told), hint=hint.format(**told))


def _applies(fault: dict[str, Any], told: dict[str, Any]) -> bool:
    wanted = {"when": "before", **{key: value for key, value in fault.items() if key in told}}
    if wanted["call"] == "any":
        del wanted["call"]
    return fault.get("times", 1) > 0 and all(told[key] == value for key, value in wanted.items())


def _is(host: dict[str, Any], name: str, owner: str) -> bool:
    return host["name"] == name and host["owner"] == owner


def _read_state(folder: Path) -> str:
    """What the supervisor says of a host; gone, too, where that was killed."""
    state = (folder / "state").read_text() if (folder / "state").exists() else "starting"
    pid = (folder / "supervisor").read_text() if (folder / "supervisor").exists() else ""
    if state != "gone" and pid and not Path(f"/proc/{pid}").exists():
        return "gone"
    return state


def _wants_namespaces() -> bool:
    chosen = os.environ.get("RAILCAR_FAKE_HOSTS")
    return chosen == "namespaces" if chosen else can_have_namespaces()


def can_have_namespaces() -> bool:
    """Whether hosts can be network namespaces: root, Linux, iproute2."""
    needed: Callable[[str], str | None] = shutil.which
    return sys.platform == "linux" and os.geteuid() == 0 and all(needed(one) for one in ("ip", "unshare", "mount"))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def _all_clouds() -> Iterator[None]:
    """One at a time looks for a free network on this computer."""
    with Path("/tmp/railcar-fake-networks.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
