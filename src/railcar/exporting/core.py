"""The part of a model that every runtime can hold: from encoded input to probabilities, or the numbers of a regression.

Owns what that input is, and what `model.json` says of it, so that `standalone.py` makes it without TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from railcar.artifact.artifact import Artifact
from railcar.artifact.saved_model import SavedNetwork
from railcar.errors import ExportError
from railcar.layers.images import ResizeImages
from railcar.layers.raw import NETWORK
from railcar.layers.texts import FIRST_WORD
from railcar.registry import NGRAMS, RAW, WORDS


@dataclass(frozen=True)
class Core:
    """`compute` takes one tensor, [n, *shape] of `dtype`, and gives float32 [n, n_outputs]. `recurs`: it goes through
    its input step by step, which LiteRT holds for one example at a time only. `tracked` has its variables. `resizes`
    are (height, width, fit): what is done to an image, one after the other, before it is the input."""

    compute: Any
    tracked: Any
    shape: tuple[int, ...]
    dtype: str
    recurs: bool = False
    resizes: tuple[tuple[int, int, str], ...] = ()


def find_core(artifact: Artifact, model: Any) -> Core:
    """Of the loaded `model` of an artifact. Raises `ExportError` for a network that takes raw texts itself."""
    if artifact.kind == "image":
        network, resizes = _cut_resizing(artifact, model)
        shape = (*resizes[-1][:2], artifact.image_shape[2])
        return Core(build_answer(network, artifact), tracked(model), shape, "uint8", resizes=resizes)
    encoding, network = artifact.encoding, model.get_layer(NETWORK)
    if encoding.get("form") == RAW:
        raise ExportError(
            f"{artifact.path}: its network takes raw texts, which only TensorFlow can hold",
            hint="export it with --format saved_model",
        )
    target = tuple(encoding["target"]) if encoding.get("target") else None
    compute = build_answer(network, artifact, target)
    if artifact.kind == "text":
        recurs = any(type(one).__name__ in _RECURRENT for one in _flatten(network))
        return Core(compute, tracked(model), (encoding["length"],), "int32", recurs)
    return Core(compute, tracked(model), (_count_numbers(encoding),), "float32")


def tracked(model: Any) -> Any:
    """What TensorFlow must save with a function that calls an artifact's model."""
    return model.loaded if isinstance(model, SavedNetwork) else model


def _cut_resizing(artifact: Artifact, model: Any) -> tuple[Any, tuple[tuple[int, int, str], ...]]:
    """A network for images without the resizing that it begins with, which small runtimes cannot do, and that."""
    import keras

    height, width, _ = artifact.image_shape
    usual = ((height, width, artifact.features.get("fit", "stretch")),)
    if isinstance(model, SavedNetwork):
        return model.get_layer(NETWORK), usual  # made for images of that size
    first = [one for one in model.layers if isinstance(one, ResizeImages)]
    if not first:
        return model, usual  # with several views of each: at that size it resizes nothing
    network = keras.Model(first[-1].output, model.outputs[0])
    return network, tuple((one.height, one.width, one.fit) for one in first)


_RECURRENT = {"Bidirectional", "GRU", "LSTM", "RNN", "SimpleRNN"}


def _flatten(network: Any) -> list[Any]:
    return list(network._flatten_layers()) if hasattr(network, "_flatten_layers") else []


def _count_numbers(encoding: dict[str, Any]) -> int:
    from railcar.layers.tables import EncodeColumns

    layer = EncodeColumns(encoding["columns"])
    return layer.n_numbers + len(layer.categories)


def build_answer(network: Any, artifact: Artifact, target: tuple[float, float] | None = None) -> Any:
    """A function from what `network` takes to probabilities, or the numbers of a regression, in the unit of `target`,
    (mean, deviation), where the network does not give them so."""
    import tensorflow as tf

    def compute(inputs: Any) -> Any:
        answers = network(inputs, training=False)
        if artifact.task != "regression":
            return tf.nn.softmax(tf.cast(answers, tf.float32))
        return answers if target is None else answers * target[1] + target[0]

    return compute


def describe(artifact: Artifact, core: Core) -> dict[str, Any]:
    """What `standalone.py` must know: kind, labels, the network's input, and how raw input becomes that."""
    about: dict[str, Any] = {
        "kind": artifact.kind,
        "task": artifact.task,
        "labels": list(artifact.class_names) if artifact.task != "regression" else [],
        "input": {"shape": [None, *core.shape], "dtype": core.dtype},
        "run": artifact.manifest.get("run"),
        "checkpoint": artifact.manifest.get("checkpoint"),
        "data_fingerprint": artifact.manifest.get("data_fingerprint"),
        "metrics": artifact.manifest.get("metrics"),
    }
    if artifact.kind == "image":
        return {**about, "channels": core.shape[2], "resizes": [list(one) for one in core.resizes]}
    encoding = artifact.encoding
    if artifact.kind == "text":
        form = NGRAMS if encoding.get("form") == NGRAMS else WORDS
        first = 1 if form == NGRAMS else FIRST_WORD
        kept = {"form": form, "first": first, "length": encoding["length"], "vocabulary": encoding["vocabulary"]}
        return {**about, "encoding": kept}
    return {**about, "encoding": {"columns": encoding["columns"]}}
