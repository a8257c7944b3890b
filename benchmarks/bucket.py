"""Reading a bucket over a slow link: how long it takes, and which share of the link is used.

    python benchmarks/bucket.py [--latency-ms 40] [--link-mb-per-s 100] [--files 500] [--file-kb 50]
                                [--large-mb 256] [--json]

A real server of Google's storage runs on this computer, behind a proxy that holds back each answer by the latency and
lets so many bytes through a second, over all connections together. Three ways to read the same small files, and two
for one large object:

    one at a time   each object after the other, as a loop over `open` does
    fetch_tree      what `railcar train gs://...` does: many at a time, into the cache, verified
    shards          the same examples from a pack, streamed

Share of the link: bytes that were asked for, by what the link could have carried in that time. Needs the extras
`buckets` and `dev`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.proxy import Proxy, run_proxy
from tests.servers import make_google_bucket, run_google_storage

from railcar.storage import remote
from railcar.storage.fetch import fetch_tree
from railcar.storage.shards import open_shards, pack

BUCKET = "bench"


@dataclass(frozen=True)
class Row:
    what: str
    way: str
    n_bytes: int
    seconds: float
    share_of_link: float


def main() -> None:
    given = read_words()
    link = given.link_mb_per_s * 1e6
    with tempfile.TemporaryDirectory() as cache, run_google_storage() as server, run_proxy(server) as proxy:
        os.environ.update(RAILCAR_CACHE=cache, STORAGE_EMULATOR_HOST=server)
        n_small, n_large = given.files * given.file_kb * 1000, int(given.large_mb * 1e6)
        fill(server, given.files, given.file_kb * 1000, n_large)
        os.environ["STORAGE_EMULATOR_HOST"] = proxy.url
        proxy.faults.latency_s, proxy.faults.bytes_per_s = given.latency_ms / 1000, link
        small, large = f"{given.files} files of {given.file_kb} kB", f"one object of {given.large_mb:g} MB"
        ways: list[tuple[str, str, int, Callable[[], int]]] = [
            (small, "one at a time", n_small, read_one_at_a_time),
            (small, "fetch_tree", n_small, lambda: fetch(f"gs://{BUCKET}/files")),
            (small, "shards", n_small, read_shards),
            (large, "one request", n_large, lambda: len(remote.read(f"gs://{BUCKET}/large"))),
            (large, "fetch_tree", n_large, lambda: fetch(f"gs://{BUCKET}/large")),
        ]
        rows = [measure(what, way, n_bytes, link, call) for what, way, n_bytes, call in ways]
        again = measure(small, "fetch_tree, again", 0, link, lambda: fetch(f"gs://{BUCKET}/files") * 0)
    show([*rows, again], given, proxy)


def read_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--latency-ms", type=float, default=40)
    parser.add_argument("--link-mb-per-s", type=float, default=100)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--file-kb", type=int, default=50)
    parser.add_argument("--large-mb", type=float, default=256)
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    return parser.parse_args()


def fill(server: str, n_files: int, n_bytes: int, n_large: int) -> None:
    """Straight into the server, past the proxy."""
    make_google_bucket(server, BUCKET)
    generator = np.random.default_rng(0)
    contents = [generator.bytes(n_bytes) for _ in range(n_files)]
    for number, content in enumerate(contents):
        remote.write(f"gs://{BUCKET}/files/{number:05d}.jpg", content)
    examples = ((f"{number:05d}.jpg", number % 2, content) for number, content in enumerate(contents))
    pack(examples, ("a", "b"), f"gs://{BUCKET}/pack", {"train": n_files})
    remote.write(f"gs://{BUCKET}/large", generator.bytes(n_large))


def read_one_at_a_time() -> int:
    entries = list(remote.list_objects(f"gs://{BUCKET}/files"))
    return sum(len(remote.read(f"gs://{BUCKET}/{entry.key}")) for entry in entries)


def read_shards() -> int:
    return sum(len(example.content) for example in open_shards(f"gs://{BUCKET}/pack").iterate("train"))


def fetch(address: str) -> int:
    path = fetch_tree(address)
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(file.stat().st_size for file in files)


def measure(what: str, way: str, n_bytes: int, link: float, call: Callable[[], int]) -> Row:
    began = time.perf_counter()
    found = call()
    seconds = time.perf_counter() - began
    assert found == n_bytes, (what, way, found, n_bytes)
    return Row(what, way, n_bytes, seconds, n_bytes / seconds / link)


def show(rows: list[Row], given: argparse.Namespace, proxy: Proxy) -> None:
    about = {"latency_ms": given.latency_ms, "link_mb_per_s": given.link_mb_per_s, "n_requests": len(proxy.requests)}
    if not given.json:
        print(f"{given.latency_ms:g} ms of latency, a link of {given.link_mb_per_s:g} MB/s\n")
        print(f"{'what':<26} {'how':<18} {'s':>7} {'MB/s':>7} {'of the link':>12}")
        for row in rows:
            rate = row.n_bytes / row.seconds / 1e6
            print(f"{row.what:<26} {row.way:<18} {row.seconds:7.2f} {rate:7.1f} {row.share_of_link:12.0%}")
        print()
    print(json.dumps({**about, "rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
