"""Saving while training goes on: values are copied at once, and written to the disk by a thread.

Owns the order in which a checkpoint, the pointers to it and the older ones that may go reach the disk. At any moment
`best.json` and `last.json` name checkpoints that are there. How a checkpoint is written is `runs/checkpoint.py`'s
business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from railcar.errors import RailcarError
from railcar.runs.checkpoint import (
    checkpoint_name,
    find_not_finite,
    gather_arrays,
    prune_checkpoints,
    write_checkpoint,
)
from railcar.runs.run_dir import RunDir, write_json
from railcar.storage.local import sync_file
from railcar.training.callbacks import BestScore

if TYPE_CHECKING:
    from railcar.training.state import Progress


class NotFinite(Exception):
    """A variable, named by the exception's text, holds a number that is not finite."""


class Saver:
    """Saves the checkpoints of one run, one after the other: a save waits for the one before. Leaving it as a context
    waits for the last. What went wrong in the thread is raised by the next `save` or `wait`.

    `saved_step` is the newest step that is known to be whole on the disk, None before the first. `on_saved` is called
    after each checkpoint, in the thread, and must not take long: the next one waits for it.
    """

    def __init__(
        self,
        run: RunDir,
        *,
        keep: int,
        saved_step: int | None = None,
        on_saved: Callable[[], None] | None = None,
    ) -> None:
        self.saved_step = self._asked_step = saved_step
        self._run = run
        self._keep = keep
        self._on_saved = on_saved
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="railcar-save")
        self._pending: Future[int] | None = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        except RailcarError:
            if kind is None:  # else what ended the training is told, not that the disk was full as well
                raise
        finally:
            self._writer.shutdown()

    def save(self, progress: Progress, groups: Mapping[str, Any]) -> None:
        """Copy the variables of `groups` and write them in the background. Nothing happens when this step is saved
        already. Raises `NotFinite` in place of saving what is spoilt."""
        if self._asked_step == progress.step:
            return
        self.wait()
        arrays = gather_arrays(groups)
        if spoilt := find_not_finite(arrays):
            raise NotFinite(spoilt)
        state, best = progress.to_state(), BestScore(**vars(progress.best))
        self._pending = self._writer.submit(self._write, progress.step, arrays, state, best)
        self._asked_step = progress.step

    def wait(self) -> None:
        """Until the save in flight is on the disk."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self.saved_step = pending.result()

    def _write(self, step: int, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any], best: BestScore) -> int:
        # The history must not be younger than the checkpoint after a power cut: what it lacks is not recorded again.
        if self._run.metrics_path.exists():
            sync_file(self._run.metrics_path)
        write_checkpoint(self._run.checkpoints, step, arrays, state, best_step=best.step)
        write_pointers(self._run, last=step, best=best)
        prune_checkpoints(self._run.checkpoints, keep=self._keep, best_step=best.step)
        if self._on_saved:
            self._on_saved()
        return step


def write_pointers(run: RunDir, *, last: int, best: BestScore) -> None:
    """`last.json` and `best.json`: which checkpoint each one is; no `best.json` as long as no validation was best."""
    write_json(run.last_path, {"checkpoint": checkpoint_name(last), "step": last})
    if best.step is None:
        run.best_path.unlink(missing_ok=True)
        return
    pointer = {"checkpoint": checkpoint_name(best.step), "step": best.step}
    write_json(run.best_path, pointer | {best.metric: best.value})
