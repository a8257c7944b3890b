"""A training from a bucket over a slow link: when its first step is done, and what it needs of the network later.

    python benchmarks/bucket_training.py FOLDER [--latency-ms 40] [--link-mb-per-s 20] [--epochs 2] [--json]

FOLDER holds class folders of images. They are packed into a real server of Google's storage on this computer, behind a
proxy that holds back each answer by the latency and lets so many bytes through a second. Then, each with a cache of
its own:

    train       `railcar train gs://...`: seconds from its start to the end of the first step, and which share of the
                pack had come by then; when all of it had come the server is gone for good, and the training ends all
                the same
    fetch first the same from a folder: the whole pack fetched, and then `railcar train` of the copy

Needs the extras `buckets` and `dev`. Not part of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.proxy import Proxy, run_proxy
from tests.servers import make_google_bucket, run_google_storage

from railcar.data.sources.shards import pack_folder
from railcar.storage.fetch import fetch_tree

BUCKET = "bench"
ADDRESS = f"gs://{BUCKET}/pack"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency-ms", type=float, default=40)
    parser.add_argument("--link-mb-per-s", type=float, default=20)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, run_google_storage() as server, run_proxy(server) as proxy:
        os.environ.update(RAILCAR_CACHE=f"{scratch}/first", STORAGE_EMULATOR_HOST=server)
        make_google_bucket(server, BUCKET)
        manifest = pack_folder(given.folder, ADDRESS)
        n_bytes = sum(shard.n_bytes for shards in manifest.sides.values() for shard in shards)
        os.environ["STORAGE_EMULATOR_HOST"] = proxy.url
        proxy.faults.latency_s, proxy.faults.bytes_per_s = given.latency_ms / 1000, given.link_mb_per_s * 1e6
        first = fetch_then_train(Path(scratch) / "fetched")
        streamed = train_while_it_comes(Path(scratch) / "streamed", proxy, given.epochs, n_bytes)
    about = {"latency_ms": given.latency_ms, "link_mb_per_s": given.link_mb_per_s, "pack_mb": round(n_bytes / 1e6, 1)}
    found = {**about, "fetch_first": first, "train": streamed}
    if given.json:
        print(json.dumps(found))
        return
    print(f"a pack of {n_bytes / 1e6:.0f} MB, {given.latency_ms:g} ms of latency, {given.link_mb_per_s:g} MB/s")
    print(f"first step, while it comes    {streamed['first_step_s']:6.1f} s; {streamed['share_come']:.0%} had come")
    print(f"first step, fetched before    {first['first_step_s']:6.1f} s, of which fetching {first['fetch_s']:.1f} s")
    print(f"all in the cache after        {streamed['all_come_s']:6.1f} s; then the server was stopped")
    print(f"{given.epochs} epochs, exit status {streamed['status']}   {streamed['process_s']:6.1f} s")


def start(source: str, scratch: Path, epochs: int) -> subprocess.Popen[bytes]:
    sets = ["training.log_every=1", f"training.epochs={epochs}", "training.tensorboard=false"]
    words = [word for one in sets for word in ("--set", one)]
    environment = {**os.environ, "RAILCAR_CACHE": f"{scratch}/cache", "RAILCAR_RUNS": f"{scratch}/runs"}
    command = [sys.executable, "-m", "railcar", "train", source, *words, "--quiet"]
    return subprocess.Popen(command, env={**environment, "RAILCAR_RETRY_S": "5"}, stdout=subprocess.DEVNULL)


def wait_for_step(process: subprocess.Popen[bytes], scratch: Path) -> None:
    while not any(scratch.glob("runs/*/metrics.jsonl")):
        if process.poll() is not None:
            raise SystemExit(f"railcar train ended with status {process.returncode} before its first step")
        time.sleep(0.01)


def count_bytes(scratch: Path) -> int:
    files = [path for path in scratch.glob("cache/remote/*/**/*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files)


def fetch_then_train(scratch: Path) -> dict[str, Any]:
    began = time.perf_counter()
    os.environ["RAILCAR_CACHE"] = f"{scratch}/cache"
    copy = fetch_tree(ADDRESS)
    fetched = time.perf_counter()
    process = start(str(copy), scratch, 1)
    wait_for_step(process, scratch)
    first_step = time.perf_counter()
    process.kill()
    process.wait()
    return {"fetch_s": fetched - began, "first_step_s": first_step - began}


def train_while_it_comes(scratch: Path, proxy: Proxy, epochs: int, n_bytes: int) -> dict[str, Any]:
    began = time.perf_counter()
    process = start(ADDRESS, scratch, epochs)
    wait_for_step(process, scratch)
    first_step, share = time.perf_counter() - began, count_bytes(scratch) / n_bytes
    while process.poll() is None and not any(scratch.glob("cache/remote/*/complete.json")):
        time.sleep(0.05)
    all_come = time.perf_counter() - began
    is_running = process.poll() is None
    proxy.faults.n_allowed = 0
    status = process.wait()
    found = {"first_step_s": first_step, "share_come": share, "all_come_s": all_come, "status": status}
    return {**found, "was_still_training": is_running, "process_s": time.perf_counter() - began}


if __name__ == "__main__":
    main()
