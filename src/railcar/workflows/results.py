"""From a checkpoint to what a user keeps: the evaluation, the predictions, the plots and the artifact.

Everything is computed in float32 by a model rebuilt from the recipe, whatever precision it was trained in, so that the
figures are those of the artifact, on any machine.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.artifact.artifact import Artifact, write_artifact
from railcar.data.encode import to_tensors
from railcar.data.pipeline import Batches
from railcar.data.types import Dataset, Features, Split
from railcar.evaluation.describe import describe, describe_regression
from railcar.evaluation.evaluate import Evaluator
from railcar.evaluation.metrics import in_unit, softmax
from railcar.layers.images import ResizeImages, ViewAverage, average_views
from railcar.layers.ngrams import count_words
from railcar.layers.raw import NETWORK, take_raw
from railcar.layers.tables import EncodeColumns
from railcar.layers.texts import FIRST_WORD
from railcar.models.build import build_model, choose_scale, scale_numbers
from railcar.models.pretrained import split_frozen
from railcar.recipe.schema import Recipe
from railcar.registry import NGRAMS, PRETRAINED, RAW, is_own
from railcar.runs.checkpoint import Checkpoint, restore_variables
from railcar.runs.run_dir import RunDir, write_json
from railcar.storage.local import write_atomic

_N_SAMPLES = 20
_N_MISTAKES = 24


def build_from_recipe(recipe: Recipe, dataset: Dataset, *, precision: str, is_fresh: bool = False) -> Any:
    """The recipe's network for this data, in one precision. Pre-trained weights are read if it `is_fresh`: others come
    from a checkpoint."""
    features = dataset.features
    facts = _describe_for_own(recipe, dataset) if is_own(recipe.model.name) else _describe_for_network(recipe, features)
    if recipe.model.name == PRETRAINED:
        facts["is_fresh"] = is_fresh
    return build_model(recipe.model.model_dump(), kind=features.kind, precision=precision, seed=recipe.seed, **facts)


def _describe_for_network(recipe: Recipe, features: Features) -> dict[str, Any]:
    """What the builder of a network of this kind asks of the data."""
    encoding = features.encoding or {}
    if encoding.get("form") == NGRAMS:
        vocabulary = encoding["vocabulary"]
        sizes = {"n_ngrams": len(vocabulary), "n_words": count_words(vocabulary)}
        return {"length": encoding["length"], **sizes, "n_outputs": features.n_outputs}
    if features.kind == "text":
        n_words = len(encoding["vocabulary"]) + FIRST_WORD
        return {"length": encoding["length"], "n_words": n_words, "n_outputs": features.n_outputs}
    if features.kind == "table":
        columns = EncodeColumns(encoding["columns"])
        shapes = {"n_numbers": columns.n_numbers, "cardinalities": columns.cardinalities}
        return {**shapes, "n_outputs": features.n_outputs}
    scale, _ = choose_scale(recipe.data.scale, features.mean)
    mean, std = scale_numbers(scale, features.mean, features.std)
    shapes = {"image_shape": features.image_shape, "n_classes": features.n_classes}
    return {**shapes, "mean": mean, "std": std, "fit": recipe.data.fit}


def _describe_for_own(recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """What a function of the user's may ask for, and what is done before and after his network."""
    features = dataset.features
    offered: dict[str, Any] = {"input_shape": features.input_shape}
    if features.task == "classification":
        names = features.class_names
        offered |= {"n_classes": len(names), "num_classes": len(names), "class_names": list(names)}
    facts: dict[str, Any] = {"offered": offered, "n_outputs": features.n_outputs}
    facts["is_number"] = features.task == "regression"
    encoding = features.encoding or {}
    if features.kind == "image":
        scale, _ = choose_scale(recipe.data.scale, features.mean, model=recipe.model.name)
        facts["scaling"] = (*scale_numbers(scale, features.mean, features.std), recipe.data.fit)
    elif encoding.get("form") == RAW:
        train = dataset.splits["train"]
        offered["texts"] = lambda: train.inputs[train.rows].tolist()
    else:
        own = _describe_for_network(recipe, features)
        names = {"n_words": "vocabulary_size", "length": "length"}
        offered |= {names.get(key, key): value for key, value in own.items() if key != "n_outputs"}
    return facts


def for_inference(recipe: Recipe, network: Any, features: Features) -> Any:
    """`network` as it answers outside training to what it takes, with the same variables."""
    node = recipe.model
    if features.kind != "image" or not (node.mirror_average or node.shift_average):
        return network
    size, fit = features.image_shape[:2], recipe.data.fit
    return average_views(network, size=size, mirror=node.mirror_average, shift=node.shift_average, fit=fit)


class Finished:
    """A model in float32, which takes raw input, and what it says of each split of `dataset` that it is asked for.

    `network` is what computes its answers, and `measured` is `dataset` as that takes it: encoded.
    On a GPU TensorFloat-32 is switched off for it: ten bits of mantissa are not what other machines compute.
    """

    def __init__(self, model: Any, dataset: Dataset, checkpoint_name: str, *, encoded: Dataset | None = None) -> None:
        """`encoded` is `dataset` as the trained part of a pre-trained network takes it, if that was computed."""
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self.model = model
        self.dataset = dataset
        self.own: tuple[Any | None] | None = None
        self.checkpoint_name = checkpoint_name
        features = dataset.features
        # The splits are encoded already; images are taken raw by the network itself.
        network = model if features.kind == "image" else model.get_layer(NETWORK)
        self.network, self.measured = network, dataset
        if encoded is not None and (parts := split_frozen(model)) is not None:
            self.network, self.measured = parts[1], encoded
        self._evaluator = Evaluator(self.network, self.measured.features)
        self._logits: dict[str, NDArray[np.float32]] = {}

    @classmethod
    def restore(
        cls, recipe: Recipe, dataset: Dataset, checkpoint: Checkpoint, *, encoded: Dataset | None = None
    ) -> Finished:
        """Rebuilt from a recipe and a checkpoint."""
        model = build_from_recipe(recipe, dataset, precision="float32")
        restore_variables(checkpoint, {"average" if recipe.training.average else "model": model.variables})
        features = dataset.features
        model = for_inference(recipe, model, features)
        if features.kind != "image":
            model = take_raw(model, kind=features.kind, encoding=features.encoding or {}, target=features.target)
        finished = cls(model, dataset, checkpoint.name, encoded=encoded)
        if is_own(recipe.model.name):
            finished.own = (None if features.kind == "image" else model.get_layer(NETWORK),)
        return finished

    def logits(self, split: Split) -> NDArray[np.float32]:
        if split.name not in self._logits:
            self._logits[split.name] = self._evaluator.logits(self.measured.splits[split.name])
        return self._logits[split.name]

    def evaluate(self, split: Split) -> dict[str, Any]:
        """As evaluation.json has it."""
        features, logits, labels = self.dataset.features, self.logits(split), split.label_array()
        if features.task == "regression":
            scale = features.target[1] if features.target else 1.0
            return describe_regression(*in_unit(logits, labels, features.target), scale=scale)
        return describe(logits, labels, features.class_names)


def write_results(run: RunDir, finished: Finished, recipe: Recipe) -> tuple[dict[str, Any], Artifact]:
    """Write evaluation.json, predictions.parquet, plots/ and artifact/; returns the evaluation and the artifact."""
    splits = finished.dataset.splits
    evaluation: dict[str, Any] = {"checkpoint": finished.checkpoint_name}
    for name in ("test", "validation"):
        if name in splits:
            evaluation[name] = finished.evaluate(splits[name])
    write_json(run.evaluation_path, evaluation)
    shown = splits.get("test") or splits.get("validation") or splits["train"]
    if "test" in splits:
        write_predictions(run.predictions_path, finished, splits["test"])
    artifact = write_run_artifact(run, finished, shown, evaluation)
    draw_plots(run, finished, shown, recipe)
    return evaluation, artifact


def write_predictions(path: Path, finished: Finished, split: Split) -> None:
    """predictions.parquet, one row an example: id, label, predicted, and of a classification the probabilities (a list
    of float32)."""
    import polars

    features, logits = finished.dataset.features, finished.logits(split)
    ids = [split.id_of(index) for index in range(len(split))]
    if features.task == "regression":
        predicted, targets = in_unit(logits, split.label_array(), features.target)
        frame = polars.DataFrame({"id": ids, "label": targets, "predicted": predicted})
    else:
        names = np.array(features.class_names)
        frame = polars.DataFrame(
            {
                "id": ids,
                "label": names[split.label_array()],
                "predicted": names[logits.argmax(axis=-1)],
                "probabilities": polars.Series(softmax(logits), dtype=polars.Array(polars.Float32, logits.shape[1])),
            }
        )
    content = io.BytesIO()
    frame.write_parquet(content)
    write_atomic(path, content.getvalue())


def write_run_artifact(run: RunDir, finished: Finished, split: Split, evaluation: dict[str, Any]) -> Artifact:
    """artifact/, with twenty examples of `split` and what the model says of them."""
    features = finished.dataset.features
    inputs = split.raw_inputs(np.linspace(0, len(split) - 1, min(_N_SAMPLES, len(split))).astype(np.int64))
    tensors = (
        tf.constant(inputs)
        if isinstance(inputs, np.ndarray)
        else to_tensors(inputs, features.kind, features.encoding or {})
    )
    answers = finished.model(tensors, training=False).numpy()
    metrics = {
        name: {key: evaluation[name][key] for key in ("n", features.measure, "loss")}
        for name in ("test", "validation")
        if name in evaluation
    }
    return write_artifact(
        run.artifact,
        finished.model,
        about={
            "kind": features.kind,
            "task": features.task,
            "class_names": list(features.class_names),
            "features": _describe_for_artifact(features, finished.model),
        },
        encoding=None if features.encoding is None else {**features.encoding, "target": features.target},
        samples=(inputs, answers if features.task == "regression" else softmax(answers)),
        facts={
            "run": run.name,
            "checkpoint": finished.checkpoint_name,
            "data_fingerprint": finished.dataset.fingerprint,
            "versions": run.read_manifest().get("versions", {}),
            "metrics": metrics,
        },
        own=finished.own,
    )


def _describe_for_artifact(features: Features, model: Any) -> dict[str, Any]:
    if features.kind == "image":
        fits = [one.fit for one in model.layers if isinstance(one, ResizeImages | ViewAverage)]
        return {"image_shape": list(features.image_shape), "fit": fits[0] if fits else "stretch"}
    columns = (features.encoding or {}).get("columns", ())
    return {"columns": [{key: one[key] for key in ("name", "type", "form")} for one in columns]}


def draw_plots(run: RunDir, finished: Finished, split: Split, recipe: Recipe) -> None:
    """Under plots/: curves.png; confusion.png of a classification, predicted.png of a regression; and of images
    mistakes.png and batch.png."""
    from railcar.evaluation.metrics import confusion_matrix
    from railcar.reporting.plots import plot_confusion, plot_curves, plot_predicted

    run.plots.mkdir(exist_ok=True)
    features = finished.dataset.features
    names, logits, labels = features.class_names, finished.logits(split), split.label_array()
    kept_step = int(finished.checkpoint_name[5:])
    plot_curves(run.read_metrics(), run.plots / "curves.png", kept_step=kept_step, measure=features.measure)
    if features.task == "regression":
        plot_predicted(*in_unit(logits, labels, features.target), run.plots / "predicted.png", split=split.name)
        return
    predicted = logits.argmax(axis=-1).astype(np.int32)
    plot_confusion(
        confusion_matrix(labels, predicted, len(names)), names, run.plots / "confusion.png", split=split.name
    )
    if features.kind == "image":
        _draw_images(run, finished, split, recipe)


def _draw_images(run: RunDir, finished: Finished, split: Split, recipe: Recipe) -> None:
    from railcar.evaluation.metrics import find_mistakes
    from railcar.reporting.plots import plot_batch, plot_mistakes

    names, logits, labels = finished.dataset.features.class_names, finished.logits(split), split.label_array()
    predicted = logits.argmax(axis=-1).astype(np.int32)
    worst = find_mistakes(logits, labels)[:_N_MISTAKES]
    images = np.asarray(split.inputs[split.rows[worst]])
    probabilities = softmax(logits[worst]) if len(worst) else np.empty((0, len(names)), np.float32)
    plot_mistakes(images, labels[worst], predicted[worst], probabilities, names, run.plots / "mistakes.png")
    train = finished.dataset.splits["train"]
    rows = Batches(train, 32, recipe.seed, recipe.data.shuffle).rows(0)
    plot_batch(np.asarray(train.inputs[rows]), np.asarray(train.labels[rows]), names, run.plots / "batch.png")
