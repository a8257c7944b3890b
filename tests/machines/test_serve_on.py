"""`railcar serve --on`, as a user types it: real hosts, real sshd, questions through a real tunnel."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import railcar as in_python
from railcar.machines.lease import list_leases
from railcar.runs.run_dir import RunDir
from tests.machines.away import assert_nothing_is_left, railcar, write_ssh_config
from tests.machines.hosts import machine
from tests.servers import free_port
from tests.serving.server import Server, serve
from tests.synthetic import write_image_folder

QUICK = {"training.steps": 6, "training.batch_size": 16, "training.tensorboard": False}
PIXELS = np.random.default_rng(0).integers(0, 255, (14, 14, 1)).astype(np.uint8)
TOKEN = "hunter2-hunter2-hunter2"
HERE = ("--python", sys.executable)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    folder = tmp_path_factory.mktemp("serve-on")
    data = write_image_folder(folder / "photos", n_per_class=16, side=14)
    return RunDir(in_python.train(data, overrides=QUICK, runs_dir=folder / "runs", quiet=True).path)


@pytest.fixture(scope="module")
def photos(run: RunDir, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """An export, and what its run says of `PIXELS`."""
    output = tmp_path_factory.mktemp("exports")
    [made] = in_python.export(run.path, formats=["litert"], output=output, quiet=True)
    return made.path, in_python.load(run.path).predict_probabilities(PIXELS[None])[0]


@contextmanager
def serve_on(on: str, source: str, *words: str) -> Iterator[Server]:
    with serve([source], "--on", on, "--yes", *HERE, *words) as server:
        assert "Traceback" not in "".join(server.lines)
        yield server


def ask(server: Server, **headers: str) -> np.ndarray:
    status, found = server.post("/v1/models/photos:predict", {"instances": [PIXELS.tolist()]}, **headers)
    assert status == 200, found
    return np.array(found["predictions"][0]["probabilities"])


def ask_until_it_answers(server: Server) -> np.ndarray:
    until = time.monotonic() + 20
    while True:
        try:
            return ask(server)
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)


def end(server: Server, number: int = signal.SIGINT) -> None:
    server.process.send_signal(number)
    assert server.process.wait(30) == 0, server.lines


def command_lines() -> bytes:
    """Of all processes of this computer, where the fake's hosts are, too."""
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes() + b"\n"
        except OSError:
            continue
    return found


def test_a_model_is_served_there_answered_here_and_ctrl_c_gives_the_machine_back(network, place, photos, monkeypatch):
    folder, expected = photos
    monkeypatch.setenv("RAILCAR_TOKEN", TOKEN)
    with serve_on("fake", f"photos={folder}", "--allow-host", "models.example", "--access-log", "-") as server:
        [lease] = list_leases()
        assert f"serving photos (litert) on {lease.name} at http://127.0.0.1:{server.port}" in server.lines
        np.testing.assert_allclose(ask(server, Authorization=f"Bearer {TOKEN}"), expected, atol=1e-3)
        assert server.ask("GET", "/models")[0] == 401
        assert server.ask("GET", "/readyz", headers={"Host": "models.example"})[0] == 200
        assert server.ask("GET", "/readyz", headers={"Host": "other.example"})[0] == 403
        server.wait_for_line('"path": "/v1/models/photos:predict"')  # its log is handed on

        assert b"serve\0photos=" in (lines := command_lines()) and b"-L\0" in lines and TOKEN.encode() not in lines
        left = [path for path in place.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
        assert left == []
        assert lease.shell().run(f"grep -rqs {TOKEN} ~/.railcar", check=False).status == 1
        end(server)
    assert TOKEN not in "\n".join(server.lines)
    assert "is gone" in server.lines[-1]
    assert_nothing_is_left(network)


def test_on_a_host_of_ones_own_a_lost_tunnel_is_made_again_and_the_host_left_alone(network, place, photos):
    folder, expected = photos
    with machine(network) as (lease, shell):
        config = write_ssh_config(place, lease, shell)
        with serve_on("ssh:box", f"photos={folder}", "--ssh-config", str(config)) as server:
            before = tunnels(server.port)
            assert len(before) == 1
            os.kill(before[0], signal.SIGKILL)
            np.testing.assert_allclose(ask_until_it_answers(server), expected, atol=1e-3)
            assert len(now := tunnels(server.port)) == 1 and now != before
            end(server, signal.SIGTERM)
        assert tunnels(server.port) == []
        assert network.find(lease.name, lease.owner).state == "running"  # type: ignore[union-attr]
        assert '"state": "ended"' in shell.read(
            "cd ~/.railcar; python3 packages/*/railcar/machines/onboard/job.py state jobs/serve-*"
        )


def tunnels(port: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"\x00".join([b"-L", f"127.0.0.1:{port}:".encode()]) in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_detached_it_goes_on_until_it_is_stopped(network, photos):
    folder, expected = photos
    begun = railcar("serve", f"photos={folder}", "--on", "fake", "--yes", *HERE, "--detach")
    [lease] = list_leases()
    assert f"railcar machine stop {lease.name}" in begun.stdout
    there = begun.stdout.partition("--tunnel 8501:")[2].split()[0]
    server = Server(subprocess.Popen(["true"], text=True), port=free_port())
    server.process.wait()
    words = ["machine", "ssh", lease.name, "--tunnel", f"{server.port}:{there}"]
    tunnel = subprocess.Popen([sys.executable, "-m", "railcar", *words], stderr=subprocess.DEVNULL)
    try:
        np.testing.assert_allclose(ask_until_it_answers(server), expected, atol=1e-3)
    finally:
        tunnel.terminate()
        tunnel.wait(20)
    railcar("machine", "stop", lease.name)
    assert "serving photos" not in railcar("machine", "logs", lease.name).stderr  # it was shown before
    railcar("machine", "down", lease.name)
    assert_nothing_is_left(network)


def test_what_tensorflow_computes_travels_as_the_artifact(network, run, photos):
    words = (f"photos={run.path}", "--engine", "tensorflow")
    with machine(network) as (lease, _), serve_on(lease.name, *words) as server:
        assert f"serving photos (tensorflow) on {lease.name} at" in server.lines[-1]
        np.testing.assert_allclose(ask(server), photos[1], atol=1e-3)
        end(server)


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("no-such-run", "--on", "fake"), 1, "there are no runs"),
        (("{export}", "--on", "fake", "--port", "{taken}"), 1, "choose another with --port"),
        (("{export}", "--on", "fake", "--gpu", "T4:1"), 2, "a GPU would do nothing"),
        (("{export}", "--on", "fake", "--host", "0.0.0.0"), 2, "leave --host out"),
        (("{export}", "--on", "fake", "--access-log", "x.log"), 2, "--access-log -"),
        (("{export}", "--on", "fak"), 1, "there is no machine fak"),
        (("{export}", "--keep"), 2, "--keep is for serving on a machine"),
    ],
)
def test_what_stands_in_the_way_is_told_before_anything_is_rented(network, place, photos, words, status, told):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = {"export": f"photos={photos[0]}", "taken": taken.getsockname()[1]}
        refused = railcar("serve", *(word.format(**given) for word in words), "--yes", *HERE, check=False)
    assert (refused.returncode, told in refused.stderr) == (status, True), refused.stderr
    assert not (network.folder / "calls").exists()


def test_a_python_without_a_server_is_told_by_what_it_lacks_and_the_machine_given_back(network, photos):
    refused = railcar(
        "serve", f"photos={photos[0]}", "--on", "fake", "--yes", "--python", "/usr/bin/python3", check=False
    )
    assert refused.returncode == 1 and "has no " in refused.stderr and "pip install" in refused.stderr
    assert "uvicorn" in refused.stderr and "tensorflow" not in refused.stderr
    assert_nothing_is_left(network)
