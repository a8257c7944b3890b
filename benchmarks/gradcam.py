"""Does Grad-CAM find what decides? Images with a planted patch, whose pattern is the class, at a random place.

    python benchmarks/gradcam.py [--cases cnn-32 cnn-64 resnet-32 resnet-64 pretrained-96] [--images 4000]
                                 [--weights FILE] [--scratch DIR]
    python benchmarks/gradcam.py --quick

The background is smooth noise with grain, the patch 8 x 8 pixels (24 x 24 for the pretrained network) of stripes, one
way or the other, of diagonals, or of squares. A network is trained by railcar, from nothing, or with `--weights` of a
MobileNetV2 the top of one that has learnt before; it must reach 95% on images that it has not seen. Of 200 of these,
what `explanation/gradcam.py` finds is laid over the image and compared with the place of the patch:

    area     of all windows of the patch's size, that with the most of it has its middle in the patch
    point    the highest place is in the patch
    chance   how often a window at a random place would have its middle there

Exit status 1 where a case has fewer than 90% by area. Not part of the tests but for its short form.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.machine import describe_machine

N_CLASSES = 4
BAR, LEAST_ACCURACY = 0.9, 0.95
N_EXPLAINED = 200


@dataclass(frozen=True)
class Case:
    """`side` of the images and of the `patch` in pixels, and what is set for the training."""

    side: int
    settings: dict[str, Any]
    patch: int = 8


CASES = {
    "cnn-32": Case(32, {"model.name": "cnn", "training.epochs": 6}),
    "cnn-64": Case(64, {"model.name": "cnn", "training.epochs": 6}),
    "resnet-32": Case(
        32, {"model.name": "resnet", "model.filters": [16, 32, 64], "model.blocks": 1, "training.epochs": 4}
    ),
    "resnet-64": Case(
        64, {"model.name": "resnet", "model.filters": [16, 32, 64], "model.blocks": 1, "training.epochs": 4}
    ),
    "pretrained-96": Case(96, {"model.name": "pretrained", "training.epochs": 20}, patch=24),
}
QUICK = Case(24, {"model.name": "cnn", "model.filters": [8, 16], "model.global_pool": "average", "training.epochs": 12})


def plant(
    n: int, side: int, patch: int, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int64]]:
    """Images uint8 [n, side, side, 3], the class of each, and the row and column where its patch begins, [n, 2]."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(n) % N_CLASSES).astype(np.int32)
    coarse = generator.normal(size=(n, -(-side // 8), -(-side // 8), 3))
    smooth = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)[:, :side, :side]
    for axis in (1, 2):
        smooth = sum(np.roll(smooth, shift, axis) for shift in range(-4, 5)) / 9
    smooth = smooth / smooth.std() * 40 + 128 + generator.normal(size=smooth.shape) * 20
    images = np.clip(smooth, 0, 255).astype(np.uint8)
    places = generator.integers(0, side - patch + 1, (n, 2))
    rows, columns = np.mgrid[:patch, :patch]
    patterns = [columns // 2 % 2, rows // 2 % 2, (rows + columns) // 2 % 2, (columns // 2 + rows // 2) % 2]
    for image, label, (top, left) in zip(images, labels, places, strict=True):
        image[top : top + patch, left : left + patch] = np.where(patterns[label], 235, 20)[..., None]
    return images, labels, places


def score(heats: NDArray[np.float32], places: NDArray[np.int64], patch: int) -> dict[str, float]:
    """`heats` float32 [n, side, side] over the whole of images whose patches begin at `places` [n, 2]."""
    n, side = heats.shape[:2]
    sums = np.pad(heats.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    masses = sums[:, patch:, patch:] - sums[:, :-patch, patch:] - sums[:, patch:, :-patch] + sums[:, :-patch, :-patch]
    window = np.stack(np.unravel_index(masses.reshape(n, -1).argmax(axis=1), masses.shape[1:]), axis=1)
    point = np.stack(np.unravel_index(heats.reshape(n, -1).argmax(axis=1), heats.shape[1:]), axis=1)
    area = (np.abs(window - places) <= patch / 2).all(axis=1)
    inside = ((point >= places) & (point < places + patch)).all(axis=1)
    chance = np.mean([(np.abs(at - places) <= patch / 2).all(axis=1).mean() for at in np.ndindex(masses.shape[1:])])
    return {"area": float(area.mean()), "point": float(inside.mean()), "chance": float(chance), "n": n, "side": side}


def measure(case: Case, n_images: int, scratch: Path) -> dict[str, Any]:
    """Train, explain, compare."""
    import tensorflow as tf

    import railcar
    from railcar.artifact.artifact import read_artifact
    from railcar.explanation.gradcam import MapFinder

    images, labels, _ = plant(n_images, case.side, case.patch)
    data = scratch / f"planted-{case.side}-{n_images}.npz"
    np.savez(data, images=images, labels=labels)
    settings = {"training.batch_size": 64, "training.tensorboard": False, "data.validation": 0.1, "data.test": 0.1}
    run = railcar.train(data, overrides=settings | case.settings, runs_dir=scratch / "runs", quiet=True)
    model: Any = read_artifact(run.path / "artifact").load_model()
    unseen, labels, places = plant(N_EXPLAINED, case.side, case.patch, seed=1)
    answers = np.asarray(model.predict(unseen, batch_size=25, verbose=0)).argmax(axis=1)
    finder = MapFinder(model, unseen[:1])
    parts = [finder.explain(unseen[at : at + 25], answers[at : at + 25]) for at in range(0, N_EXPLAINED, 25)]
    heats = np.concatenate(parts)
    over = np.asarray(tf.image.resize(heats[..., None], (case.side, case.side)))[..., 0]
    cells = "x".join(map(str, heats.shape[1:]))
    return {"accuracy": float((answers == labels).mean()), "cells": cells, **score(over, places, case.patch)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--weights", default="none", metavar="FILE", help="of MobileNetV2 without its top")
    parser.add_argument("--scratch", type=Path, help="where data, cache and runs lie meanwhile")
    parser.add_argument("--quick", action="store_true", help="one small case")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cases = {"quick": QUICK} if options.quick else {name: CASES[name] for name in options.cases}
    n_images = min(options.images, 1200) if options.quick else options.images
    found = {}
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        os.environ["RAILCAR_CACHE"] = str(Path(folder) / "cache")
        for name, case in cases.items():
            if case.settings["model.name"] == "pretrained":
                case.settings["model.weights"] = options.weights
            found[name] = measure(case, n_images, Path(folder))
            if not options.json:
                shares = "  ".join(f"{key} {found[name][key]:.1%}" for key in ("accuracy", "area", "point", "chance"))
                print(f"{name:14} map of {found[name]['cells']}  {shares}", flush=True)
    if options.json:
        json.dump({"machine": describe_machine(), "cases": found}, sys.stdout)
    if any(one["area"] < BAR or one["accuracy"] < LEAST_ACCURACY for one in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
