"""What is searched for where a recipe leaves nothing open: around the values that were chosen for the data.

Owns the ranges. Knows recipes, and nothing of how a search goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from railcar.recipe.schema import Recipe
from railcar.recipe.search import Parameter
from railcar.registry import MODELS, PRETRAINED

_MOST_BATCH = 1024


def choose_space(recipe: Recipe, *, n_steps: int, n_train: int, fixed: Collection[str] = ()) -> list[Parameter]:
    """Length, batch size, learning rate and what the recipe's network has of dropout, width and kernel size. `n_steps`
    is how long the recipe trains, `n_train` the number of training examples. `fixed` are keys that stay as they are."""
    node, optimizer = recipe.training, recipe.training.optimizer
    space = [
        _range("training.steps", max(n_steps // 2, 1), max(n_steps * 2, 2), is_log=True),
        _range("training.optimizer.learning_rate", optimizer.learning_rate / 10, optimizer.learning_rate * 10, True),
    ]
    most = max(min(_MOST_BATCH, n_train // 2), node.batch_size)
    sizes = [size for size in (node.batch_size // 2, node.batch_size, node.batch_size * 2) if 1 <= size <= most]
    if len(sizes) > 1:
        space.append(Parameter("training.batch_size", tuple(sizes), is_range=False))
    if decay := optimizer.weight_decay:
        space.append(_range("training.optimizer.weight_decay", decay / 10, decay * 10, True))
    return [one for one in (*space, *_of_network(recipe)) if one.key not in fixed]


def _of_network(recipe: Recipe) -> Iterator[Parameter]:
    model = recipe.model
    keys = MODELS[model.name].keys if model.name in MODELS else ()
    if "dropout" in keys:
        yield _range("model.dropout", 0.0, 0.6, False)
    if "kernel_size" in keys:
        yield Parameter("model.kernel_size", (3, 5), is_range=False)
    if "filters" in keys and model.name != "airbench":
        yield _scaled("model.filters", model.filters)
    if "dense" in keys and model.dense:
        yield _scaled("model.dense", model.dense)
    if "embedding" in keys and model.embedding:
        yield Parameter("model.embedding", (model.embedding // 2, model.embedding, model.embedding * 2), is_range=False)
    if "units" in keys:
        yield Parameter("model.units", (model.units // 2, model.units, model.units * 2), is_range=False)
    if model.name == PRETRAINED:
        yield Parameter("model.dense", ([], [128]), is_range=False)


def _range(key: str, low: float, high: float, is_log: bool) -> Parameter:
    return Parameter(key, (low, high), is_range=True, is_log=is_log)


def _scaled(key: str, widths: Sequence[int]) -> Parameter:
    """As wide, half as wide, and twice as wide."""
    choices = tuple([max(round(width * factor), 1) for width in widths] for factor in (0.5, 1, 2))
    return Parameter(key, choices, is_range=False)
