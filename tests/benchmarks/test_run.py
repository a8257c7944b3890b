"""The drivers of `benchmarks/` in their shortest form, without the peers' environments, so that they do not rot."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import make_images


@pytest.fixture(scope="module")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four IDX files like MNIST's, with 1,200 and 200 images."""
    folder = tmp_path_factory.mktemp("small")
    for prefix, n in (("train", 1200), ("t10k", 200)):
        images, labels = make_images(n, n_classes=10, side=28, seed=n)
        header = np.array([n, 28, 28], ">u4").tobytes()
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + header + images.tobytes())
        content = bytes([0, 0, 8, 1]) + header[:4] + labels.astype(np.uint8).tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(content)
    return folder


def run(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "benchmarks" / "run.py"), *options]
    # the package that this process uses, wherever it was imported from
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, env=environment)


def test_a_quick_round_without_peers_measures_and_describes(project: Path, small_mnist: Path, tmp_path: Path) -> None:
    rows = ("memory", "exactness")
    where = ("--results", str(tmp_path / "results"), "--scratch", str(tmp_path))
    page = project / "docs" / "concepts" / "performance.md"
    before = page.read_text()

    done = run(project, "--mnist", str(small_mnist), "--quick", "--without-peers", "--only", *rows, *where)

    assert done.returncode == 0, done.stderr
    assert "memory of its own" in done.stdout
    assert "steps of `mnist-tutorial`" in done.stdout
    for name in rows:
        document = json.loads((tmp_path / "results" / f"{name}.json").read_text())
        assert document["row"] == name
        assert document["machine"]["versions"]["railcar"]
    memory = json.loads((tmp_path / "results" / "memory.json").read_text())["measured"]["rows"]
    assert [row["factor"] for row in memory] == [2]
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert page.read_text() == before

    copy = tmp_path / "performance.md"
    copy.write_text(before)
    done = run(project, "--figures", "--results", str(tmp_path / "results"), "--page", str(copy))

    assert done.returncode == 0, done.stderr
    text = copy.read_text()
    table = text.partition("<!-- figures: begin -->")[2].partition("<!-- figures: end -->")[0]
    assert "cores of" in table
    assert all(f"| `{name}` |\n" in table for name in rows)
    assert text.replace(table, "") == before.replace(
        before.partition("begin -->")[2].partition("<!-- figures: end")[0], ""
    )


def test_a_row_that_cannot_be_measured_is_named_and_passed_over(project: Path) -> None:
    done = run(project, "--quick", "--without-peers", "--only", "rate", "cifar10")

    assert done.returncode == 0, done.stderr
    assert "skipped: needs --mnist FOLDER" in done.stderr
    assert "cifar10" in done.stderr


def test_every_peer_is_a_program_with_an_environment_of_its_own(project: Path) -> None:
    folder = project / "benchmarks"
    peers = [path for path in (folder / "peers").glob("*.py") if path.name != "__init__.py"]

    assert len(peers) > 5
    for path in peers:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path.name
        assert (folder / "environments" / f"{path.stem.partition('_')[0]}.txt").is_file()
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not any(name and name.startswith("railcar") for name in imported), path.name


def test_environments_are_plain_versions(project: Path) -> None:
    for path in (project / "benchmarks" / "environments").glob("*.txt"):
        pins = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert pins
        assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9A-Za-z.]+", pin)] == []


def test_transfer_learning_is_measured_on_few_images(project: Path, tmp_path: Path) -> None:
    from tests.models.test_pretrained import save_weights
    from tests.workflows.test_warm_start import write_data

    save_weights("MobileNetV2", tmp_path / "some.weights.h5")
    for name, side in (("train", 12), ("test", 13)):
        write_data(tmp_path / "data" / name, names=["cat", "dog", "fox"], side=side, channels=3)
    program = str(project / "benchmarks" / "transfer.py")
    few = ("--limit", "15", "--few", "12", "--epochs", "2", "--seeds", "1", "--batch-size", "8", "--how", "frozen")
    options = ("--size", "32", *few, "--without-peer", "--json")
    weights = ("--weights", str(tmp_path / "some.weights.h5"))
    command = [sys.executable, program, "--data", str(tmp_path / "data"), *weights, *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, env=environment)

    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert set(results["ten epochs"]) == {"railcar", "railcar again"}
    assert set(results["few images"]) == {"all classes, frozen", "cat and dog, frozen"}
    assert all(0 <= one["mean"] <= 1 for one in results["few images"].values())


def test_a_network_is_measured_over_seeds_and_a_series_goes_on(project: Path, tmp_path: Path) -> None:
    program = str(project / "benchmarks" / "seeds.py")
    quick = ("--seeds", "2", "--set", "training.steps=30", "--set", "training.optimizer.warmup_steps=3", "--json")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    kept = tmp_path / "kept.jsonl"
    first = {"seed": 0, "accuracy": 0.5, "training_s": 1.0, "process_s": 2.0}
    kept.write_text(json.dumps(first) + "\n")
    command = [sys.executable, program, "penguins", *quick, "--kept", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["railcar"]
    assert len(found["accuracies"]) == 2 and found["accuracies"][0] == 0.5 < found["accuracies"][1]
    assert found["mean"] == pytest.approx(sum(found["accuracies"]) / 2)
    assert found["process_s"] > found["training_s"] > 0
    assert [json.loads(line)["seed"] for line in kept.read_text().splitlines()] == [0, 1]


def test_accuracies_are_measured_over_folds_that_share_no_row(project: Path, tmp_path: Path) -> None:
    from railcar.data.sources.sample import find_penguins

    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "penguins.csv").write_bytes(find_penguins().read_bytes())
    program = str(project / "benchmarks" / "accuracy.py")
    options = ("--sets", "penguins", "--models", "linear", "--folds", "2", "--without-peers", "--json")
    command = [sys.executable, program, "--data", str(tmp_path), *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, env=environment)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["results"]["penguins"]["linear"]
    assert len(found["accuracies"]) == 2
    assert found["mean"] == pytest.approx(sum(found["accuracies"]) / 2)
    assert found["mean"] > 0.9


def test_runtimes_are_measured_on_the_same_model(project: Path, tmp_path: Path) -> None:
    import railcar
    from tests.synthetic import write_image_folder

    photos = write_image_folder(tmp_path / "photos")
    overrides = {"training.steps": 2, "training.tensorboard": False}
    made = railcar.train(photos, overrides=overrides, runs_dir=tmp_path / "runs", quiet=True)
    command = [sys.executable, str(project / "benchmarks" / "engines.py"), str(made.path), "--json"]
    command += ["--batches", "1", "4", "--rounds", "1", "--seconds", "0.05"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    found = json.loads(done.stdout)
    assert set(found["rates"]) == {"TensorFlow", "LiteRT", "ONNX Runtime"} == set(found["first_answer_s"])
    assert all(rate > 0 for rates in found["rates"].values() for rate in rates.values())
