"""An artifact at work: images, files or rows in; class, probability and the top classes out.

Owns decoding and batching. Knows nothing of training or of runs: all it needs is in the artifact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.artifact.artifact import Artifact
from railcar.errors import ArtifactError, DataError
from railcar.storage.images import decode_image

_BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """`label` is the most probable class, `probability` its probability, `top` the most probable classes with theirs,
    best first; `input` names what was looked at."""

    input: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        top = [{"label": label, "probability": round(value, 6)} for label, value in self.top]
        return {"input": self.input, "label": self.label, "probability": round(self.probability, 6), "top": top}


class Predictor:
    """Loads the artifact's model once, and checks it against the artifact's samples."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.class_names = artifact.class_names
        self._model = artifact.load_model()
        self._forward: Any = None
        self.check_samples()

    def __repr__(self) -> str:
        height, width, channels = self.artifact.image_shape
        return f"Predictor({self.artifact.path}: {len(self.class_names)} classes, {height}x{width}x{channels})"

    def check_samples(self, tolerance: float = 1e-3) -> float:
        """The largest difference of a probability from what the artifact expects. Raises `ArtifactError` above
        `tolerance`: the model then computes something else here than where it was made."""
        images, expected = self.artifact.samples()
        difference = float(np.abs(self.predict_probabilities(images) - expected).max()) if len(images) else 0.0
        if difference > tolerance:
            raise ArtifactError(
                f"{self.artifact.path}: its own samples' probabilities differ by {difference:.4f} from what is stored",
                hint="the artifact is damaged, or this TensorFlow computes differently; train again here",
            )
        return difference

    def predict_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [n, height, width, channels] (or without channels, for gray), 0 to 255 -> float32 [n, n_classes]."""
        images = self._check_images(images)
        batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
        parts = [self._run(batch) for batch in batches]
        return np.concatenate(parts) if parts else np.empty((0, len(self.class_names)), np.float32)

    def predict(
        self, images: NDArray[np.uint8], *, names: Sequence[str] | None = None, top: int = 3
    ) -> list[Prediction]:
        """One `Prediction` for each of the images (as for `predict_probabilities`); `names` are their inputs."""
        probabilities = self.predict_probabilities(images)
        inputs = names if names is not None else [str(index) for index in range(len(probabilities))]
        return [self._describe(name, row, top) for name, row in zip(inputs, probabilities, strict=True)]

    def predict_files(self, paths: Iterable[Path], *, top: int = 3) -> Iterator[Prediction | DataError]:
        """A `Prediction` for each image file, or the `DataError` that tells why it cannot be read; in order."""
        group: list[tuple[Path, NDArray[np.uint8] | DataError]] = []
        for path in paths:
            try:
                group.append((path, decode_image(path, self.artifact.image_shape[2])))
            except DataError as error:
                group.append((path, error))
            if len(group) == _BATCH:
                yield from self._predict_group(group, top)
                group = []
        yield from self._predict_group(group, top)

    def _predict_group(
        self, group: list[tuple[Path, NDArray[np.uint8] | DataError]], top: int
    ) -> Iterator[Prediction | DataError]:
        results: list[Prediction | DataError | None] = [None] * len(group)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, (_, image) in enumerate(group):
            if isinstance(image, DataError):
                results[index] = image
            else:
                by_shape.setdefault(image.shape, []).append(index)
        for indices in by_shape.values():
            batch = np.stack([group[index][1] for index in indices])  # type: ignore[misc]
            names = [str(group[index][0]) for index in indices]
            for index, prediction in zip(indices, self.predict(batch, names=names, top=top), strict=True):
                results[index] = prediction
        yield from (result for result in results if result is not None)

    def _check_images(self, images: Any) -> NDArray[np.uint8]:
        images = np.asarray(images)
        n_channels = self.artifact.image_shape[2]
        if images.ndim == 3 and n_channels == 1:
            images = images[..., None]
        if images.ndim != 4 or images.shape[-1] != n_channels:
            raise DataError(
                f"images of shape {list(images.shape)} do not fit: [n, height, width, {n_channels}] is needed",
                hint="give one array of images of one size, channels last",
            )
        if images.dtype != np.uint8:
            raise DataError(f"images of {images.dtype} do not fit: uint8 from 0 to 255 is needed", hint="convert them")
        return images

    def _run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        import tensorflow as tf

        if self._forward is None:
            shape = [None, None, None, self.artifact.image_shape[2]]

            def forward(images: Any) -> Any:
                return tf.nn.softmax(self._model(images, training=False))

            self._forward = tf.function(forward, input_signature=[tf.TensorSpec(shape, tf.uint8)], autograph=False)
        return self._forward(tf.constant(batch)).numpy()

    def _describe(self, name: str, probabilities: NDArray[np.float32], top: int) -> Prediction:
        order = np.argsort(-probabilities, kind="stable")[:top]
        best = tuple((self.class_names[index], float(probabilities[index])) for index in order)
        return Prediction(name, best[0][0], best[0][1], best)
