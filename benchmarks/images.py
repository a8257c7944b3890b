"""A folder of JPEGs to arrays: railcar's preparing beside Keras, PyTorch, and a bare loop that does nothing else.

    python benchmarks/images.py --archive cifar10-jpeg.tar.gz [--limit 60000] [--sizes 32 224] [--rounds 3]
                                [--first-step]

The archive holds train/<class>/*.jpg and test/<class>/*.jpg; the sizes are made of it by enlarging. In turns, each in
a process of its own, from listing the folder to the last image, files in the page cache:

    railcar   preparing the folder as a run does it, with hashes, sums and notes: into arrays on the disk, or, where
              those would not fit (`data.keep`), decoding each image once and keeping where it lies
    pixels    railcar, with data.keep=pixels: arrays on the disk in any case
    bare      open, read, decode by libjpeg-turbo into one array, a process a core; the files are listed beforehand
    keras     image_dataset_from_directory       torch   DataLoader, Pillow, a worker a core

With `--first-step` from the start of each process, imports and all, until the first step of a small network is done.
Else starting Python and importing count for nobody. The table has the median of the rounds and, as the ratio, the
median of the peer's time over railcar's in the same round. Not part of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.environments import DEFAULT_DIR, find_python
from harness.machine import describe_machine
from harness.processes import run_json
from railcar.storage.archives import unpack_archive

PEERS = Path(__file__).resolve().parent / "peers"
QUALITY = 90


def make_folder(archive: Path, folder: Path, size: int, limit: int) -> Path:
    """`folder`/SIZE-LIMIT with the archive's images, enlarged to `size`; as they are at 32."""
    target = folder / f"{size}-{limit}"
    if target.is_dir():
        return target
    partial = folder / f".{target.name}"
    shutil.rmtree(partial, ignore_errors=True)
    root = unpack_archive(archive)
    files = sorted(root.glob("*/*/*.jpg"))
    step = max(1, len(files) // limit)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda file: write_enlarged(file, partial / file.relative_to(root), size), files[::step][:limit]))
    partial.rename(target)
    return target


def write_enlarged(source: Path, path: Path, size: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        if image.size == (size, size):
            shutil.copyfile(source, path)
        else:
            image.resize((size, size), Image.Resampling.BICUBIC).save(path, quality=QUALITY)


def prepare(folder: Path, keep: str) -> dict[str, Any]:
    """railcar's own, into a cache of its own."""
    from railcar.data.prepare import prepare_source
    from railcar.data.types import ReadOptions
    from railcar.workflows.data import measure_room

    with tempfile.TemporaryDirectory(dir=folder.parent) as cache:
        os.environ["RAILCAR_CACHE"] = cache
        started = time.perf_counter()
        prepared = prepare_source(str(folder), ReadOptions(keep=keep, room=measure_room()))
        seconds = time.perf_counter() - started
        return {"n": sum(map(len, prepared.sides.values())), "seconds": seconds}


def train_a_step(folder: Path) -> dict[str, Any]:
    """A run of railcar into a cache of its own, stopped when its first row is written."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        # the peers' network and batch
        sets = ("training.log_every=1", "training.epochs=1", "training.batch_size=32", "model.filters=[32,64]")
        words = ["train", str(folder), *(word for one in sets for word in ("--set", one))]
        environment = {**os.environ, "RAILCAR_CACHE": f"{scratch}/cache", "RAILCAR_RUNS": f"{scratch}/runs"}
        command = [sys.executable, "-m", "railcar", *words, "--quiet"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None and not any(Path(scratch).glob("runs/*/metrics.jsonl")):
            time.sleep(0.01)
        at = time.time()
        if process.poll() is not None:
            raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
        process.kill()
        process.wait()
        return {"n": 1, "at": at}


def loop_bare(folder: Path, size: int) -> dict[str, Any]:
    """A process a core, which all begin at once."""
    import multiprocessing

    files = [str(path) for path in sorted(folder.glob("*/*/*.jpg"))]
    n_cores = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(n_cores + 1)
    parts = [files[start::n_cores] for start in range(n_cores)]
    processes = [context.Process(target=decode_part, args=(part, size, barrier)) for part in parts]
    for process in processes:
        process.start()
    barrier.wait()
    started = time.perf_counter()
    for process in processes:
        process.join()
    return {"n": len(files), "seconds": time.perf_counter() - started}


def decode_part(files: list[str], size: int, barrier: Any) -> None:
    import numpy as np
    from simplejpeg import decode_jpeg

    pixels = np.empty((size, size, 3), np.uint8)
    barrier.wait()
    for path in files:
        with open(path, "rb") as file:  # noqa: PTH123 - the shortest way
            decode_jpeg(file.read(), "RGB", buffer=pixels)


def measure(folder: Path, size: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each round by reader."""
    own = [sys.executable, __file__, "--size", str(size)]
    ways = ("first-step",) if options.first_step else ("auto", "pixels", "bare")
    names = {"auto": "railcar", "first-step": "railcar"}
    commands = {names.get(way, way): [*own, "--read", way, str(folder)] for way in ways}
    for name, program in (("keras", "keras_folder"), ("torch", "torchimages_folder")):
        if name not in options.skip:
            python = find_python(program.partition("_")[0], options.env_dir)
            commands[name] = [str(python), str(PEERS / f"{program}.py"), str(folder), "--size", str(size)]
            commands[name] += ["--first-step"] if options.first_step else []
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(options.rounds + 1):
        for name, command in commands.items():
            began = time.time()
            found = run_json(command, environment={"TF_CPP_MIN_LOG_LEVEL": "3"})
            if not options.first_step and found["n"] != options.limit:
                raise SystemExit(f"{name} read {found['n']:,} images of {options.limit:,}")
            if number:  # the first round fills the page cache
                times[name].append(found["at"] - began if options.first_step else found["seconds"])
    return times


def read_once(options: argparse.Namespace) -> dict[str, Any]:
    if options.read == "first-step":
        return train_a_step(options.folder)
    if options.read == "bare":
        return loop_bare(options.folder, options.size)
    return prepare(options.folder, options.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--read", choices=("auto", "pixels", "bare", "first-step"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--archive", type=Path, help="cifar10-jpeg.tar.gz")
    parser.add_argument("--limit", type=int, default=60_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 224])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "railcar-images")
    parser.add_argument("--env-dir", type=Path, default=DEFAULT_DIR)
    parser.add_argument("--skip", nargs="*", default=[], choices=("keras", "torch"))
    parser.add_argument("--first-step", action="store_true", help="time to the first step of a training")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read_once(options)))
        return
    if options.archive is None:
        parser.error("--archive is needed")
    options.scratch.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("RAILCAR_CACHE", str(options.scratch / "cache"))
    results = {
        size: measure(make_folder(options.archive, options.scratch, size, options.limit), size, options)
        for size in options.sizes
    }
    if options.json:
        print(json.dumps({"machine": describe_machine(), "n_images": options.limit, "seconds": results}))
        return
    for size, times in results.items():
        print(f"{options.limit:,} JPEGs of {size}x{size}, {options.rounds} rounds")
        print(f"{'reader':10} {'median s':>9} {'images/s':>10} {'x railcar':>10}")
        for name, seconds in times.items():
            ratios = [peer / own for peer, own in zip(seconds, times["railcar"], strict=True)]
            median = statistics.median(seconds)
            print(f"{name:10} {median:9.2f} {options.limit / median:10,.0f} {statistics.median(ratios):10.2f}")


if __name__ == "__main__":
    main()
