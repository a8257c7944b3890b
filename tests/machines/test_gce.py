"""Compute Engine keeps the contract (the real client, its own messages, real hosts), and its errors are told apart."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from railcar.errors import MachineError, MachineUnreachable, NoCapacity, NoPermission, NoQuota
from railcar.machines.base import MachineSpec
from railcar.machines.gce import GceProvider, instance_name
from railcar.machines.lease import list_leases, new_lease, read_lease
from railcar.machines.renting import give_back, rent, wait_for
from railcar.runs.index import list_runs
from railcar.runs.run_dir import RunDir
from tests.machines.away import SAME, assert_as_documented, assert_same_weights, railcar, train_away
from tests.machines.clouds import Cloud, run_cloud
from tests.machines.contract import ProviderContract, wait_until_gone
from tests.machines.hosts import say_nothing
from tests.servers import free_port

INSERT = {"method": "POST", "path": "/instances"}


@pytest.fixture
def gce(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    folder = place / "gce"
    folder.mkdir()
    with run_cloud("tests.machines.gce_cloud", folder) as cloud:
        monkeypatch.setenv("RAILCAR_GCE_ENDPOINT", cloud.address)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
        monkeypatch.setenv("RAILCAR_MY_ADDRESS", "198.18.0.1")
        yield cloud


@pytest.fixture
def provider(gce: Cloud) -> GceProvider:
    return GceProvider()


class TestGce(ProviderContract):
    @pytest.fixture
    def provider(self, gce: Cloud) -> GceProvider:
        return GceProvider()

    def test_only_the_regions_that_were_named_are_offered(self, provider):
        offers = provider.offers(MachineSpec(regions=("us-east1", "us-central1")))
        assert [one.zone for one in offers] == ["us-east1-c", "us-central1-a", "us-central1-b"]


def asked_for(gce: Cloud) -> dict[str, Any]:
    return json.loads(gce.calls(**INSERT)[-1]["body"])


def test_a_request_carries_all_that_was_promised(gce, provider):
    rent(new_lease("one", "gcp", MachineSpec(disk_gb=60, max_hours=2)), provider, say_nothing)
    asked = asked_for(gce)
    assert asked["scheduling"]["instanceTerminationAction"] == "DELETE"
    assert 7190 <= int(asked["scheduling"]["maxRunDuration"]["seconds"]) <= 7200
    assert asked["labels"] == {"railcar-name": "one", "railcar-owner": "tester"}
    [disk] = asked["disks"]
    assert disk["autoDelete"] and disk["initializeParams"]["diskSizeGb"] == "60"
    assert disk["initializeParams"]["labels"] == asked["labels"]
    metadata = {one["key"]: one["value"] for one in asked["metadata"]["items"]}
    assert metadata["block-project-ssh-keys"] == "TRUE" and metadata["enable-guest-attributes"] == "TRUE"
    assert "guard.py install" in metadata["startup-script"]
    assert "compute" not in " ".join(asked["serviceAccounts"][0]["scopes"])  # buckets, and nothing else

    rules = {
        one["name"].rpartition("-")[2]: one
        for one in map(json.loads, (c["body"] for c in gce.calls(path="/firewalls", method="POST")))
    }
    assert rules["in"]["sourceRanges"] == ["198.18.0.1/32"] and rules["in"]["allowed"][0]["ports"] == ["22"]
    assert rules["out"]["sourceRanges"] == ["0.0.0.0/0"] and "denied" in rules["out"]
    assert rules["in"]["priority"] < rules["out"]["priority"] < 1000  # before the network's own
    assert rules["in"]["targetTags"] == asked["tags"]["items"]


def test_a_gpu_is_added_where_its_type_has_none(gce, provider):
    rent(new_lease("one", "gcp", MachineSpec(gpu="T4:1", spot=True)), provider, say_nothing)
    asked = asked_for(gce)
    assert asked["machineType"].endswith("n1-standard-4")
    assert asked["guestAccelerators"][0]["acceleratorType"].endswith("nvidia-tesla-t4")
    assert asked["scheduling"]["provisioningModel"] == "SPOT"
    assert "nvidia-580" in asked["disks"][0]["initializeParams"]["sourceImage"]
    zones = {one.zone for one in provider.offers(MachineSpec(gpu="L4:1", regions=("us-central1",)))}
    assert zones == {"us-central1-b"}


def test_google_deletes_it_at_its_end_though_nobody_is_there(gce, provider):
    lease = new_lease("one", "gcp", MachineSpec(max_hours=30 / 3600))
    began = time.time()
    rent(lease, provider, say_nothing)
    while provider.find("one", "tester"):
        assert time.time() - began < 60
        time.sleep(0.2)
    assert time.time() - began >= 29


def test_a_lost_answer_makes_no_second_machine(gce, provider):
    gce.plant({**INSERT, "lost": True, "times": 2})
    rent(new_lease("one", "gcp", MachineSpec()), provider, say_nothing)
    calls = gce.calls(**INSERT)
    assert len(calls) >= 2 and len({one["query"]["requestId"] for one in calls}) == 1
    assert len(provider.list("tester")) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"code": "ZONE_RESOURCE_POOL_EXHAUSTED"}, NoCapacity, "sold out in us-central1-a, us-central1-b"),
        ({"code": "QUOTA_EXCEEDED"}, NoQuota, "NVIDIA_T4_GPUS"),
        (
            {"status": 403, "message": "Required 'compute.instances.create' permission"},
            NoPermission,
            "compute.instances.create",
        ),
        ({"status": 400, "message": "Invalid value for field"}, MachineError, "Invalid value"),
        ({"status": 503, "message": "backend error"}, MachineUnreachable, "backend error"),
    ],
)
def test_errors_are_told_apart_and_nothing_is_left(gce, provider, fault, kind, words):
    gce.plant({**INSERT, **fault})
    with pytest.raises(kind, match=words):
        rent(new_lease("one", "gcp", MachineSpec(gpu="T4:1")), provider, say_nothing)
    assert not provider.list("tester")
    give_back(read_lease("one"), provider, say_nothing)
    assert not provider.leftovers("one", "tester")


def test_the_first_two_zones_sold_out_the_third_works(gce, provider):
    for zone in ("us-central1-a", "us-central1-b"):
        assert zone in [one.zone for one in provider.offers(MachineSpec(regions=("us-central1",)))]
    gce.plant(*({**INSERT, "zone": f"us-central1-{letter}", "code": "ZONE_RESOURCE_POOL_EXHAUSTED"} for letter in "ab"))
    lease = rent(new_lease("one", "gcp", MachineSpec(regions=("us-central1", "us-east1"))), provider, say_nothing)
    assert lease.machine and lease.machine.zone == "us-east1-c"


def test_the_caller_who_moved_is_let_in_and_nobody_else(gce, provider):
    rent(new_lease("one", "gcp", MachineSpec()), provider, say_nothing)
    provider.allow("one", "tester", "203.0.113.9/32")
    rules = provider._firewalls.list(project="test")
    assert {one.name[-2:]: list(one.source_ranges) for one in rules}["in"] == ["203.0.113.9/32"]


def test_what_powered_itself_off_is_stopped_and_still_listed(gce, provider):
    lease = rent(new_lease("one", "gcp", MachineSpec()), provider, say_nothing)
    lease, shell = wait_for(lease, provider)
    shell.run("systemctl poweroff", check=False)
    shell.close()
    until = time.monotonic() + 20
    while provider.find("one", "tester").state != "stopped":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert provider.leftovers("one", "tester")
    give_back(lease, provider, say_nothing)
    wait_until_gone(provider, "one")


def test_names_are_what_google_takes():
    import re

    for owner, name in (("tester", "one"), ("u-somebody-with-a-long-name_x", "a" * 41), ("a_b", "x-")):
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,58}[a-z0-9])?", instance_name(owner, name))


def test_nobody_there_is_told_in_words(place, monkeypatch):
    monkeypatch.setenv("RAILCAR_GCE_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(MachineUnreachable, match="did not answer"):
        GceProvider().list("tester")


def test_without_credentials_it_says_how_to_log_in(place, monkeypatch):
    monkeypatch.delenv("RAILCAR_GCE_ENDPOINT", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(place / "none"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(NoPermission, match="no credentials") as caught:
        GceProvider().list("tester")
    assert "gcloud auth application-default login" in caught.value.hint


def test_the_whole_way_and_nothing_is_left(gce, provider, place, mnist_here):
    """`railcar train --on gcp`: a real training on the host, its run at home; instance, disk, rules are gone."""
    words = (mnist_here, "--set", "training.steps=4", *SAME)
    done = train_away(*words, on="gcp")
    [run] = [RunDir(one.path) for one in list_runs(place / "runs")]
    assert run.state() == "finished"
    assert_as_documented("gcp.md", done.stderr + done.stdout)
    local = RunDir(json.loads(railcar("train", *words, "--json").stdout)["path"])
    assert_same_weights(run, local)
    assert run.read_manifest()["machine"]["zone"] == "us-central1-a"
    assert "is gone: gcp lists nothing of it any more" in done.stderr
    assert not list_leases()
    assert not list(provider._firewalls.list(project="test"))
    assert not provider._list_instances("tester")
