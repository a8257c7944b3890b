from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from railcar.errors import DataError, NotFound
from railcar.storage.download import download

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/whole answers with all of it, /cut closes early, the rest is not there."""

    def do_GET(self) -> None:
        if self.path not in ("/whole", "/cut"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole" else CONTENT[:1000])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_file_is_fetched_checked_and_not_fetched_again(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "file"
    assert download(f"{server}/whole", path, sha256=SHA256, hint="") == path
    assert path.read_bytes() == CONTENT
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "downloaded file: 0.3 MB\n"
    download("http://127.0.0.1:9/", path, sha256=SHA256, hint="")


def test_the_second_address_is_tried_when_the_first_fails(server: str, tmp_path: Path) -> None:
    for first in ("/missing", "/cut"):
        path = tmp_path / first[1:]
        download([server + first, f"{server}/whole"], path, sha256=SHA256, hint="", show_progress=False)
        assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("address", "message"),
    [("/missing", "answered 404"), ("/cut", "the connection broke after 1,000 of 256,000 bytes")],
)
def test_a_failed_download_says_why_and_how_to_do_it_by_hand(
    server: str, tmp_path: Path, address: str, message: str
) -> None:
    with pytest.raises(NotFound, match=message) as caught:
        download(server + address, tmp_path / "file", sha256=SHA256, hint="by hand", show_progress=False)
    assert caught.value.hint == "by hand"
    assert list(tmp_path.iterdir()) == []


def test_another_file_than_expected_is_refused_and_not_kept(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(DataError, match="is not the file that was expected"):
        download(f"{server}/whole", tmp_path / "file", sha256="0" * 64, hint="", show_progress=False)
    assert (tmp_path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
