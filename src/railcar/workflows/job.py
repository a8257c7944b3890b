"""A training before its first step: recipe, data, runtime, plan and network settled, with the reason of each choice.

Owns what is decided, and the words for it. Writes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from railcar.data.decoding import EncodedImages
from railcar.errors import RecipeError, TrainingError, WeightsMissing
from railcar.recipe.schema import Augment, Recipe
from railcar.registry import DATASETS, MODELS, PRETRAINED, check_installed, is_own
from railcar.runs.run_dir import RunDir, read_json
from railcar.training.schedule import StepPlan, build_plan
from railcar.training.tensorflow import import_tensorflow, quiet_stderr
from railcar.workflows.inputs import Input, begin_afresh, look_up, settle_recipe
from railcar.workflows.own import begin_compiled, find_compiled, with_absolute_code

if TYPE_CHECKING:
    from railcar.data.types import Dataset, Features
    from railcar.training.distribute import Replicas
    from railcar.training.runtime import Choice, Runtime


@dataclass
class Job:
    """What was `given`, with all that was settled. `choices` are automatic ones: dotted key -> value and reason;
    `reasons` are those of the recipe's own keys. `weights` says where the model's weights come from, None when they are
    fresh. `halves` are the frozen and the trained part of a network of which the first is computed once, and `encoded`
    is what that gives for the data (`workflows/encoding.py`). `compiled` is a network of the user's own that trains
    itself."""

    recipe: Recipe
    dataset: Dataset
    runtime: Runtime
    plan: StepPlan
    model: Any
    choices: dict[str, Choice]
    reasons: dict[str, str]
    given: Input
    weights: str | None = None
    replicas: Replicas | None = None
    halves: tuple[Any, Any] | None = None
    compiled: Any = None
    on_validation: Callable[[int, int, Mapping[str, float]], str | None] | None = None
    encoded: Dataset | None = None

    @property
    def trained(self) -> Any:
        """What learns: the network, or of one whose first part is computed once the other."""
        return self.halves[1] if self.halves else self.model

    @property
    def training_data(self) -> Dataset:
        """The data as `trained` takes it."""
        return self.encoded or self.dataset

    def decisions(self) -> dict[str, dict[str, Any]]:
        """As decisions.json has them."""
        chosen = {key: {"value": one.value, "reason": one.reason} for key, one in self.choices.items()}
        return chosen | {
            key: {"value": look_up(self.recipe, key), "reason": reason} for key, reason in self.reasons.items()
        }


def prepare_job(
    given: Input,
    dataset: Dataset,
    resumed: RunDir | None,
    *,
    replicas: Replicas | None = None,
    modes: dict[str, str] | None = None,
    is_fresh: bool = True,
    before_model: Callable[[Recipe, Runtime], None] = lambda recipe, runtime: None,
) -> Job:
    """Settle everything. TensorFlow is imported here. A resumed run keeps the precision and compile mode it began with,
    whatever this machine would choose. Raises `RecipeError` and `MissingExtra`.

    `replicas` are those of a cluster that was joined, where `before_model` is called when all else is settled; `modes`
    are the chief's precision and compile mode. Unless `is_fresh` pre-trained weights are not read: others come.
    """
    recipe, reasons = settle_recipe(given, dataset)
    inputs = dataset.splits["train"].inputs
    recipe = with_absolute_code(with_absolute_sources(recipe))
    plan = _build_plan(recipe, dataset)
    _check_recipe(recipe, dataset, plan)
    import_tensorflow(needed_for="training")
    reads = is_fresh and resumed is None
    if reads and recipe.model.name == PRETRAINED:
        try:
            _fetch_weights(recipe, dataset.features)
        except WeightsMissing as error:
            if (other := begin_afresh(given)) is None:
                raise
            job = prepare_job(other, dataset, None, replicas=replicas, modes=modes, before_model=before_model)
            job.reasons["model.name"] = f"begun afresh: {error.what.removeprefix('model.weights: ')}"
            return job
    with quiet_stderr():
        from railcar.training.runtime import Choice
        from railcar.workflows.results import build_from_recipe

        runtime = _choose_runtime(recipe, inputs, plan.n_steps, modes, resumed, replicas)
        distribution, replicas = _distribute(recipe, replicas, is_resumed=resumed is not None)
        before_model(recipe, runtime)
        with replicas.scope() if replicas else nullcontext():
            precision = runtime.precision.value
            model = build_from_recipe(recipe, dataset, precision=precision, is_fresh=reads)
        halves, kept = _halve(recipe, model, replicas)
        if halves and recipe.training.data_on == "auto" and runtime.data_on.value == "device":
            runtime = replace(runtime, data_on=Choice("host", "features may be larger than the images"))
        compiled = find_compiled(recipe, model, replicas)
        if compiled is not None:
            begin_compiled(compiled, model, dataset)
        trained = halves[1] if halves else model
        _check_memory(recipe, dataset.features, runtime, trained, replicas)
        kernels = _choose_kernels(recipe, runtime, trained, resumed, replicas)
    steps_per_call = runtime.steps_per_call.value
    plan.steps_per_call = None if steps_per_call == "auto" else steps_per_call
    choices = {**runtime.choices(), **_tell_choices(recipe, dataset.features, kernels, kept)}
    if replicas or recipe.training.distribution != "auto":  # one device has nothing to choose between
        choices["training.distribution"] = distribution
    return Job(
        recipe,
        dataset,
        runtime,
        plan,
        model,
        choices,
        reasons,
        given,
        replicas=replicas,
        halves=halves,
        compiled=compiled,
    )


def _tell_choices(recipe: Recipe, features: Features, kernels: Choice | None, kept: Choice | None) -> dict[str, Choice]:
    """What was chosen beside the runtime, by the recipe's key or one like it."""
    from railcar.models.build import choose_scale
    from railcar.training.runtime import Choice

    choices = {"training.kernels": kernels, "model.features": kept}
    name = recipe.model.name
    if name != PRETRAINED and features.kind == "image":
        choices["data.scale"] = Choice(*choose_scale(recipe.data.scale, features.mean, model=name))
    return {key: choice for key, choice in choices.items() if choice}


def _choose_runtime(
    recipe: Recipe,
    inputs: Any,
    n_steps: int,
    modes: dict[str, str] | None,
    resumed: RunDir | None,
    replicas: Replicas | None,
) -> Runtime:
    """Device, precision and compile mode: those of the chief (`modes`), of the run that goes on, or what is best."""
    from railcar.training.runtime import Choice, choose_runtime

    node = recipe.training
    if modes is None:
        modes = _modes_of(resumed) if resumed else {"precision": node.precision, "compile": node.compile}
    is_left_alone = is_own(recipe.model.name) and modes["precision"] == "auto"
    if is_left_alone:
        modes = {**modes, "precision": "float32"}
    runtime = choose_runtime(
        **modes,
        steps_per_call=node.steps_per_call,
        data_on=node.data_on,
        data_bytes=None if isinstance(inputs, EncodedImages) else inputs.nbytes,
        deterministic=node.deterministic,
        n_steps=n_steps,
    )
    if is_left_alone:
        runtime = replace(runtime, precision=Choice("float32", "layers of your own may not stand another"))
    if replicas and node.compile == "auto" and runtime.compile.value == "xla":
        # What XLA cannot compile would end the training of all: connections that failed once stay so.
        runtime = replace(runtime, compile=Choice("graph", "several workers; xla when it is asked for"))
    return runtime


def _fetch_weights(recipe: Recipe, features: Features) -> None:
    with quiet_stderr():
        from railcar.models.pretrained import fetch_weights

        node = recipe.model
        fetch_weights(node.backbone, node.weights, features.image_shape, node.input_size)


def _halve(recipe: Recipe, model: Any, replicas: Replicas | None) -> tuple[tuple[Any, Any] | None, Choice | None]:
    """The frozen and the trained part of a pre-trained network, if the first is computed once; and whether, and why."""
    from railcar.models.pretrained import split_frozen
    from railcar.workflows.encoding import choose_encoding

    parts = split_frozen(model) if recipe.model.name == PRETRAINED else None
    if parts is None:
        return None, None
    choice = choose_encoding(recipe, replicas)
    return parts if choice.value == "kept" else None, choice


def _choose_kernels(
    recipe: Recipe, runtime: Runtime, model: Any, resumed: RunDir | None, replicas: Replicas | None
) -> Choice | None:
    """Settle what computes the model's gradients, and let it: what the run began with, or else what the chief finds."""
    from railcar.training.kernels import choose_kernels, set_kernels
    from railcar.training.runtime import Choice

    choice = None
    if replicas is None or replicas.is_chief:
        decisions = (read_json(resumed.decisions_path) or {}) if resumed else None
        choice = choose_kernels(
            model,
            # with another cache, other kernels could be the faster ones, and round differently
            "own" if recipe.training.deterministic else recipe.training.kernels,
            device=runtime.device.value,
            compile=runtime.compile.value,
            n_rows=recipe.training.batch_size // (replicas.n_replicas if replicas else 1),
            known=decisions.get("training.kernels", {}).get("value", {}) if decisions is not None else None,
        )
    if replicas:
        told = replicas.share([choice.value, choice.reason] if choice else None)
        choice = Choice(*told) if told else None
    if choice:
        set_kernels(model, choice.value)
    return choice


def _check_memory(recipe: Recipe, features: Features, runtime: Runtime, model: Any, replicas: Replicas | None) -> None:
    """Refuse what cannot fit, with the batch size that would."""
    from railcar.training.memory import estimate_step, find_batch_size, find_memory_limit

    limit = find_memory_limit(runtime.device.value)
    if limit is None:
        return
    weights, per_example = estimate_step(model)
    n_rows = recipe.training.batch_size // (replicas.n_replicas if replicas else 1)
    fitting = find_batch_size(n_rows, weights=weights, per_example=per_example, limit=limit)
    if fitting == n_rows:
        return
    needed, there = (_format_bytes(one) for one in (weights + n_rows * per_example, limit))
    smaller = " and a smaller data.image_size" if features.kind == "image" else ""
    raise TrainingError(
        f"training.batch_size: out of memory: a step on {n_rows:,} {features.noun} needs {needed} at the least, and "
        f"there are {there}",
        hint=f"set training.batch_size to {fitting * (replicas.n_replicas if replicas else 1)}"
        if fitting
        else f"not even one fits: choose a smaller network{smaller}",
    )


def _format_bytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"


def _distribute(recipe: Recipe, joined: Replicas | None, *, is_resumed: bool) -> tuple[Choice, Replicas | None]:
    from railcar.training.distribute import choose_for_this_process, mirror_devices
    from railcar.training.runtime import Choice

    asked = recipe.training.distribution
    # A run goes on with whatever devices there are now.
    choice = choose_for_this_process("auto" if is_resumed and asked != "none" else asked, joined and joined.cluster)
    replicas = joined or (mirror_devices() if choice.value == "mirrored" else None)
    if replicas is None:
        return choice, None
    batch_size = recipe.training.batch_size
    replicas.check_batch(batch_size)
    share = f"each takes {batch_size // replicas.n_replicas} of the {batch_size} examples of a step"
    return Choice(choice.value, f"{choice.reason}; {share}"), replicas


def _build_plan(recipe: Recipe, dataset: Dataset) -> StepPlan:
    node = recipe.training
    numbers = dataset.splits["train"].inputs
    return build_plan(
        n_train=len(dataset.splits["train"]),
        batch_size=node.batch_size,
        steps=node.steps,
        epochs=node.epochs,
        validate_every=node.validate_every,
        checkpoint_every=node.checkpoint_every,
        log_every=node.log_every,
        steps_per_call=None,
        example_bytes=numbers.dtype.itemsize * math.prod(numbers.shape[1:]),
    )


def _check_recipe(recipe: Recipe, dataset: Dataset, plan: StepPlan) -> None:
    """What only the data can tell of a recipe, and what must be installed for it."""
    node = recipe.training
    if node.best != "last" and "validation" not in dataset.splits:
        raise RecipeError(
            f"training.best: {node.best} needs a validation split, and there is none",
            hint="set data.validation, or training.best to last",
        )
    _check_kind(recipe, dataset.features)
    if dataset.features.kind == "image" and recipe.model.shift_average and min(dataset.features.image_shape[:2]) < 2:
        raise RecipeError(
            "model.shift_average: the images are a single pixel wide or high and cannot be moved",
            hint="set model.shift_average to false",
        )
    n_train = len(dataset.splits["train"])
    if node.batch_size > n_train:
        raise RecipeError(
            f"training.batch_size: {node.batch_size:,} is more than the {n_train:,} examples to train on",
            hint=f"set training.batch_size to {max(1, n_train // 10)}",
        )
    if node.optimizer.warmup_steps >= plan.n_steps:
        raise RecipeError(
            f"training.optimizer.warmup_steps: {node.optimizer.warmup_steps} steps of warm-up leave nothing of "
            f"{plan.n_steps} steps of training",
            hint=f"set training.optimizer.warmup_steps to {plan.n_steps // 10}, or train longer",
        )
    check_installed("matplotlib", package="matplotlib", extra="cpu", needed_for="drawing a run's plots")
    if node.tensorboard:
        check_installed("tensorboard", package="TensorBoard", extra="cpu", needed_for="training.tensorboard")


def _check_kind(recipe: Recipe, features: Features) -> None:
    """Settings that this kind of data gives no meaning to."""
    node = recipe.training
    if not is_own(recipe.model.name) and MODELS[recipe.model.name].kind != features.kind:
        known = ", ".join(name for name in MODELS if MODELS[name].kind == features.kind)
        raise RecipeError(
            f"model.name: {recipe.model.name} is a network for {MODELS[recipe.model.name].kind} data, and this is "
            f"{features.kind} data",
            hint=f"set model.name to {known}, or data.kind to what the data is",
        )
    if features.kind != "image" and recipe.data.augment != Augment():
        raise RecipeError(
            f"data.augment: changes images, and this is {features.kind} data", hint="leave data.augment out"
        )
    if features.task != "regression":
        return
    if recipe.data.balance != "none":
        raise RecipeError("data.balance: a regression has no classes", hint="leave data.balance out")
    if node.label_smoothing:
        raise RecipeError(
            "training.label_smoothing: a regression has no classes", hint="leave training.label_smoothing out"
        )
    watched = {"best": node.best, "early_stop": node.early_stop, "stop_at": node.stop_at}
    for key, value in watched.items():
        if getattr(value, "metric", value) == "val_accuracy":
            raise RecipeError(
                f"training.{key}: a regression has no accuracy", hint=f"let training.{key} watch val_loss"
            )


def _modes_of(run: RunDir) -> dict[str, str]:
    decisions = read_json(run.decisions_path) or {}
    return {name: decisions.get(f"training.{name}", {}).get("value", "auto") for name in ("precision", "compile")}


def with_absolute_sources(recipe: Recipe) -> Recipe:
    """The same recipe with paths that hold from any folder, so that the run's recipe repeats it from anywhere."""
    update: dict[str, Any] = {}
    for key in ("source", "validation", "test"):
        value = getattr(recipe.data, key)
        if isinstance(value, str) and value not in DATASETS and Path(value).expanduser().exists():
            update[key] = str(Path(value).expanduser().absolute())
    if update:
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=update)})
    weights = Path(recipe.model.weights).expanduser()
    if recipe.model.weights in ("imagenet", "none") or not weights.exists():
        return recipe
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"weights": str(weights.absolute())})})
