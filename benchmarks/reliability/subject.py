"""What is trained, killed and compared: a small network with everything on that a resume could get wrong.

Dropout, batch normalisation, random changes of images, a falling learning rate with a warm-up, AdamW, an average of the
weights; checkpoints, validations and ends of epochs at different steps, so that most kills fall in the middle of all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from railcar.runs.checkpoint import checkpoint_name, read_checkpoint
from railcar.runs.run_dir import RunDir, read_json

N_STEPS = 200
_TIMES = ("seconds", "examples_per_s")


def write_recipe(folder: Path, **training: Any) -> Path:
    """The recipe and its data: 230 images of 12x12 in three classes, hard enough not to be learnt at once."""
    generator = np.random.default_rng(0)
    labels = np.arange(230, dtype=np.int32) % 3
    images = generator.integers(0, 200, (230, 12, 12, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4 * label : 4 * label + 4] += 40
    np.savez(folder / "data.npz", images=images, labels=labels)
    node = {
        "steps": N_STEPS,
        "batch_size": 16,
        "optimizer": {
            "name": "adamw",
            "learning_rate": 0.01,
            "schedule": "cosine",
            "warmup_steps": 20,
            "weight_decay": 0.01,
        },
        "validate_every": 17,
        "checkpoint_every": 10,
        "keep_checkpoints": 3,
        "log_every": 1,
        "label_smoothing": 0.1,
        "average": {"decay": 0.9},
        # What `auto` measures may differ from process to process, and with it the last bits of two separate runs.
        "precision": "float32",
        "tensorboard": False,
        **training,
    }
    recipe = {
        "name": "subject",
        "data": {
            "source": str(folder / "data.npz"),
            "validation": 0.2,
            "test": 0.1,
            "augment": {"flip": True, "shift": 0.1, "rotate": 0.05, "cutout": 0.2},
        },
        "model": {"filters": [4, 8], "dense": [16], "batch_norm": True, "dropout": 0.25},
        "training": node,
    }
    path = folder / "subject.yaml"
    path.write_text(json.dumps(recipe))
    return path


def find_only_run(runs_dir: Path) -> RunDir | None:
    """The run in the folder, as soon as there is one."""
    return next((RunDir(path) for path in runs_dir.glob("subject-*")), None)


def read_variables(run: RunDir, step: int) -> dict[str, np.ndarray]:
    """Every variable of a checkpoint: network, optimizer, averages, seeds of dropout."""
    checkpoint = read_checkpoint(run.checkpoints / checkpoint_name(step))
    with np.load(checkpoint.path / "variables.npz") as stored:
        return dict(stored)


def find_difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> str | None:
    """The first variable whose bits differ; None when all are the same."""
    if one.keys() != other.keys():
        return "the names of the variables"
    for key, value in one.items():
        if value.dtype != other[key].dtype or value.tobytes() != other[key].tobytes():
            return key
    return None


def read_history(run: RunDir) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without the times."""
    return [{key: value for key, value in row.items() if key not in _TIMES} for row in run.read_metrics()]


def compare_runs(whole: RunDir, cut: RunDir) -> str | None:
    """What differs between a run that was never stopped and one that was; None when nothing does."""
    manifests = [run.read_manifest() for run in (whole, cut)]
    for key in ("state", "step", "steps", "ended_early"):
        if manifests[0].get(key) != manifests[1].get(key):
            return f"{key}: {manifests[0].get(key)} and {manifests[1].get(key)}"
    step = manifests[0]["step"]
    if (where := find_difference(read_variables(whole, step), read_variables(cut, step))) is not None:
        return f"variable {where}"
    for name in ("best_path", "last_path", "evaluation_path"):
        if read_json(getattr(whole, name)) != read_json(getattr(cut, name)):
            return getattr(whole, name).name
    if read_history(whole) != read_history(cut):
        return "the rows of metrics.jsonl"
    return None
