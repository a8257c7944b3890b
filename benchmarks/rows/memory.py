"""Row 10: memory of a training while MNIST grows on the disk, beside Keras with all of it in memory.

`anonymous_mb` is what a process really takes; pages of mapped files are counted apart, since the system takes them back
whenever it needs them. The first run reads the source and prepares it, the second finds it prepared.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from harness.bench import Bench
from harness.data import write_grown_idx

FACTORS = (1, 10, 50)
KEYS = ("anonymous_mb", "file_mb", "rss_mb")


def measure(bench: Bench) -> dict[str, Any]:
    source = bench.source("mnist")
    steps, peer_steps = (4, 4) if bench.is_quick else (60, 60)
    sets = (f"training.steps={steps}", f"training.validate_every={steps}", "data.validation=1000")
    rows = []
    for factor in (2,) if bench.is_quick else FACTORS:
        folder = write_grown_idx(source, bench.scratch / f"mnist-{factor}x", factor)
        row: dict[str, Any] = {
            "factor": factor,
            "data_mb": round(sum(f.stat().st_size for f in folder.iterdir()) / 1e6),
        }
        for name in ("preparing", "prepared"):
            row[name] = _peaks(bench.train("mnist", folder, *sets, watch=True))
            bench.say(f"{factor}x, {name}: {row[name]}")
        if bench.has_peers:
            npz = bench.scratch / "grown.npz"
            _write_npz(folder, source.npz, npz, factor)
            row["keras"] = _peaks(bench.peer("keras_tutorial", npz, "--steps", peer_steps, "--whole", watch=True))
            bench.say(f"{factor}x, Keras: {row['keras']}")
            npz.unlink()
        rows.append(row)
        shutil.rmtree(folder)
        shutil.rmtree(bench.cache / "prepared")
    bench.forget_sources()
    return {"rows": rows}


def _peaks(run: dict[str, Any]) -> dict[str, float]:
    """In MB; nothing where the system does not tell."""
    return {key: run[key] for key in KEYS if key in run}


def _write_npz(folder: Path, original: Path, path: Path, factor: int) -> None:
    """The same examples for Keras; written part by part, since they need not fit into memory here."""
    images = np.memmap(folder / "train-images-idx3-ubyte", np.uint8, "r", offset=16).reshape(-1, 28, 28)
    with np.load(original) as data:
        np.savez(path, x_train=images, y_train=np.tile(data["y_train"], factor))


def describe(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = measured["rows"]
    by = " / ".join(f"{row['factor']}x" for row in rows)
    lines = []
    for key, what in (("anonymous_mb", "memory of its own"), ("rss_mb", "resident memory, mapped files counted in")):
        ours = ["/".join(f"{row[name].get(key, 0):,.0f}" for row in rows) for name in ("prepared", "preparing")]
        theirs = " / ".join(f"{row['keras'].get(key, 0):,.0f}" for row in rows if "keras" in row)
        first, last = rows[0]["preparing"].get(key, 0), rows[-1]["preparing"].get(key, 0)
        words = f"Keras from memory: {theirs} MB" if theirs else ""
        growth = f"{last / first:.2f} times at {rows[-1]['factor']}x" if first else ""
        shown = f"{ours[0].replace('/', ' / ')} MB; the first time, reading it, {ours[1].replace('/', ' / ')} MB"
        lines.append((f"{what} while MNIST grows on the disk, {by}", shown, words, growth))
    return lines
