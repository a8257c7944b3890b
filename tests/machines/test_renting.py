"""Nothing is rented twice, nothing is forgotten, and "gone" is said only when it is so."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from railcar.cli.machine import command
from railcar.errors import MachineError, MachineUnreachable, NoCapacity, NoPermission, NoQuota
from railcar.machines import renting
from railcar.machines.base import MachineSpec
from railcar.machines.fake import FakeProvider
from railcar.machines.lease import find_owner, list_leases, machines_dir, new_lease, read_lease
from railcar.machines.renting import give_back, hours_of, most_usd, refresh, rent, wait_for
from railcar.workflows.machines import destroy_found, down, list_machines
from railcar.workflows.on_machine import Rental, agree_on_price
from tests.machines.hosts import say_nothing


def plant(provider: FakeProvider, *faults: Mapping[str, object]) -> None:
    (provider.folder / "faults.json").write_text(json.dumps(faults))


def calls(provider: FakeProvider) -> list[str]:
    return (provider.folder / "calls").read_text().split("\n")[:-1]


def test_sold_out_zones_are_passed_over_and_told(network):
    plant(network, *({"call": "create", "error": "NoCapacity", "zone": zone} for zone in ("fake-1a", "fake-1b")))
    told: list[str] = []
    lease = rent(new_lease("one", "fake", MachineSpec()), network, told.append)
    assert lease.machine and lease.machine.zone == "fake-2a"
    assert [line for line in told if line.startswith("sold out")] == [
        "sold out: fake-small in fake-1a",
        "sold out: fake-small in fake-1b",
    ]
    assert len(network.list("tester")) == 1


def test_sold_out_everywhere_names_the_zones_and_leaves_nothing(network):
    plant(network, {"call": "create", "error": "NoCapacity"})
    with pytest.raises(NoCapacity, match="fake-1a, fake-1b, fake-2a") as caught:
        rent(new_lease("one", "fake", MachineSpec(spot=True)), network, say_nothing)
    assert "--or-on-demand" in caught.value.hint
    assert not network.list("tester")


def test_on_demand_comes_after_all_spot_machines_and_only_where_it_is_allowed(network):
    plant(network, {"call": "create", "error": "NoCapacity", "spot": True})
    told: list[str] = []
    lease = rent(new_lease("one", "fake", MachineSpec(spot=True, or_on_demand=True)), network, told.append)
    assert [call for call in calls(network) if call.startswith("create")] == [
        "create fake-1a spot",
        "create fake-1b spot",
        "create fake-2a spot",
        "create fake-1a",
    ]
    assert lease.machine and not lease.machine.spot and lease.machine.price_usd_per_hour == 0.1
    assert told == [f"sold out: fake-small in {zone}, spot" for zone in ("fake-1a", "fake-1b", "fake-2a")]
    with pytest.raises(NoCapacity):
        rent(new_lease("two", "fake", MachineSpec(spot=True)), network, say_nothing)
    assert len(network.list("tester")) == 1


def test_no_quota_for_spot_machines_says_nothing_of_those_on_demand(network):
    plant(network, {"call": "create", "error": "NoQuota", "spot": True})
    lease = rent(new_lease("one", "fake", MachineSpec(spot=True, or_on_demand=True)), network, say_nothing)
    assert lease.machine and (lease.machine.zone, lease.machine.spot) == ("fake-1a", False)


def test_both_prices_are_agreed_on_before_one_on_demand_may_be_taken(network):
    asked: list[str] = []
    rental = Rental("fake", lambda text: not asked.append(text), MachineSpec(spot=True, or_on_demand=True))
    agree_on_price(network, rental, say_nothing)
    spot, on_demand = asked[0].splitlines()
    assert spot.startswith("fake-small in fake-1a, spot: $0.03 an hour, at most $0.12;")
    assert on_demand == "or, where there is none, on demand: $0.10 an hour, at most $0.40; ends by itself after 4 h"


def test_no_quota_is_told_by_its_name_and_only_other_regions_are_tried(network):
    plant(network, {"call": "create", "error": "NoQuota"})
    with pytest.raises(NoQuota, match="FAKE_GPUS"):
        rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    assert [call for call in calls(network) if call.startswith("create")] == ["create fake-1a", "create fake-2a"]


def test_no_permission_ends_it_at_once_with_what_to_ask_for(network):
    plant(network, {"call": "create", "error": "NoPermission"})
    with pytest.raises(NoPermission) as caught:
        rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    assert "fake.machines.create" in caught.value.hint
    assert len([call for call in calls(network) if call.startswith("create")]) == 1


def test_a_lost_answer_makes_no_second_machine(network):
    plant(network, {"call": "create", "error": "Unreachable", "when": "after", "times": 2})
    lease = rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    assert len([call for call in calls(network) if call.startswith("create")]) == 3
    assert [machine.id for machine in network.list("tester")] == [lease.machine.id]  # type: ignore[union-attr]


@pytest.mark.parametrize("error", ["Unreachable", "MachineError"])
@pytest.mark.parametrize("call", ["destroy", "leftovers"])
def test_gone_is_never_said_of_what_could_not_be_seen(network, call, error, monkeypatch):
    lease = rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    lease, shell = wait_for(lease, network)
    shell.close()
    plant(network, {"call": call, "error": error})
    told: list[str] = []
    with pytest.raises(MachineError, match="may still be there, and cost") as caught:
        give_back(lease, network, told.append, within_s=1)
    assert "railcar machine down one" in caught.value.hint
    assert not any("gone" in line for line in told)
    assert read_lease("one").machine is not None

    plant(network)
    give_back(lease, network, told.append)
    assert "one is gone: fake lists nothing of it any more" in told
    assert not list_leases()


def test_failing_at_first_is_tried_again(network):
    lease = rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    plant(
        network,
        {"call": "destroy", "error": "Unreachable", "times": 2},
        {"call": "leftovers", "error": "MachineError", "times": 1},
    )
    give_back(lease, network, say_nothing)
    assert not network.list("tester")


def test_a_machine_that_goes_off_before_it_is_ready_is_told(network):
    lease = rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    network.take_away("one")
    with pytest.raises(MachineError, match="went off before it was ready"):
        wait_for(lease, network, within_s=10)


def test_one_that_never_answers_is_given_up_in_time(network):
    lease = rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    plant(network, {"call": "find", "error": "Unreachable"})
    with pytest.raises(MachineUnreachable):
        wait_for(lease, network, within_s=1)


def test_a_budget_brings_the_end_nearer():
    offer = renting.Offer("a", "t", price_usd_per_hour=0.5)
    assert hours_of(offer, MachineSpec(max_hours=4)) == 4
    assert hours_of(offer, MachineSpec(max_hours=4, budget_usd=1)) == 2
    assert most_usd(offer, MachineSpec(max_hours=4, budget_usd=1)) == 1
    assert most_usd(renting.Offer("a", "t"), MachineSpec()) is None


def test_every_request_carries_the_providers_own_end(network):
    rent(new_lease("one", "fake", MachineSpec(max_hours=2)), network, say_nothing)
    host = json.loads((network.folder / "hosts" / "one" / "host.json").read_text())
    assert host["ends_s"] - host["started_s"] == pytest.approx(7200, abs=5)


def test_a_lost_laptop_finds_its_machines_by_their_label(network, monkeypatch, tmp_path):
    """Another computer, with the owner's name and nothing else, sees it, what it costs, and ends it; not another's."""
    rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    monkeypatch.setenv("RAILCAR_OWNER", "somebody")
    rent(new_lease("two", "fake", MachineSpec()), network, say_nothing)
    monkeypatch.setenv("RAILCAR_OWNER", "tester")
    monkeypatch.setenv("RAILCAR_MACHINES", str(tmp_path / "other-laptop"))

    found = list_machines(everywhere=True).found
    assert [(one.name, one.lease) for one in found] == [("one", None)]
    assert found[0].cost_usd is not None and found[0].cost_usd > 0
    destroy_found(found[0], say_nothing)
    assert [machine.name for machine in network.list("somebody")] == ["two"]
    assert not network.list("tester")


def test_providers_whose_library_is_missing_are_told_and_the_others_listed(network, monkeypatch):
    rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    for name in ("boto3", "botocore", "botocore.exceptions", "google.cloud.compute_v1"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("google.cloud.compute_v1", raising=False)
    listing = list_machines(everywhere=True)
    assert [one.name for one in listing.found] == ["one"] and listing.unasked == ["aws", "gcp"]
    told = "".join(listing.warnings)
    assert "boto3" in told and "google-cloud-compute" in told
    down(read_lease("one"), say_nothing)
    listed = CliRunner().invoke(command, ["list", "--all"])
    assert "whether there is more at aws and gcp is not known" in listed.output
    assert "nothing is rented" not in listed.output


def test_what_is_gone_is_forgotten_and_what_is_fresh_is_not(network):
    lease = new_lease("one", "fake", MachineSpec())
    assert refresh(lease, network) is not None  # asked for a moment ago: the answer may be under way
    lease = lease.change(created_s=lease.created_s - 600)
    assert refresh(lease, network) is None
    assert not list_leases()


def test_leases_and_keys_are_for_their_owner_alone_and_hold_no_credential(network, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    lease = rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    for path in (lease.folder / "lease.json", lease.identity):
        assert path.stat().st_mode & 0o077 == 0
    assert lease.folder.stat().st_mode & 0o077 == 0
    for path in (*machines_dir().rglob("*"), *network.folder.rglob("*")):
        if path.is_file():
            assert b"planted-secret" not in path.read_bytes()


def test_the_owner_is_drawn_once_and_may_be_named(place, monkeypatch):
    monkeypatch.delenv("RAILCAR_OWNER")
    first = find_owner()
    assert find_owner() == first and first.startswith("u-")
    monkeypatch.setenv("RAILCAR_OWNER", "Not A Label")
    with pytest.raises(Exception, match="no label"):
        find_owner()


def test_a_name_that_is_taken_is_refused(network):
    new_lease("one", "fake", MachineSpec())
    with pytest.raises(Exception, match="there is a machine one already"):
        new_lease("one", "fake", MachineSpec())


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("n_call", range(4))
def test_a_client_killed_around_any_call_leaves_nothing_that_is_not_found(
    network: FakeProvider, n_call: int, when: str
):
    """The short form of row 9: `machine up` and `down`, killed at each of their calls, then the list and its mend."""
    plant(network, {"call": "any", "error": "kill", "when": when, "skip": n_call})
    words = [sys.executable, "-m", "railcar", "machine"]
    up = [*words, "up", "fake", "--name", "one", "--yes", "--python", sys.executable]
    killed = subprocess.run(up, capture_output=True, stdin=subprocess.DEVNULL)
    if killed.returncode == 0:
        killed = subprocess.run([*words, "down", "one"], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    plant(network)
    found = list_machines(everywhere=True).found
    assert {machine.name for machine in network.list("tester")} <= {one.name for one in found}
    for one in found:
        down(one.lease, say_nothing) if one.lease else destroy_found(one, say_nothing)
    assert not network.list("tester")
    assert not list_leases()
    assert list_machines(everywhere=True).found == []


def test_what_another_railcar_is_making_is_not_ended_meanwhile(network):
    lease = rent(new_lease("one", "fake", MachineSpec()), network, say_nothing)
    with lease.hold(), pytest.raises(MachineError, match="making or ending it right now"):
        down(lease, say_nothing)
    assert network.list("tester")
    down(lease, say_nothing)
    assert not network.list("tester")


def test_the_folder_of_leases_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("RAILCAR_MACHINES", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert machines_dir() == Path(tmp_path) / "railcar" / "machines"
