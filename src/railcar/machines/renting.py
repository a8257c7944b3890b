"""From a wish to a machine that answers, and back to nothing: what costs money, and the proof that it has ended.

Intent first: the lease says what is asked for before each call, every call can be repeated without a second machine,
and "gone" is said only when the provider lists nothing any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from railcar.errors import HostKeyWrong, MachineError, MachineUnreachable, NoCapacity, NoQuota
from railcar.machines.base import Inside, Machine, MachineSpec, Offer, Provider, Request
from railcar.machines.guarding import write_start_script
from railcar.machines.lease import MADE, WANTED, Lease, make_key
from railcar.machines.shell import Shell, quote

Tell = Callable[[str], None]
READY_WITHIN_S = 600.0
GONE_WITHIN_S = 300.0
_N_TRIES = 4
# After so long the guard ends what a provider has not ended at its time.
_LATER_S = 600.0
_LOOK_EVERY_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5)


def describe_offer(offer: Offer) -> str:
    spot = ", spot" if offer.spot else ""
    return f"{offer.machine_type} in {offer.zone}{spot}"


def most_usd(offer: Offer, spec: MachineSpec) -> float | None:
    """What a machine costs at most, until its end; None where no price is known."""
    return None if offer.price_usd_per_hour is None else offer.price_usd_per_hour * hours_of(offer, spec)


def hours_of(offer: Offer, spec: MachineSpec) -> float:
    """After how long the provider ends it: the hours asked for, or sooner when the budget is used up."""
    if spec.budget_usd is None or not offer.price_usd_per_hour:
        return spec.max_hours
    return min(spec.max_hours, spec.budget_usd / offer.price_usd_per_hour)


def list_offers(provider: Provider, spec: MachineSpec) -> list[Offer]:
    """Ways to have the machine, the best first; after those of spot machines those on demand, where that is allowed."""
    found = list(provider.offers(spec))
    return found + list(provider.offers(replace(spec, spot=False))) if spec.spot and spec.or_on_demand else found


def rent(lease: Lease, provider: Provider, tell: Tell) -> Lease:
    """A machine for the lease, made from the first offer that can be had. Raises `NoCapacity` when all are sold out,
    `NoQuota` when the account may have none of them, `NoPermission`."""
    allowed = provider.own_address()
    public_key = lease.identity.with_suffix(".pub").read_text().strip()
    failures: list[MachineError] = []
    full: set[tuple[str, bool]] = set()
    offers = list_offers(provider, lease.spec)
    while offers:
        offer = offers.pop(0)
        if (_region(offer), offer.spot) in full:
            continue
        lease = lease.change(offers=(*lease.offers, offer))
        try:
            machine, lease = _create(lease, provider, offer, allowed, public_key)
        except NoCapacity as error:
            tell(f"sold out: {describe_offer(offer)}")
            failures.append(error)
            # the provider knows where there are some of this kind
            offers.sort(key=lambda one, error=error: (one.spot < lease.spec.spot, one.zone not in error.zones))
            continue
        except NoQuota as error:
            tell(f"no quota: {error.what}")
            failures.append(error)
            full.add((_region(offer), offer.spot))  # spot machines and others have quotas of their own
            continue
        return lease.change(state=MADE, machine=machine)
    raise _sum_up(failures, lease)


def _create(lease: Lease, provider: Provider, offer: Offer, allowed: str, public_key: str) -> tuple[Machine, Lease]:
    """Asked again with the same token when the answer is lost: that makes no second machine."""
    ends_in_s = int(hours_of(offer, lease.spec) * 3600)
    lease = lease.change(ends_s=time.time() + ends_in_s)
    inside = provider.inside(lease.name)
    ends_s = (lease.ends_s or 0.0) + (_LATER_S if inside.has_own_end else 0.0)
    script = write_start_script(inside, ends_s=ends_s, idle_s=lease.spec.idle_minutes * 60)
    host_key = ""
    if inside.has_one_time_key:
        host_key, lease = _draw_host_key(lease)
    token = lease.token_for(offer)
    request = Request(lease.name, token, lease.owner, public_key, allowed, script, ends_in_s, lease.spec, host_key)
    for n_tries in range(1, _N_TRIES):
        try:
            return provider.create(offer, request), lease
        except MachineUnreachable:
            time.sleep(0.5 * n_tries)
    return provider.create(offer, request), lease


def _draw_host_key(lease: Lease) -> tuple[str, Lease]:
    """The private host key that a machine begins with, the same for repeated calls; its public half is all that the
    machine may show."""
    path = lease.folder / "host_key"
    if not path.exists():
        make_key(path, f"railcar-{lease.name}")
    public = " ".join(path.with_suffix(".pub").read_text().split()[:2])
    return path.read_text(), lease.change(host_keys=(public,))


def replace_host_key(lease: Lease, shell: Shell, inside: Inside) -> Lease:
    """A machine's first host key was in its request, where others of the account may read it: it makes itself a new
    one, which never leaves it, and from now on only that one is taken. Proved by a new connection."""
    path = quote(inside.host_key)
    script = (
        f"rm -f {path}.new {path}.new.pub && ssh-keygen -q -t ed25519 -N '' -f {path}.new && "
        f"mv {path}.new.pub {path}.pub && mv {path}.new {path} && cat {path}.pub"
    )
    public = " ".join(shell.read(as_root(script)).split()[:2])
    # Before sshd shows the new key this side knows it: a client that is killed in between takes either.
    lease = lease.change(host_keys=(*lease.host_keys, public))
    restart = f"{quote(inside.systemctl)} restart ssh 2>/dev/null || {quote(inside.systemctl)} restart sshd"
    shell.run(as_root(restart), check=False)
    shell.close()
    lease = lease.change(host_keys=(public,))
    lease.shell().run("true", timeout_s=20)
    (lease.folder / "host_key").unlink(missing_ok=True)
    return lease


def as_root(script: str) -> str:
    """A line of shell that runs as root, by sudo where that is needed; nobody is asked for a password."""
    return f'if [ "$(id -u)" = 0 ]; then sh -c {quote(script)}; else sudo -n sh -c {quote(script)}; fi'


def _region(offer: Offer) -> str:
    return offer.zone[:-1].rstrip("-")


def _sum_up(failures: list[MachineError], lease: Lease) -> MachineError:
    if not failures:
        return MachineError("nothing was offered", hint="name another machine type or region")
    if quota := next((one for one in failures if isinstance(one, NoQuota)), None):
        return quota
    if len(failures) == 1:
        return failures[0]
    zones = ", ".join(dict.fromkeys(offer.zone for offer in lease.offers))
    kind = lease.offers[-1].machine_type
    is_spot_alone = lease.spec.spot and not lease.spec.or_on_demand
    other = "on-demand machines, too (--or-on-demand)" if is_spot_alone else "another GPU"
    return NoCapacity(f"{kind} is sold out in {zones}", hint=f"allow more regions (machine.region), or take {other}")


def wait_for(lease: Lease, provider: Provider, *, within_s: float = READY_WITHIN_S) -> tuple[Lease, Shell]:
    """The machine when it answers to ssh. Raises `MachineError` when that takes too long, or it is gone before."""
    until = time.monotonic() + within_s
    last: MachineError | None = None
    pauses = _pauses()
    while True:
        machine = _find(lease, provider, until)
        if machine is None or machine.state in ("stopping", "stopped", "gone"):
            raise MachineError(f"{lease.name}: went off before it was ready", hint="try again, or another zone")
        lease = lease if machine == lease.machine else lease.change(machine=machine)
        if machine.state == "running" and machine.address is not None:
            try:
                return _greet(lease, provider)
            except HostKeyWrong:
                raise
            except MachineError as error:  # ssh comes up, and keys are written, while we ask
                last = error
        if time.monotonic() > until:
            told = f" ({last.what})" if last else ""
            raise MachineError(
                f"{lease.name}: did not answer within {within_s / 60:.0f} minutes{told}",
                hint="see its console where it was rented, or try another image",
            )
        time.sleep(next(pauses))


def _greet(lease: Lease, provider: Provider) -> tuple[Lease, Shell]:
    """The first words with a machine; its one-time host key, if it has one, is replaced."""
    shell, inside = lease.shell(), provider.inside(lease.name)
    try:
        shell.run("true", timeout_s=20)
        if inside.has_one_time_key and (lease.folder / "host_key").exists():
            lease = replace_host_key(lease, shell, inside)
            shell = lease.shell()
    except MachineError:
        shell.close()
        raise
    return lease, shell


def give_back(lease: Lease, provider: Provider, tell: Tell, *, within_s: float = GONE_WITHIN_S) -> None:
    """End the machine, and see that the provider lists nothing of it. Raises `MachineError` when that cannot be seen:
    the lease then stays, and `machine list` goes on to show it."""
    began, until = time.monotonic(), time.monotonic() + within_s
    failure: MachineError | None = None
    left: list[str] | None = None
    told_at = began + 10
    for pause_s in _pauses():
        try:
            provider.destroy(lease.name, lease.owner)
            left, failure = list(provider.leftovers(lease.name, lease.owner)), None
            if not left:
                tell(f"{lease.name} is gone: {provider.name} lists nothing of it any more")
                lease.forget()
                return
        except MachineError as error:
            failure = error
        if time.monotonic() > until:
            break
        if time.monotonic() > told_at:
            tell(f"waiting until {provider.name} no longer lists {', '.join(left or [lease.name])}")
            told_at = time.monotonic() + 30
        time.sleep(pause_s)
    why = failure.what if failure else f"{provider.name} still lists {', '.join(left or [])}"
    raise MachineError(
        f"{lease.name} may still be there, and cost: {why}", hint=f"try again with: railcar machine down {lease.name}"
    )


def refresh(lease: Lease, provider: Provider) -> Lease | None:
    """The lease with what the provider says now; None when it is gone, which is then forgotten.

    A machine that was wanted and is not listed is asked for no more once nobody is at it: the provider's answer may
    have been lost, and its list lag, so a lease of less than five minutes stays."""
    machine = provider.find(lease.name, lease.owner)
    if machine is not None and machine.state != "gone":
        return lease.change(machine=machine, state=MADE)
    is_fresh = lease.state == WANTED and time.time() - lease.created_s < 300
    if lease.is_at_work() or is_fresh:
        return replace(lease, machine=machine)
    if provider.leftovers(lease.name, lease.owner):
        return replace(lease, machine=None)
    lease.forget()
    return None


def _find(lease: Lease, provider: Provider, until: float) -> Machine | None:
    while True:
        try:
            return provider.find(lease.name, lease.owner)
        except MachineUnreachable:
            if time.monotonic() > until:
                raise
            time.sleep(1)


def _pauses() -> Iterator[float]:
    yield from _LOOK_EVERY_S
    while True:
        yield _LOOK_EVERY_S[-1]
