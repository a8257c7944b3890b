"""The servers that `serving.py` compares: how each is started, in which settings, and how each wants to be asked.

Every peer gets the settings that its own documentation names for throughput, in each of the ways below; which is the
fastest at 32 clients is found by trying. The first of each was the fastest where this was written (two cores).
"""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.clients import Asked, Measured, find_generator, measure
from harness.environments import find_python
from harness.servers import NotReady, Server, ask, find_port, start_server

PEERS = Path(__file__).resolve().parent / "peers"
RAILCAR = "railcar"
BOUNDARY = "serving-benchmark"
Setting = tuple[str, ...]

SETTINGS: dict[str, list[Setting]] = {
    RAILCAR: [()],
    "flask": [
        ("--workers", "1", "--threads", "32"),
        ("--workers", "1", "--threads", "4"),
        ("--workers", "2", "--threads", "4"),
        ("--server", "flask"),
    ],
    "litserve": [
        ("--workers", "2", "--api-servers", "1"),
        ("--workers", "1", "--api-servers", "1"),
        ("--workers", "1", "--api-servers", "2"),
        ("--workers", "2", "--api-servers", "2"),
        ("--workers", "1", "--api-servers", "1", "--fast-queue"),
        ("--workers", "1", "--api-servers", "1", "--batch-timeout", "0.02"),
    ],
    "bentoml": [
        ("--workers", "1"),
        ("--workers", "2"),
        ("--workers", "1", "--max-latency-ms", "1000"),
        ("--workers", "2", "--one-by-one"),
    ],
    "kserve": [
        ("--workers", "1", "--in-threads"),
        ("--workers", "2"),
        ("--workers", "2", "--in-threads"),
        ("--workers", "1"),
    ],
}


@dataclass(frozen=True)
class Subject:
    """A run that is served: `images` uint8 [n, height, width, channels] and the label of each; `photos` are their
    files when they are sent as such. `folder` is what `serving_subject.py` wrote."""

    name: str
    run: Path
    folder: Path
    images: Any
    labels: list[str]
    photos: list[bytes]

    @property
    def what(self) -> str:
        height, width = self.images.shape[1:3]
        return f"{height}x{width} {'photos (JPEG)' if self.photos else 'pixels in JSON'}"

    def ask(self, server: str) -> list[Asked]:
        """The questions in the form that `server` documents."""
        if self.photos:
            pairs = zip(self.photos, self.labels, strict=True)
            return [_ask_photo(server, photo, label) for photo, label in pairs]
        pixels = self.images[..., 0] if self.images.shape[-1] == 1 else self.images
        pairs = zip(pixels.tolist(), self.labels, strict=True)
        return [_ask_pixels(server, one, label) for one, label in pairs]


def read_subject(run: Path, folder: Path) -> Subject:
    with np.load(folder / "questions.npz") as data:
        images, labels = data["images"], [str(label) for label in data["labels"]]
    paths = [folder / f"photo-{number}.jpg" for number in range(len(labels))]
    photos = [path.read_bytes() for path in paths if path.exists()]
    return Subject(run.name.partition("-2")[0], run, folder, images, labels, photos)


def _ask_pixels(server: str, pixels: list[Any], label: str) -> Asked:
    path, body = {
        RAILCAR: ("/predict", {"input": pixels}),
        "flask": ("/predict", {"image": pixels}),
        "litserve": ("/predict", {"image": pixels}),
        "bentoml": ("/pixels", {"images": [pixels]}),
        "kserve": ("/v1/models/keras:predict", {"instances": [pixels]}),
    }[server]
    return Asked(path, "application/json", json.dumps(body).encode(), label)


def _ask_photo(server: str, photo: bytes, label: str) -> Asked:
    if server in (RAILCAR, "flask"):
        return Asked("/predict", "image/jpeg", photo, label)
    if server == "bentoml":
        head = 'Content-Disposition: form-data; name="images"; filename="photo.jpg"\r\nContent-Type: image/jpeg'
        body = f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
        return Asked("/files", f"multipart/form-data; boundary={BOUNDARY}", body, label)
    text = base64.b64encode(photo).decode()
    if server == "litserve":
        return Asked("/predict", "application/json", json.dumps({"image": text}).encode(), label)
    body = json.dumps({"instances": [{"image": {"b64": text}}]}).encode()
    return Asked("/v1/models/keras:predict", "application/json", body, label)


def start(server: str, subject: Subject, setting: Setting, env_dir: Path, log: Path) -> tuple[Server, float]:
    """The server, and the seconds from the start of its process to the first right answer."""
    port = find_port()
    if server == RAILCAR:
        command = [sys.executable, "-m", "railcar", "serve", str(subject.run), "--port", str(port), *setting]
    else:
        python, program = find_python(server, env_dir), PEERS / f"{server}_serving.py"
        command = [str(python), str(program), str(subject.folder / "plain"), "--port", str(port), *setting]
    found = start_server(command, port, log, environment={"TF_CPP_MIN_LOG_LEVEL": "3"})
    first = subject.ask(server)[0]
    expected = first.build().expected
    assert expected is not None

    def answers(port: int) -> bool:
        status, _, body = ask(port, "POST", first.path, first.body, {"Content-Type": first.content_type})
        return status == 200 and expected.search(body) is not None

    try:
        return found, found.await_ready(answers)
    except BaseException:
        found.stop()
        raise


def try_settings(server: str, subject: Subject, env_dir: Path, log: Path, seconds: float) -> dict[Setting, Measured]:
    """Each setting at 32 clients; the fastest whose answers were all right comes first. Raises `NotReady` when none
    was."""
    found: dict[Setting, Measured] = {}
    for setting in SETTINGS[server]:
        try:
            with start(server, subject, setting, env_dir, log)[0] as running:
                asked = subject.ask(server)
                measure(running.port, asked, 32, 1, find_generator())
                one = measure(running.port, asked, 32, seconds, find_generator())
        except NotReady as error:
            print(f"{server} {' '.join(setting)}: {error}", file=sys.stderr, flush=True)
            continue
        print(f"{server} {' '.join(setting)}: {one.rate:,.0f} a second", file=sys.stderr, flush=True)
        if not one.n_wrong and not one.n_failed:
            found[setting] = one
    if not found:
        raise NotReady(f"{server}: no setting gave right answers")
    return dict(sorted(found.items(), key=lambda item: -item[1].rate))
