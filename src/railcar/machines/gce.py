"""Google Compute Engine as a provider, through google-cloud-compute (extra `gcp`).

A machine is one instance with `scheduling.maxRunDuration` and `instanceTerminationAction: DELETE`: Google itself
deletes it at its end, its disk with it, whatever runs there. Two firewall rules go with it: one lets the caller's
address reach port 22, one refuses everybody else, as the network `default` lets all the world in. Instance, disk and
rules carry the labels, or the name, by which they are found again. Host keys come from the guest attributes, which the
machine's agent writes when it boots (docs: "Storing host keys by enabling guest attributes"). Who is asked, and in
whose name, is what google.auth finds; nothing of it is kept or sent.

Powered off from inside, an instance of Google's is only stopped, and its disk stays: so the guard here ends what is
idle (the GPU is then paid no more), leaves the deadline to Google, and `machine list` shows what is stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from railcar.errors import MachineError, MachineUnreachable, MissingExtra, NoCapacity, NoPermission, NoQuota
from railcar.machines.base import Address, Inside, Machine, MachineSpec, Offer, Request
from railcar.machines.caller import find_own_address
from railcar.machines.prices import find_price, list_prices, read_gpu, spot_share, usual_region

NAME, OWNER = "railcar-name", "railcar-owner"
USER = "railcar"
# Python 3.12, driver 580, CUDA 12.9; kept until August 2028 (docs: "Deep Learning VM release notes").
_GPU_IMAGE = "projects/deeplearning-platform-release/global/images/family/common-cu129-ubuntu-2404-nvidia-580"
_IMAGE = "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64"
# GPUs that are added to a machine type; the others are part of theirs.
_ADDED = {"T4": "nvidia-tesla-t4", "V100": "nvidia-tesla-v100"}
_STATES = {
    "PROVISIONING": "starting",
    "STAGING": "starting",
    "RUNNING": "running",
    "STOPPING": "stopping",
    "SUSPENDING": "stopping",
    "DEPROVISIONING": "stopping",
    "SUSPENDED": "stopped",
    "TERMINATED": "stopped",
}
_SOLD_OUT = ("ZONE_RESOURCE_POOL_EXHAUSTED", "STOCKOUT", "RESOURCE_NOT_AVAILABLE", "UNSUPPORTED_OPERATION")
_ACCEPTED_WITHIN_S = 120.0
_SCOPES = ["https://www.googleapis.com/auth/devstorage.read_write"]
_BILLING_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class GceProvider:
    """See `base.Provider`. `zones` are those where machines are looked for; all when empty."""

    name = "gcp"

    def __init__(self, zones: Sequence[str] = ()) -> None:
        self._zones = tuple(dict.fromkeys(zones))

    def offers(self, spec: MachineSpec) -> Sequence[Offer]:
        price = find_price(self.name, spec)
        usd = price.usd_per_hour * (spot_share(self.name) if spec.spot else 1) or None
        regions = spec.regions or (usual_region(self.name),)
        with self._call():
            zones = self._zones_with(price.machine_type, price.gpu)
        found = [
            Offer(zone, price.machine_type, spec.spot, round(usd, 4) if usd else None)
            for region in regions
            for zone in zones
            if region_of(zone) == region
        ]
        if not found:
            raise MachineError(
                f"gcp has no {price.machine_type} in {', '.join(regions)}",
                hint="name another region with --region, or another GPU",
            )
        return found

    def create(self, offer: Offer, request: Request) -> Machine:
        """Waits until Google has accepted it, or said what is in the way: that is in the operation, not the answer."""
        self._zones = tuple(dict.fromkeys((offer.zone, *self._zones)))
        with self._call(offer):
            for rule in self._describe_rules(request):
                self._make_rule(rule)
            instance = self._describe_request(offer, request)
            operation = self._instances.insert_unary(
                request={
                    "project": self._project,
                    "zone": offer.zone,
                    "instance_resource": instance,
                    "request_id": str(uuid.uuid5(uuid.NAMESPACE_URL, request.token)),
                }
            )
            self._await_zone(operation, offer)
        found = self.find(request.name, request.owner)
        if found is None:
            raise MachineUnreachable(f"gcp: {request.name} was made and is not listed yet", hint="try again")
        return found

    def find(self, name: str, owner: str) -> Machine | None:
        return next(iter(self._search(owner, name)), None)

    def list(self, owner: str) -> Sequence[Machine]:
        return self._search(owner)

    def destroy(self, name: str, owner: str) -> None:
        with self._call():
            for instance in self._list_instances(owner, name):
                with _ignoring_missing():
                    zone = _last(instance.zone)
                    self._instances.delete_unary(project=self._project, zone=zone, instance=instance.name)
            for rule in self._rules(owner, name):
                with _ignoring_missing():
                    self._firewalls.delete_unary(project=self._project, firewall=rule)

    def leftovers(self, name: str, owner: str) -> Sequence[str]:
        with self._call():
            found = [f"instance {one.name}" for one in self._list_instances(owner, name)]
            disks = self._each(self._disks.aggregated_list, owner, name, "disks")
            return [
                *found,
                *(f"disk {one.name}" for one in disks),
                *(f"firewall {one}" for one in self._rules(owner, name)),
            ]

    def allow(self, name: str, owner: str, allowed: str) -> None:
        with self._call():
            rule = _rule_name(owner, name, "in")
            change = self._types.Firewall(source_ranges=[allowed])
            self._firewalls.patch_unary(project=self._project, firewall=rule, firewall_resource=change)

    def join(self, name: str, owner: str, addresses: Sequence[str]) -> None:
        """The network `default` lets its machines reach each other (rule `default-allow-internal`)."""

    def own_address(self) -> str:
        return find_own_address()

    def inside(self, name: str) -> Inside:
        return Inside(USER, has_own_end=True, notice="gce")

    @cached_property
    def _types(self) -> Any:
        try:
            from google.cloud import compute_v1
        except ImportError as error:
            raise MissingExtra("google-cloud-compute", "gcp", needed_for="renting at gcp") from error
        return compute_v1

    @cached_property
    def _identity(self) -> tuple[Any, str]:
        """Credentials and project. `RAILCAR_GCE_ENDPOINT` names an emulator, which wants none."""
        project = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
        if os.environ.get("RAILCAR_GCE_ENDPOINT"):
            from google.auth.credentials import AnonymousCredentials

            return AnonymousCredentials(), project or "test"
        import google.auth

        credentials, found = google.auth.default(scopes=[_BILLING_SCOPE])
        if not (project or found):
            raise NoPermission("gcp: no project is chosen", hint="set one: gcloud config set project NAME")
        return credentials, project or str(found)

    @property
    def _project(self) -> str:
        return self._identity[1]

    def _client(self, kind: str) -> Any:
        endpoint = os.environ.get("RAILCAR_GCE_ENDPOINT")
        options = {"api_endpoint": endpoint} if endpoint else None
        return getattr(self._types, f"{kind}Client")(credentials=self._identity[0], client_options=options)

    @cached_property
    def _instances(self) -> Any:
        return self._client("Instances")

    @cached_property
    def _disks(self) -> Any:
        return self._client("Disks")

    @cached_property
    def _firewalls(self) -> Any:
        return self._client("Firewalls")

    @cached_property
    def _operations(self) -> Any:
        return self._client("ZoneOperations")

    def _zones_with(self, machine_type: str, gpu: str | None) -> Sequence[str]:
        """Where there are both the machine type and the GPU."""
        zones = self._zones_listing("MachineTypes", "machine_types", machine_type)
        if gpu in _ADDED:
            zones &= self._zones_listing("AcceleratorTypes", "accelerator_types", _ADDED[gpu])
        return sorted(zones)

    def _zones_listing(self, client: str, field: str, name: str) -> set[str]:
        request = {"project": self._project, "filter": f"name = {name}"}
        pages = self._client(client).aggregated_list(request=request)
        return {_last(place) for place, found in pages if getattr(found, field)}

    def _describe_request(self, offer: Offer, request: Request) -> Any:
        types, spec, labels = self._types, request.spec, {NAME: request.name, OWNER: request.owner}
        image = spec.image if spec.image != "auto" else (_GPU_IMAGE if spec.gpu else _IMAGE)
        image = image if "/" in image else f"projects/{self._project}/global/images/family/{image}"
        disk = types.AttachedDiskInitializeParams(source_image=image, disk_size_gb=spec.disk_gb, labels=labels)
        metadata = {
            "ssh-keys": f"{USER}:{request.public_key}",
            "block-project-ssh-keys": "TRUE",
            "enable-oslogin": "FALSE",
            "enable-guest-attributes": "TRUE",
            "install-nvidia-driver": "True",
            "startup-script": request.start_script,
        }
        scheduling = types.Scheduling(
            provisioning_model="SPOT" if offer.spot else "STANDARD",
            instance_termination_action="DELETE",
            max_run_duration=types.Duration(seconds=max(30, request.ends_in_s)),
            on_host_maintenance="TERMINATE",
            automatic_restart=False,
        )
        instance = types.Instance(
            name=instance_name(request.owner, request.name),
            machine_type=f"zones/{offer.zone}/machineTypes/{offer.machine_type}",
            labels=labels,
            tags=types.Tags(items=[instance_name(request.owner, request.name)]),
            scheduling=scheduling,
            disks=[types.AttachedDisk(boot=True, auto_delete=True, initialize_params=disk)],
            network_interfaces=[
                types.NetworkInterface(
                    network="global/networks/default",
                    access_configs=[types.AccessConfig(name="External NAT", type_="ONE_TO_ONE_NAT")],
                )
            ],
            metadata=types.Metadata(items=[types.Items(key=key, value=value) for key, value in metadata.items()]),
            service_accounts=[types.ServiceAccount(email="default", scopes=_SCOPES)],
        )
        if spec.gpu and read_gpu(spec.gpu)[0] in _ADDED:
            gpu, n_gpus = read_gpu(spec.gpu)
            kind = f"zones/{offer.zone}/acceleratorTypes/{_ADDED[gpu]}"
            instance.guest_accelerators = [types.AcceleratorConfig(accelerator_type=kind, accelerator_count=n_gpus)]
        return instance

    def _describe_rules(self, request: Request) -> Sequence[Any]:
        """The caller is let in; for everybody else port 22 is closed, before the network's own rules are asked."""
        types, tag = self._types, instance_name(request.owner, request.name)
        both = {"network": "global/networks/default", "target_tags": [tag], "direction": "INGRESS"}
        ssh = {"I_p_protocol": "tcp", "ports": ["22"]}
        let_in = types.Firewall(
            name=_rule_name(request.owner, request.name, "in"),
            priority=900,
            source_ranges=[request.allowed],
            allowed=[types.Allowed(**ssh)],
            **both,
        )
        keep_out = types.Firewall(
            name=_rule_name(request.owner, request.name, "out"),
            priority=901,
            source_ranges=["0.0.0.0/0"],
            denied=[types.Denied(**ssh)],
            **both,
        )
        return [keep_out, let_in]

    def _make_rule(self, rule: Any) -> None:
        from google.api_core.exceptions import Conflict

        with contextlib.suppress(Conflict):  # an earlier call has made it
            self._firewalls.insert_unary(project=self._project, firewall_resource=rule)

    def _rules(self, owner: str, name: str) -> Sequence[str]:
        wanted = {_rule_name(owner, name, side) for side in ("in", "out")}
        prefix = instance_name(owner, name)
        request = {"project": self._project, "filter": f"name eq {prefix}-.*"}
        return [one.name for one in self._firewalls.list(request=request) if one.name in wanted]

    def _await_zone(self, operation: Any, offer: Offer) -> None:
        """Until the operation is done; its errors are raised. `insert().result()` would do that, and ask Google's
        public host, whatever endpoint was named."""
        until = time.monotonic() + _ACCEPTED_WITHIN_S
        while str(operation.status.name) != "DONE":
            if time.monotonic() > until:
                raise MachineUnreachable("gcp has not said yet whether it makes the machine", hint="try again")
            time.sleep(0.2)
            operation = self._operations.get(project=self._project, zone=offer.zone, operation=operation.name)
        if operation.error.errors:
            error = operation.error.errors[0]
            raise _translate(error.code, error.message, offer)

    def _list_instances(self, owner: str, name: str | None = None) -> Sequence[Any]:
        return self._each(self._instances.aggregated_list, owner, name, "instances")

    def _each(self, call: Any, owner: str, name: str | None, field: str) -> Sequence[Any]:
        """What carries the labels, in all zones; nothing is left out in silence."""
        wanted = f"labels.{OWNER}={owner}" + (f" AND labels.{NAME}={name}" if name is not None else "")
        pages = call(request={"project": self._project, "filter": wanted})
        return [one for _, found in pages for one in getattr(found, field)]

    def _search(self, owner: str, name: str | None = None) -> Sequence[Machine]:
        with self._call():
            return [self._describe(one) for one in self._list_instances(owner, name)]

    def _describe(self, instance: Any) -> Machine:
        kind, zone = _last(instance.machine_type), _last(instance.zone)
        spot = instance.scheduling.provisioning_model == "SPOT"
        usd = next((one.usd_per_hour for one in list_prices(self.name) if one.machine_type == kind), None)
        state = _STATES.get(instance.status, "starting")
        host = next((one.nat_i_p for net in instance.network_interfaces for one in net.access_configs), "")
        address = Address(host, 22, USER, self._host_keys(instance, zone)) if host and state == "running" else None
        return Machine(
            name=instance.labels[NAME],
            provider=self.name,
            state=state,
            id=str(instance.id),
            zone=zone,
            machine_type=kind,
            spot=spot,
            started_s=_seconds(instance.creation_timestamp),
            price_usd_per_hour=usd * (spot_share(self.name) if spot else 1) if usd else None,
            address=address,
        )

    def _host_keys(self, instance: Any, zone: str) -> tuple[str, ...]:
        """What the machine itself says of its host keys; nothing until it has booted."""
        from google.api_core.exceptions import NotFound

        request = {"project": self._project, "zone": zone, "instance": instance.name, "query_path": "hostkeys/"}
        try:
            found = self._instances.get_guest_attributes(request=request)
        except NotFound:
            return ()
        return tuple(f"{one.key} {one.value}" for one in found.query_value.items)

    @contextmanager
    def _call(self, offer: Offer | None = None) -> Iterator[None]:
        """Turn what Google's libraries raise into our errors."""
        self._types  # noqa: B018  says what is not installed
        import requests
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth

        try:
            yield
        except auth.DefaultCredentialsError as error:
            raise NoPermission(
                "gcp: no credentials were found", hint="log in with: gcloud auth application-default login"
            ) from error
        except (auth.RefreshError, api.Unauthorized) as error:
            raise NoPermission(
                "gcp: the credentials are no longer good", hint="log in again: gcloud auth application-default login"
            ) from error
        except (auth.TransportError, requests.exceptions.RequestException, api.RetryError) as error:
            raise MachineUnreachable(f"gcp did not answer: {error}", hint="see the network, then try again") from error
        except (api.ServerError, api.TooManyRequests) as error:
            raise MachineUnreachable(f"gcp: {error.message}", hint="try again in a minute") from error
        except api.GoogleAPICallError as error:
            reason = next(iter(error.details or ()), None)
            code = str(getattr(reason, "reason", "") or (error.errors[0].get("reason", "") if error.errors else ""))
            code = "QUOTA_EXCEEDED" if code == "quotaExceeded" else code
            raise _translate(code, error.message, offer, forbidden=isinstance(error, api.Forbidden)) from error


def region_of(zone: str) -> str:
    return zone.rpartition("-")[0]


def instance_name(owner: str, name: str) -> str:
    """Letters, digits and hyphens, as RFC 1035 has it; one name for each owner's machine, however long both are."""
    mark = hashlib.sha256(f"{owner}/{name}".encode()).hexdigest()[:8]
    return f"railcar-{name[:36].rstrip('-')}-{mark}"


def _rule_name(owner: str, name: str, side: str) -> str:
    return f"{instance_name(owner, name)}-{side}"


def _translate(code: str, told: str, offer: Offer | None, *, forbidden: bool = False) -> MachineError:
    kind, zone = (offer.machine_type, offer.zone) if offer else ("", "")
    if code.startswith(_SOLD_OUT):
        return NoCapacity(f"gcp: {kind} is sold out in {zone}", hint="another zone, or later")
    if "QUOTA" in code or "Quota '" in told:
        name = told.partition("Quota '")[2].partition("'")[0] or told
        return NoQuota(
            f"gcp: the quota {name} of this project is used up in {region_of(zone) if zone else 'it'}",
            hint="raise it: https://console.cloud.google.com/iam-admin/quotas",
        )
    if forbidden or code in ("PERMISSION_DENIED", "SERVICE_DISABLED", "accessNotConfigured"):
        return NoPermission(f"gcp: {told}", hint="docs/guides/gcp.md has the least role that railcar needs")
    return MachineError(f"gcp: {told or code}", hint=f"it calls this {code}" if code else "see the console")


@contextmanager
def _ignoring_missing() -> Iterator[None]:
    from google.api_core.exceptions import NotFound

    with contextlib.suppress(NotFound):
        yield


def _last(address: str) -> str:
    return address.rpartition("/")[2]


def _seconds(text: str) -> float | None:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
