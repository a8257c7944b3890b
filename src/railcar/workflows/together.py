"""Several processes that train one model: how they meet, and what a worker does that is not the chief.

    all          join, each as TF_CONFIG names it; wait for one another
    chief        settles everything as a run alone does, then tells the others recipe and modes
    others       open the same data, and say whether they are ready
    all          build the model, then training/loop.py
    chief        evaluates, writes the results, and tells the others how it ended

Nothing of this is said on the way of a run alone. What passes between workers is `training/distribute.py`'s business.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from railcar.errors import DataError, RailcarError
from railcar.recipe.load import load_recipe
from railcar.recipe.schema import Recipe
from railcar.runs.run_dir import RunDir
from railcar.training.cluster import Cluster, read_cluster
from railcar.training.tensorflow import import_tensorflow, quiet_stderr
from railcar.workflows.inputs import Input, Start
from railcar.workflows.job import Job, prepare_job
from railcar.workflows.look import Look

if TYPE_CHECKING:
    from railcar.data.types import Dataset
    from railcar.training.distribute import Replicas
    from railcar.training.progress import Reporter
    from railcar.training.runtime import Runtime

_SOURCES = ("source", "validation", "test")


def find_cluster(asked: str) -> Cluster | None:
    """The workers that TF_CONFIG names, unless training.distribution asks for none of them."""
    return read_cluster(os.environ) if asked in ("auto", "multi_worker") else None


def join(cluster: Cluster, look: Look) -> Replicas:
    """Import TensorFlow and meet the others. Until they are there, signals end the process at once."""
    with closing(look.reporter()) as reporter, _plain_signals():
        import_tensorflow(needed_for="training")
        others = [one.address for index, one in enumerate(cluster.members) if index != cluster.index]
        reporter.detail(f"waiting for the other workers: {', '.join(others)}")
        with reporter.working("waiting for the other workers"), quiet_stderr():
            from railcar.training.distribute import join_cluster

            return join_cluster(cluster)


@contextmanager
def _plain_signals() -> Iterator[None]:
    # While TensorFlow waits in C++, Python's handlers are not called, and Ctrl-C would do nothing.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def announce(replicas: Replicas, recipe: Recipe, runtime: Runtime, dataset: Dataset) -> None:
    """The chief tells what is trained and how; raises what another worker has against it."""
    modes = {"precision": runtime.precision.value, "compile": runtime.compile.value}
    told = {"recipe": recipe.model_dump(mode="json"), "modes": modes, "fingerprint": dataset.fingerprint}
    replicas.share(told)
    replicas.all_well(None)


def announce_failure(replicas: Replicas, error: RailcarError) -> None:
    """The same when there is nothing to train."""
    replicas.share({"what": error.what, "hint": error.hint})


@contextmanager
def abandoning(replicas: Replicas) -> Iterator[Replicas]:
    """An error ends the training of the others, too, even where this process lives on."""
    try:
        yield replicas
    except BaseException:
        replicas.abandon()
        raise


def follow(start: Start, replicas: Replicas, look: Look) -> dict[str, Any]:
    """Train as a worker that is not the chief; returns what the chief says of the run at its end. Of what this worker
    was asked for, the place of the data counts, which may be another on each machine."""
    from railcar.training.callbacks import StopSignals
    from railcar.training.loop import run_training
    from railcar.workflows.parts import build_training

    quiet = Look(quiet=True, color=look.color)
    with abandoning(replicas), closing(quiet.reporter()) as reporter, quiet_stderr():
        told = replicas.share(None)
        if "what" in told:
            raise RailcarError(f"the chief cannot start: {told['what']}", hint=told["hint"])
        job = _prepare_as_told(told, start, replicas, reporter)
        hint = "go on with the same command and --resume on every worker"
        with StopSignals(hint) as signals:
            training = build_training(job, RunDir(job.recipe.name), reporter, measure=lambda _: {}, summaries=None)
            run_training(training, compile=told["modes"]["compile"], signals=signals)
            result = replicas.share(None)
    replicas.leave()
    return result


def _prepare_as_told(told: dict[str, Any], start: Start, replicas: Replicas, reporter: Reporter) -> Job:
    from railcar.workflows.data import open_data

    has_met = False

    def meet(recipe: Recipe, runtime: Runtime) -> None:
        nonlocal has_met
        has_met = True
        replicas.all_well(None)

    try:
        recipe, given = load_recipe(told["recipe"]), start.given
        if given is not None and start.resume is False:
            own = {key: getattr(given.recipe.data, key) for key in _SOURCES}
            update = {key: value for key, value in own.items() if isinstance(value, str)}
            recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=update)})
        whole = Input(recipe, is_complete=True, arrays=given.arrays if given else None)
        dataset = open_data(whole, reporter)
        if dataset.fingerprint != told["fingerprint"]:
            raise DataError(
                f"the data at {dataset.source} is not what the chief has", hint="give every worker the same data"
            )
        return prepare_job(
            whole, dataset, None, replicas=replicas, modes=told["modes"], is_fresh=False, before_model=meet
        )
    except RailcarError as error:
        if not has_met:
            replicas.all_well(error)
        raise
