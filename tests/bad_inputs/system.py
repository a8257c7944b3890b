"""Disks, memory, networks and a training that goes wrong: rows 67 to 72. The data is as it should be.

Owns setting the obstacle up, by the system's own means, and taking it away again.
"""

from __future__ import annotations

import http.client
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.bad_inputs.images import DATA, write_photos
from tests.bad_inputs.row import Row, Trial, Unavailable
from tests.proxy import Proxy, run_proxy
from tests.servers import HOST, make_google_bucket, run_google_storage

BUCKET = "pictures"
MEGABYTE = 1 << 20
# A network so small that it trains in seconds.
SHORT = tuple(
    word
    for one in (
        "model.filters=[8]",
        "training.batch_size=16",
        "training.checkpoint_every=10",
        "training.validate_every=50",
        "training.tensorboard=false",
        "training.compile=graph",
        "training.kernels=own",
    )
    for word in ("--set", one)
)


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[None]:
    """A disk of its own at `folder`. Raises `Unavailable` where none can be mounted (not root)."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "railcar", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        raise Unavailable("needs the right to mount a small disk (root)")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True, capture_output=True)


@contextmanager
def full_disk(folder: Path) -> Iterator[Trial]:
    """Row 67: there is space for the run and some checkpoints, and not for all of them."""
    write_photos(folder / DATA)
    disk = folder / "disk"
    with small_disk(disk, 384 * 1024):
        runs = disk / "runs"
        words = (
            "--runs-dir",
            str(runs),
            *SHORT,
            "--set",
            "training.steps=400",
            "--set",
            "training.keep_checkpoints=1000",
        )
        yield Trial(
            str(folder / DATA),
            words,
            runs=runs,
            mend=lambda: remount(disk, f"size={64 * MEGABYTE}"),
            again=("train", "--resume", "--runs-dir", str(runs)),
        )


@contextmanager
def read_only_folder(folder: Path) -> Iterator[Trial]:
    """Row 68: by its mode, and for root, who ignores modes, by a disk that is mounted read-only."""
    write_photos(folder / DATA)
    runs = folder / "disk"
    if os.geteuid() != 0:
        runs.mkdir(mode=0o500)
        yield Trial(str(folder / DATA), ("--runs-dir", str(runs), *SHORT), runs=runs)
        return
    with small_disk(runs, MEGABYTE):
        remount(runs, "ro")
        yield Trial(str(folder / DATA), ("--runs-dir", str(runs), *SHORT), runs=runs)


@contextmanager
def little_memory(folder: Path) -> Iterator[Trial]:
    """Row 69: TensorFlow may use 8 MB, as a cgroup or the machine would have it."""
    write_photos(folder / DATA)
    words = ("--dry-run", "--set", "training.batch_size=80")
    yield Trial(str(folder / DATA), words, {"TF_CPU_BFC_MEM_LIMIT_IN_MB": "8"})


@contextmanager
def storage(folder: Path) -> Iterator[tuple[Proxy, dict[str, str]]]:
    """A bucket of Google's with photos in it, behind a network that can be made bad; variables that lead there."""
    write_photos(folder / DATA, n=20)
    with run_google_storage() as endpoint, run_proxy(endpoint) as proxy:
        make_google_bucket(endpoint, BUCKET)
        for path in sorted((folder / DATA).rglob("*.png")):
            upload(endpoint, path.relative_to(folder).as_posix(), path.read_bytes())
        variables = {
            "STORAGE_EMULATOR_HOST": proxy.url,
            "RAILCAR_RETRY_S": "0.5",
            "RAILCAR_CACHE": str(folder / "cache"),
        }
        yield proxy, variables


def upload(endpoint: str, key: str, content: bytes) -> None:
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=60)
    target = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(key, safe='')}"
    connection.request("POST", target, content, {"Content-Type": "image/png"})
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise RuntimeError(f"the upload of {key} was answered {status}")


@contextmanager
def lost_network(folder: Path) -> Iterator[Trial]:
    """Row 70: the network is gone in the midst of fetching."""
    with storage(folder) as (proxy, variables):
        proxy.faults.n_allowed = 20
        address = f"gs://{BUCKET}/{DATA}"

        def mend() -> None:
            proxy.faults.n_allowed = None

        yield Trial(address, environment=variables, mend=mend, again=("train", address, "--dry-run"))


@contextmanager
def no_object(folder: Path) -> Iterator[Trial]:
    """Row 71: the bucket is there, the object is not."""
    with storage(folder) as (_, variables):
        yield Trial(f"gs://{BUCKET}/photo", environment=variables)


@contextmanager
def no_bucket(folder: Path) -> Iterator[Trial]:
    """Row 71: there is no such bucket."""
    with storage(folder) as (_, variables):
        yield Trial(f"gs://{BUCKET}s/{DATA}", environment=variables)


@contextmanager
def denied(folder: Path) -> Iterator[Trial]:
    """Row 71: whoever asks is known, and may not. S3, of which nothing but the refusal is needed."""
    with run_proxy(f"http://{HOST}:9") as proxy:
        proxy.faults.n_busy, proxy.faults.busy_status = 1_000_000, 403
        variables = {
            "AWS_ENDPOINT_URL": proxy.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "RAILCAR_CACHE": str(folder / "cache"),
        }
        yield Trial(f"s3://{BUCKET}/{DATA}", environment=variables)


@contextmanager
def broken_loss(folder: Path) -> Iterator[Trial]:
    """Row 72: a learning rate that grows until the loss is no number."""
    write_photos(folder / DATA)
    runs = folder / "runs"
    rate = (
        "training.optimizer.name=sgd",
        "training.optimizer.learning_rate=1e30",
        "training.optimizer.warmup_steps=99",
        "training.steps=100",
        "training.checkpoint_every=1",
    )
    words = ("--runs-dir", str(runs), *SHORT, *(word for one in rate for word in ("--set", one)))
    yield Trial(str(folder / DATA), words, runs=runs)


ROWS = (
    Row(
        67,
        "a disk that fills up",
        "stop",
        DATA,
        setting=full_disk,
        error="{runs}/{any}/checkpoints/step-{any}: the checkpoint could not be written: no space left on device",
        hint="free 1 MB on the disk that holds {runs}/{any}/checkpoints; older checkpoints are intact; then go on "
        "with: railcar train --resume={any}",
        findings=(),
        named="checkpoints/step-",
        n=100,
    ),
    Row(
        68,
        "a read-only folder for runs",
        "R",
        DATA,
        setting=read_only_folder,
        error="{runs} is not writable: {any}",
        hint="choose a folder that you may write to, with space left",
        findings=(),
        named="{runs}",
        n=100,
    ),
    Row(
        69,
        "8 MB of memory",
        "R",
        DATA,
        setting=little_memory,
        error="training.batch_size: out of memory: a step on 80 images needs {any} MB at the least, and there are "
        "8.39 MB",
        hint="set training.batch_size to {any}",
        findings=(),
        named="training.batch_size",
        n=100,
    ),
    Row(
        70,
        "a network lost while fetching",
        "stop",
        f"gs://{BUCKET}/{DATA}",
        setting=lost_network,
        error="gs://pictures/{any}: {any} ({any} attempts in {any} s)",
        hint="check the network, then run the same command again: it goes on where it was; "
        "RAILCAR_RETRY_S=600 waits longer",
        named="gs://pictures/photos",
    ),
    Row(
        71,
        "no such object",
        "R",
        f"gs://{BUCKET}/photo",
        setting=no_object,
        error="{data}: no such object, and nothing below it",
        hint="did you mean gs://pictures/photos?",
        named="gs://pictures/photo",
    ),
    Row(
        71,
        "no such bucket",
        "R",
        f"gs://{BUCKET}s/{DATA}",
        setting=no_bucket,
        error="{data}: there is no bucket 'picturess'",
        hint="check its spelling and the account; Google Cloud Storage was asked as: {any}",
        named="'picturess'",
    ),
    Row(
        71,
        "access denied",
        "R",
        f"s3://{BUCKET}/{DATA}",
        setting=denied,
        error="{data} may not be read by the key in AWS_ACCESS_KEY_ID",
        hint="ask the bucket's owner for s3:GetObject and s3:ListBucket, or use other credentials",
        named="s3://pictures/photos",
    ),
    Row(
        72,
        "a loss that is no number",
        "stop",
        DATA,
        setting=broken_loss,
        error="step {any}: the loss is {any}; training cannot go on, and the checkpoint of step {any} is intact",
        hint="{any}; go on from there with: railcar train --from {any} --set KEY=VALUE",
        findings=(),
        named="the checkpoint of step",
        n=100,
    ),
)
