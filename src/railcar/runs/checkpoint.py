"""Checkpoints of one run: written whole or not at all, verified when read.

A checkpoint is a folder `step-00001000/` with `variables.npz` (every variable of model and optimizer, dropout seeds
included), `state.json` (what else training needs to go on) and `checksums.json`. It is written into a hidden folder,
synced and renamed, so that a kill at any moment leaves the older ones untouched. What the state holds is the training
room's business; which step is best or last is in `best.json` and `last.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from railcar.errors import CheckpointError, OutputError, RunError, UsageError
from railcar.runs.run_dir import RunDir, read_json
from railcar.storage.local import hash_file, sync_folder


class Variable(Protocol):
    """What is asked of a Keras variable."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Any: ...
    def assign(self, value: Any) -> Any: ...
    def numpy(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint on disk. `state` is what was given to `write_checkpoint`."""

    path: Path
    step: int
    state: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.name


def checkpoint_name(step: int) -> str:
    return f"step-{step:08d}"


def gather_arrays(groups: Mapping[str, Sequence[Variable]]) -> dict[str, NDArray[Any]]:
    """A copy of every variable's value by the key it has in `variables.npz`. `groups` are named lists of variables
    ("model", "optimizer")."""
    # A copy in every case: on a CPU, NumPy is handed the variable's own memory, which the next steps may write to.
    return {
        _key(group, index, variable): np.array(np.asarray(variable))
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }


def find_not_finite(arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """The key of the first array that holds a number that is not finite; None when all are."""
    for key, array in arrays.items():
        if array.dtype.kind not in "iub" and not np.isfinite(array).all():
            return key
    return None


def write_checkpoint(
    folder: Path,
    step: int,
    arrays: Mapping[str, NDArray[Any]],
    state: Mapping[str, Any],
    *,
    best_step: int | None = None,
) -> Path:
    """Write `folder/step-NNNNNNNN`. `arrays` are as `gather_arrays` makes them; `best_step` is the best step by then,
    whose checkpoint stays for as long as this one does.

    Raises `OutputError` when the disk is full or the folder cannot be written; older checkpoints stay as they are.
    """
    target = folder / checkpoint_name(step)
    partial = folder / f".partial-{checkpoint_name(step)}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        checksums = {"variables.npz": _write_arrays(partial / "variables.npz", arrays)}
        text = json.dumps({"step": step, "best_step": best_step, **state}, indent=1).encode()
        checksums["state.json"] = _write_synced(partial / "state.json", text)
        _write_synced(partial / "checksums.json", json.dumps(checksums, indent=1).encode())
        sync_folder(partial)
        _replace_folder(partial, target)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        n_bytes = sum(array.nbytes for array in arrays.values())
        raise OutputError(
            f"{target}: the checkpoint could not be written: {(error.strerror or str(error)).lower()}",
            hint=f"free {max(n_bytes / 1e6, 1):.0f} MB on the disk that holds {folder}; older checkpoints are intact",
        ) from error
    return target


def read_checkpoint(path: Path) -> Checkpoint:
    """Verify every checksum and read the state. Raises `CheckpointError` that names the damaged file."""
    try:
        checksums = json.loads((path / "checksums.json").read_bytes())
        for name in ("variables.npz", "state.json"):
            if hash_file(path / name) != checksums[name]:
                raise CheckpointError(
                    f"{path / name}: the checksum does not match; the file is damaged",
                    hint="name another: --checkpoint last, or a step",
                )
        state = json.loads((path / "state.json").read_bytes())
        return Checkpoint(path, int(state["step"]), state)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: the checkpoint is not whole: {error}", hint="name another: --checkpoint last, or a step"
        ) from error


def find_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint, or None, and a line for each newer one that is damaged."""
    damaged: list[str] = []
    for step in sorted(list_steps(folder), reverse=True):
        try:
            return read_checkpoint(folder / checkpoint_name(step)), damaged
        except CheckpointError as error:
            damaged.append(error.what)
    return None, damaged


def list_steps(folder: Path) -> list[int]:
    """The steps of which there is a checkpoint, rising; not verified."""
    names = [path.name for path in folder.glob("step-*")] if folder.is_dir() else []
    return sorted(int(name[5:]) for name in names if name[5:].isdigit())


def find_checkpoint(run: RunDir, which: str | None) -> tuple[Checkpoint, list[str]]:
    """The checkpoint called "best", "last" or by its step; None is the best if there is one, else the last. Also lines
    about damaged ones that were passed over. Raises `CheckpointError` when there is none."""
    if which is None:
        return _find_best_or_last(run)
    if which == "last":
        newest, damaged = find_newest(run.checkpoints)
        if newest is None:
            raise CheckpointError(
                f"{run.path}: no whole checkpoint", hint="train it again; the first checkpoint was not reached"
            )
        return newest, damaged
    if which == "best":
        pointer = read_json(run.best_path)
        if not isinstance(pointer, dict) or not isinstance(pointer.get("checkpoint"), str):
            raise CheckpointError(
                f"{run.path}: no checkpoint is marked as the best", hint="use --checkpoint last, or one of its steps"
            )
        return read_checkpoint(run.checkpoints / pointer["checkpoint"]), []
    if not which.isdigit():
        raise UsageError(f"--checkpoint {which}: neither best, last nor a step", hint="for example --checkpoint last")
    steps = list_steps(run.checkpoints)
    if int(which) not in steps:
        there = ", ".join(map(str, steps)) or "none"
        raise CheckpointError(f"{run.path}: no checkpoint of step {which}", hint=f"kept are: {there}")
    return read_checkpoint(run.checkpoints / checkpoint_name(int(which))), []


def _find_best_or_last(run: RunDir) -> tuple[Checkpoint, list[str]]:
    if not run.best_path.is_file():
        return find_checkpoint(run, "last")
    try:
        return find_checkpoint(run, "best")
    except RunError as error:
        last, damaged = find_checkpoint(run, "last")
        return last, [f"{error.what}; the newest whole checkpoint stands in for the best", *damaged]


def restore_variables(checkpoint: Checkpoint, groups: Mapping[str, Sequence[Variable]]) -> None:
    """Assign each variable its stored value. Raises `CheckpointError` when names or shapes do not fit the model."""
    with np.load(checkpoint.path / "variables.npz", allow_pickle=False) as stored:
        keys = {_without_numbers(key): key for key in stored.files}
        for group, variables in groups.items():
            for index, variable in enumerate(variables):
                key = _key(group, index, variable)
                value = stored.get(keys.get(key, key))
                if value is None or value.shape != tuple(variable.shape):
                    raise CheckpointError(
                        f"{checkpoint.path}: it does not fit this model: no {key} of shape {tuple(variable.shape)}",
                        hint="go on with the recipe that the run began with, or train anew",
                    )
                variable.assign(value)


def prune_checkpoints(folder: Path, *, keep: int, best_step: int | None) -> None:
    """Delete all but the newest `keep`, the best, and what was the best when one of those was written: should the newer
    ones be damaged, the run goes back to one of them, and needs it. Also what a killed save left behind."""
    steps = list_steps(folder)
    kept = {*steps[-keep:], best_step}
    kept |= {_best_step_of(folder / checkpoint_name(step)) for step in steps[-keep:]}
    for step in steps:
        if step not in kept:
            shutil.rmtree(folder / checkpoint_name(step), ignore_errors=True)
    for leftover in [*folder.glob(".partial-*"), *folder.glob(".replaced-*")]:
        shutil.rmtree(leftover, ignore_errors=True)


def _best_step_of(path: Path) -> int | None:
    try:
        return json.loads((path / "state.json").read_bytes()).get("best_step")
    except (OSError, ValueError, AttributeError):
        return None


def drop_after(folder: Path, step: int) -> None:
    """Delete the checkpoints of later steps: those that were passed over because they are damaged."""
    for later in list_steps(folder):
        if later > step:
            shutil.rmtree(folder / checkpoint_name(later), ignore_errors=True)


def _key(group: str, index: int, variable: Variable) -> str:
    # Keras numbers the paths of a second model in one process (dropout_1/...), so only names and places are compared.
    return _without_numbers(f"{group}/{index:04d}/{variable.name}")


def _without_numbers(key: str) -> str:
    """Keras numbers layers without a name of their own through a whole process (conv2d_13), and an optimizer's
    variables are called after them."""
    return re.sub(r"_\d+(?=_|$)", "", key)


class _HashingFile:
    """Hashes what goes into a file on its way: reading it again would cost as much as writing it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def write(self, content: Any) -> int:
        self.hash.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """An npz, as `numpy.savez` writes it but for the times; returns its SHA-256 in hex."""
    with path.open("wb") as file:
        # It cannot seek, so that the archive is written from front to back.
        hashing: Any = _HashingFile(file)
        with zipfile.ZipFile(hashing, "w", allowZip64=True) as archive:
            for key, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return hashing.hash.hexdigest()


def _write_synced(path: Path, content: bytes) -> str:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def _replace_folder(partial: Path, target: Path) -> None:
    if target.exists():
        replaced = target.with_name(f".replaced-{target.name}-{os.getpid()}")
        target.rename(replaced)
        partial.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)
    else:
        partial.rename(target)
