"""Small data made on the spot: images whose class is plain to see, so that a tiny network learns it in a few steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TINY_MODEL = {"filters": [4], "kernel_size": 3}


def make_images(
    n: int, *, n_classes: int = 3, side: int = 12, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """uint8 [n, side, side, 1] and labels [n]: a bright square at a place that depends on the class, over noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int32) % n_classes
    images = generator.integers(0, 60, (n, side, side, 1), dtype=np.uint8)
    for index, label in enumerate(labels):
        start = int(label) * (side - 4) // max(n_classes - 1, 1)
        images[index, start : start + 4, start : start + 4] += 150
    return images, labels


def write_image_folder(folder: Path, *, n_per_class: int = 12, side: int = 12) -> Path:
    """`folder/<class>/<number>.png` with classes a, b, c."""
    images, labels = make_images(3 * n_per_class, side=side)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / "abc"[label] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    return folder


def tiny_recipe(**training: object) -> dict[str, object]:
    """A recipe of a few steps on 12x12 images, without TensorBoard."""
    node = {"steps": 6, "batch_size": 8, "tensorboard": False, "validate_every": 3, "checkpoint_every": 3, **training}
    model = {**TINY_MODEL, "dropout": 0.25, "batch_norm": True}
    return {"name": "tiny", "data": {"validation": 0.2, "test": 0.2}, "model": model, "training": node}
