"""MNIST as CSV (60,000 rows, 110 MB) to a uint8 array [60000, 785]: railcar beside pandas, polars and pyarrow.

    python benchmarks/read_csv.py --data FOLDER_WITH_THE_FOUR_IDX_FILES [--rounds 5]

All readers take turns in one process on a file that the page cache holds; the table has the median of the rounds and,
as the ratio, the median of pandas' time over the reader's in the same round. A reader that is not installed is left
out. Not part of the tests.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from railcar.data.sources.csv import read_plain_table
from railcar.data.sources.idx import find_idx_files, read_idx
from railcar.storage.content import read_content

N_FIELDS = 785


def write_csv(folder: Path, path: Path) -> None:
    images, labels = find_idx_files(folder)["train"]
    rows = read_idx(images, n_dimensions=(3,)).reshape(-1, N_FIELDS - 1)
    with path.open("w") as file:
        for label, row in zip(read_idx(labels, n_dimensions=(1,)).tolist(), rows, strict=True):
            file.write(f"{label},{','.join(map(str, row.tolist()))}\n")


def read_with_railcar(path: Path) -> np.ndarray:
    content, _ = read_content(path)
    table = read_plain_table(content, N_FIELDS, has_header=False)
    if table is None:
        raise SystemExit("the fast reader declined the file")
    return table


def read_with_pandas(path: Path) -> np.ndarray:
    import pandas

    return pandas.read_csv(path, header=None).to_numpy(np.uint8)


def read_with_polars(path: Path) -> np.ndarray:
    import polars

    schema = {f"c{number}": polars.UInt8 for number in range(N_FIELDS)}
    return polars.read_csv(path, has_header=False, schema=schema).to_numpy(order="c")


def read_with_pyarrow(path: Path) -> np.ndarray:
    import pyarrow
    from pyarrow import csv

    names = [f"c{number}" for number in range(N_FIELDS)]
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(column_names=names),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pyarrow.uint8())),
    )
    result = np.empty((table.num_rows, N_FIELDS), np.uint8)
    for number in range(N_FIELDS):
        result[:, number] = table.column(number).to_numpy()
    return result


READERS: dict[str, Callable[[Path], np.ndarray]] = {
    "pandas": read_with_pandas,
    "polars": read_with_polars,
    "pyarrow": read_with_pyarrow,
    "railcar": read_with_railcar,
}


def measure(path: Path, n_rounds: int) -> dict[str, list[float]]:
    """Seconds of each round by reader, after a first round that counts for nothing and checks that all agree."""
    times: dict[str, list[float]] = {}
    expected = None
    for name, read in READERS.items():
        try:
            table = read(path)
        except ImportError:
            continue
        expected = table if expected is None else expected
        if not np.array_equal(table, expected):
            raise SystemExit(f"{name} reads something else")
        times[name] = []
    for _ in range(n_rounds):
        for name, seconds in times.items():
            started = time.perf_counter()
            READERS[name](path)
            seconds.append(time.perf_counter() - started)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the four IDX files of MNIST")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mnist_train.csv"
        write_csv(options.data, path)
        n_mb = path.stat().st_size / 1e6
        times = measure(path, options.rounds)
    if options.json:
        print(json.dumps({"mb": n_mb, "median_s": {name: statistics.median(one) for name, one in times.items()}}))
        return
    print(f"{n_mb:.0f} MB, {options.rounds} rounds")
    print(f"{'reader':10} {'median s':>9} {'best s':>9} {'x sooner than pandas':>22}")
    for name, seconds in times.items():
        ratios = [peer / own for peer, own in zip(times.get("pandas", seconds), seconds, strict=True)]
        median, best = statistics.median(seconds), min(seconds)
        print(f"{name:10} {median:9.3f} {best:9.3f} {statistics.median(ratios):22.1f}")


if __name__ == "__main__":
    main()
