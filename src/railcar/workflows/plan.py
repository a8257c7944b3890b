"""`train --dry-run`: everything that a training would choose, and nothing trained or kept."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from railcar.recipe.writing import recipe_to_yaml
from railcar.registry import check_tensorflow
from railcar.training.tensorflow import quiet_stderr
from railcar.workflows.headlines import say_what
from railcar.workflows.inputs import Overrides, resolve_input
from railcar.workflows.job import prepare_job
from railcar.workflows.look import Look


def plan(
    data: Any = None,
    *,
    overrides: Overrides = (),
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> str:
    """The full recipe that `train` would write for `data` (as `train` takes it), YAML with the reason of each choice;
    what the data is and how it is split is said on stderr. Raises what `train` raises before its first step. Data is
    read and prepared in the cache as for a training."""
    look = Look(quiet, verbose, color)
    given = resolve_input(data, overrides)
    check_tensorflow("choosing a network")
    from railcar.workflows.data import open_data

    with closing(look.reporter()) as reporter, quiet_stderr():
        dataset = open_data(given, reporter)
        with reporter.working("loading TensorFlow"):
            job = prepare_job(given, dataset, None)
        say_what(job, None, reporter)
    return recipe_to_yaml(job.recipe, job.reasons)
