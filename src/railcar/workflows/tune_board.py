"""A search in TensorBoard: what is written for it when a trial has ended, and the folder that TensorBoard is shown.

Imports no TensorFlow. The messages are `tuning/hparams.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from railcar.recipe.search import Parameter
from railcar.runs.index import STUDY
from railcar.runs.run_dir import RunDir
from railcar.tuning.study import Trial

_SEARCH = "search"


def show_in_tensorboard(folder: Path, trials: Sequence[Trial], space: Sequence[Parameter], measure: str) -> None:
    """Write, for the search in `folder`, what is not there yet: the search's part, and that of each trial that ended
    and has a run. Nothing where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        return
    from railcar.tuning.hparams import has_hparams, write_experiment, write_trial

    own = folder / "tensorboard"
    if not has_hparams(own):
        write_experiment(own, space, measure, began_s=(folder / STUDY).stat().st_mtime)
    for trial in trials:
        run = _find_run(folder, trial)
        if run is not None and not has_hparams(run.tensorboard):
            began_s = datetime.fromisoformat(run.read_manifest()["started"]).timestamp()
            write_trial(run.tensorboard, trial, measure, run.read_metrics(), began_s=began_s)


def _find_run(folder: Path, trial: Trial) -> RunDir | None:
    """A trial that failed does not know its run, if it had any."""
    names = sorted((folder / "trials").glob(f"{trial.run or f'trial-{trial.number:03d}-'}*"))
    return RunDir(names[-1]) if names and RunDir(names[-1]).is_run() else None


def link_search(folder: Path, into: Path) -> None:
    """Link into `into`, from where TensorBoard shows them, the search in `folder` and each trial that can be shown and
    is not linked yet."""
    found = {_SEARCH: folder / "tensorboard"}
    for path in sorted((folder / "trials").glob("*/tensorboard")):
        found["-".join(path.parent.name.split("-")[:2])] = path
    for name, path in found.items():
        if path.is_dir() and not (into / name).exists():
            (into / name).symlink_to(path.absolute(), target_is_directory=True)
