"""From what a user hands to `train` to a recipe and an opened data set.

Owns the meaning of `railcar train ARGUMENT` (recipe file, path, bundled recipe, known set, arrays) and the defaults
that are chosen from the data when no recipe was given. Reads no recipe file and no data itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from railcar.errors import DataError, NotFound, UsageError
from railcar.recipe.document import write_flow
from railcar.recipe.load import bundled_recipes, load_recipe
from railcar.recipe.schema import Recipe
from railcar.registry import AIRBENCH, DATASETS, MODELS, OWN, PRETRAINED, is_own
from railcar.storage.address import is_remote, parse
from railcar.storage.local import expand_home, find_here
from railcar.workflows.habits import find_habit

if TYPE_CHECKING:
    from railcar.data.types import Dataset, Features
    from railcar.runs.place import RunsPlace

Overrides = Sequence[str] | Mapping[str, Any]
_RECIPE_SUFFIXES = (".yaml", ".yml", ".py")
ARRAYS = "arrays"
# Pixels of the shorter side from which images are taken for photos, which a backbone knows much about.
_PHOTO_SIDE = 64
# Who sets one of these asks for a pre-trained network.
_PRETRAINED_KEYS = {"backbone", "weights", "input_size", "fine_tune"}
DEFAULT_MODELS = {"image": "cnn", "text": "bag_of_ngrams", "table": "tabm"}
# Sides of images, and so many of them, for which airbench was found to be better than cnn (docs/concepts/models.md).
_AIRBENCH_SIDES, _AIRBENCH_IMAGES = range(24, 49), 400


@dataclass(frozen=True)
class Arrays:
    """Examples in memory: `images` [n, ...] and `labels` [n] as `data.prepare.open_arrays` takes them, or a `frame` of
    texts or table rows as `open_frame` does."""

    images: Any = None
    labels: Any = None
    frame: Any = None


@dataclass(frozen=True)
class Input:
    """`recipe` as far as it can be known before the data is read. `is_complete` tells whether a recipe was given (else
    defaults are chosen from the data); `overrides` were applied and win over what is chosen later. `taken` are settings
    of the run `taken_from` that stand in place of chosen ones."""

    recipe: Recipe
    is_complete: bool
    overrides: Overrides = ()
    arrays: Arrays | None = None
    taken: Mapping[str, Any] = field(default_factory=dict)
    taken_from: str = ""


@dataclass(frozen=True)
class Start:
    """What `train` was asked for. `given` is its data or recipe; None for that of the run that is resumed or begun
    from. `take_over` says that who trained the run in a bucket is dead; `time_s` is how long it may take in all. With
    `hides_test` the test side is not looked at. `trust` is for `from_run`. `on_validation` is told step, steps in all
    and what was measured, and may return a reason to end. `profile` are the steps that are traced, as `StepPlan` has
    them."""

    given: Input | None
    overrides: Overrides
    resume: str | bool
    from_run: str | Path | None
    place: RunsPlace
    take_over: bool = False
    time_s: float | None = None
    hides_test: bool = False
    trust: bool = False
    on_validation: Callable[[int, int, Mapping[str, float]], str | None] | None = None
    profile: tuple[int, int] | None = None

    @property
    def wanted(self) -> str | None:
        """The run to go on with; None for the newest."""
        return None if self.resume is True else str(self.resume)


def resolve_input(data: Any = None, overrides: Overrides = ()) -> Input:
    """What `data` is: nothing, a recipe, its file or its name, a path, a known set's name, examples in memory, or an
    `Input` that was resolved before.

    Raises `RecipeError`, `NotFound` or `UsageError`. Imports neither NumPy nor TensorFlow for names and paths.
    """
    if isinstance(data, Input):
        return data
    if data is None:
        sample = _with_source(load_recipe("mnist"), "mnist-sample", name="mnist-sample")
        return Input(load_recipe(sample, overrides), is_complete=True, overrides=overrides)
    if isinstance(data, Recipe | dict):
        return Input(load_recipe(data, overrides), is_complete=True, overrides=overrides)
    if isinstance(data, str | Path):
        return _resolve_text(str(data), overrides)
    base = load_recipe({"name": ARRAYS, "data": {"source": ARRAYS}}, overrides, is_partial=True)
    return Input(base, is_complete=False, overrides=overrides, arrays=read_arrays(data))


def with_settings(overrides: Overrides, settings: Mapping[str, Any]) -> Overrides:
    """The overrides, and `settings` of dotted keys, which win over them."""
    if isinstance(overrides, Mapping):
        return {**overrides, **settings}
    return [*overrides, *(f"{key}={write_flow(value)}" for key, value in settings.items())]


def to_words(overrides: Overrides) -> list[str]:
    """The overrides as words of a command line."""
    pairs = overrides if not isinstance(overrides, Mapping) else with_settings((), overrides)
    return [word for pair in pairs for word in ("--set", pair)]


def with_name(overrides: Overrides, name: str | None) -> Overrides:
    """The overrides, and the run's name as one of them."""
    if name is None:
        return overrides
    return {**overrides, "name": name} if isinstance(overrides, Mapping) else [*overrides, f"name={name}"]


def _resolve_text(text: str, overrides: Overrides) -> Input:
    if not text.strip():
        raise UsageError("the data's name is empty", hint="leave it out to train on the embedded sample")
    path = expand_home(text)
    if path.suffix.lower() in _RECIPE_SUFFIXES:
        return Input(load_recipe(path, overrides), is_complete=True, overrides=overrides)
    if is_remote(text):
        base = {"name": _name_from(Path(parse(text).name).stem), "data": {"source": text}}
        return Input(load_recipe(base, overrides, is_partial=True), is_complete=False, overrides=overrides)
    if find_here(path).exists():
        base = {"name": _name_from(path.resolve().stem), "data": {"source": str(path.absolute())}}
        return Input(load_recipe(base, overrides, is_partial=True), is_complete=False, overrides=overrides)
    if text in bundled_recipes():
        return Input(load_recipe(text, overrides), is_complete=True, overrides=overrides)
    if text in DATASETS:
        base = {"name": text, "data": {"source": text}}
        return Input(load_recipe(base, overrides, is_partial=True), is_complete=False, overrides=overrides)
    raise _nothing_called(text)


def _name_from(text: str) -> str:
    """A run's name from a file's: letters without their accents, digits, and hyphens for the rest."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("._-")[:64] or "train"


def _nothing_called(text: str) -> NotFound:
    from difflib import get_close_matches

    names = [*bundled_recipes(), *DATASETS]
    folder = expand_home(text).parent
    files = [str(folder / one.name) if "/" in text else one.name for one in _entries(folder)]
    close = get_close_matches(text, [*names, *files], n=1)
    known = f"give a file or folder that is there, or one of: {', '.join(dict.fromkeys(names))}"
    return NotFound(
        f"{text}: no such file or folder, and no recipe or data set of that name",
        hint=f"did you mean {close[0]!r}?" if close else known,
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _with_source(recipe: Recipe, source: str, *, name: str) -> Recipe:
    return recipe.model_copy(update={"name": name, "data": recipe.data.model_copy(update={"source": source})})


def read_arrays(data: Any) -> Arrays:
    """Examples in memory as arrays: a pair (images, labels), a pandas or polars frame of texts, of a table or of pixels
    (the label first or in a column named label), or a tf.data.Dataset of (image, label), batched or not."""
    import numpy as np

    if isinstance(data, tuple | list) and len(data) == 2:
        return Arrays(np.asarray(data[0]), np.asarray(data[1]))
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return _read_frame(data)
    if hasattr(data, "as_numpy_iterator"):
        return _read_tf_dataset(data)
    raise UsageError(
        f"data of type {type(data).__name__} cannot be trained on",
        hint="give a path, a name, a recipe, (images, labels), a frame or a tf.data.Dataset",
    )


def _read_frame(frame: Any) -> Arrays:
    from railcar.data.sources.npz import FEWEST_PIXELS

    columns = list(frame.columns)
    if len(columns) <= FEWEST_PIXELS:
        return Arrays(frame=frame)
    label = next((one for one in columns if str(one) == "label"), columns[0])
    pixels = frame[[one for one in columns if one != label]]
    return Arrays(pixels.to_numpy(), frame[label].to_numpy())


def _read_tf_dataset(data: Any) -> Arrays:
    import numpy as np

    pairs = list(data.as_numpy_iterator())
    if not pairs or not isinstance(pairs[0], tuple) or len(pairs[0]) != 2:
        raise DataError("the tf.data.Dataset has no (image, label) pairs", hint="map it to (image, label) first")
    join = np.concatenate if np.ndim(pairs[0][1]) else np.stack
    return Arrays(join([image for image, _ in pairs]), join([label for _, label in pairs]))


@dataclass(frozen=True)
class Chosen:
    """Defaults for data without a recipe: nested settings, and the reason of each dotted key."""

    settings: dict[str, Any]
    reasons: dict[str, str] = field(default_factory=dict)

    def value(self, key: str) -> Any:
        """The setting of a dotted key, None when it has none; lists as tuples, as recipes have them."""
        value: Any = self.settings
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return tuple(value) if isinstance(value, list) else value


def choose_defaults(asked: Recipe, features: Features, *, label: str, n_train: int, is_fresh: bool = True) -> Chosen:
    """A network and a length of training that suit the data; `label` is the column that is learnt, of rows. `asked` is
    the recipe as far as the user gave it: a network of his own is trained as it is used to, and a length or a batch
    size decides the warm-up. Not `is_fresh`, the network will be that of another run."""
    name = _choose_network(asked, features, n_train if is_fresh else 0)
    habit = find_habit(name, n_train, features.image_shape if features.kind == "image" else None)
    epochs, own = habit.epochs(n_train), asked.training.model_fields_set
    batch_size = asked.training.batch_size if "batch_size" in own else habit.batch_size
    n_steps = asked.training.steps or max(1, round(n_train / batch_size * (asked.training.epochs or epochs)))
    every = habit.validate_every(n_steps, n_steps * batch_size / max(n_train, 1))
    training = {
        "epochs": epochs,
        "batch_size": habit.batch_size,
        "optimizer": {"warmup_steps": min(n_steps // 10, 500), **habit.optimizer},
        "validate_every": every,
        "checkpoint_every": every,
        "best": habit.best,
        **habit.training,
    }
    reasons = {
        "model.name": f"{features.kind} data: {MODELS[name].summary}" if name in MODELS else OWN.summary,
        "training.batch_size": f"{n_train:,} training {features.noun}",
        "training.epochs": habit.explain_epochs(features.noun),
        **habit.reasons,
    }
    data = habit.data if features.kind == "image" else _describe_rows(asked, features, label)
    return Chosen({"model": {"name": name, **habit.model}, "training": training, "data": data}, reasons)


def _choose_network(asked: Recipe, features: Features, n_train: int) -> str:
    kind, keys = features.kind, asked.model.model_fields_set
    if "name" in keys:
        # what was asked for and does not fit is refused later, in words
        name = asked.model.name
        return name if is_own(name) or (name in MODELS and MODELS[name].kind == kind) else DEFAULT_MODELS[kind]
    if kind == "image" and (keys & _PRETRAINED_KEYS or _suits_pretrained(asked, features)):
        return PRETRAINED
    return AIRBENCH if kind == "image" and _suits_airbench(asked, features, n_train) else DEFAULT_MODELS[kind]


def _suits_airbench(asked: Recipe, features: Features, n_train: int) -> bool:
    """Small images, enough of them, and no wish that only another network or optimizer could fulfil."""
    if n_train < _AIRBENCH_IMAGES or any(side not in _AIRBENCH_SIDES for side in features.image_shape[:2]):
        return False
    keys = {*MODELS[AIRBENCH].keys, "mirror_average", "shift_average"}
    return asked.model.model_fields_set <= keys and not asked.training.optimizer.model_fields_set


def _suits_pretrained(asked: Recipe, features: Features) -> bool:
    """Photos of some size, and no wish that a pre-trained network could not fulfil."""
    if features.image_shape[2] != 3 or min(features.image_shape[:2]) < _PHOTO_SIDE:
        return False
    keys = {*MODELS[PRETRAINED].keys, "mirror_average", "shift_average"}
    is_plain = asked.data.scale == "auto" and asked.training.optimizer.name != "muon"
    return is_plain and asked.model.model_fields_set <= keys


def begin_afresh(given: Input) -> Input | None:
    """`given` with the usual network, where nobody asked for a pre-trained one; else None."""
    if given.is_complete or given.taken or given.recipe.model.model_fields_set & {"name", *_PRETRAINED_KEYS}:
        return None
    model = given.recipe.model.model_copy(update={"name": DEFAULT_MODELS["image"]})
    return replace(given, recipe=given.recipe.model_copy(update={"model": model}))


def _describe_rows(asked: Recipe, features: Features, label: str) -> dict[str, str]:
    from railcar.data.types import FOLDER

    found = {"kind": features.kind, "task": features.task}
    return {**found, "label": label} if asked.data.label is None and label != FOLDER else found


def settle_recipe(given: Input, dataset: Dataset) -> tuple[Recipe, dict[str, str]]:
    """The whole recipe for this data, and the reasons of what was chosen; what was given as one is left as it is.
    `dataset` need not be encoded."""
    if given.is_complete:
        return given.recipe, {}
    n_train = len(dataset.splits["train"])
    features, is_fresh = dataset.features, not given.taken
    chosen = choose_defaults(given.recipe, features, label=dataset.label, n_train=n_train, is_fresh=is_fresh)
    recipe = complete_recipe(given, chosen)
    reasons = {key: reason for key, reason in chosen.reasons.items() if look_up(recipe, key) == chosen.value(key)}
    if given.taken:
        reasons["model.filters"] = f"as in {given.taken_from}"
    return recipe, reasons


def look_up(recipe: Recipe, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return value


def complete_recipe(given: Input, chosen: Chosen) -> Recipe:
    """The recipe of an input that had none: chosen defaults, then what the user set, which wins."""
    asked = given.recipe
    training = dict(chosen.settings["training"])
    optimizer = dict(training["optimizer"])
    if asked.training.steps is not None:
        del training["epochs"]
        training["steps"] = asked.training.steps
    if "name" in asked.training.optimizer.model_fields_set and asked.training.optimizer.name == "adam":
        del optimizer["weight_decay"]
    if asked.data.validation is None:
        training["best"] = "last"
    settings = {
        "name": asked.name,
        "data": {"source": asked.data.source, **chosen.settings.get("data", {}), **given.taken.get("data", {})},
        "model": given.taken.get("model", chosen.settings["model"]),
        "training": {**training, "optimizer": optimizer},
    }
    return load_recipe(settings, given.overrides)
