"""What computes: a network of LiteRT or ONNX Runtime, or the artifact's own in TensorFlow. Raw input -> the network's
input (`encode`) -> answers (`compute`).

Owns the proof by its samples that it answers as it did where it was made. Knows no HTTP.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from railcar.artifact import standalone
from railcar.artifact.samples import TOLERANCE, measure_difference
from railcar.errors import ArtifactError, MissingExtra
from railcar.serving.networks import BUCKETS, Network, count_cores
from railcar.serving.spec import BadRequest, Spec, read_spec, spell_cell
from railcar.storage.images import decode_image, read_header

# Large photos are decoded one after the other, so that many of them at once do not fill the memory.
_LARGE_PIXELS = 8_000_000
_large = threading.Lock()


class Engine(Protocol):
    """`encode` and `compute` may be called by several threads at once. `seconds_each` is what one input takes, and
    `good_batch` how many are computed together for nearly the best rate, measured when it was loaded. `network` is
    what computes, where other processes can hold it, too."""

    name: str
    spec: Spec
    seconds_each: float
    good_batch: int
    n_threads: int

    @property
    def network(self) -> Network | None: ...

    def encode(self, inputs: Sequence[Any] | NDArray[Any]) -> NDArray[Any]: ...

    def compute(self, encoded: NDArray[Any]) -> NDArray[np.float32]: ...

    def warm(self) -> None: ...

    def samples(self) -> tuple[list[Any], NDArray[np.float32]]: ...


class SmallEngine:
    """The export in `folder` (model.json, and model.tflite or model.onnx), on `n_threads` cores; None: on one where the
    network is light, else on all. Raises `ArtifactError` where it cannot be read."""

    def __init__(self, folder: Path, n_threads: int | None = None) -> None:
        self.folder = folder
        try:
            about = json.loads((folder / "model.json").read_bytes())
            self.spec = read_spec(about)
            self.path = folder / _plain_name(about["file"])
            content = self.path.read_bytes()  # what is written over it later must not reach the network
            self.is_single = bool(about["batch"])  # one input at a time
            self._lookup = standalone.index_vocabularies(about)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{folder}: cannot be read: {error}", hint="make it anew with railcar export"
            ) from error
        self.about = about
        self._samples: tuple[list[Any], NDArray[np.float32]] | None = None
        self.name = "litert" if self.path.suffix == ".tflite" else "onnx"
        self._encode: Callable[..., NDArray[Any]] = {
            "image": _encode_images,
            "text": standalone.encode_texts,
            "table": standalone.encode_rows,
        }[self.spec.kind]
        self.network = self._open(content)
        self.seconds_each = self.network.time_itself(n_threads, is_single=self.is_single)
        self.n_threads, self.good_batch = self.network.n_threads, self.network.good_batch

    def _open(self, content: bytes) -> Network:
        given = self.about["input"]
        try:
            return Network(self.name, content, given["shape"][1:], given["dtype"])
        except MissingExtra:
            raise
        except Exception as error:  # the runtimes raise many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            raise ArtifactError(
                f"{self.path}: cannot be loaded: {reason}", hint="make it anew with railcar export"
            ) from error

    def warm(self) -> None:
        self.network.warm()

    def encode(self, inputs: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
        """Raw inputs -> [n, ...] as the network takes them. Raises `BadRequest`, or `DataError` for an image."""
        try:
            return self._encode(inputs, self.about, self._lookup)
        except ValueError as error:
            raise BadRequest(str(error)) from error

    def compute(self, encoded: NDArray[Any]) -> NDArray[np.float32]:
        return self.network.compute(encoded) if len(encoded) else np.zeros((0, self.spec.n_outputs), np.float32)

    def samples(self) -> tuple[list[Any], NDArray[np.float32]]:
        """Raw inputs and what is expected of them, [n, n_outputs]; read once. Raises `ArtifactError` when they are not
        there."""
        if self._samples is None:
            self._samples = self._read_samples(self.folder / "samples")
        return self._samples

    def _read_samples(self, folder: Path) -> tuple[list[Any], NDArray[np.float32]]:
        try:
            expected = np.load(folder / "expected.npy", allow_pickle=False)
            if self.spec.kind == "image":
                return list(np.load(folder / "inputs.npy", allow_pickle=False)), expected
            return json.loads((folder / "inputs.json").read_bytes()), expected
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactError(
                f"{folder}: no samples to check it by: {error}", hint="make it anew with this railcar: railcar export"
            ) from error


class TensorFlowEngine:
    """The artifact's own model, for what no small runtime can hold. `predictor` is a `serving.predictor.Predictor`."""

    name = "tensorflow"
    good_batch = 8
    network = None

    def __init__(self, predictor: Any, spec: Spec) -> None:
        self.spec = spec
        self.n_threads = count_cores()
        self._predictor = predictor
        self._lock = threading.Lock()
        inputs, _ = self.samples()
        began = time.perf_counter()
        self.compute(self.encode(inputs[:1]))
        self.seconds_each = time.perf_counter() - began

    def warm(self) -> None:
        inputs, _ = self.samples()
        for size in BUCKETS:
            self.compute(self.encode((inputs * size)[:size]))

    def encode(self, inputs: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
        """Raw inputs, an object each; files of images decoded and resized. Raises `BadRequest` or `DataError`."""
        if self.spec.kind == "image":
            return _encode_images(inputs, self.spec.about, {})
        found = np.empty(len(inputs), object)
        for at, one in enumerate(inputs):
            found[at] = one
        if self.spec.kind == "table":
            self._predictor._check(self._to_rows(found))  # a cell that does not fit is this question's fault alone
        return found

    def _to_rows(self, rows: NDArray[Any]) -> dict[str, list[Any]]:
        return {one.name: [row.get(one.name) for row in rows] for one in self.spec.features}

    def compute(self, encoded: NDArray[Any]) -> NDArray[np.float32]:
        given: Any = encoded
        if self.spec.kind == "text":
            given = list(encoded)
        elif self.spec.kind == "table":
            given = self._to_rows(encoded)
        with self._lock:
            return self._predictor.predict_probabilities(given)

    def samples(self) -> tuple[list[Any], NDArray[np.float32]]:
        inputs, expected = self._predictor.artifact.samples()
        if self.spec.kind == "image":
            return list(inputs), expected
        rows = inputs.rows(named=True)
        if self.spec.kind == "text":
            return [next(iter(row.values())) or "" for row in rows], expected
        dates = [one for one in self.spec.features if one.type == "date"]
        # Its cells are as the network takes them; of dates it is asked for the words.
        return [{**row, **{one.name: spell_cell(row[one.name], one) for one in dates}} for row in rows], expected


def check_samples(engine: Engine) -> float:
    """The largest difference from what is expected of the samples. Raises `ArtifactError` above `TOLERANCE`."""
    inputs, expected = engine.samples()
    if not len(inputs):
        return 0.0
    answers = engine.compute(engine.encode(inputs))
    difference = measure_difference(answers, expected, is_number=engine.spec.is_number)
    if difference > TOLERANCE:
        raise ArtifactError(
            f"its answers to its own samples differ by {difference:.4f} from what is stored",
            hint="it is damaged, or computes differently here; make it anew",
        )
    return difference


def _encode_images(
    inputs: Sequence[Any] | NDArray[Any], about: Mapping[str, Any], lookup: Mapping[str, Any]
) -> NDArray[np.uint8]:
    """Files or pixels -> uint8 [n, height, width, channels]. Of the network's size already, nothing is done."""
    height, width, channels = about["input"]["shape"][1:]
    if isinstance(inputs, np.ndarray) and inputs.shape[1:] == (height, width, channels):
        return inputs
    pixels = [_decode(one, channels) if isinstance(one, bytes) else one for one in inputs]
    return standalone.encode_images(pixels, about, lookup)


def _decode(content: bytes, n_channels: int) -> NDArray[np.uint8]:
    header = read_header(content, name="image")
    if header.height * header.width <= _LARGE_PIXELS:
        return decode_image(content, n_channels)
    with _large:
        return decode_image(content, n_channels)


def _plain_name(name: str) -> str:
    """A file of the folder itself: never a way out of it."""
    if name not in ("model.tflite", "model.onnx"):
        raise ValueError(f"model.json names the file {name!r}")
    return name
