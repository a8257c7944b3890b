"""Texts and tables to accuracies: railcar's networks, its own choice, and what scikit-learn's users take.

    python benchmarks/accuracy.py --data FOLDER [--sets reviews sms titanic penguins] [--models default rnn ...]
                                  [--folds 5] [--time 5m] [--autogluon SECONDS] [--autokeras SECONDS] [--without-peers]

FOLDER holds text/reviews.csv, text/sms_spam.csv, tables/titanic.csv and tables/penguins.csv. Each set is cut into
folds, the same for all (`fold_of`: by class, drawn from one seed); each fold is tested on once, by who was trained on
the others, in a process of its own, imports and all. railcar holds a tenth of those out to validate. "default" is
`railcar train FILE --label COLUMN` and nothing else. Prints the mean accuracy with its standard error over the folds,
and the median time. Not part of the tests but for its short form.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.environments import DEFAULT_DIR, find_python
from harness.machine import describe_machine
from harness.processes import railcar_command, run_json

PEERS = Path(__file__).resolve().parent / "peers"
SEED = 20


@dataclass(frozen=True)
class Set:
    """`dropped` columns give the label away or are ids; `text` is the column of texts, of which each counts once."""

    path: str
    label: str
    kind: str
    dropped: tuple[str, ...] = ()
    text: str = ""


SETS = {
    "reviews": Set("text/reviews.csv", "label", "text", ("id", "score"), "text"),
    "sms": Set("text/sms_spam.csv", "label", "text", (), "text"),
    "titanic": Set("tables/titanic.csv", "survived", "table", ("boat", "body")),
    "penguins": Set("tables/penguins.csv", "species", "table"),
}
MODELS = {
    "text": ("default", "bag_of_words", "rnn", "tutorial-rnn", "textcnn", "transformer"),
    "table": ("default", "linear", "mlp", "tabm"),
}
PEER_MODELS = {"text": ("logistic",), "table": ("logistic", "boosting")}
# The network of the tutorial "TensorFlow on Compute Engine VMs".
_SETTINGS = {"tutorial-rnn": ("model.name=rnn", "model.cell=simple", "model.embedding=16", "model.units=32")}


def read_set(folder: Path, one: Set) -> pl.DataFrame:
    frame = pl.read_csv(folder / one.path, infer_schema=False)
    frame = frame.select([name for name in frame.columns if name not in one.dropped])
    return frame.unique(one.text, keep="first", maintain_order=True) if one.text else frame


def fold_of(labels: NDArray[Any], n_folds: int) -> NDArray[np.int64]:
    """Which fold each example is tested in: the examples of each class in an order drawn from `SEED`, dealt out."""
    folds = np.empty(len(labels), np.int64)
    for number, label in enumerate(np.unique(labels)):
        rows = np.flatnonzero(labels == label)
        folds[np.random.default_rng([SEED, number]).permutation(rows)] = (np.arange(len(rows)) + number) % n_folds
    return folds


def write_folds(frame: pl.DataFrame, one: Set, n_folds: int, folder: Path) -> list[tuple[Path, Path]]:
    """train.csv and test.csv of each fold."""
    folds = fold_of(frame[one.label].to_numpy(), n_folds)
    paths = []
    for fold in range(n_folds):
        pair = (folder / f"train{fold}.csv", folder / f"test{fold}.csv")
        for path, is_there in zip(pair, (folds != fold, folds == fold), strict=True):
            frame.filter(pl.Series(is_there)).write_csv(path)
        paths.append(pair)
    return paths


def train_railcar(name: str, one: Set, train: Path, test: Path, seed: int, more: tuple[str, ...]) -> dict[str, Any]:
    settings = _SETTINGS.get(name, () if name == "default" else (f"model.name={name}",))
    sets = (f"data.test={test}", "data.allow_leakage=true", f"seed={seed}", *settings)
    words = [word for setting in sets for word in ("--set", setting)]
    with tempfile.TemporaryDirectory(dir=train.parent) as scratch:
        runs = ("--runs-dir", f"{scratch}/runs")
        command = railcar_command("train", str(train), "--label", one.label, *words, *more, *runs, "--json", "--quiet")
        found = run_json(command, environment={"RAILCAR_CACHE": f"{scratch}/cache", "TF_CPP_MIN_LOG_LEVEL": "3"})
    return {"accuracy": found["evaluation"]["test"]["accuracy"], "seconds": found["process_s"]}


def train_autogluon(one: Set, train: Path, test: Path, options: argparse.Namespace) -> dict[str, Any]:
    python = find_python("autogluon", options.env_dir)
    seconds = ("--seconds", str(options.autogluon))
    program = str(PEERS / "autogluon_rows.py")
    found = run_json([str(python), program, str(train), str(test), "--label", one.label, *seconds])
    return {"accuracy": found["accuracy"], "seconds": found["process_s"]}


def train_autokeras(one: Set, train: Path, test: Path, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    python = find_python("autokeras", options.env_dir)
    words = ("--text", one.text, "--label", one.label, "--seed", str(seed), "--seconds", str(options.autokeras))
    found = run_json([str(python), str(PEERS / "autokeras_search.py"), str(train), str(test), *words])
    return {"accuracy": found["accuracy"], "seconds": found["process_s"]}


def train_peer(name: str, one: Set, train: Path, test: Path, seed: int, env_dir: Path) -> dict[str, Any]:
    python = find_python("sklearn", env_dir)
    options = ("--label", one.label, "--kind", one.kind, "--model", name, "--seed", str(seed))
    found = run_json([str(python), str(PEERS / "sklearn_rows.py"), str(train), str(test), *options])
    return {"accuracy": found["accuracy"], "seconds": found["process_s"]}


def measure(name: str, one: Set, pairs: list[tuple[Path, Path]], options: argparse.Namespace) -> dict[str, Any]:
    is_peer = name.startswith("sklearn ")
    more = ("--time", options.time) if options.time and name == "default" else ()
    found = []
    for seed, (train, test) in enumerate(pairs):
        if name == "autogluon":
            found.append(train_autogluon(one, train, test, options))
        elif name == "autokeras":
            found.append(train_autokeras(one, train, test, seed, options))
        elif is_peer:
            found.append(train_peer(name.removeprefix("sklearn "), one, train, test, seed, options.env_dir))
        else:
            found.append(train_railcar(name, one, train, test, seed, more))
    accuracies = [result["accuracy"] for result in found]
    error = statistics.stdev(accuracies) / math.sqrt(len(found)) if len(found) > 1 else 0.0
    seconds = statistics.median(result["seconds"] for result in found)
    return {"mean": statistics.mean(accuracies), "error": error, "seconds": seconds, "accuracies": accuracies}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    every = sorted({name for names in MODELS.values() for name in names})
    parser.add_argument("--models", nargs="+", choices=every, help="networks of railcar, each on the sets of its kind")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--time", help="give railcar's own choice so long: --time of `railcar train`")
    parser.add_argument("--autogluon", type=float, metavar="SECONDS", help="tables by AutoGluon, too, for so long")
    parser.add_argument("--autokeras", type=float, metavar="SECONDS", help="texts by AutoKeras, too, for so long")
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--env-dir", type=Path, default=DEFAULT_DIR)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for set_name in options.sets:
            one = SETS[set_name]
            folder = Path(scratch) / set_name
            folder.mkdir()
            pairs = write_folds(read_set(options.data, one), one, options.folds, folder)
            peers = () if options.without_peers else PEER_MODELS[one.kind]
            others = ("autogluon",) if options.autogluon and one.kind == "table" else ()
            others += ("autokeras",) if options.autokeras and one.kind == "text" else ()
            names = [name for name in MODELS[one.kind] if name in (options.models or MODELS[one.kind])]
            for name in (*others, *(f"sklearn {peer}" for peer in peers), *names):
                found = results.setdefault(set_name, {})[name] = measure(name, one, pairs, options)
                if not options.json:
                    row = f"{found['mean']:8.2%} ±{found['error']:6.2%} {found['seconds']:7.1f} s"
                    print(f"{set_name:10}{name:20}{row}", flush=True)
    if options.json:
        json.dump({"machine": describe_machine(), "results": results}, sys.stdout)


if __name__ == "__main__":
    main()
