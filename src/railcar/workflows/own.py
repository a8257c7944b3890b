"""A network of the user's own in a training: where its code is, that it stays the same, and who trains it.

Owns what a recipe may ask of a compiled network, and the copy of the code that a run keeps.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from railcar.errors import RecipeError
from railcar.recipe.schema import Recipe
from railcar.registry import is_own
from railcar.runs.run_dir import RunDir
from railcar.storage.local import find_here, hash_file, write_atomic

if TYPE_CHECKING:
    from railcar.data.types import Dataset
    from railcar.training.distribute import Replicas

CODE = "model.py"


def with_absolute_code(recipe: Recipe) -> Recipe:
    """The same recipe with a path to the code that holds from any folder."""
    place, _, function = recipe.model.name.rpartition(":")
    path = Path(place).expanduser()
    if not place.endswith(".py") or not path.is_file():
        return recipe
    name = f"{path.absolute()}:{function}"
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": name})})


def find_compiled(recipe: Recipe, network: Any, replicas: Replicas | None) -> Any:
    """What the user's function returned, if that is compiled and so trains itself; else None. Raises `RecipeError` for
    what a recipe cannot ask of it."""
    from railcar.models.own import find_inner
    from railcar.training.own import is_compiled

    if not is_own(recipe.model.name) or not is_compiled(inner := find_inner(network)):
        return None
    node = recipe.training
    asked = {
        "training.average": node.average is not None,
        "training.label_smoothing": bool(node.label_smoothing),
        "data.balance": recipe.data.balance == "weights",
        "training.distribution": replicas is not None,
        "training.precision": node.precision not in ("auto", "float32"),
    }
    if key := next((key for key, is_asked in asked.items() if is_asked), None):
        raise RecipeError(
            f"{key}: has no effect on a network that is compiled, which trains itself",
            hint=f"leave {key} out, or return the network without compile(): railcar then trains it",
        )
    return inner


def begin_compiled(inner: Any, network: Any, dataset: Dataset) -> None:
    """Make the variables of its optimizer and metrics, with the first examples."""
    import tensorflow as tf

    from railcar.models.own import split_preparation
    from railcar.training.own import begin, choose_targets

    split, features = dataset.splits["train"], dataset.features
    rows = split.rows[:2]
    prepare = split_preparation(network)
    given: Any = tf.constant(split.inputs[rows])
    n_units = network.get_layer("answer").input.shape[-1]
    targets = choose_targets(inner, n_units, features.n_outputs, is_number=features.task == "regression")
    begin(inner, prepare(given) if prepare is not None else given, tf.constant(split.labels[rows]), targets)


def keep_code(recipe: Recipe, run: RunDir) -> dict[str, Any]:
    """Copy the file of the function into the run; returns what its manifest says of it."""
    from railcar.models.own import find_function

    if not is_own(recipe.model.name) or (path := find_function(recipe.model.name).path) is None:
        return {}
    write_atomic(run.path / CODE, path.read_bytes())
    written = Path(recipe.model.name.rpartition(":")[0])
    known = written if find_here(written) != written else path
    return {"code": {"path": str(known), "copy": CODE, "sha256": hash_file(path)}}


def check_code(recipe: Recipe, run: RunDir) -> None:
    """Raise `RecipeError` unless the code is what the run began with."""
    known = run.read_manifest().get("model", {}).get("code")
    if not is_own(recipe.model.name) or not known:
        return
    path = find_here(known["path"])
    if not path.is_file() or hash_file(path) != known["sha256"]:
        what = "has changed since the run began" if path.is_file() else "is gone"
        raise RecipeError(
            f"model.name: {path} {what}",
            hint=f"put it back (the run has a copy: {run.path / CODE}), or begin a new run",
        )
