"""Compute Engine without Google: an HTTP server over google-cloud-compute's own message types, for tests of
`railcar.machines.gce`. What the real client sends is read into the real messages, unknown fields refused.

    python -m tests.machines.gce_cloud FOLDER PORT

Each instance is a real host (`fake_host.py`) that does what Google's guest agent does: keys from the metadata, the
start script at the first boot, host keys into the guest attributes. Its `maxRunDuration` ends it. Repeated request ids
make nothing twice. FOLDER/faults.json plants what is in the way:

    [{"method": "POST", "path": "/instances", "zone": "us-central1-a", "code": "ZONE_RESOURCE_POOL_EXHAUSTED"},
     {"method": "POST", "path": "/instances", "lost": true, "times": 1}]

FOLDER/calls.jsonl has every request.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.cloud import compute_v1 as types

from railcar.machines import fake_host
from railcar.machines.fake import FakeProvider
from railcar.machines.lease import make_key

ZONES = ("us-central1-a", "us-central1-b", "us-east1-c", "europe-west4-a")
MACHINES = {"n2-standard-4": ZONES, "n1-standard-4": ZONES, "g2-standard-4": ("us-central1-b", "europe-west4-a")}
GPUS = {"nvidia-tesla-t4": ("us-central1-a", "us-central1-b")}
_MESSAGES = {
    "ZONE_RESOURCE_POOL_EXHAUSTED": "The zone does not have enough resources available to fulfill the request.",
    "QUOTA_EXCEEDED": "Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 0.0 in region us-central1.",
}


class Cloud:
    """What Google would know."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock = folder, threading.RLock()
        self.hosts_cloud = FakeProvider(folder / "hosts-cloud", network=True)
        self.instances: dict[str, types.Instance] = {}
        self.firewalls: dict[str, types.Firewall] = {}
        self.operations: dict[str, types.Operation] = {}
        self.by_request: dict[str, str] = {}

    def insert_instance(self, zone: str, instance: types.Instance, request_id: str) -> types.Operation:
        if request_id and request_id in self.by_request:
            return self.operations[self.by_request[request_id]]
        if instance.name in self.instances:
            raise Refused(409, f"The resource 'instances/{instance.name}' already exists")
        instance.zone, instance.status = f"https://www.googleapis.com/compute/v1/projects/test/zones/{zone}", "STAGING"
        instance.id = int(hashlib.sha256(instance.name.encode()).hexdigest()[:12], 16)
        instance.creation_timestamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        self.instances[instance.name] = instance
        self._start(instance)
        operation = self.operation("DONE")
        self.by_request[request_id] = operation.name
        return operation

    def _start(self, instance: types.Instance) -> None:
        metadata = {one.key: one.value for one in instance.metadata.items}
        user, _, key = metadata["ssh-keys"].partition(":")
        place = self.hosts_cloud._place()
        folder = self.host(instance)
        folder.mkdir(parents=True)
        make_key(folder / "host_key", instance.name)
        (folder / "start.sh").write_text(metadata["startup-script"])
        mark = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
        ends_s = time.time() + instance.scheduling.max_run_duration.seconds
        host = {
            "id": instance.name, "name": instance.name, "owner": "", "token": "", **place, "network": True,
            "is_system": True, "user": user, "authorized_keys": [key], "namespace": f"railcar-{mark}",
            "link": f"rc{mark}", "ends_s": ends_s,
        }  # fmt: skip
        (folder / "state").write_text("starting")
        (folder / "host.json").write_text(json.dumps(host))
        words = [sys.executable, str(Path(fake_host.__file__)), "supervise", str(folder)]
        with (folder / "log").open("ab") as log:
            subprocess.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=True)
        access = types.AccessConfig(name="External NAT", nat_i_p=place["ip"])
        instance.network_interfaces = [types.NetworkInterface(access_configs=[access])]

    def host(self, instance: types.Instance) -> Path:
        return self.folder / "hosts-cloud" / "hosts" / f"{instance.name}-{instance.id % 9999}"

    def look(self) -> None:
        """What has become of the hosts. One whose time is over is deleted; one that powered itself off is stopped."""
        for name, instance in list(self.instances.items()):
            folder = self.host(instance)
            state = (folder / "state").read_text()
            if state == "running" and instance.status == "STAGING":
                instance.status = "RUNNING"
            elif state == "gone" and instance.status == "STOPPING":
                del self.instances[name]
            elif state == "gone":
                host = json.loads((folder / "host.json").read_text())
                if time.time() >= host["ends_s"] and instance.scheduling.instance_termination_action == "DELETE":
                    del self.instances[name]
                else:
                    instance.status = "TERMINATED"

    def delete_instance(self, name: str) -> types.Operation:
        instance = self.instances.get(name)
        if instance is None:
            raise Refused(404, f"The resource 'instances/{name}' was not found")
        (self.host(instance) / "destroy").touch()
        instance.status = "STOPPING"
        return self.operation("RUNNING")

    def operation(self, status: str, code: str = "") -> types.Operation:
        name = f"operation-{len(self.operations)}"
        found = types.Operation(name=name, status=status)
        if code:
            found.error = types.Error(errors=[types.Errors(code=code, message=_MESSAGES.get(code, "planted"))])
        self.operations[name] = found
        return found


class Refused(Exception):
    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason


def route(cloud: Cloud, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
    """The answer to a request: a message, or a plain document."""
    path = path.removeprefix("/compute/v1/projects/test")
    cloud.look()
    if method == "POST" and (found := re.fullmatch(r"/zones/([^/]+)/instances", path)):
        instance = types.Instance.from_json(body, ignore_unknown_fields=False)
        if fault := take_fault(cloud.folder, method, "/instances", found[1]):
            if "status" in fault:
                raise Refused(fault["status"], fault.get("message", "planted"), fault.get("code", ""))
            if not fault.get("lost"):
                return cloud.operation("DONE", fault["code"])
            cloud.insert_instance(found[1], instance, query.get("requestId", ""))
            raise ConnectionAbortedError("planted: the answer is lost")
        return cloud.insert_instance(found[1], instance, query.get("requestId", ""))
    if method == "DELETE" and (found := re.fullmatch(r"/zones/[^/]+/instances/([^/]+)", path)):
        return cloud.delete_instance(found[1])
    if found := re.fullmatch(r"/zones/[^/]+/operations/([^/]+)", path):
        return cloud.operations[found[1]]
    if found := re.fullmatch(r"/zones/[^/]+/instances/([^/]+)/getGuestAttributes", path):
        return guest_attributes(cloud, found[1])
    if path == "/aggregated/instances":
        return aggregate(cloud, query.get("filter", ""))
    if path == "/aggregated/disks":
        return {"items": {}}
    if path in ("/aggregated/machineTypes", "/aggregated/acceleratorTypes"):
        return list_kinds(path, query["filter"])
    return route_firewalls(cloud, method, path, query, body)


def route_firewalls(cloud: Cloud, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
    if method == "GET" and path == "/global/firewalls":
        pattern = query.get("filter", "name eq .*").partition(" eq ")[2]
        found = [one for name, one in cloud.firewalls.items() if re.fullmatch(pattern, name)]
        return types.FirewallList(items=found)
    if method == "POST" and path == "/global/firewalls":
        rule = types.Firewall.from_json(body, ignore_unknown_fields=False)
        if rule.name in cloud.firewalls:
            raise Refused(409, f"The resource 'firewalls/{rule.name}' already exists")
        cloud.firewalls[rule.name] = rule
        return cloud.operation("DONE")
    name = path.rpartition("/")[2]
    if not path.startswith("/global/firewalls/") or name not in cloud.firewalls:
        raise Refused(404, f"The resource '{path}' was not found")
    if method == "DELETE":
        del cloud.firewalls[name]
    elif method == "PATCH":
        change = types.Firewall.from_json(body, ignore_unknown_fields=False)
        cloud.firewalls[name].source_ranges = change.source_ranges
    return cloud.operation("DONE")


def guest_attributes(cloud: Cloud, name: str) -> Any:
    instance = cloud.instances.get(name)
    if instance is None or instance.status != "RUNNING":
        raise Refused(404, "The resource 'hostkeys/' of type 'Guest Attribute' was not found.")
    kind, key = (cloud.host(instance) / "host_key.pub").read_text().split()[:2]
    entry = types.GuestAttributesEntry(namespace="hostkeys", key=kind, value=key)
    return types.GuestAttributes(query_path="hostkeys/", query_value=types.GuestAttributesValue(items=[entry]))


def aggregate(cloud: Cloud, wanted: str) -> Any:
    labels = dict(re.findall(r"labels\.([\w-]+)=([\w-]+)", wanted))
    items: dict[str, Any] = {}
    for one in cloud.instances.values():
        if all(one.labels.get(key) == value for key, value in labels.items()):
            zone = "zones/" + one.zone.rpartition("/")[2]
            items.setdefault(zone, {"instances": []})["instances"].append(json.loads(types.Instance.to_json(one)))
    return {"items": items}


def list_kinds(path: str, wanted: str) -> Any:
    field, known = ("machineTypes", MACHINES) if path.endswith("machineTypes") else ("acceleratorTypes", GPUS)
    name = wanted.removeprefix("name = ")
    return {"items": {f"zones/{zone}": {field: [{"name": name}]} for zone in known.get(name, ())}}


def take_fault(folder: Path, method: str, path: str, zone: str) -> dict[str, Any] | None:
    place = folder / "faults.json"
    faults = json.loads(place.read_text()) if place.exists() else []
    for fault in faults:
        is_meant = (fault["method"], fault["path"]) == (method, path) and fault.get("zone", zone) == zone
        if is_meant and fault.get("times", 1) > 0:
            if "times" in fault:
                fault["times"] -= 1
                place.write_text(json.dumps(faults))
            return fault
    return None


def main(folder: Path, port: int) -> None:
    cloud = Cloud(folder)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            found = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(found.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with cloud.lock:
                with (folder / "calls.jsonl").open("a") as file:
                    call = {"method": self.command, "path": found.path, "query": query, "body": body.decode()}
                    file.write(json.dumps({**call, "headers": dict(self.headers)}) + "\n")
                try:
                    answer, status = route(cloud, self.command, found.path, query, body), 200
                except Refused as error:
                    reasons = [{"reason": error.reason, "message": error.message}]
                    document = {"code": error.status, "message": error.message, "errors": reasons}
                    answer, status = {"error": document}, error.status
                except ConnectionAbortedError:
                    self.close_connection = True
                    return
            text = json.dumps(answer) if isinstance(answer, dict) else type(answer).to_json(answer)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = do_PATCH = answer

        def log_message(self, format: str, *words: Any) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
