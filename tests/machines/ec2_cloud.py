"""EC2 without Amazon: moto's server, and what it lacks in front of it, for tests of `railcar.machines.ec2`.

    python -m tests.machines.ec2_cloud FOLDER PORT

moto keeps the books; each of its instances is a real host (`fake_host.py`) with the address that moto gives out, which
reads its user data as cloud-init would, and whose power-off ends the instance. In front: repeated client tokens give
the same answer, and faults that are planted in FOLDER/faults.json:

    [{"action": "RunInstances", "code": "InsufficientInstanceCapacity", "zone": "us-east-1a", "times": 1},
     {"action": "RunInstances", "lost": true, "times": 1}]      done, and the answer lost

FOLDER/calls.jsonl has every request as it came.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
from pathlib import Path
from typing import Any

from railcar.machines import fake_host
from railcar.machines.fake import FakeProvider

_MESSAGES = {
    "InsufficientInstanceCapacity": "We currently do not have sufficient capacity in the Availability Zone you "
    "requested ({zone}). Our system will be working on provisioning additional capacity. You can currently get "
    "capacity by not specifying an Availability Zone in your request or choosing us-east-1c, us-east-1d.",
    "VcpuLimitExceeded": "You have requested more vCPU capacity than your current vCPU limit of 0 allows.",
    "UnauthorizedOperation": "You are not authorized to perform this operation.",
}
_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>1</RequestID></Response>"""


class Front:
    """What EC2 does and moto does not."""

    def __init__(self, app: Any, folder: Path) -> None:
        self._app, self._folder = app, folder
        self._answers: dict[str, tuple[str, list[Any], list[bytes]]] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        import io

        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        words = {key: value[0] for key, value in urllib.parse.parse_qs(body.decode()).items()}
        action, zone = words.get("Action", ""), words.get("Placement.AvailabilityZone", "")
        with self._lock:
            if action:
                with (self._folder / "calls.jsonl").open("a") as file:
                    file.write(json.dumps(words) + "\n")
            fault = self._take_fault(action, zone)
            if fault and not fault.get("lost"):
                text = _ERROR.format(
                    code=fault["code"], message=_MESSAGES.get(fault["code"], "planted").format(zone=zone)
                )
                start_response(f"{fault.get('status', 400)} Planted", [("Content-Type", "text/xml")])
                return [text.encode()]
            answer = self._answer(environ, words.get("ClientToken"))
        if fault:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        status, headers, blocks = answer
        start_response(status, headers)
        return blocks

    def _answer(self, environ: dict[str, Any], token: str | None) -> tuple[str, list[Any], list[bytes]]:
        if token and token in self._answers:
            return self._answers[token]
        seen: list[Any] = []
        blocks = list(self._app(environ, lambda status, headers, error=None: seen.extend((status, headers))))
        answer = (seen[0], seen[1], blocks)
        if token and seen[0].startswith("200"):
            self._answers[token] = answer
        return answer

    def _take_fault(self, action: str, zone: str) -> dict[str, Any] | None:
        path = self._folder / "faults.json"
        faults = json.loads(path.read_text()) if path.exists() else []
        for fault in faults:
            if fault["action"] == action and fault.get("zone", zone) == zone and fault.get("times", 1) > 0:
                if "times" in fault:
                    fault["times"] -= 1
                    path.write_text(json.dumps(faults))
                return fault
        return None


class Hosts:
    """Keeps a real host for each instance that moto says runs."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._cloud = folder, FakeProvider(folder / "hosts-cloud", network=True)
        self._given: list[str] = []
        self._hosts: dict[str, Path] = {}

    def next_address(self) -> str:
        place = self._cloud._place()
        net, first = place["ip"].rpartition(".")[0], int(place["ip"].rpartition(".")[2])
        address = f"{net}.{first + len(self._given)}"
        self._given.append(address)
        return address

    def keep(self) -> None:
        while not (self._folder / "closing").exists():
            for backend in list(_backends()):
                for reservation in list(backend.reservations.values()):
                    for instance in list(reservation.instances):
                        try:
                            self._match(instance)
                        except Exception:  # the next instance may be well
                            traceback.print_exc()
            time.sleep(0.05)
        (self._folder / "closed").touch()

    def _match(self, instance: Any) -> None:
        folder = self._hosts.get(instance.id)
        if instance.state == "running" and folder is None:
            self._hosts[instance.id] = self._start(instance)
        elif folder is not None and instance.state != "running":
            (folder / "destroy").touch()
        elif folder is not None and (folder / "state").read_text() == "gone":
            # powered off from inside, or taken away
            if instance.instance_initiated_shutdown_behavior == "terminate":
                instance.terminate()
            else:
                instance.stop()

    def _start(self, instance: Any) -> Path:
        folder = self._folder / "hosts-cloud" / "hosts" / instance.id
        folder.mkdir(parents=True)
        config = read_user_data(instance)
        (folder / "host_key").write_text(config["ssh_keys"]["ed25519_private"])
        (folder / "host_key").chmod(0o600)
        (folder / "start.sh").write_text(write_first_boot(config))
        mark = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
        place = self._cloud._place()
        host = {
            "id": instance.id,
            "name": instance.id,
            "owner": "",
            "token": "",
            "ip": instance.public_ip,
            "port": 22,
            "bridge": place["bridge"],
            "network": True,
            "is_system": True,
            "user": "ubuntu",
            "authorized_keys": config["ssh_authorized_keys"],
            "namespace": f"railcar-{mark}",
            "link": f"rc{mark}",
            "ends_s": time.time() + 86400,
        }
        (folder / "state").write_text("starting")
        (folder / "host.json").write_text(json.dumps(host))
        words = [sys.executable, str(Path(fake_host.__file__)), "supervise", str(folder)]
        with (folder / "log").open("ab") as log:
            subprocess.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=True)
        return folder


def read_user_data(instance: Any) -> dict[str, Any]:
    """The cloud-config of an instance; JSON, as railcar writes it."""
    text = instance.user_data.decode()
    head, _, body = text.partition("\n")
    assert head == "#cloud-config", head
    return json.loads(body)


def write_first_boot(config: dict[str, Any]) -> str:
    """What cloud-init does of it, as a script: `write_files`, then `runcmd`."""
    lines = []
    for one in config["write_files"]:
        lines.append(f"mkdir -p {os.path.dirname(one['path'])}")  # noqa: PTH120
        lines.append(f"echo {one['content']} | base64 -d > {one['path']}")
    lines += [" ".join(words) for words in config["runcmd"]]
    return "\n".join(lines)


def _backends() -> list[Any]:
    from moto.ec2.models import ec2_backends

    return [backend for account in ec2_backends.values() for backend in account.values()]


def main(folder: Path, port: int) -> None:
    from moto.ec2.models import elastic_network_interfaces
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    hosts = Hosts(folder)
    setattr(elastic_network_interfaces, "random_public_ip", hosts.next_address)  # noqa: B010  moto does not export it
    threading.Thread(target=hosts.keep, daemon=True).start()
    app = Front(DomainDispatcherApplication(create_backend_app), folder)
    run_simple("127.0.0.1", port, app, threaded=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
