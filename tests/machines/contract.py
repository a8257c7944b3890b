"""What every provider keeps, real or fake: the tests of `railcar.machines.base.Provider`.

A provider's own file has a class that inherits them, with a fixture `provider` and what differs."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from railcar.errors import MachineError
from railcar.machines.base import Machine, MachineSpec, Provider, Request
from railcar.machines.lease import make_key
from railcar.machines.shell import Shell

OWNER = "tester"
WITHIN_S = 30.0


class ProviderContract:
    """`provider` is a fixture; so is `key`, the private key that opens what is made."""

    @pytest.fixture
    def key(self, tmp_path: Path) -> Path:
        make_key(tmp_path / "key", "test")
        return tmp_path / "key"

    @pytest.fixture
    def request_of(self, provider: Provider, key: Path):
        def make(name: str, token: str = "", *, owner: str = OWNER, ends_in_s: int = 600) -> Request:
            public = key.with_suffix(".pub").read_text().strip()
            spec = MachineSpec()
            return Request(name, token or f"token-{name}", owner, public, provider.own_address(), "", ends_in_s, spec)

        return make

    def test_offers_name_zone_type_and_price(self, provider: Provider):
        offers = provider.offers(MachineSpec())
        assert offers
        for offer in offers:
            assert offer.zone and offer.machine_type and (offer.price_usd_per_hour or 0) > 0

    def test_spot_costs_less(self, provider: Provider):
        dear, cheap = provider.offers(MachineSpec())[0], provider.offers(MachineSpec(spot=True))[0]
        assert cheap.spot and not dear.spot
        assert cheap.price_usd_per_hour < dear.price_usd_per_hour  # type: ignore[operator]

    def test_only_the_regions_that_were_named_are_offered(self, provider: Provider):
        every = {self.region(offer.zone) for offer in provider.offers(MachineSpec())}
        one = sorted(every)[-1]
        assert {self.region(offer.zone) for offer in provider.offers(MachineSpec(regions=(one,)))} == {one}

    def test_a_machine_is_made_reached_by_its_own_key_and_gone_afterwards(
        self, provider: Provider, request_of, key, tmp_path
    ):
        provider.create(provider.offers(MachineSpec())[0], request_of("one"))
        machine = wait_until_running(provider, "one")
        assert machine.address and machine.address.host_keys

        shell = Shell(replace(machine.address, identity=key), tmp_path / "ssh")
        assert wait_for_ssh(shell) == "hello"
        shell.close()
        provider.destroy("one", OWNER)
        wait_until_gone(provider, "one")

        assert provider.find("one", OWNER) is None
        assert not provider.list(OWNER)

    def test_the_same_token_again_makes_no_second_machine(self, provider: Provider, request_of):
        offer = provider.offers(MachineSpec())[0]
        first = provider.create(offer, request_of("one", "same"))
        second = provider.create(offer, request_of("one", "same"))
        assert first.id == second.id
        assert len(provider.list(OWNER)) == 1

    def test_what_is_not_there_is_none_and_may_be_destroyed(self, provider: Provider):
        assert provider.find("nothing", OWNER) is None
        provider.destroy("nothing", OWNER)
        assert list(provider.leftovers("nothing", OWNER)) == []

    def test_machines_of_others_are_not_seen_and_not_touched(self, provider: Provider, request_of):
        provider.create(provider.offers(MachineSpec())[0], request_of("theirs", owner="somebody"))
        assert provider.find("theirs", OWNER) is None
        assert not provider.list(OWNER)
        provider.destroy("theirs", OWNER)
        assert list(provider.leftovers("theirs", OWNER)) == []
        there = provider.find("theirs", "somebody")
        assert there is not None and there.state in ("starting", "running")

    def region(self, zone: str) -> str:
        return zone[:-1].rstrip("-")


def wait_until_running(provider: Provider, name: str, owner: str = OWNER) -> Machine:
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        machine = provider.find(name, owner)
        if machine and machine.state == "running" and machine.address:
            return machine
        time.sleep(0.02)
    raise AssertionError(f"{name} does not run")


def wait_until_gone(provider: Provider, name: str, owner: str = OWNER, within_s: float = WITHIN_S) -> float:
    """After how many seconds the provider listed nothing of it."""
    began = time.monotonic()
    while time.monotonic() < began + within_s:
        if not provider.leftovers(name, owner):
            return time.monotonic() - began
        time.sleep(0.02)
    raise AssertionError(f"{name} is still listed: {provider.leftovers(name, owner)}")


def wait_for_ssh(shell: Shell) -> str:
    until = time.monotonic() + WITHIN_S
    while True:
        try:
            return shell.read("echo hello")
        except MachineError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
