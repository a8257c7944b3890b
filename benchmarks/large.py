"""A set of images that is larger than memory: how much memory a training of it takes.

    python benchmarks/large.py --archive cifar10-jpeg.tar.gz [--gb 20] [--parts 1 20] [--steps 300] [--scratch FOLDER]

The set is made of the archive's train/<class>/*.jpg, enlarged to 224x224, each copy with noise and brightness of its
own, as class folders of JPEGs. For each of `--parts` (GB, the first ones of the set, by links) a `railcar train` in a
process of its own, with a cache of its own: preparing, steps, validation, and a checkpoint. `anonymous` is what the
process really takes; pages of mapped files are counted apart. Not part of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from harness.machine import describe_machine
from harness.processes import run_json
from railcar.storage.archives import unpack_archive

SIZE = 224
QUALITY = 97
N_COPIES = 10
N_NOISE = 8


def write_copies(files: list[str], folder: str, first_copy: int, n_copies: int) -> int:
    """Copies of some images; how many bytes they take."""
    from PIL import Image
    from simplejpeg import encode_jpeg

    generator = np.random.default_rng(first_copy)
    # added modulo 256: pixels are kept away from both ends
    noise = generator.integers(-24, 25, (N_NOISE, SIZE, SIZE, 3)).astype(np.uint8)
    n_bytes = 0
    for file in files:
        with Image.open(file) as image:
            pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)).clip(24, 231)
        for copy in range(first_copy, first_copy + n_copies):
            changed = pixels + np.roll(noise[generator.integers(N_NOISE)], int(generator.integers(SIZE)), 0)
            target = Path(folder) / Path(file).parent.name / f"{Path(file).stem}-{copy}.jpg"
            content = encode_jpeg(np.ascontiguousarray(changed), quality=QUALITY)
            target.write_bytes(content)
            n_bytes += len(content)
    return n_bytes


def make_set(archive: Path, folder: Path, n_bytes: int) -> list[Path]:
    """Folders of about a GB each, with the same classes, `n_bytes` in all."""
    root = unpack_archive(archive)
    files = sorted(str(path) for path in (root / "train").glob("*/*.jpg"))[::40]
    made, parts = 0, []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        while made < n_bytes:
            part = folder / f"part-{len(parts):03d}"
            for name in {Path(file).parent.name for file in files}:
                (part / name).mkdir(parents=True, exist_ok=True)
            pieces = [files[start::64] for start in range(64)]
            done = pool.map(write_copies, pieces, [str(part)] * 64, [len(parts) * N_COPIES] * 64, [N_COPIES] * 64)
            made += sum(done)
            parts.append(part)
            print(f"{made / 1e9:.1f} GB made", file=sys.stderr, flush=True)
    return parts


def link_parts(parts: list[Path], folder: Path, n_bytes: int) -> tuple[int, int]:
    """Hard links to the first files, `n_bytes` of them: (files, bytes)."""
    n_files = size = 0
    for part in parts:
        for file in sorted(part.glob("*/*.jpg")):
            if size >= n_bytes:
                return n_files, size
            target = folder / file.parent.name / f"{part.name}-{file.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, target)
            n_files, size = n_files + 1, size + file.stat().st_size
    return n_files, size


def train(folder: Path, steps: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        sets = [f"training.steps={steps}", f"training.validate_every={steps}", "data.validation=2000", "data.test=2000"]
        words = ["train", str(folder), *(word for one in sets for word in ("--set", one)), "--json"]
        environment = {"RAILCAR_CACHE": f"{scratch}/cache", "RAILCAR_RUNS": f"{scratch}/runs"}
        return run_json([sys.executable, "-m", "railcar", *words], environment=environment, watch=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True, help="cifar10-jpeg.tar.gz")
    parser.add_argument("--gb", type=float, default=20)
    parser.add_argument("--parts", type=float, nargs="+", default=[1, 20], metavar="GB")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--scratch", type=Path, help="for the set, which is removed at the end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="railcar-large-", dir=options.scratch) as scratch:
        os.environ.setdefault("RAILCAR_CACHE", f"{scratch}/cache")
        parts = make_set(options.archive, Path(scratch) / "set", int(options.gb * 1e9))
        rows = []
        for gb in options.parts:
            folder = Path(scratch) / f"{gb:g}-gb"
            n_files, n_bytes = link_parts(parts, folder, int(gb * 1e9))
            found = train(folder, options.steps)
            peaks = {key: round(found[key]) for key in ("anonymous_mb", "file_mb", "rss_mb") if key in found}
            rows.append({"gb": round(n_bytes / 1e9, 2), "n_images": n_files, "process_s": found["process_s"], **peaks})
            print(rows[-1], file=sys.stderr, flush=True)
    print(json.dumps({"machine": describe_machine(), "rows": rows}))


if __name__ == "__main__":
    main()
