"""`train`: from an input to a finished run, with everything that can be refused refused before anything is written."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import railcar
from railcar.errors import Interrupted, RunError, UsageError
from railcar.recipe.load import load_recipe, recipe_to_yaml
from railcar.recipe.schema import Recipe
from railcar.registry import check_tensorflow
from railcar.runs.index import find_run
from railcar.runs.run_dir import RunDir, now_text, write_json
from railcar.storage.local import check_writable, write_atomic
from railcar.training.progress import Reporter, format_seconds
from railcar.training.schedule import StepPlan, build_plan
from railcar.training.tensorflow import import_tensorflow, quiet_stderr
from railcar.workflows.inputs import Input, Overrides, choose_defaults, complete_recipe, resolve_input

if TYPE_CHECKING:
    from railcar.data.types import Dataset
    from railcar.runs.checkpoint import Checkpoint
    from railcar.training.loop import Progress
    from railcar.training.runtime import Choice, Runtime
    from railcar.training.summaries import Summaries


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its recipe as used, its evaluation (as evaluation.json has it), the seconds that
    training took (validation and checkpoints included) and the images a second of its steps."""

    path: Path
    recipe: Recipe
    evaluation: dict[str, Any]
    seconds_training: float
    examples_per_s: float

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Look:
    """How much is printed while it works, and whether in colour (None: if stderr is a terminal)."""

    quiet: bool = False
    verbose: bool = False
    color: bool | None = None

    def reporter(self, log_path: Path | None = None) -> Reporter:
        return Reporter(log_path, quiet=self.quiet, verbose=self.verbose, color=self.color)


@dataclass
class Job:
    """All that is settled before the first step. `choices` are automatic ones: dotted key -> value and reason."""

    recipe: Recipe
    dataset: Dataset
    runtime: Runtime
    plan: StepPlan
    model: Any
    choices: dict[str, Choice]
    checkpoint: Checkpoint | None = None
    reasons: dict[str, str] = field(default_factory=dict)


def train(
    data: Any = None,
    *,
    overrides: Overrides = (),
    name: str | None = None,
    resume: str | bool = False,
    runs_dir: str | Path = "runs",
    look: Look = Look(),
) -> Run:
    """Train, evaluate and keep a model; everything lands in a new folder under `runs_dir`.

    `data` is nothing (the embedded MNIST sample), the path of a folder, CSV, npz or IDX folder, a recipe file, the name
    of a bundled recipe or a known set, a `Recipe` or dict, a pair (images, labels) of arrays, a pandas or polars frame,
    or a tf.data.Dataset. `overrides` change recipe keys: {"training.epochs": 3} or ["training.epochs=3"]. `name` starts
    the folder's name. `resume` goes on with a run (True: the newest; or its name) instead of beginning one.

    Raises `RecipeError` for all faults of a recipe together, `DataError` for data that cannot be used, `OutputError`
    when results cannot be written; `Interrupted` after Ctrl-C or SIGTERM, with the work saved.
    """
    run, checkpoint, damaged = None, None, []
    if resume is False:
        given = resolve_input(data, _with_name(overrides, name))
    else:
        run, checkpoint, damaged, given = _reopen(resume, runs_dir, data, overrides)
    check_tensorflow("training")
    check_writable(Path(runs_dir))
    from railcar.workflows.data import open_data

    import_tensorflow(needed_for="training")
    with closing(look.reporter()) as reporter:
        for line in damaged:
            reporter.warn(f"{line}; going back to the one before")
        dataset = open_data(given.recipe, given.arrays, reporter)
    if run is not None:
        _check_same_data(run, dataset)
    job = _prepare(given, dataset, checkpoint)
    if run is None:
        run = _begin(job, runs_dir)
    else:
        _go_on(run, checkpoint)
    return _carry_out(job, run, look)


def _with_name(overrides: Overrides, name: str | None) -> Overrides:
    if name is None:
        return overrides
    return {**overrides, "name": name} if isinstance(overrides, Mapping) else [*overrides, f"name={name}"]


def _reopen(
    resume: str | bool, runs_dir: str | Path, data: Any, overrides: Overrides
) -> tuple[RunDir, Checkpoint | None, list[str], Input]:
    from railcar.runs.checkpoint import find_newest

    if overrides:
        raise UsageError("a resumed run keeps its recipe: --set cannot change it", hint="train anew with --set instead")
    run = find_run(None if resume is True else str(resume), runs_dir)
    state = run.state()
    if state in ("running", "finished"):
        word = "still going on" if state == "running" else "finished already"
        raise RunError(f"{run.name}: the run is {word}", hint=f"see it with: railcar runs show {run.name}")
    checkpoint, damaged = find_newest(run.checkpoints)
    arrays = resolve_input(data).arrays if data is not None else None
    return run, checkpoint, damaged, Input(load_recipe(run.recipe_path), is_complete=True, arrays=arrays)


def _check_same_data(run: RunDir, dataset: Dataset) -> None:
    before = run.read_manifest().get("data", {}).get("fingerprint")
    if before is not None and before != dataset.fingerprint:
        raise RunError(
            f"{run.name}: the data at {dataset.source} is not what this run began with",
            hint="restore the data, or train anew",
        )


def _prepare(given: Input, dataset: Dataset, checkpoint: Checkpoint | None) -> Job:
    """Settle recipe, plan, runtime and network. TensorFlow is imported from here on."""
    recipe, reasons = given.recipe, {}
    n_train = len(dataset.splits["train"])
    if not given.is_complete:
        chosen = choose_defaults(image_shape=dataset.features.image_shape, n_train=n_train)
        recipe, reasons = complete_recipe(given, chosen), chosen.reasons
    node = recipe.training
    if node.best != "last" and "validation" not in dataset.splits:
        raise UsageError(
            f"training.best: {node.best} needs a validation split, and there is none",
            hint="set data.validation, or training.best to last",
        )
    with quiet_stderr():
        from railcar.models.build import choose_scale
        from railcar.training.runtime import Choice, choose_runtime
        from railcar.workflows.results import build_from_recipe

        runtime = choose_runtime(precision=node.precision, compile=node.compile, steps_per_call=node.steps_per_call)
        model = build_from_recipe(recipe, dataset, precision=runtime.precision.value)
    steps_per_call = runtime.steps_per_call.value
    plan = build_plan(
        n_train=n_train,
        batch_size=node.batch_size,
        steps=node.steps,
        epochs=node.epochs,
        validate_every=node.validate_every,
        checkpoint_every=node.checkpoint_every,
        log_every=node.log_every,
        steps_per_call=None if steps_per_call == "auto" else steps_per_call,
    )
    scale = choose_scale(recipe.data.scale, dataset.features.mean)
    choices = {**runtime.choices(), "data.scale": Choice(*scale)}
    return Job(recipe, dataset, runtime, plan, model, choices, checkpoint, reasons)


def _begin(job: Job, runs_dir: str | Path) -> RunDir:
    """Make the run's folder and write down what it is about to do."""
    from railcar.data.splits import write_splits
    from railcar.models.build import describe_model

    run = RunDir.create(runs_dir, job.recipe.name)
    write_atomic(run.recipe_path, recipe_to_yaml(job.recipe, job.reasons).encode())
    decisions = {key: {"value": one.value, "reason": one.reason} for key, one in job.choices.items()}
    for key, reason in job.reasons.items():
        decisions[key] = {"value": _look_up(job.recipe, key), "reason": reason}
    write_json(run.decisions_path, decisions)
    write_splits(job.dataset, run.splits_path)
    counts = {f"n_{name}": len(split) for name, split in job.dataset.splits.items()}
    source = str(Path(job.recipe.data.source).absolute()) if Path(job.recipe.data.source).exists() else None
    run.write_manifest(
        {
            **run.read_manifest(),
            "argv": sys.argv,
            "seed": job.recipe.seed,
            "versions": read_versions(),
            "devices": [f"{job.runtime.device.value}: {job.runtime.device.reason}"],
            "git_commit": read_git_commit(),
            "data": {
                "source": source or job.recipe.data.source,
                "form": job.dataset.form,
                "fingerprint": job.dataset.fingerprint,
                **asdict(job.dataset.features),
                **counts,
            },
            "model": {"layers": describe_model(job.model), "parameters": int(job.model.count_params())},
            "steps": job.plan.n_steps,
            "step": 0,
        }
    )
    return run


def _look_up(recipe: Recipe, key: str) -> Any:
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _go_on(run: RunDir, checkpoint: Checkpoint | None) -> None:
    """Mark a stopped run as running again, and forget what it recorded after the checkpoint."""
    step = checkpoint.step if checkpoint else 0
    run.write_manifest(
        {**run.read_manifest(), "state": "running", "pid": os.getpid(), "host": socket.gethostname(), "ended": None}
    )
    run.keep_metrics_until(step)


def _carry_out(job: Job, run: RunDir, look: Look) -> Run:
    """Train and write the results; the manifest says how it ended, whatever happens."""
    reporter = look.reporter(run.log_path)
    try:
        progress = _train_steps(job, run, reporter)
        evaluation, rate = _finish(job, run, progress, reporter)
    except BaseException as error:
        state = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
        reason = getattr(error, "what", None) or f"{type(error).__name__}: {error}"
        reporter.log_only(f"{state}: {reason}")
        run.write_manifest({**run.read_manifest(), "state": state, "ended": now_text(), "reason": reason})
        raise
    finally:
        reporter.close()
    return Run(run.path, job.recipe, evaluation, progress.seconds_training, rate)


def _train_steps(job: Job, run: RunDir, reporter: Reporter) -> Progress:
    with quiet_stderr(run.log_path):
        from railcar.evaluation.evaluate import Evaluator
        from railcar.training.loop import Training, build_training_optimizer, run_training
        from railcar.training.summaries import Summaries

    _say_what(job, run, reporter)
    summaries = Summaries(run.tensorboard) if job.recipe.training.tensorboard else None
    training = Training(
        recipe=job.recipe,
        dataset=job.dataset,
        run=run,
        model=job.model,
        optimizer=build_training_optimizer(job.recipe, job.model, job.plan.n_steps, job.runtime.precision.value),
        plan=job.plan,
        reporter=reporter,
        measure=Evaluator(job.model, job.dataset.features.image_shape).measure,
        summaries=summaries,
    )
    with quiet_stderr(run.log_path):
        try:
            if summaries:
                _write_overview(summaries, job)
            return run_training(training, compile=job.runtime.compile.value, resume_from=job.checkpoint)
        finally:
            run.write_manifest({**run.read_manifest(), "step": training.progress.step})
            if summaries:
                summaries.close()


def _write_overview(summaries: Summaries, job: Job) -> None:
    """The network's graph and a batch of images, once a run."""
    train = job.dataset.splits["train"]
    rows = train.rows[:64]
    summaries.graph(job.model)
    summaries.images(train.images[rows], train.labels[rows], job.dataset.features.class_names)


def _say_what(job: Job, run: RunDir, reporter: Reporter) -> None:
    dataset, features, node = job.dataset, job.dataset.features, job.recipe.training
    counts = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    height, width, channels = features.image_shape
    look = f"{features.n_classes} classes, {height}x{width} {'gray' if channels == 1 else 'RGB'}"
    rows = [("run", str(run.path)), ("data", f"{dataset.source}: {counts}; {look}")]
    rows += [("", note) for note in dataset.notes]
    filters = "-".join(map(str, job.recipe.model.filters))
    rows.append(("model", f"{job.recipe.model.name} {filters}: {job.model.count_params():,} parameters"))
    epochs = f"{job.plan.n_steps / job.plan.steps_per_epoch:.3g} epochs"
    optimizer = f"{node.optimizer.name} {node.optimizer.learning_rate:g} {node.optimizer.schedule}"
    rows.append(("training", f"{job.plan.n_steps:,} steps of {node.batch_size} ({epochs}), {optimizer}"))
    for key, choice in job.choices.items():
        rows.append((f"  {key.rpartition('.')[2]}", f"{_plain(choice.value)}: {choice.reason}"))
    for key, reason in job.reasons.items():
        rows.append((f"  {key.rpartition('.')[2]}", f"{_plain(_look_up(job.recipe, key))}: {reason}"))
    for name, words in rows:
        reporter.say(f"{name:<17}{words}", indent=17)
    if job.checkpoint:
        reporter.say(f"going on after step {job.checkpoint.step:,}")


def _plain(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _finish(job: Job, run: RunDir, progress: Progress, reporter: Reporter) -> tuple[dict[str, Any], float]:
    from railcar.runs.checkpoint import find_checkpoint
    from railcar.workflows.results import Finished, write_results

    which = "last" if job.recipe.training.best == "last" else None
    checkpoint, damaged = find_checkpoint(run, which)
    for line in damaged:
        reporter.warn(line)
    manifest = run.read_manifest()
    evaluation = write_results(run, Finished(job.recipe, job.dataset, checkpoint), manifest)
    rates = [row["examples_per_s"] for row in run.read_metrics() if row.get("examples_per_s")]
    rate = sorted(rates)[len(rates) // 2] if rates else 0.0
    run.write_manifest(
        {
            **manifest,
            "state": "finished",
            "ended": now_text(),
            "seconds_training": round(progress.seconds_training, 3),
            "examples_per_s": rate,
        }
    )
    reporter.say(
        f"trained {progress.step:,} steps in {format_seconds(progress.seconds_training)}, {rate:,.0f} images/s"
    )
    return evaluation, rate


def read_versions() -> dict[str, str]:
    """Of Python and of what the result depends on."""
    from importlib.metadata import version

    names = ("keras", "numpy", "polars", "tensorboard")
    found = {name: version(name) for name in names}
    tensorflow = import_tensorflow(needed_for="training")
    return {
        "python": platform.python_version(),
        "railcar": railcar.__version__,
        "tensorflow": tensorflow.__version__,
        **found,
    }


def read_git_commit() -> str | None:
    """The commit of the working folder, None where there is none."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
