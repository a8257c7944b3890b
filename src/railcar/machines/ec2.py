"""Amazon EC2 as a provider, through boto3 (extra `aws`).

A machine is one instance with `InstanceInitiatedShutdownBehavior: terminate`, so that its guard's power-off ends it for
good, IMDSv2 only, and one security group that lets the caller's address alone reach port 22. Both carry the tags
`railcar-name` and `railcar-owner`, by which they are found again from any computer. There is no key pair: who may log
in, and the host key of the first boot, come as cloud-config (cloudinit.readthedocs.io, module cc_ssh). boto3 finds
credentials and region as it does for everybody; nothing of them is kept or sent.

EC2 has no end of its own for an instance: what is called the provider's end for it is the guard, which is in the
request, and the shutdown behaviour.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from railcar.errors import (
    MachineError,
    MachineUnreachable,
    MissingExtra,
    NoCapacity,
    NoPermission,
    NoQuota,
)
from railcar.machines.base import Address, Inside, Machine, MachineSpec, Offer, Request
from railcar.machines.caller import find_own_address
from railcar.machines.prices import find_price, list_prices, spot_share, usual_region

NAME, OWNER = "railcar-name", "railcar-owner"
# Newest by name: docs.aws.amazon.com/dlami, "Base GPU AMI"; Canonical's account for plain Ubuntu.
_GPU_IMAGE = ("amazon", "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04) *")
_IMAGE = ("099720109477", "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*")
_STATES = {"pending": "starting", "running": "running", "shutting-down": "stopping", "stopping": "stopping"}
_SOLD_OUT = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientCapacityOnHost",
    "Unsupported",
    "SpotMaxPriceTooLow",
}
_NO_QUOTA = {"VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded", "VolumeLimitExceeded"}
_FORBIDDEN = {
    "UnauthorizedOperation",
    "AuthFailure",
    "AccessDenied",
    "InvalidClientTokenId",
    "ExpiredToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "OptInRequired",
    "Blocked",
    "PendingVerification",
}
_AGAIN = {"RequestLimitExceeded", "ServiceUnavailable", "Unavailable", "InternalError", "InternalFailure", "Throttling"}
# The quota's name as Service Quotas has it, by the first letters of a type.
# Source: docs.aws.amazon.com, "EC2 instance type quotas".
_QUOTAS = (
    (
        ("g", "vt"),
        "Running On-Demand G and VT instances (L-DB2E81BA)",
        "All G and VT Spot Instance Requests (L-3819A6DF)",
    ),
    (("p5",), "Running On-Demand P instances (L-417A185B)", "All P5 Spot Instance Requests (L-C4BD4855)"),
    (("p",), "Running On-Demand P instances (L-417A185B)", "All P4, P3 and P2 Spot Instance Requests (L-7212CCBC)"),
    (("",), "Running On-Demand Standard instances (L-1216C47A)", "All Standard Spot Instance Requests (L-34B43A08)"),
)


class Ec2Provider:
    """See `base.Provider`. `regions` are those where machines are looked for; all of the account's when empty."""

    name = "aws"

    def __init__(self, regions: Sequence[str] = ()) -> None:
        self._regions = tuple(dict.fromkeys(regions))
        self._clients: dict[str, Any] = {}

    def offers(self, spec: MachineSpec) -> Sequence[Offer]:
        price = find_price(self.name, spec)
        usd = price.usd_per_hour * (spot_share(self.name) if spec.spot else 1) or None
        regions = spec.regions or (self._usual_region,)
        found = []
        for region in regions:
            zones = self._zones_with(price.machine_type, region)
            found += [Offer(zone, price.machine_type, spec.spot, round(usd, 4) if usd else None) for zone in zones]
        if not found:
            where = ", ".join(regions)
            raise MachineError(
                f"aws has no {price.machine_type} in {where}", hint="name another region with --region, or another GPU"
            )
        return found

    def create(self, offer: Offer, request: Request) -> Machine:
        region = region_of(offer.zone)
        self._regions = tuple(dict.fromkeys((region, *self._regions)))
        with self._call(offer):
            image = self._find_image(region, request.spec)
            group = self._make_group(region, request)
            answer = self._client(region).run_instances(**_describe_request(offer, request, image, group))
        return self._describe(answer["Instances"][0], region)

    def find(self, name: str, owner: str) -> Machine | None:
        return next(iter(self._search(owner, name)), None)

    def list(self, owner: str) -> Sequence[Machine]:
        return self._search(owner)

    def destroy(self, name: str, owner: str) -> None:
        def end(region: str) -> None:
            client = self._client(region)
            found = [one["InstanceId"] for one in self._instances(region, owner, name)]
            if found:
                client.terminate_instances(InstanceIds=found)
            for group in self._groups(region, owner, name):
                with _ignoring("DependencyViolation", "InvalidGroup.InUse", "InvalidGroup.NotFound"):
                    client.delete_security_group(GroupId=group["GroupId"])

        self._everywhere(end)

    def leftovers(self, name: str, owner: str) -> Sequence[str]:
        def look(region: str) -> list[str]:
            found = [f"instance {one['InstanceId']}" for one in self._instances(region, owner, name)]
            volumes = self._client(region).describe_volumes(Filters=_tags(owner, name))["Volumes"]
            found += [f"volume {one['VolumeId']}" for one in volumes if one["State"] not in ("deleting", "deleted")]
            return found + [f"security group {one['GroupId']}" for one in self._groups(region, owner, name)]

        return [one for found in self._everywhere(look) for one in found]

    def allow(self, name: str, owner: str, allowed: str) -> None:
        def let_in(region: str) -> None:
            client = self._client(region)
            for group in self._groups(region, owner, name):
                rule = _ssh_rule(allowed)
                ssh = [one for one in group["IpPermissions"] if one.get("FromPort") == 22]
                others = [one for one in ssh if _cidrs(one) != [allowed]]
                if others:
                    client.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=others)
                with _ignoring("InvalidPermission.Duplicate"):
                    client.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[rule])

        self._everywhere(let_in)

    def join(self, name: str, owner: str, addresses: Sequence[str]) -> None:
        ranges = [{"CidrIp": f"{address}/32"} for address in addresses]
        rule = {"IpProtocol": "tcp", "FromPort": 1024, "ToPort": 65535, "IpRanges": ranges}

        def let_in(region: str) -> None:
            for group in self._groups(region, owner, name):
                with _ignoring("InvalidPermission.Duplicate"):
                    client = self._client(region)
                    client.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[rule])

        self._everywhere(let_in)

    def own_address(self) -> str:
        return find_own_address()

    def inside(self, name: str) -> Inside:
        return Inside("ubuntu", has_one_time_key=True, notice="ec2")

    @cached_property
    def _usual_region(self) -> str:
        return self._session.region_name or usual_region(self.name)

    @cached_property
    def _session(self) -> Any:
        try:
            import boto3
        except ImportError as error:
            raise MissingExtra("boto3", "aws", needed_for="renting at aws") from error
        return boto3.Session()

    def _client(self, region: str) -> Any:
        if region not in self._clients:
            from botocore.config import Config

            once = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1}, region_name=region)
            self._clients[region] = self._session.client("ec2", config=once)
        return self._clients[region]

    def _everywhere(self, call: Any) -> list[Any]:
        """What `call` says of each region where machines may be."""
        with self._call():
            regions = self._regions or self._all_regions
            if len(regions) == 1:
                return [call(regions[0])]
            for region in regions:
                self._client(region)  # boto3's sessions are not for several threads; its clients are
            with ThreadPoolExecutor(8) as pool:
                return list(pool.map(call, regions))

    @cached_property
    def _all_regions(self) -> tuple[str, ...]:
        answer = self._client(self._usual_region).describe_regions()
        return tuple(one["RegionName"] for one in answer["Regions"])

    def _zones_with(self, machine_type: str, region: str) -> list[str]:
        with self._call():
            pages = self._client(region).get_paginator("describe_instance_type_offerings").paginate(
                LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [machine_type]}]
            )  # fmt: skip
            return sorted(one["Location"] for page in pages for one in page["InstanceTypeOfferings"])

    def _find_image(self, region: str, spec: MachineSpec) -> str:
        """The newest image by its name, or the one that was named, as its id or a pattern of names."""
        if spec.image.startswith("ami-"):
            return spec.image
        owner, pattern = _GPU_IMAGE if spec.gpu else _IMAGE
        owners = [owner] if spec.image == "auto" else ["amazon", "self", _IMAGE[0]]
        wanted = pattern if spec.image == "auto" else spec.image
        filters = [{"Name": "name", "Values": [wanted]}, {"Name": "state", "Values": ["available"]}]
        images = self._client(region).describe_images(Owners=owners, Filters=filters)["Images"]
        if not images:
            raise MachineError(f"aws has no image {wanted!r} in {region}", hint="name one: machine.image=ami-...")
        return max(images, key=lambda one: one["CreationDate"])["ImageId"]

    def _make_group(self, region: str, request: Request) -> str:
        """The machine's security group, which an earlier call may have made."""
        client = self._client(region)
        if found := self._groups(region, request.owner, request.name):
            return found[0]["GroupId"]
        tags = _tag_specification("security-group", request)
        group = client.create_security_group(
            GroupName=f"railcar-{request.owner}-{request.name}",
            Description="railcar: ssh from the address of who rented it",
            TagSpecifications=[tags],
        )["GroupId"]
        client.authorize_security_group_ingress(GroupId=group, IpPermissions=[_ssh_rule(request.allowed)])
        return group

    def _groups(self, region: str, owner: str, name: str) -> list[dict[str, Any]]:
        return self._client(region).describe_security_groups(Filters=_tags(owner, name))["SecurityGroups"]

    def _instances(self, region: str, owner: str, name: str | None) -> list[dict[str, Any]]:
        """Those that are not gone."""
        states = [*_STATES, "stopped"]
        filters = [*_tags(owner, name), {"Name": "instance-state-name", "Values": states}]
        pages = self._client(region).get_paginator("describe_instances").paginate(Filters=filters)
        return [one for page in pages for group in page["Reservations"] for one in group["Instances"]]

    def _search(self, owner: str, name: str | None = None) -> list[Machine]:
        def look(region: str) -> list[Machine]:
            return [self._describe(one, region) for one in self._instances(region, owner, name)]

        return [machine for found in self._everywhere(look) for machine in found]

    def _describe(self, instance: dict[str, Any], region: str) -> Machine:
        tags = {one["Key"]: one["Value"] for one in instance.get("Tags", ())}
        kind, spot = instance["InstanceType"], instance.get("InstanceLifecycle") == "spot"
        usd = next((one.usd_per_hour for one in list_prices(self.name) if one.machine_type == kind), None)
        state, host = str(instance["State"]["Name"]), instance.get("PublicIpAddress")
        return Machine(
            name=tags.get(NAME, instance["InstanceId"]),
            provider=self.name,
            state=_STATES.get(state, state),
            id=instance["InstanceId"],
            zone=instance.get("Placement", {}).get("AvailabilityZone", region),
            machine_type=kind,
            spot=spot,
            started_s=instance["LaunchTime"].timestamp() if instance.get("LaunchTime") else None,
            price_usd_per_hour=usd * (spot_share(self.name) if spot else 1) if usd else None,
            address=Address(host, 22, "ubuntu") if host else None,
        )

    @contextmanager
    def _call(self, offer: Offer | None = None) -> Iterator[None]:
        """Turn what boto3 raises into our errors."""
        self._session  # noqa: B018  says what is not installed
        import botocore.exceptions as botocore

        try:
            yield
        except botocore.ClientError as error:
            raise _translate(error, offer) from error
        except (botocore.NoCredentialsError, botocore.PartialCredentialsError, botocore.TokenRetrievalError) as error:
            raise NoPermission(
                "aws: no credentials were found", hint="log in with: aws configure (or aws sso login)"
            ) from error
        except botocore.ProfileNotFound as error:
            raise NoPermission(f"aws: {error}", hint="see AWS_PROFILE") from error
        except (botocore.HTTPClientError, botocore.ConnectionError) as error:
            raise MachineUnreachable(f"aws did not answer: {error}", hint="see the network, then try again") from error


def region_of(zone: str) -> str:
    return zone[:-1]


def _describe_request(offer: Offer, request: Request, image: str, group: str) -> dict[str, Any]:
    disk = {"VolumeSize": request.spec.disk_gb, "VolumeType": "gp3", "DeleteOnTermination": True}
    found: dict[str, Any] = {
        "ImageId": image,
        "InstanceType": offer.machine_type,
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": request.token,
        "UserData": write_cloud_config(request),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
        "SecurityGroupIds": [group],
        "Placement": {"AvailabilityZone": offer.zone},
        "TagSpecifications": [_tag_specification(kind, request) for kind in ("instance", "volume")],
    }
    if offer.spot:
        options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        found["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
    return found


def write_cloud_config(request: Request) -> str:
    """User data. JSON is YAML, and cloud-init reads it; the start script is packed, as EC2 takes 16 kB."""
    config: dict[str, Any] = {
        "ssh_authorized_keys": [request.public_key],
        "disable_root": True,
        "ssh_pwauth": False,
        "write_files": [
            {
                "path": "/opt/railcar/start.sh",
                "permissions": "0700",
                "encoding": "b64",
                "content": base64.b64encode(request.start_script.encode()).decode(),
            }
        ],
        "runcmd": [["sh", "/opt/railcar/start.sh"]],
    }
    if request.host_key:
        config["ssh_deletekeys"] = True
        config["ssh_keys"] = {"ed25519_private": request.host_key}
    return "#cloud-config\n" + json.dumps(config)


def _tag_specification(kind: str, request: Request) -> dict[str, Any]:
    tags = {"Name": f"railcar-{request.name}", NAME: request.name, OWNER: request.owner}
    return {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _tags(owner: str, name: str | None) -> list[dict[str, Any]]:
    wanted = {OWNER: owner, **({NAME: name} if name is not None else {})}
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in wanted.items()]


def _ssh_rule(allowed: str) -> dict[str, Any]:
    ranges = {"Ipv6Ranges": [{"CidrIpv6": allowed}]} if ":" in allowed else {"IpRanges": [{"CidrIp": allowed}]}
    return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **ranges}


def _cidrs(rule: dict[str, Any]) -> list[str]:
    found = [one["CidrIp"] for one in rule.get("IpRanges", ())]
    return found + [one["CidrIpv6"] for one in rule.get("Ipv6Ranges", ())]


@contextmanager
def _ignoring(*codes: str) -> Iterator[None]:
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


def _translate(error: Any, offer: Offer | None) -> MachineError:
    code, told = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    kind, where = (offer.machine_type, offer.zone) if offer else ("", "")
    if code in _SOLD_OUT:
        return NoCapacity(
            f"aws: {kind} is sold out in {where}", hint="another zone, or later", zones=_named_zones(told, where)
        )
    if code in _NO_QUOTA:
        quota = quota_of(kind, spot=bool(offer and offer.spot))
        region = region_of(where) if where else ""
        return NoQuota(
            f"aws: the quota {quota!r} of this account is used up in {region}",
            hint=f"raise it: https://console.aws.amazon.com/servicequotas/home?region={region}#!/services/ec2/quotas",
        )
    if code in _FORBIDDEN:
        action = getattr(error, "operation_name", "this")
        return NoPermission(
            f"aws: this account may not ec2:{action} ({code})",
            hint="docs/guides/aws.md has the least policy that railcar needs",
        )
    if code in _AGAIN:
        return MachineUnreachable(f"aws: {code}", hint="try again in a minute")
    return MachineError(f"aws: {told or code}", hint=f"it calls this {code}")


def _named_zones(told: str, zone: str) -> tuple[str, ...]:
    """Zones that the error itself says have some: "... by not specifying ... or choosing us-east-1b, us-east-1c."."""
    region = region_of(zone)
    return tuple(dict.fromkeys(one for one in re.findall(rf"\b{re.escape(region)}[a-z]\b", told) if one != zone))


def quota_of(machine_type: str, *, spot: bool) -> str:
    """The name and code of the quota that counts for a type."""
    _, on_demand, on_spot = next(row for row in _QUOTAS if machine_type.startswith(row[0]))  # the last one fits all
    return on_spot if spot else on_demand
