"""Transfer learning from a frozen MobileNetV2: ten epochs of training its output, and what few images are enough for.

    python benchmarks/transfer.py --data FOLDER_OR_ARCHIVE --weights FILE [--size 96] [--limit 1000] [--few 100]
                                  [--epochs 10] [--seeds 3] [--without-peer]

The data has train/<class>/ and test/<class>/ (the CIFAR-10 JPEGs). First `--limit` images of each class: railcar, with
an empty cache, from its first look at the images to the trained output, against plain Keras, whose ten epochs go
through the backbone ten times (`peers/keras_transfer.py`; its images are decoded once). Then `--few` images of each
class: all classes, and the first two of `--pair`, with a frozen backbone and with its top tuned. Not part of the tests
but for its short form.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from harness.environments import DEFAULT_DIR, find_python
from harness.machine import describe_machine
from harness.processes import railcar_command, run_json

PEERS = Path(__file__).resolve().parent / "peers"

HOW = {"frozen": (), "tuned": ("model.fine_tune={}",)}


def take_images(data: Path, limit: int, folder: Path) -> Path:
    """A folder with at most `limit` training images of each class, and all test images."""
    if data.is_file():
        with tarfile.open(data) as archive:
            archive.extractall(folder / "all", filter="data")
        data = folder / "all"
    target = folder / "taken"
    for side in ("train", "test"):
        for name in sorted((data / side).iterdir()):
            (target / side / name.name).mkdir(parents=True)
            images = sorted(name.iterdir())
            for image in images[:limit] if side == "train" else images:
                (target / side / name.name / image.name).hardlink_to(image)
    return target


def train_railcar(data: Path, weights: Path, scratch: Path, *settings: str) -> dict[str, Any]:
    words = [word for setting in (f"model.weights={weights}", *settings) for word in ("--set", setting)]
    command = railcar_command("train", str(data), *words, "--runs-dir", str(scratch / "runs"), "--json", "--quiet")
    found = run_json(command, environment={"RAILCAR_CACHE": str(scratch / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"})
    evaluation = found["evaluation"]
    return {"accuracy": evaluation["test"]["accuracy"], "process_s": found["process_s"]}


def compare(data: Path, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Ten epochs: railcar's whole command, without a cache and with one, and the seconds of Keras' `fit`."""
    settings = (
        f"model.input_size={options.size}",
        f"training.epochs={options.epochs}",
        f"training.batch_size={options.batch_size}",
    )
    found = {"railcar": train_railcar(data, options.weights, scratch, *settings)}
    found["railcar again"] = train_railcar(data, options.weights, scratch, *settings, "seed=1")
    if not options.without_peer:
        python = find_python("keras", options.env_dir)
        words = ("--weights", str(options.weights), "--size", str(options.size), "--epochs", str(options.epochs))
        peer = run_json([str(python), str(PEERS / "keras_transfer.py"), str(data), *words])
        found["keras"] = {"accuracy": peer["accuracy"], "process_s": peer["process_s"], "fit_s": peer["seconds"]}
    return found


def measure_few(data: Path, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Mean accuracy over the seeds, of all classes and of a pair, frozen and with the top tuned."""
    results: dict[str, Any] = {}
    few = f"data.limit_per_class={options.few}"
    for task, chosen in (("all classes", ()), (" and ".join(options.pair), (f"data.classes={list(options.pair)}",))):
        for how, tuned in HOW.items():
            if how not in options.how:
                continue
            seeds = range(options.seeds)
            runs = [
                train_railcar(data, options.weights, scratch, few, f"seed={seed}", *chosen, *tuned) for seed in seeds
            ]
            results[f"{task}, {how}"] = {
                "accuracies": [one["accuracy"] for one in runs],
                "mean": statistics.mean(one["accuracy"] for one in runs),
                "process_s": statistics.median(one["process_s"] for one in runs),
            }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--pair", nargs=2, default=["cat", "dog"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--how", nargs="+", choices=HOW, default=[*HOW])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--without-peer", action="store_true")
    parser.add_argument("--env-dir", type=Path, default=DEFAULT_DIR)
    parser.add_argument("--scratch", type=Path, help="where images, caches and runs lie meanwhile")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        scratch = Path(name)
        data = take_images(options.data, options.limit, scratch)
        results = {"ten epochs": compare(data, options, scratch), "few images": measure_few(data, options, scratch)}
    if options.json:
        json.dump({"machine": describe_machine(), "results": results}, sys.stdout)
        return
    for who, one in results["ten epochs"].items():
        fit = f", of these {one['fit_s']:.1f} s of fit" if "fit_s" in one else ""
        print(f"{who:16}{one['accuracy']:8.2%} {one['process_s']:7.1f} s{fit}")
    for task, one in results["few images"].items():
        print(f"{task:24}{one['mean']:8.2%} {one['process_s']:7.1f} s")


if __name__ == "__main__":
    main()
