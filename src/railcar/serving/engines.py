"""What computes: a network of LiteRT or ONNX Runtime, or the artifact's own in TensorFlow. Raw input -> the network's
input (`encode`) -> answers (`compute`).

Owns which sizes of batches a network is given, and the proof by its samples that it answers as it did where it was
made. Knows no HTTP.
"""

from __future__ import annotations

import json
import os
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
from railcar.serving.spec import BadRequest, Spec, read_spec, spell_cell
from railcar.storage.images import decode_image, read_header

LIGHT_S = 1e-3
"""A network that answers in less is computed on one core: to wake another costs more."""
BUCKETS = (1, 4, 8, 16, 32)
# A larger batch is kept where it answers that many times as much: each holds the network's memory once more.
_WORTH_IT = 1.15


# Large photos are decoded one after the other, so that many of them at once do not fill the memory.
_LARGE_PIXELS = 8_000_000
_large = threading.Lock()


class Engine(Protocol):
    """`encode` and `compute` may be called by several threads at once. `seconds_each` is what one input takes, and
    `good_batch` how many are computed together for nearly the best rate, measured when it was loaded."""

    name: str
    spec: Spec
    seconds_each: float
    good_batch: int
    n_threads: int

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
            self._content = self.path.read_bytes()  # what is written over it later must not reach the network
            self._fixed_batch: int | None = about["batch"]
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
        self._start(n_threads)

    def _start(self, n_threads: int | None) -> None:
        self.n_threads = n_threads or 1
        self._runs = self._open()
        self.seconds_each = self.time_batch(1)
        if n_threads is None and self.seconds_each > LIGHT_S and count_cores() > 1:
            self.n_threads = count_cores()
            self._runs = self._open()
            self.seconds_each = self.time_batch(1)
        self._buckets = {1: self.seconds_each} if self._fixed_batch else self._time_buckets()
        self._plan = _plan_batches(self._buckets)
        best = min(seconds / size for size, seconds in self._buckets.items())
        self.good_batch = min(one for one, seconds in self._buckets.items() if seconds / one <= best * _WORTH_IT)

    def _open(self) -> _PerThread:
        opener = open_litert if self.name == "litert" else open_onnx
        try:
            found = _PerThread(lambda: opener(self._content, self.n_threads))
            found.get()(self._build_zeros(1))
        except MissingExtra:
            raise
        except Exception as error:  # the runtimes raise many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            raise ArtifactError(
                f"{self.path}: cannot be loaded: {reason}", hint="make it anew with railcar export"
            ) from error
        return found

    def _time_buckets(self) -> dict[int, float]:
        """Sizes of batches that answer more than smaller ones, and the seconds that each takes."""
        kept, best = {1: self.seconds_each}, self.seconds_each
        for size in BUCKETS[1:]:
            if self.seconds_each * size > 0.5:
                break  # nobody waits half a second to be computed along with others
            seconds = self.time_batch(size)
            if seconds / size * _WORTH_IT < best:
                kept[size], best = seconds, seconds / size
        return kept

    def time_batch(self, n: int) -> float:
        """Seconds for a batch of `n`, the best of a few."""
        batch = self._build_zeros(n)
        run, found = self._runs.get(), float("inf")
        run(batch)
        until = time.perf_counter() + 0.02
        while True:
            began = time.perf_counter()
            run(batch)
            found = min(found, time.perf_counter() - began)
            if time.perf_counter() > until:
                return found

    def warm(self) -> None:
        """Make what the calling thread needs, for each size of batch, so that no question waits for it."""
        for size in self._buckets:
            self._runs.get()(self._build_zeros(size))

    def _build_zeros(self, n: int) -> NDArray[Any]:
        """A batch as the network takes it."""
        about = self.spec.about["input"]
        return np.zeros((n, *about["shape"][1:]), about["dtype"])

    def encode(self, inputs: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
        """Raw inputs -> [n, ...] as the network takes them. Raises `BadRequest`, or `DataError` for an image."""
        try:
            return self._encode(inputs, self.about, self._lookup)
        except ValueError as error:
            raise BadRequest(str(error)) from error

    def compute(self, encoded: NDArray[Any]) -> NDArray[np.float32]:
        run = self._runs.get()
        if len(encoded) == 1:
            return run(encoded)
        parts, at = [], 0
        while at < len(encoded):
            size = self._plan[min(len(encoded) - at, len(self._plan) - 1)]
            part = encoded[at : at + size]
            if len(part) < size:
                # The rest of a batch is computed in vain: it costs less than several small ones.
                part = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), part.dtype)])
            parts.append(run(part))
            at += size
        if not parts:
            return np.zeros((0, self.spec.n_outputs), np.float32)
        return parts[0][: len(encoded)] if len(parts) == 1 else np.concatenate(parts)[: len(encoded)]

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


def _plan_batches(seconds: Mapping[int, float]) -> list[int]:
    """For each number of inputs from 0 on the size of the batch that is computed first, so that all take least."""
    most = max(seconds)
    plan, costs = [0], [0.0]
    for n in range(1, most + 1):
        cost, size = min((seconds[size] + costs[max(n - size, 0)], size) for size in seconds)
        plan.append(size)
        costs.append(cost)
    return plan


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


class _PerThread:
    """What `make` gives, once for each thread."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._local = threading.local()

    def get(self) -> Any:
        found = getattr(self._local, "found", None)
        if found is None:
            found = self._local.found = self._make()
        return found


def open_litert(content: bytes, n_threads: int) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """A function of the network's input. Each size of batch has an interpreter of its own: to resize one costs more
    than an answer."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtra("LiteRT (ai-edge-litert)", "serve", needed_for="serving") from error
    interpreters: dict[int, tuple[Any, int, int]] = {}

    def open_one(shape: tuple[int, ...]) -> tuple[Any, int, int]:
        interpreter = Interpreter(model_content=content, num_threads=n_threads)
        given = interpreter.get_input_details()[0]
        if tuple(given["shape"]) != shape:
            interpreter.resize_tensor_input(given["index"], shape, strict=False)
        interpreter.allocate_tensors()
        found = interpreter, given["index"], interpreter.get_output_details()[0]["index"]
        interpreters[shape[0]] = found
        return found

    def run(batch: NDArray[Any]) -> NDArray[np.float32]:
        interpreter, given, answer = interpreters.get(len(batch)) or open_one(batch.shape)
        interpreter.set_tensor(given, batch)
        interpreter.invoke()
        return interpreter.get_tensor(answer)

    return run


def open_onnx(content: bytes, n_threads: int) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("ONNX Runtime (onnxruntime)", "export", needed_for="serving a model.onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    # Threads that spin between questions take the cores from the rest of the server.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {name: batch})[0])


def count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plain_name(name: str) -> str:
    """A file of the folder itself: never a way out of it."""
    if name not in ("model.tflite", "model.onnx"):
        raise ValueError(f"model.json names the file {name!r}")
    return name
