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

from railcar.artifact.artifact import write_artifact
from railcar.data.pipeline import Batches
from railcar.data.types import Dataset, Features, Split
from railcar.evaluation.evaluate import Evaluator
from railcar.evaluation.metrics import describe, softmax
from railcar.layers.images import average_views
from railcar.models.build import build_model, choose_scale, scale_numbers
from railcar.recipe.schema import Recipe
from railcar.runs.checkpoint import Checkpoint, restore_variables
from railcar.runs.run_dir import RunDir, write_json
from railcar.storage.local import write_atomic

_N_SAMPLES = 20
_N_MISTAKES = 24


def build_from_recipe(recipe: Recipe, features: Features, *, precision: str) -> Any:
    """The recipe's model for data of these features, in one precision."""
    scale, _ = choose_scale(recipe.data.scale, features.mean)
    mean, std = scale_numbers(scale, features.mean, features.std)
    return build_model(
        recipe.model.model_dump(),
        image_shape=features.image_shape,
        n_classes=features.n_classes,
        mean=mean,
        std=std,
        precision=precision,
        seed=recipe.seed,
    )


def for_inference(recipe: Recipe, model: Any, image_shape: tuple[int, int, int]) -> Any:
    """`model` as it answers outside training, with the same variables; `image_shape` is that inside of it."""
    node = recipe.model
    if not (node.mirror_average or node.shift_average):
        return model
    return average_views(model, size=image_shape[:2], mirror=node.mirror_average, shift=node.shift_average)


class Finished:
    """A model in float32 and what it says of each split of `dataset` that it is asked for.

    On a GPU TensorFloat-32 is switched off for it: ten bits of mantissa are not what other machines compute.
    """

    def __init__(self, model: Any, dataset: Dataset, checkpoint_name: str) -> None:
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self.model = model
        self.dataset = dataset
        self.checkpoint_name = checkpoint_name
        self._evaluator = Evaluator(model, dataset.features.image_shape)
        self._logits: dict[str, NDArray[np.float32]] = {}

    @classmethod
    def restore(cls, recipe: Recipe, dataset: Dataset, checkpoint: Checkpoint) -> Finished:
        """Rebuilt from a recipe and a checkpoint."""
        model = build_from_recipe(recipe, dataset.features, precision="float32")
        restore_variables(checkpoint, {"average" if recipe.training.average else "model": model.variables})
        return cls(for_inference(recipe, model, dataset.features.image_shape), dataset, checkpoint.name)

    def logits(self, split: Split) -> NDArray[np.float32]:
        if split.name not in self._logits:
            self._logits[split.name] = self._evaluator.logits(split)
        return self._logits[split.name]

    def evaluate(self, split: Split) -> dict[str, Any]:
        """As evaluation.json has it."""
        return describe(self.logits(split), split.label_array(), self.dataset.features.class_names)


def write_results(run: RunDir, finished: Finished, recipe: Recipe) -> dict[str, Any]:
    """Write evaluation.json, predictions.parquet, plots/ and artifact/; returns the evaluation."""
    splits = finished.dataset.splits
    evaluation: dict[str, Any] = {"checkpoint": finished.checkpoint_name}
    for name in ("test", "validation"):
        if name in splits:
            evaluation[name] = finished.evaluate(splits[name])
    write_json(run.evaluation_path, evaluation)
    shown = splits.get("test") or splits.get("validation") or splits["train"]
    if "test" in splits:
        write_predictions(run.predictions_path, finished, splits["test"])
    write_run_artifact(run, finished, shown, evaluation)
    draw_plots(run, finished, shown, recipe)
    return evaluation


def write_predictions(path: Path, finished: Finished, split: Split) -> None:
    """predictions.parquet: id, label, predicted, probabilities (a list of float32), one row an example."""
    import polars

    names = np.array(finished.dataset.features.class_names)
    logits = finished.logits(split)
    frame = polars.DataFrame(
        {
            "id": [split.id_of(index) for index in range(len(split))],
            "label": names[split.label_array()],
            "predicted": names[logits.argmax(axis=-1)],
            "probabilities": polars.Series(softmax(logits), dtype=polars.Array(polars.Float32, logits.shape[1])),
        }
    )
    content = io.BytesIO()
    frame.write_parquet(content)
    write_atomic(path, content.getvalue())


def write_run_artifact(run: RunDir, finished: Finished, split: Split, evaluation: dict[str, Any]) -> None:
    """artifact/, with twenty examples of `split` and what the model says of them."""
    rows = split.rows[np.linspace(0, len(split) - 1, min(_N_SAMPLES, len(split))).astype(int)]
    images = np.asarray(split.images[np.sort(rows)])
    expected = softmax(finished.model(tf.constant(images), training=False).numpy())
    features = finished.dataset.features
    metrics = {
        name: {key: evaluation[name][key] for key in ("n", "accuracy", "loss")}
        for name in ("test", "validation")
        if name in evaluation
    }
    write_artifact(
        run.artifact,
        finished.model,
        kind=features.kind,
        class_names=features.class_names,
        image_shape=features.image_shape,
        samples=(images, expected),
        facts={
            "run": run.name,
            "checkpoint": finished.checkpoint_name,
            "data_fingerprint": finished.dataset.fingerprint,
            "versions": run.read_manifest().get("versions", {}),
            "metrics": metrics,
        },
    )


def draw_plots(run: RunDir, finished: Finished, split: Split, recipe: Recipe) -> None:
    """curves.png, confusion.png, mistakes.png and batch.png under plots/."""
    from railcar.evaluation.metrics import confusion_matrix, log_loss
    from railcar.reporting.plots import plot_batch, plot_confusion, plot_curves, plot_mistakes

    run.plots.mkdir(exist_ok=True)
    names = finished.dataset.features.class_names
    logits, labels = finished.logits(split), split.label_array()
    predicted = logits.argmax(axis=-1).astype(np.int32)
    worst = np.argsort(-log_loss(logits, labels), kind="stable")
    worst = worst[predicted[worst] != labels[worst]][:_N_MISTAKES]
    plot_curves(run.read_metrics(), run.plots / "curves.png", kept_step=int(finished.checkpoint_name[5:]))
    plot_confusion(
        confusion_matrix(labels, predicted, len(names)), names, run.plots / "confusion.png", split=split.name
    )
    images = np.asarray(split.images[split.rows[worst]])
    probabilities = softmax(logits[worst]) if len(worst) else np.empty((0, len(names)), np.float32)
    plot_mistakes(images, labels[worst], predicted[worst], probabilities, names, run.plots / "mistakes.png")
    train = finished.dataset.splits["train"]
    rows = Batches(train, 32, recipe.seed, recipe.data.shuffle).rows(0)
    plot_batch(np.asarray(train.images[rows]), np.asarray(train.labels[rows]), names, run.plots / "batch.png")
