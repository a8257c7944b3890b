"""`train`: from an input to a finished run, with everything that can be refused refused before anything is written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from railcar.errors import Interrupted, OutputError, RailcarError, TrainingError, UsageError
from railcar.recipe.load import load_recipe
from railcar.recipe.schema import Recipe
from railcar.registry import check_tensorflow
from railcar.runs.place import Held, RunsPlace, check_place, find_place, open_run, take_up
from railcar.runs.run_dir import RunDir, now_text, read_json
from railcar.runs.uploads import Uploads
from railcar.training.progress import Reporter
from railcar.training.tensorflow import quiet_stderr
from railcar.workflows.begin import begin_run, say_how_to_go_on
from railcar.workflows.budget import Budget, fit_into_time
from railcar.workflows.encoding import encode_images
from railcar.workflows.finish import finish
from railcar.workflows.headlines import say_what
from railcar.workflows.inputs import Input, Overrides, Start, resolve_input, with_name
from railcar.workflows.job import Job, prepare_job
from railcar.workflows.local_workers import train_in_processes
from railcar.workflows.look import Look
from railcar.workflows.own import check_code
from railcar.workflows.recorded import check_same_data
from railcar.workflows.requests import check_alone, check_profile, check_time, read_profile
from railcar.workflows.resume import Stopped, check_length, go_on, reopen, say_new_rate
from railcar.workflows.sending import has_only_to_be_sent, send_finished
from railcar.workflows.together import abandoning, announce, announce_failure, find_cluster, follow, join

if TYPE_CHECKING:
    from railcar.training.callbacks import StopSignals
    from railcar.training.distribute import Replicas
    from railcar.training.runtime import Runtime
    from railcar.training.state import Progress
    from railcar.training.summaries import Summaries
    from railcar.workflows.warm_start import Origin


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its recipe as used, its evaluation (as evaluation.json has it), the seconds that
    training took (validation and checkpoints included) and the examples a second of its steps. A worker that is not the
    chief has the same; the folder is on the chief's computer. `address` is where the run is, of one in a bucket;
    `path` is then its copy on this computer. `kind` is that of the data."""

    path: Path
    recipe: Recipe
    evaluation: dict[str, Any]
    seconds_training: float
    examples_per_s: float
    is_chief: bool = True
    address: str | None = None
    kind: str = "image"

    def __repr__(self) -> str:
        splits = {name: one for name, one in self.evaluation.items() if name != "checkpoint"}
        told = [
            f"{name} {one['accuracy']:.2%}" if "accuracy" in one else f"{name} mae {one['mae']:.4g}"
            for name, one in splits.items()
        ]
        return f"Run({self.name}: {', '.join(told)})"

    @property
    def name(self) -> str:
        return self.path.name


def train(
    data: Any = None,
    *,
    overrides: Overrides = (),
    name: str | None = None,
    resume: str | bool = False,
    take_over: bool = False,
    from_run: str | Path | None = None,
    trust: bool = False,
    time_s: float | None = None,
    workers: int = 1,
    profile: str | tuple[int, int] | None = None,
    runs_dir: str | Path = "runs",
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> Run:
    """Train, evaluate and keep a model; everything lands in a new folder under `runs_dir`, which may be an address in a
    bucket.

    `data` is nothing (the embedded MNIST sample), the path of a folder, CSV, npz or IDX folder, a recipe file, the name
    of a bundled recipe or a known set, a `Recipe` or dict, a pair (images, labels) of arrays, a pandas or polars frame,
    or a tf.data.Dataset. `overrides` change recipe keys: {"training.epochs": 3} or ["training.epochs=3"]. `name` starts
    the folder's name. `resume` goes on with a run (True: the newest; or its name) instead of beginning one; of its
    recipe, `overrides` may then change the length ({"training.steps": 2000}). `take_over` says of the computer that
    last trained a run in a bucket that it is dead. `from_run` begins a new one with the weights of that run's best
    checkpoint, and with its recipe and data or, for data without a recipe, its network; `trust` takes one that you have
    not begun on this computer, too. `time_s` is how long all may take: as many steps are made as fit, at most those of
    the recipe or a usual length. `workers` above 1 starts as many processes on this computer, which share every batch.
    `profile` "100:120" traces the twenty steps after the first hundred, and says which operations took the longest.
    `quiet` prints nothing but warnings, `verbose` also where each operation runs; `color` None means: if stderr is a
    terminal.

    Raises `RecipeError` for all faults of a recipe together, `DataError` for data that cannot be used, `OutputError`
    when results cannot be written; `Interrupted` after Ctrl-C or SIGTERM, with the work saved; `WorkerLost` when
    another worker died.
    """
    look = Look(quiet, verbose, color)
    if take_over and resume is False:
        raise UsageError("--take-over is for a run that goes on", hint="add --resume=RUN, or leave it out")
    if resume is not False:
        check_alone(data, name, from_run)
    if time_s is not None:
        check_time(time_s, resume, workers)
    span = read_profile(profile, workers)
    if data is not None or (resume is False and from_run is None):
        data = resolve_input(data, with_name(overrides, name))
    named = with_name(overrides, name)
    start = Start(data, named, resume, from_run, find_place(runs_dir), take_over, time_s, trust=trust, profile=span)
    if workers > 1:
        return _read_finished(train_in_processes(start, n_workers=workers, look=look))
    return train_here(start, look)


def train_here(start: Start, look: Look, on_run: Callable[[RunDir], None] = lambda run: None) -> Run:
    """Train in this process, which may be one of several workers. The chief calls `on_run` before the first step."""
    given, stopped, origin, held = start.given, None, None, None
    budget = Budget(start.time_s, time.monotonic()) if start.time_s is not None else None
    cluster = find_cluster(given.recipe.training.distribution if given else "auto")
    if cluster and not cluster.is_chief:
        told = follow(start, join(cluster, look), look)
        return Run(**{**told, "path": Path(told["path"]), "recipe": load_recipe(told["recipe"])}, is_chief=False)
    with ExitStack() as stack:
        if start.resume is not False:
            held = stack.enter_context(take_up(start.wanted, start.place, take_over=start.take_over))
            if not (cluster or start.overrides) and has_only_to_be_sent(held):
                send_finished(held, look)
                return _read_finished(held.run)
            stopped = reopen(held.run, start.overrides, is_leased=held.lease is not None)
            stopped.warnings.extend(held.warnings)
            given = stopped.to_input(given)
        elif start.from_run is not None:
            origin = _find_origin(start.from_run, start.place, start.trust)
            given = origin.to_input(given, start.overrides)
        given = given or resolve_input()
        check_tensorflow("training")
        if held is None or held.lease is None:  # who has a lease could write it
            check_place(start.place)
        cluster = cluster and find_cluster(given.recipe.training.distribution)
        replicas = stack.enter_context(abandoning(join(cluster, look))) if cluster else None
        job = _prepare(given, look, stopped, origin, replicas, budget, hides_test=start.hides_test)
        job.on_validation = start.on_validation
        n_done = stopped.step if stopped else 0
        check_profile(start.profile, n_steps=job.plan.n_steps, n_done=n_done)
        job.plan.profile = start.profile
        if held is None:
            held = begin_run(job, start.place, origin, stack)
        on_run(held.run)
        return _carry_out(job, held, look, stopped)


def _describe_run(
    run: RunDir, recipe: Recipe, evaluation: dict[str, Any], seconds_training: float, examples_per_s: float
) -> Run:
    address = str(run.address) if run.address else None
    kind = run.read_manifest().get("data", {}).get("kind", "image")
    return Run(run.path, recipe, evaluation, seconds_training, examples_per_s, address=address, kind=kind)


def _read_finished(run: RunDir) -> Run:
    """A run that other processes have trained."""
    manifest, evaluation = run.read_manifest(), read_json(run.evaluation_path)
    recipe, seconds = load_recipe(run.recipe_path), manifest["seconds_training"]
    return _describe_run(run, recipe, evaluation or {}, seconds, manifest["examples_per_s"])


def _find_origin(wanted: str | Path, place: RunsPlace, trust: bool) -> Origin:
    from railcar.workflows.warm_start import find_origin

    return find_origin(open_run(wanted, place, checkpoints=True), trust=trust)


def _prepare(
    given: Input,
    look: Look,
    stopped: Stopped | None,
    origin: Origin | None,
    replicas: Replicas | None,
    budget: Budget | None = None,
    *,
    hides_test: bool = False,
) -> Job:
    """The data opened and everything settled; weights that come from another run are in the model. The other workers,
    if there are any, are told before the model is built, or what stands in the way."""
    from railcar.workflows.data import open_data

    is_announced = False

    def announce_once(recipe: Recipe, runtime: Runtime) -> None:
        nonlocal is_announced
        is_announced = True
        if replicas:
            announce(replicas, recipe, runtime, dataset)

    try:
        if stopped is not None:
            check_code(given.recipe, stopped.run)
        with closing(look.reporter()) as reporter, quiet_stderr():
            # another run's weights count for the words and columns that it knew
            known = origin.features if origin and origin.features.kind != "image" else None
            dataset = open_data(given, reporter, features=known)
            if hides_test:
                seen = {name: split for name, split in dataset.splits.items() if name != "test"}
                dataset = replace(dataset, splits=seen)
        if stopped is not None:
            check_same_data(stopped.run, dataset)
        with closing(look.reporter()) as reporter, reporter.working("loading TensorFlow"):
            resumed = stopped.run if stopped else None
            job = prepare_job(given, dataset, resumed, replicas=replicas, before_model=announce_once)
            if stopped is not None:
                check_length(stopped, job.plan.n_steps)
            if origin is not None:
                _take_weights(origin, job, reporter)
        with closing(look.reporter()) as reporter, quiet_stderr():
            job = encode_images(job, reporter, stopped.checkpoint if stopped else None, budget)
            return _fit(job, budget, reporter) if budget is not None else job
    except RailcarError as error:
        if replicas and not is_announced:
            announce_failure(replicas, error)
        raise


def _fit(job: Job, budget: Budget, reporter: Reporter) -> Job:
    given, reason = fit_into_time(job.given, job.dataset, job, budget, reporter)
    fitted = prepare_job(given, job.dataset, None)
    fitted.encoded = job.encoded
    known = {key: why for key, why in job.reasons.items() if key == "model.name"}
    fitted.reasons = {**fitted.reasons, **known, "training.steps": reason}
    return fitted


def _take_weights(origin: Origin, job: Job, reporter: Reporter) -> None:
    from railcar.workflows.warm_start import carry_over

    for line in origin.warnings:
        reporter.warn(line)
    job.weights = carry_over(origin, job.model, job.dataset.features.class_names)


def _carry_out(job: Job, held: Held, look: Look, stopped: Stopped | None) -> Run:
    """Train and write the results; the manifest says how it ended, whatever happens."""
    with quiet_stderr():
        from railcar.training.callbacks import StopSignals

    run = held.run
    how = say_how_to_go_on(run)
    with (
        closing(look.reporter(run.log_path)) as reporter,
        StopSignals(how) as signals,
        Uploads(run, held.lease, reporter.warn) as uploads,
    ):
        try:
            if stopped:
                for line in [*stopped.warnings, *go_on(stopped, job.plan.n_steps)]:
                    reporter.warn(line)
            uploads.request()
            with job.dataset.in_use(reporter.warn):
                progress = train_steps(job, run, reporter, signals, stopped, uploads.request)
                outcome = finish(job, run, progress, reporter)
        except BaseException as caught:
            error = signals.explain(caught)
            _note_end(run, error, reporter)
            if (sent := uploads.send_last()) and isinstance(error, RailcarError):
                error.what = f"{error.what}; {sent}"
            if type(error).__name__ in ("ResourceExhaustedError", "MemoryError"):
                raise _out_of_memory(job) from error
            if isinstance(error, OutputError):
                raise OutputError(error.what, hint="; then ".join(filter(None, (error.hint, how)))) from error
            if error is not caught:
                raise error from caught
            raise
        uploads.finish()
        return _describe_run(run, job.recipe, outcome.evaluation, outcome.seconds_training, outcome.examples_per_s)


def _out_of_memory(job: Job) -> TrainingError:
    features, batch_size = job.dataset.features, job.recipe.training.batch_size
    shape = "x".join(map(str, features.input_shape[:2]))
    smaller = ", fewer model.filters, or a smaller data.image_size" if features.kind == "image" else ""
    return TrainingError(
        f"out of memory: {job.model.count_params():,} parameters and {batch_size} {features.noun} of {shape} a step",
        hint=f"set training.batch_size to {max(1, batch_size // 4)}{smaller}",
    )


def _note_end(run: RunDir, error: BaseException, reporter: Reporter) -> None:
    """Write down how the run failed; a disk that refuses even that must not hide the reason."""
    state = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
    reason = getattr(error, "what", None) or f"{type(error).__name__}: {error}"
    with contextlib.suppress(RailcarError, OSError):
        reporter.log_only(f"{state}: {reason}")
        if (manifest := run.read_manifest()).get("state") != "finished":  # only its pages were missing
            run.write_manifest({**manifest, "state": state, "ended": now_text(), "reason": reason})


def train_steps(
    job: Job,
    run: RunDir,
    reporter: Reporter,
    signals: StopSignals,
    stopped: Stopped | None,
    on_saved: Callable[[], None] | None = None,
) -> Progress:
    """The loop, with all that it needs built for `job`; rows and checkpoints land in `run`, and `on_saved` is called
    after each of these."""
    with quiet_stderr(run.log_path):
        from railcar.evaluation.evaluate import Evaluator
        from railcar.training.loop import run_training
        from railcar.workflows.parts import build_training, set_start
        from railcar.workflows.results import for_inference

        say_what(job, run, reporter)
        checkpoint = stopped.checkpoint if stopped else None
        if checkpoint is None and job.weights is None:
            set_start(job)
        if stopped:
            reporter.say(f"going on after step {stopped.step:,}")
            if line := say_new_rate(stopped, job.recipe.training.optimizer, job.plan.n_steps):
                reporter.say(line)
        features = job.training_data.features
        training = build_training(
            job,
            run,
            reporter,
            measure=Evaluator(for_inference(job.recipe, job.trained, features), features).measure,
            summaries=_open_summaries(job, run),
            on_saved=on_saved,
        )
        try:
            return run_training(training, compile=job.runtime.compile.value, signals=signals, resume_from=checkpoint)
        finally:
            with contextlib.suppress(RailcarError):
                run.write_manifest({**run.read_manifest(), "step": training.progress.step})
            if training.summaries:
                training.summaries.close()


def _open_summaries(job: Job, run: RunDir) -> Summaries | None:
    """TensorBoard's files, with the network's graph and a batch of images; None when they are not wanted."""
    if not job.recipe.training.tensorboard:
        return None
    from railcar.data.pipeline import Batches
    from railcar.training.summaries import Summaries, count_shown

    summaries = Summaries(run.tensorboard)
    train = job.dataset.splits["train"]
    summaries.graph(job.model)
    if job.dataset.features.kind == "image":
        n_shown = min(count_shown(*job.dataset.features.image_shape[:2]), len(train))
        rows = Batches(train, n_shown, job.recipe.seed, job.recipe.data.shuffle).rows(0)
        summaries.images(train.inputs[rows], train.labels[rows], job.dataset.features.class_names)
    return summaries
