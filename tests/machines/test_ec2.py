"""EC2 keeps the contract (moto's books, real hosts), asks for what it promises, and its errors are told apart."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from railcar.errors import HostKeyWrong, MachineError, MachineUnreachable, NoCapacity, NoPermission, NoQuota
from railcar.machines.base import MachineSpec, Request
from railcar.machines.ec2 import Ec2Provider, quota_of, write_cloud_config
from railcar.machines.lease import list_leases, make_key, new_lease, read_lease
from railcar.machines.renting import give_back, rent, wait_for
from railcar.runs.index import list_runs
from railcar.runs.run_dir import RunDir
from tests.machines.away import SAME, assert_as_documented, assert_same_weights, railcar, train_away
from tests.machines.clouds import Cloud, run_cloud
from tests.machines.contract import OWNER, ProviderContract
from tests.machines.hosts import say_nothing
from tests.servers import free_port

CPU = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-2026"
GPU = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04) 2026"


@pytest.fixture
def ec2(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    folder = place / "ec2"
    folder.mkdir()
    (folder / "images.json").write_text(json.dumps([image("ami-cpu1", CPU + "0101", "2026-01-01"), *others()]))
    images = {"MOTO_AMIS_PATH": str(folder / "images.json")}
    with run_cloud("tests.machines.ec2_cloud", folder, images) as cloud:
        for name, value in {
            "AWS_ENDPOINT_URL_EC2": cloud.address,
            "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED00",
            "AWS_SECRET_ACCESS_KEY": "planted-secret-planted-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "RAILCAR_MY_ADDRESS": "198.18.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        yield cloud


def image(ami: str, name: str, day: str, owner: str = "099720109477") -> dict[str, Any]:
    return {
        "ami_id": ami, "name": name, "creation_date": f"{day}T00:00:00.000Z", "owner_id": owner, "public": True,
        "virtualization_type": "hvm", "architecture": "x86_64", "state": "available", "platform": None,
        "hypervisor": "xen", "root_device_name": "/dev/sda1", "root_device_type": "ebs", "sriov": "simple",
        "description": name, "image_type": "machine",
    }  # fmt: skip


def others() -> list[dict[str, Any]]:
    return [
        image("ami-cpu2", CPU + "0303", "2026-03-03"),
        image("ami-cpu3", CPU + "0202", "2026-02-02"),
        image("ami-gpu1", GPU + "0301", "2026-03-01", "898082745236"),
        image("ami-gpu2", GPU + "0401", "2026-04-01", "898082745236"),
    ]


class TestEc2(ProviderContract):
    @pytest.fixture
    def provider(self, ec2: Cloud) -> Ec2Provider:
        return Ec2Provider(["us-east-1"])

    @pytest.fixture
    def request_of(self, provider: Ec2Provider, key: Path, tmp_path: Path):
        make_key(tmp_path / "host_key", "host")

        def make(name: str, token: str = "", *, owner: str = OWNER, ends_in_s: int = 600) -> Request:
            public, private = key.with_suffix(".pub").read_text().strip(), (tmp_path / "host_key").read_text()
            spec = MachineSpec()
            return Request(name, token or name, owner, public, "198.18.0.1/32", "", ends_in_s, spec, private)

        return make

    # EC2 tells no host keys: the lease has them, and with it the whole way is gone below.
    def test_a_machine_is_made_reached_by_its_own_key_and_gone_afterwards(self, provider, request_of, key, tmp_path):
        lease = rent(new_lease("one", "aws", MachineSpec()), provider, say_nothing)
        lease, shell = wait_for(lease, provider)
        assert shell.read("echo hello") == "hello"
        shell.close()
        give_back(lease, provider, say_nothing)
        assert not provider.list(OWNER)
        assert not list_leases()


@pytest.fixture
def provider(ec2: Cloud) -> Ec2Provider:
    return Ec2Provider(["us-east-1"])


def test_a_request_carries_all_that_was_promised(ec2, provider):
    rent(new_lease("one", "aws", MachineSpec(disk_gb=60)), provider, say_nothing)
    [asked] = ec2.calls(Action="RunInstances")
    assert asked["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert asked["MetadataOptions.HttpTokens"] == "required"
    assert len(asked["ClientToken"]) >= 32
    assert asked["BlockDeviceMapping.1.Ebs.VolumeSize"] == "60"
    assert asked["BlockDeviceMapping.1.Ebs.DeleteOnTermination"] == "true"
    assert asked["ImageId"] == "ami-cpu2"  # the newest
    tags = {asked[f"TagSpecification.1.Tag.{n}.Key"]: asked[f"TagSpecification.1.Tag.{n}.Value"] for n in (1, 2, 3)}
    assert (tags["railcar-name"], tags["railcar-owner"]) == ("one", "tester")
    config = json.loads(base64.b64decode(asked["UserData"]).decode().partition("\n")[2])
    script = base64.b64decode(config["write_files"][0]["content"]).decode()
    assert "guard.py install" in script
    assert len(asked["UserData"]) < 16384 * 4 / 3

    [rule] = ec2.calls(Action="AuthorizeSecurityGroupIngress")
    assert rule["IpPermissions.1.IpRanges.1.CidrIp"] == "198.18.0.1/32"
    assert (rule["IpPermissions.1.FromPort"], rule["IpPermissions.1.ToPort"]) == ("22", "22")


def test_a_gpu_gets_its_type_and_an_image_with_a_driver(ec2, provider):
    rent(new_lease("one", "aws", MachineSpec(gpu="T4:1", spot=True)), provider, say_nothing)
    [asked] = ec2.calls(Action="RunInstances")
    assert (asked["InstanceType"], asked["ImageId"]) == ("g4dn.xlarge", "ami-gpu2")
    assert asked["InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior"] == "terminate"


def test_the_first_host_key_is_replaced_at_once_and_never_taken_again(ec2, provider):
    lease = rent(new_lease("one", "aws", MachineSpec()), provider, say_nothing)
    first = read_lease("one").host_keys
    lease, shell = wait_for(lease, provider)
    assert lease.host_keys != first and len(lease.host_keys) == 1
    assert not (lease.folder / "host_key").exists()
    shown = shell.read("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
    assert " ".join(shown) == lease.host_keys[0]
    shell.close()
    old = lease.change(host_keys=first).shell()
    with pytest.raises(HostKeyWrong):
        old.run("true")


def test_no_planted_secret_leaves_in_a_request(ec2, provider):
    """Row 16: neither the credentials nor a key of the user's; the one-time host key is the exception that is told."""
    lease = rent(new_lease("one", "aws", MachineSpec()), provider, say_nothing)
    wait_for(lease, provider)[1].close()
    text = (ec2.folder / "calls.jsonl").read_text()
    data = base64.b64decode(ec2.calls(Action="RunInstances")[0]["UserData"]).decode()
    script = base64.b64decode(json.loads(data.partition("\n")[2])["write_files"][0]["content"]).decode()
    for secret in ("planted-secret", lease.identity.read_text().splitlines()[3]):
        assert secret not in text + data + script
        for path in ec2.host().rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert secret.encode() not in path.read_bytes()


def test_powered_off_from_inside_it_is_gone_for_good(ec2, provider):
    lease = rent(new_lease("one", "aws", MachineSpec()), provider, say_nothing)
    lease, shell = wait_for(lease, provider)
    shell.run("systemctl poweroff", check=False)
    until = time.monotonic() + 20
    while provider.find("one", "tester") is not None:
        assert time.monotonic() < until
        time.sleep(0.05)
    give_back(lease, provider, say_nothing)  # its security group, too
    assert not provider.leftovers("one", "tester")


def test_a_lost_answer_makes_no_second_machine(ec2, provider):
    ec2.plant({"action": "RunInstances", "lost": True, "times": 2})
    rent(new_lease("one", "aws", MachineSpec()), provider, say_nothing)
    calls = ec2.calls(Action="RunInstances")
    assert len(calls) == 3 and len({one["ClientToken"] for one in calls}) == 1
    assert len(provider.list("tester")) == 1


def test_sold_out_zones_are_passed_over_in_the_order_that_the_error_names(ec2, provider):
    code = "InsufficientInstanceCapacity"
    ec2.plant(*({"action": "RunInstances", "code": code, "zone": f"us-east-1{letter}"} for letter in "ac"))
    lease = rent(new_lease("one", "aws", MachineSpec()), provider, say_nothing)
    assert [offer.zone for offer in lease.offers] == ["us-east-1a", "us-east-1c", "us-east-1d"]


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("InsufficientInstanceCapacity", NoCapacity, "sold out in us-east-1a"),
        ("VcpuLimitExceeded", NoQuota, r"Running On-Demand G and VT instances \(L-DB2E81BA\)"),
        ("UnauthorizedOperation", NoPermission, "ec2:RunInstances"),
        ("SomethingElse", MachineError, "planted"),
    ],
)
def test_errors_are_told_apart(ec2, provider, code, kind, words):
    ec2.plant({"action": "RunInstances", "code": code})
    with pytest.raises(kind, match=words):
        rent(new_lease("one", "aws", MachineSpec(gpu="T4:1", regions=("us-east-1",))), provider, say_nothing)
    assert not provider.list("tester")
    give_back(read_lease("one"), provider, say_nothing)  # the security group goes, too
    assert not ec2_groups(provider)


def ec2_groups(provider: Ec2Provider) -> list[str]:
    return [one["GroupId"] for one in provider._groups("us-east-1", "tester", "one")]


def test_the_caller_who_moved_is_let_in_and_nobody_else(ec2, provider, monkeypatch):
    rent(new_lease("one", "aws", MachineSpec()), provider, say_nothing)
    provider.allow("one", "tester", "203.0.113.9/32")
    [group] = provider._groups("us-east-1", "tester", "one")
    assert [rule["IpRanges"] for rule in group["IpPermissions"]] == [[{"CidrIp": "203.0.113.9/32"}]]


def test_no_network_and_no_credentials_are_told_in_words(place, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(place / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(place / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoPermission, match="no credentials"):
        Ec2Provider(["us-east-1"]).list("tester")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(MachineUnreachable, match="did not answer"):
        Ec2Provider(["us-east-1"]).list("tester")


def test_the_quota_is_that_of_the_types_family():
    assert quota_of("p5.48xlarge", spot=True).startswith("All P5 Spot")
    assert quota_of("p4d.24xlarge", spot=True).startswith("All P4")
    assert quota_of("g6.xlarge", spot=False).startswith("Running On-Demand G")
    assert quota_of("c7i.2xlarge", spot=False).startswith("Running On-Demand Standard")


def test_the_cloud_config_is_yaml_that_cloud_init_reads():
    import yaml

    request = Request(
        "one", "t", "me", "ssh-ed25519 AAAA", "1.2.3.4/32", "#!/bin/sh\n", 60, MachineSpec(), "PRIVATE\nKEY\n"
    )
    text = write_cloud_config(request)
    assert text.startswith("#cloud-config\n")
    found = yaml.safe_load(text)
    assert found["ssh_keys"]["ed25519_private"] == "PRIVATE\nKEY\n"
    assert found["runcmd"] == [["sh", "/opt/railcar/start.sh"]]


def test_the_whole_way_and_nothing_is_left(ec2, provider, place, mnist_here):
    """`railcar train --on aws`: a real training on the host, its run at home; instances, disks, groups are gone."""
    words = (mnist_here, "--set", "training.steps=4", *SAME)
    done = train_away(*words, on="aws")
    [run] = [RunDir(one.path) for one in list_runs(place / "runs")]
    assert run.state() == "finished"
    assert_as_documented("aws.md", done.stderr + done.stdout)
    local = RunDir(json.loads(railcar("train", *words, "--json").stdout)["path"])
    assert_same_weights(run, local)
    assert run.read_manifest()["machine"]["machine_type"] == "c7i.2xlarge"
    assert "c7i.2xlarge in us-east-1a: $0.36 an hour, at most $1.43" in done.stderr
    assert "is gone: aws lists nothing of it any more" in done.stderr
    assert not list_leases()
    client = provider._client("us-east-1")
    groups = [one["GroupName"] for one in client.describe_security_groups()["SecurityGroups"]]
    assert not [name for name in groups if name.startswith("railcar")]
    assert not client.describe_volumes()["Volumes"]
    assert not client.describe_key_pairs()["KeyPairs"]
    assert not client.describe_addresses()["Addresses"]
    states = {
        one["State"]["Name"] for group in client.describe_instances()["Reservations"] for one in group["Instances"]
    }
    assert states == {"terminated"}
    assert "planted-secret" not in "".join(path.read_text(errors="replace") for path in texts_of(place / "machines"))


def texts_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
