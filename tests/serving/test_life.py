"""A server from its start to its end: versions that come and go, load, slow senders, and who may ask."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from railcar.serving.http import bind, build_server
from railcar.workflows.serve import _choose_loop
from tests.serving.exports import Made, make
from tests.serving.server import Server, serve

ROW = {"instances": [{"size": 120, "town": "Bonn"}]}
BODY = json.dumps(ROW).encode()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make("rows", tmp_path_factory.mktemp("life") / "rows")


@pytest.fixture
def versions(rows: Made, tmp_path: Path) -> Path:
    """A folder with version 1."""
    shutil.copytree(rows.folders["litert"] / "1", tmp_path / "homes" / "1")
    return tmp_path / "homes"


@pytest.fixture(scope="module")
def server(rows: Made) -> Iterator[Server]:
    with serve([f"homes={rows.folders['litert']}"], "--max-body", "1") as found:
        yield found


class Load:
    """Clients that ask one question after the other until `stop`; whatever is no right answer is kept."""

    def __init__(self, server: Server, n_clients: int = 8) -> None:
        self._server, self._is_over = server, threading.Event()
        self.n_right, self.faults, self.refused = 0, [], 0
        self._pool = ThreadPoolExecutor(n_clients)
        self._clients = [self._pool.submit(self._ask) for _ in range(n_clients)]

    def _ask(self) -> None:
        while not self._is_over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)
            try:
                connection.connect()
            except OSError:
                self.refused += 1  # nobody listens any more: this question was never taken
                return
            try:
                self._ask_on(connection)
            except Exception as error:
                self.faults.append(repr(error))
                return
            finally:
                connection.close()

    def _ask_on(self, connection: http.client.HTTPConnection) -> None:
        while not self._is_over.is_set():
            connection.request("POST", "/v1/models/homes:predict", BODY)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            if answer.status != 200 or found["predictions"][0]["label"] not in ("cheap", "dear"):
                self.faults.append(f"{answer.status}: {found}")
            self.n_right += 1
            if (answer.getheader("connection") or "") == "close":
                return

    def stop(self) -> None:
        self._is_over.set()
        for one in self._clients:
            one.result(60)
        self._pool.shutdown()


def wait_until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def version_of(server: Server) -> int:
    return server.get("/models/homes")[1]["version"]


def publish(made: Path, folder: Path, number: int) -> None:
    shutil.copytree(made, folder / f".copying-{number}")
    (folder / f".copying-{number}").rename(folder / str(number))


def test_new_versions_take_over_under_load_and_wrong_ones_do_not(versions: Path, rows: Made):
    right, other = rows.folders["litert"] / "1", rows.folders["onnx"] / "1"
    with serve([versions]) as server:
        load = Load(server)
        publish(other, versions, 2)
        wait_until(lambda: version_of(server) == 2)
        assert server.get("/models/homes")[1]["engine"] == "onnx"

        # Half of a copy, as `cp -r` leaves it for a while; then the rest of it.
        (versions / "3").mkdir()
        shutil.copyfile(right / "model.json", versions / "3" / "model.json")
        (versions / "3" / "model.tflite").write_bytes((right / "model.tflite").read_bytes()[:1000])
        server.wait_for_line("homes: version 3 is not taken, version 2 goes on")
        states = server.get("/v1/models/homes")[1]["model_version_status"]
        assert [(one["version"], one["state"]) for one in states] == [("2", "AVAILABLE"), ("3", "END")]
        shutil.copytree(right, versions / "3", dirs_exist_ok=True)
        wait_until(lambda: version_of(server) == 3)

        # Another network's weights: its answers are not those of its samples.
        shutil.copytree(right, versions / ".4")
        about = json.loads((versions / ".4" / "model.json").read_text())
        about["encoding"]["columns"][0]["mean"] += 50
        (versions / ".4" / "model.json").write_text(json.dumps(about))
        (versions / ".4").rename(versions / "4")
        assert "its answers to its own samples differ" in server.wait_for_line("version 4 is not taken")
        assert version_of(server) == 3

        # The newest is taken away: the one before answers again.
        shutil.rmtree(versions / "3")
        wait_until(lambda: version_of(server) == 2)
        load.stop()
        assert (load.faults, load.refused) == ([], 0) and load.n_right > 100
        text = server.ask("GET", "/metrics")[2].decode()
        assert 'railcar_reloads_total{model="homes",result="refused"} 2' in text


def test_sigterm_loses_no_question_that_was_taken(rows: Made):
    with serve([f"homes={rows.folders['litert']}"]) as server:
        load = Load(server)
        wait_until(lambda: load.n_right > 50)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        try:
            assert server.ask("GET", "/readyz")[0] == 503
        except ConnectionError:
            pytest.fail("it no longer answers, though a load balancer has not looked yet")
        assert server.process.wait(10) == 0
        load.stop()
        assert load.faults == [] and load.refused == 8


def test_a_server_that_was_asked_by_nobody_ends_at_once(rows: Made):
    with serve([rows.folders["litert"]]) as server:
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0 and time.monotonic() - began < 2
        assert not [line for line in server.lines if "Traceback" in line]


def test_what_is_too_large_is_refused_before_it_is_read(server: Server):
    status, found = server.post("/v1/models/homes:predict", {"instances": [{"town": "x" * (2 << 20)}]})
    assert status == 413 and "limit of 1,048,576" in found["error"]
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        assert b" 413 " in connection.recv(100)
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        with pytest.raises(OSError):  # refused while it is still coming
            for _ in range(200):
                connection.sendall(chunk)
                time.sleep(0.005)
    assert version_of(server) == 1


def test_headers_without_an_end_are_not_kept(server: Server):
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises(OSError):
            for number in range(200):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"y" * 1000))
                time.sleep(0.002)
            received = connection.recv(100)
            assert b" 400 " in received
            raise ConnectionError("told, and closed")


@pytest.mark.parametrize(
    "start",
    [b"", b"GET /readyz HT", b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"],
)
def test_a_connection_that_does_not_go_on_is_closed(server: Server, start: bytes):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 40) as connection:
        connection.sendall(start)
        while connection.recv(1000):
            pass
    assert 5 < time.monotonic() - began < 30


def test_a_full_queue_and_a_passed_deadline_have_their_status(rows: Made):
    words = ("--queue", "1", "--max-batch", "1", "--timeout", "1s")
    with serve([f"homes={rows.folders['onnx']}"], *words) as server:
        many = json.dumps({"instances": ROW["instances"] * 1000}).encode()

        def ask(number: int) -> tuple[int, dict[str, str]]:
            status, headers, _ = server.ask("POST", "/v1/models/homes:predict", many)
            return status, headers

        with ThreadPoolExecutor(24) as pool:
            found = list(pool.map(ask, range(48)))
        refused = [headers for status, headers in found if status == 429]
        assert {status for status, _ in found} <= {200, 429, 504} and refused
        assert all(int(headers["retry-after"]) >= 1 for headers in refused)
        assert server.post("/v1/models/homes:predict", ROW)[0] == 200


HOSTS = [
    ("localhost", 200), ("localhost:8501", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("LOCALHOST.", 200),
    ("evil.example", 403), ("localhost.evil.example", 403), ("evil.example:8501", 403), ("127.0.0.1.evil.example", 403),
    ("localhost@evil.example", 403), ("192.168.0.1", 403), ("", 403), ("local host", 403), ("localhost:port", 403),
]  # fmt: skip


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_only_its_own_names_are_hosts(server: Server, host: str, status: int):
    assert server.ask("GET", "/models", headers={"Host": host})[0] == status


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost.evil.example", "file://", "x"])
def test_pages_of_other_sites_may_not_ask(server: Server, origin: str):
    headers = {"Origin": origin, "Host": f"localhost:{server.port}"}
    assert server.ask("POST", "/v1/models/homes:predict", BODY, headers)[0] == 403
    assert server.ask("GET", "/models", headers=headers)[0] == 403
    own = {**headers, "Origin": f"http://localhost:{server.port}"}
    assert server.ask("POST", "/v1/models/homes:predict", BODY, own)[0] == 200
    site = {"Host": headers["Host"], "Sec-Fetch-Site": "cross-site"}
    assert server.ask("POST", "/v1/models/homes:predict", BODY, site)[0] == 403


def test_without_the_token_only_the_page_and_the_health_are_there(rows: Made, tmp_path: Path):
    log = tmp_path / "access.jsonl"
    words = ("--token", "opensesame", "--allow-host", "models.example", "--access-log", str(log))
    with serve([f"homes={rows.folders['litert']}"], *words) as server:
        for path in ("/", "/page.js", "/page.css", "/healthz", "/readyz", "/v2/health/ready"):
            assert server.ask("GET", path)[0] == 200
        wrong = [None, "Bearer", "Bearer ", "Bearer opensesam", "Bearer opensesamE", "Basic opensesame", "opensesame"]
        asked = ["/models", "/metrics", "/openapi.json", "/v1/models/homes", "/v2", "/v2/models/homes"]
        for given in wrong:
            headers = {} if given is None else {"Authorization": given}
            for path in asked:
                assert server.ask("GET", path, headers=headers)[0] == 401
            assert server.ask("POST", "/v1/models/homes:predict", BODY, headers)[0] == 401
        right = {"Authorization": "Bearer opensesame", "Host": "models.example"}
        assert server.ask("POST", "/v1/models/homes:predict", BODY, right)[0] == 200
        assert server.ask("GET", "/models", headers={**right, "Host": "evil.example"})[0] == 403
    rows_of_log = [json.loads(line) for line in log.read_text().splitlines()]
    last = rows_of_log[-2]
    assert (last["path"], last["status"], last["model"], last["version"]) == (
        "/v1/models/homes:predict",
        200,
        "homes",
        1,
    )
    assert "opensesame" not in log.read_text()


def test_who_comes_anew_is_let_in_soon_while_others_keep_the_server_busy():
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        time.sleep(0.01)  # as a network that is computed in the event loop
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = build_server(slow, lambda: None)
    thread = threading.Thread(target=lambda: _choose_loop()(server.serve(sockets=[listener])))
    thread.start()

    is_over = False

    async def ask(is_last: Callable[[], bool]) -> float:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            if is_last():
                break
        writer.close()
        await writer.wait_closed()
        return time.monotonic() - began

    async def go() -> list[float]:
        nonlocal is_over
        while not server.started:
            await asyncio.sleep(0.01)
        busy = [asyncio.create_task(ask(lambda: is_over)) for _ in range(8)]
        await asyncio.sleep(0.5)
        found = await asyncio.gather(*(ask(lambda: True) for _ in range(48)))
        is_over = True
        await asyncio.gather(*busy)
        return found

    try:
        # Each turn of the loop is 80 ms long, and longer with those who come: one of them a turn would take 4 s.
        assert max(asyncio.run(go())) < 2.5
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
