"""What TensorBoard shows of a run that is finished: the images that it got wrong, and in the projector the examples as
its network sees them.

Owns which examples these are. The files are `training/summaries.py`'s and `training/projector.py`'s; what a run writes
while it goes on is the training loop's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.pipeline import iterate
from railcar.data.types import Split
from railcar.evaluation.metrics import find_mistakes, in_unit
from railcar.explanation.features import penultimate
from railcar.recipe.schema import Recipe
from railcar.runs.run_dir import RunDir
from railcar.training.projector import MAX_SPRITE_SIDE, write_projector
from railcar.training.summaries import Summaries, count_shown
from railcar.workflows.results import Finished

_MOST_EXAMPLES, _LEAST_EXAMPLES = 1000, 50
# Of a batch as the network takes it.
_BATCH_NUMBERS = 400_000
_MIN_S, _SHARE = 1.0, 0.02
"""Looking at the examples takes at most so long, or this share of the training."""


def show_results(run: RunDir, finished: Finished, recipe: Recipe, seconds_training: float) -> None:
    """Add them to the run's `tensorboard/`, if its recipe wants that. Of the test side, or what there is."""
    if not recipe.training.tensorboard:
        return
    splits = finished.dataset.splits
    split = splits.get("test") or splits.get("validation") or splits["train"]
    features = finished.dataset.features
    if features.kind == "image" and features.task == "classification":
        _show_mistakes(run, finished, split)
    order = np.random.default_rng(recipe.seed).permutation(len(split))[:_MOST_EXAMPLES]
    _show_vectors(run, finished, split, order, until_s=time.monotonic() + max(_MIN_S, _SHARE * seconds_training))


def _show_mistakes(run: RunDir, finished: Finished, split: Split) -> None:
    features, logits, labels = finished.dataset.features, finished.logits(split), split.label_array()
    worst = find_mistakes(logits, labels)[: count_shown(*features.image_shape[:2])]
    if not len(worst):
        return
    step = int(finished.checkpoint_name[5:])
    predicted = logits[worst].argmax(axis=-1)
    with Summaries(run.tensorboard) as summaries:
        images = np.asarray(split.inputs[split.rows[worst]])
        summaries.mistakes(images, labels[worst], predicted, features.class_names, step=step)


def _show_vectors(run: RunDir, finished: Finished, split: Split, order: NDArray[np.int64], *, until_s: float) -> None:
    """As many of the examples `order` as the time allows; none where the network does not show what is inside."""
    vectors = list(_look_inside(finished, split.name, order, until_s))
    chosen = order[: sum(map(len, vectors))]
    if len(chosen) < min(_LEAST_EXAMPLES, len(order)):
        return
    features, images = finished.dataset.features, None
    if features.kind == "image" and max(features.image_shape[:2]) <= MAX_SPRITE_SIDE:
        images = np.asarray(split.inputs[split.rows[chosen]])
    write_projector(run.tensorboard, np.concatenate(vectors), _tell(finished, split, chosen), images)


def _look_inside(
    finished: Finished, name: str, order: NDArray[np.int64], until_s: float
) -> Iterator[NDArray[np.float32]]:
    """Batch by batch, what the last layer of the network is given."""
    split = finished.measured.splits[name]
    n_inputs = max(int(np.prod(finished.measured.features.input_shape)), 1)
    batch_size = int(np.clip(_BATCH_NUMBERS // n_inputs, 16, 500))
    for batch, _ in iterate(replace(split, rows=split.rows[order]), batch_size):
        try:
            found = penultimate(finished.network, batch)
        except Exception:  # whatever a network of the user's own raises: its results are worth more than this picture
            return
        if found is None or time.monotonic() > until_s:
            return
        yield found


def _tell(finished: Finished, split: Split, chosen: NDArray[np.int64]) -> dict[str, list[Any]]:
    """What is known of each example; points can be coloured by it."""
    features, logits = finished.dataset.features, finished.logits(split)[chosen]
    labels, ids = split.label_array()[chosen], [split.id_of(int(index)) for index in chosen]
    if features.task == "regression":
        predicted, targets = in_unit(logits, labels, features.target)
        shown = {"label": targets, "predicted": predicted, "error": predicted - targets}
        return {name: [f"{one:.5g}" for one in values.tolist()] for name, values in shown.items()} | {"id": ids}
    predicted = logits.argmax(axis=-1)
    names = features.class_names
    return {
        "label": [names[one] for one in labels],
        "predicted": [names[one] for one in predicted],
        "answer": np.where(predicted == labels, "right", "wrong").tolist(),
        "id": ids,
    }
