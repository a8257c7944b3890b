"""A new run: its folder made with all that belongs to it before the first step, and held from that moment on."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from railcar.artifact.signing import SIGNATURE, sign_run
from railcar.recipe.writing import recipe_to_yaml
from railcar.runs.place import Held, RunsPlace, hold
from railcar.runs.run_dir import RunDir, write_json
from railcar.storage.local import write_atomic
from railcar.workflows.job import Job
from railcar.workflows.own import keep_code
from railcar.workflows.provenance import read_git_commit, read_versions
from railcar.workflows.recorded import describe_features, draw_preprocessing, write_encoding

if TYPE_CHECKING:
    from railcar.workflows.warm_start import Origin


def begin_run(job: Job, place: RunsPlace, origin: Origin | None, stack: ExitStack) -> Held:
    """A new run, held until `stack` is left."""
    from railcar.training.callbacks import StopSignals

    def fill(unborn: RunDir) -> None:
        _write_beginning(job, unborn, origin)
        if place.address:
            unborn.unsent_path.touch()

    run = place.run(RunDir.create(place.folder, job.recipe.name, fill).name)
    with StopSignals(say_how_to_go_on(run)):  # a bucket may take a while to answer
        return stack.enter_context(hold(run))


def say_how_to_go_on(run: RunDir) -> str:
    """The hint of whatever ends a run before its time."""
    return f"go on with: railcar train --resume={run.reference}"


def _write_beginning(job: Job, run: RunDir, origin: Origin | None) -> None:
    """Write down what the run is about to do."""
    from railcar.data.splits import write_splits
    from railcar.reporting.architecture import draw_layers
    from railcar.workflows.architecture import describe_architecture

    recipe = recipe_to_yaml(job.recipe, job.reasons).encode()
    write_atomic(run.recipe_path, recipe)
    write_json(run.decisions_path, job.decisions())
    write_splits(job.dataset, run.splits_path)
    write_encoding(run, job.dataset.features)
    layers = describe_architecture(job.model)
    write_atomic(run.architecture_path, draw_layers(layers).encode())
    draw_preprocessing(run, job.dataset.features, job.recipe, layers)
    data = {
        "source": job.recipe.data.source,
        "form": job.dataset.form,
        "label": job.dataset.label,
        "fingerprint": job.dataset.fingerprint,
        **describe_features(job.dataset.features),
        **{f"n_{name}": len(split) for name, split in job.dataset.splits.items()},
    }
    about = {
        "argv": sys.argv,
        "seed": job.recipe.seed,
        "versions": read_versions(),
        "devices": [f"{job.runtime.device.value}: {job.runtime.device.reason}"],
        "git_commit": read_git_commit(),
        "data": data,
        "model": {"layers": layers, "parameters": int(job.model.count_params()), **keep_code(job.recipe, run)},
        "steps": job.plan.n_steps,
        "step": 0,
        **({"origin": origin.note()} if origin else {}),
        SIGNATURE: sign_run(recipe),
    }
    run.write_manifest({**run.read_manifest(), **about})
