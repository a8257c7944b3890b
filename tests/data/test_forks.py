"""Reading by forked processes: the same as by threads, and no process is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks here")

# TensorFlow may be loaded in the process of the tests, which therefore does not fork.
READ = """
import json, resource, sys, threading
from pathlib import Path
from railcar.data.prepare import prepare_source
from railcar.data.types import ReadOptions

def read():
    prepared = prepare_source(sys.argv[1], ReadOptions(keep=sys.argv[2], max_bad=0.01))
    told["fingerprint"], told["notes"] = prepared.fingerprint, prepared.notes
    told["sums"] = [int(side.sums.sum()) for side in prepared.sides.values()]
    told["pixels"] = [int(side.inputs[:].sum()) for side in prepared.sides.values()]
    told["ids"] = [list(side.ids) for side in prepared.sides.values()]

told = {}
if sys.argv[3] == "threads":  # only the main thread forks
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
else:
    read()
told["children_s"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
print(json.dumps(told))
"""

KILLED = r"""
import os, sys, time
from railcar.data.forks import Forks

def work(item):
    os.write(1, f"{os.getpid()}\n".encode())
    time.sleep(60)

forks = Forks(work, 2)
futures = [forks.submit(work, one) for one in range(2)]
time.sleep(60)
"""

BROKEN = """
import os, signal, sys
from pathlib import Path
from railcar.data.decoding import Encoded
from railcar.data.sources.notes import Notes
from railcar.data.sources.reading import Reader
from railcar.data.types import ReadOptions

parent = os.getpid()

def accept(header):
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)

files = sorted(Path(sys.argv[1]).glob("train/*/*.jpg"))
images = [Encoded(one.name, 0, str(one)) for one in files if one.name not in ("0007.jpg", "0100.jpg")] * 2
settings = {"n_images": len(images), "keeps_pixels": False, "accept": accept, "is_uniform": True}
notes = Notes()
split = Reader((8, 8, 3), ReadOptions(), notes, **settings).read({"train": images})["train"]
print(len(split.labels), int(split.hashes.all()), len(notes.bad))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,100 JPEGs of 8x8, two of them damaged, one of them beyond what a header tells."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for side, n in (("train", 900), ("test", 200)):
        for number in range(n):
            path = folder / side / ("cat" if number % 2 else "dog") / f"{number:04}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(path, quality=90)
    (folder / "train/cat/0007.jpg").write_bytes(b"not an image")
    cut = folder / "train/dog/0100.jpg"
    cut.write_bytes(cut.read_bytes()[:-60])
    return folder


def read(photos: Path, cache: Path, keep: str, way: str) -> dict[str, object]:
    environment = {**os.environ, "RAILCAR_CACHE": str(cache)}
    command = [sys.executable, "-c", READ, str(photos), keep, way]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("keep", ["pixels", "encoded"])
def test_forked_processes_read_what_threads_read(photos: Path, tmp_path: Path, keep: str) -> None:
    by_forks = read(photos, tmp_path / "forks", keep, "forks")
    by_threads = read(photos, tmp_path / "threads", keep, "threads")

    if len(os.sched_getaffinity(0)) > 1:
        assert by_forks.pop("children_s") != 0.0  # they were forked
    assert by_threads.pop("children_s") == 0.0
    by_forks.pop("children_s", None)
    assert by_forks == by_threads
    assert "train/cat/0007.jpg" in str(by_forks["notes"])
    assert "train/dog/0100.jpg" in str(by_forks["notes"])


def test_forks_end_with_the_process_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(parent.stdout.readline()) for _ in range(2)]
        parent.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 10
    while any(map(is_running, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_running, children))


def test_what_killed_processes_did_not_read_is_read_without_them(photos: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BROKEN, str(photos)], capture_output=True, text=True, check=False)

    assert done.stdout.split() == ["1796", "1", "0"], done.stderr


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
