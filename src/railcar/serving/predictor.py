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
from railcar.artifact.samples import TOLERANCE, measure_difference
from railcar.errors import ArtifactError, DataError
from railcar.storage.columns import to_typed
from railcar.storage.frames import to_arrays, to_frame
from railcar.storage.images import decode_image

_BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """`input` names what was looked at. `label` is the most probable class, `probability` its probability, `top` the
    most probable classes with theirs, best first. Of a regression there is `value` only."""

    input: str
    label: str = ""
    probability: float = 1.0
    top: tuple[tuple[str, float], ...] = ()
    value: float | None = None

    def to_dict(self) -> dict[str, Any]:
        if self.value is not None:
            return {"input": self.input, "value": self.value}
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
        look = "x".join(map(str, self.artifact.image_shape)) if self.kind == "image" else self.kind
        what = "a number" if self.artifact.task == "regression" else f"{len(self.class_names)} classes"
        return f"Predictor({self.artifact.path}: {what}, {look})"

    @property
    def kind(self) -> str:
        """What it takes: "image", "text" or "table"."""
        return self.artifact.kind

    def check_samples(self, tolerance: float = TOLERANCE) -> float:
        """The largest difference of a probability from what the artifact expects (of a regression relative to the
        spread of the numbers). Raises `ArtifactError` above `tolerance`: the model then computes something else here
        than where it was made."""
        inputs, expected = self.artifact.samples()
        if not len(inputs):
            return 0.0
        is_number = self.artifact.task == "regression"
        difference = measure_difference(self._answer(inputs), expected, is_number=is_number)
        if difference > tolerance:
            raise ArtifactError(
                f"{self.artifact.path}: its answers to its own samples differ by {difference:.4f} from what is stored",
                hint="the artifact is damaged, or this TensorFlow computes differently; train again here",
            )
        return difference

    def predict_probabilities(self, inputs: Any) -> NDArray[np.float32]:
        """float32 [n, n_classes]; of a regression the numbers, float32 [n, 1].

        `inputs` are what the model takes: images uint8 [n, height, width, channels] (or without channels, for gray) of
        0 to 255; texts, a sequence of strings; rows, a polars or pandas frame, a dict of columns or a list of dicts,
        with the columns that it was trained on. Raises `DataError` for what does not fit.
        """
        return self._answer(self._check(inputs))

    def predict(self, inputs: Any, *, names: Sequence[str] | None = None, top: int = 3) -> Any:
        """One `Prediction` for each of the inputs (as for `predict_probabilities`); `names` are what they are called.
        For a frame of polars or pandas a frame of the same: `label` and `probability`, or `value`, a row each."""
        answers = self.predict_probabilities(inputs)
        called = names if names is not None else [str(index) for index in range(len(answers))]
        found = [self._describe(name, row, top) for name, row in zip(called, answers, strict=True)]
        return found if names is not None else _like(inputs, found)

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

    def _check(self, inputs: Any) -> Any:
        """Decoded inputs: an array of images, or a frame."""
        if self.kind == "image":
            return self._check_images(inputs)
        import polars as pl

        if self.kind == "text":
            texts = [inputs] if isinstance(inputs, str) else list(inputs)
            if strange := next((one for one in texts if not isinstance(one, str)), None):
                raise DataError(f"{strange!r} is no text", hint="give a sequence of strings")
            return pl.DataFrame({"text": texts}, schema={"text": pl.String})
        frame = to_frame(inputs)
        return to_typed(frame, self.artifact.columns, lambda row: f"row {row}")

    def _answer(self, inputs: Any) -> NDArray[np.float32]:
        n_outputs = 1 if self.artifact.task == "regression" else len(self.class_names)
        parts = [self._run(inputs[start : start + _BATCH]) for start in range(0, len(inputs), _BATCH)]
        return np.concatenate(parts) if parts else np.empty((0, n_outputs), np.float32)

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

    def _run(self, batch: Any) -> NDArray[np.float32]:
        import tensorflow as tf

        from railcar.layers.tables import name_inputs

        if self._forward is None:
            is_number = self.artifact.task == "regression"

            def forward(inputs: Any) -> Any:
                answers = self._model(inputs, training=False)
                return answers if is_number else tf.nn.softmax(answers)

            self._forward = tf.function(forward, input_signature=[self._signature()], autograph=False)
        if self.kind == "image":
            return self._forward(tf.constant(batch)).numpy()
        tensors = {
            name: tf.constant(values, tf.string if values.dtype == object else tf.float32)
            for name, values in to_arrays(batch, batch.columns).items()
        }
        if self.kind == "text":
            return self._forward(tensors["text"]).numpy()
        keys = name_inputs(batch.columns)
        return self._forward({keys[name]: tensor for name, tensor in tensors.items()}).numpy()

    def _signature(self) -> Any:
        import tensorflow as tf

        if self.kind == "image":
            return tf.TensorSpec([None, None, None, self.artifact.image_shape[2]], tf.uint8)
        if self.kind == "text":
            return tf.TensorSpec([None], tf.string)
        from railcar.layers.tables import name_inputs

        types = {one.name: tf.string if one.type == "category" else tf.float32 for one in self.artifact.columns}
        return {key: tf.TensorSpec([None], types[name]) for name, key in name_inputs(list(types)).items()}

    def _describe(self, name: str, probabilities: NDArray[np.float32], top: int) -> Prediction:
        if self.artifact.task == "regression":
            return Prediction(name, value=float(probabilities[0]))
        order = np.argsort(-probabilities, kind="stable")[:top]
        best = tuple((self.class_names[index], float(probabilities[index])) for index in order)
        return Prediction(name, best[0][0], best[0][1], best)


def _like(inputs: Any, found: list[Prediction]) -> Any:
    """The predictions as a frame of the library that the inputs came in, as they are for all else."""
    if not hasattr(inputs, "columns"):
        return found
    import polars as pl

    if found and found[0].value is not None:
        columns: dict[str, list[Any]] = {"value": [one.value for one in found]}
    else:
        columns = {"label": [one.label for one in found], "probability": [one.probability for one in found]}
    if isinstance(inputs, pl.DataFrame):
        return pl.DataFrame(columns)
    return type(inputs)(columns)
