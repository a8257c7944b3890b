"""Make the embedded part of MNIST: `python scripts/make_mnist_sample.py FOLDER_WITH_THE_FOUR_IDX_FILES`.

Training images: the first N_TRAIN of the training file, in its order. Test images: N_TEST of the test file, drawn
without looking at them, by seed, in the file's order (its first half is known to be easier than its second). Nothing
is changed in an image; the IDX files are packed with xz, which is smaller here than WebP or PNG mosaics.
"""

from __future__ import annotations

import hashlib
import lzma
import sys
from pathlib import Path

import numpy as np

from railcar.data.sources.idx import find_idx_files, read_idx
from railcar.data.sources.sample import find_mnist_sample

N_TRAIN = 16_000
N_TEST = 2_000
SEED = 0
MAX_BYTES = 2_500_000
NAMES = {"train": "train", "test": "t10k"}


def choose_rows(n_test_images: int) -> dict[str, np.ndarray]:
    """Which rows of each original file are in the sample."""
    drawn = np.random.default_rng(SEED).choice(n_test_images, N_TEST, replace=False)
    return {"train": np.arange(N_TRAIN), "test": np.sort(drawn)}


def pack(array: np.ndarray) -> bytes:
    """An IDX file of `array`, packed. lc=4 gains on runs of pixels; the check sum is xz's own."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]
    return lzma.compress(header + array.tobytes(), format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=filters)


def main() -> None:
    source, target = Path(sys.argv[1]), find_mnist_sample()
    originals = find_idx_files(source)
    rows = choose_rows(len(read_idx(originals["test"][1], n_dimensions=(1,))))
    target.mkdir(parents=True, exist_ok=True)
    n_bytes = 0
    for side, (images, labels) in originals.items():
        for path, what, rank in ((images, "images", 3), (labels, "labels", 1)):
            array = read_idx(path, n_dimensions=(rank,))[rows[side]]
            packed = pack(array)
            name = f"{NAMES[side]}-{what}-idx{rank}-ubyte.xz"
            (target / name).write_bytes(packed)
            n_bytes += len(packed)
            sha256 = hashlib.sha256(array.tobytes()).hexdigest()
            print(f"{name}: {array.shape}, {len(packed):,} bytes, content sha256 {sha256}")
    print(f"{n_bytes:,} bytes in all")
    if n_bytes > MAX_BYTES:
        sys.exit(f"more than {MAX_BYTES:,} bytes: lower N_TRAIN")


if __name__ == "__main__":
    main()
