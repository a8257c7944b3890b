"""What the projector of TensorBoard shows of a run: examples as points, near to each other where the network finds them
alike, with their labels and, of small images, their pictures.

Owns the files that its plugin reads, beside the event files: `projector_config.pbtxt`, and the folder `projector/`.
Which examples, and what the network makes of them, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.storage.local import write_atomic
from railcar.training.summaries import draw_grid

MAX_SPRITE_SIDE = 64
"""Pixels: of larger images there is no picture, which 1,000 times would be too much for a browser."""
_FOLDER = "projector"
# Numbers of a vector that are kept, and their digits.
_N_COMPONENTS, _N_DIGITS = 64, 5


def write_projector(
    folder: Path,
    vectors: NDArray[np.float32],
    facts: Mapping[str, Sequence[object]],
    images: NDArray[np.uint8] | None = None,
) -> None:
    """Write into `folder`, which has the event files: `vectors` [n, d], of wide ones their first 64 principal
    components, and of each example `facts` by their names, of which the first is what its point is called; `images`
    uint8 [n, height, width, 1 or 3] are shown as its picture."""
    place = folder / _FOLDER
    place.mkdir(parents=True, exist_ok=True)
    write_atomic(place / "vectors.tsv", _to_tsv(reduce_width(vectors)).encode())
    rows = [list(facts), *zip(*facts.values(), strict=True)]
    lines = ("\t".join(" ".join(str(value).split()) or "-" for value in row) for row in rows)
    write_atomic(place / "metadata.tsv", ("\n".join(lines) + "\n").encode())
    sprite = ""
    if images is not None:
        grid, _ = draw_grid(images)
        write_atomic(place / "sprite.png", tf.io.encode_png(grid).numpy())
        height, width = images.shape[1:3]
        size = f"single_image_dim: {width}\n    single_image_dim: {height}"
        sprite = f'  sprite {{\n    image_path: "{_FOLDER}/sprite.png"\n    {size}\n  }}\n'
    config = (
        "embeddings {\n"
        '  tensor_name: "what the last layer is given"\n'
        f'  tensor_path: "{_FOLDER}/vectors.tsv"\n'
        f'  metadata_path: "{_FOLDER}/metadata.tsv"\n'
        f"{sprite}}}\n"
    )
    write_atomic(folder / "projector_config.pbtxt", config.encode())


def reduce_width(vectors: NDArray[np.float32], n_components: int = _N_COMPONENTS) -> NDArray[np.float32]:
    """[n, at most n_components]: wider vectors by their principal components, found by chance (Halko et al., 2011,
    algorithm 4.4 with one iteration): a browser would wait long for all of their numbers, and projects them itself."""
    if vectors.shape[1] <= n_components:
        return vectors
    # By TensorFlow: NumPy's threads wait for each other for ten times as long where other work goes on.
    centered: Any = tf.constant(vectors - vectors.mean(axis=0))
    start = np.random.default_rng(0).standard_normal((vectors.shape[1], n_components), np.float32)
    basis, _ = tf.linalg.qr(centered @ start)
    basis, _ = tf.linalg.qr(centered @ tf.matmul(centered, basis, transpose_a=True))
    inner = tf.matmul(basis, centered, transpose_a=True)
    squares, left = tf.linalg.eigh(tf.matmul(inner, inner, transpose_b=True))
    components = tf.matmul(basis, left) * tf.sqrt(tf.maximum(squares, 0))
    return np.asarray(components)[:, ::-1]


def _to_tsv(vectors: NDArray[np.float32]) -> str:
    """One row an example, rounded to what a picture needs: all digits would be three times as much."""
    vectors = np.nan_to_num(vectors, posinf=0.0, neginf=0.0)
    largest = float(np.abs(vectors).max(initial=0.0)) or 1.0
    rounded = vectors.astype(np.float64).round(_N_DIGITS - 1 - int(np.floor(np.log10(largest))))
    return "\n".join(str(row)[1:-1].replace(", ", "\t") for row in rounded.tolist()) + "\n"
