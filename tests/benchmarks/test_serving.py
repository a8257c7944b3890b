"""What measures servers, in its shortest form: the clients against a server of a few lines, and a run without peers."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))  # benchmarks/ is no package that is installed

from benchmarks.harness.load import LoadGenerator, Question, build_question, name_problem
from benchmarks.reliability import mutations, serving_abuse, serving_bombs

from tests.synthetic import write_image_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll")


class Echo(BaseHTTPRequestHandler):
    """Answers with the label that the question names, or as its path says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/silent":
            self.close_connection = True
            return
        status = 503 if self.path == "/busy" else 200
        answer = json.dumps({"predictions": [{"label": body.decode()}]}).encode()
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def echo() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask_for(label: str, path: str = "/predict", *, answered: str | None = None) -> Question:
    return build_question(path, label.encode(), "text/plain", answered or label)


def test_every_answer_is_held_against_its_own_question() -> None:
    asked = [
        ask_for("cat"),
        ask_for("dog"),
        ask_for("cat", answered="dog"),
        ask_for("a", "/busy"),
        ask_for("b", "/silent"),
    ]
    with echo() as port:
        load = LoadGenerator(port, iter(asked * 4)).run(20, clients=3)

    assert len(load.answers) == 20
    assert len(load.right()) == 8
    assert load.problems() == {"wrong answer": 4, "status 503": 4, "closed": 4}
    assert all(one.retry_after == (one.status == 503) for one in load.answers)


def test_so_many_questions_a_second_are_sent_whatever_comes_back() -> None:
    with echo() as port:
        load = LoadGenerator(port, [ask_for("cat")]).run(0.5, rate=100)

    assert 45 <= len(load.answers) + load.n_unsent <= 55
    assert not load.wrong()


def test_a_server_that_is_not_there_refuses() -> None:
    with echo() as port:
        pass
    load = LoadGenerator(port, [ask_for("cat")]).run(0.1, clients=2)

    assert load.answers
    assert {name_problem(one) for one in load.answers} == {"refused"}


def test_a_changed_png_has_right_sums() -> None:
    (_, content), *others = serving_abuse.list_files()
    for seed in range(50):
        changed = mutations.change_png(random.Random(seed), content, others[0][1])
        at = 8
        while at < len(changed):
            size = int.from_bytes(changed[at : at + 4], "big")
            body, check = changed[at + 4 : at + 8 + size], changed[at + 8 + size : at + 12 + size]
            assert zlib.crc32(body).to_bytes(4, "big") == check
            at += 12 + size


def test_a_bomb_is_as_large_as_it_says() -> None:
    assert zlib.decompress(serving_bombs.squeeze_zeros(3_500_001)) == bytes(3_500_001)


def test_a_server_is_measured_beside_its_own_engines(project: Path, tmp_path: Path) -> None:
    import railcar

    photos = write_image_folder(tmp_path / "photos", side=16)
    made = railcar.train(
        photos,
        overrides={"training.steps": 30, "training.tensorboard": False},
        runs_dir=tmp_path / "runs",
        quiet=True,
    )
    command = [sys.executable, str(project / "benchmarks" / "serving.py"), str(made.path), "--peers"]
    command += ["--clients", "1", "4", "--seconds", "0.3", "--rounds", "1", "--generator", "python"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "found.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env=environment,
    )

    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "found.json").read_text())["subjects"]
    (once,) = found["rounds"]["railcar"]
    assert all(one["n_right"] > 0 == one["n_wrong"] == one["n_failed"] for one in once["clients"].values())
    assert once["ready_s"] > 0 < once["memory"]["pss_mb"] <= once["memory"]["rss_mb"]
    assert set(found["in_process"]) == {"litert", "onnx"}
    assert {bar["what"].partition(",")[0] for bar in found["bars"]} >= {"share of the rate in the process"}
    assert all(len(line) <= 80 for line in done.stdout.splitlines()), done.stdout
