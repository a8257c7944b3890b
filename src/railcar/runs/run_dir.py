"""The files of one run: where each one is, and how they are written so that a crash leaves none of them half there.

Owns the folder's name, its layout and the reading and writing of its JSON. What is in a checkpoint or an artifact is
not its business (`checkpoint.py`, `artifact/`), nor is finding runs (`index.py`). Imports no numpy and no TensorFlow.

    manifest.json     written first, by `create`; says who runs it and how it ended
    .lock             locked by the process that trains the run, for as long as it lives
    .unsent           there as long as a bucket lacks what is in the folder
    .away             there as long as another machine trains it: which one, and the job there
    metrics.jsonl     one line a logged step, appended; a line that a crash cut is dropped
    everything else   replaced as a whole: temporary file, fsync, rename
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from railcar import __version__
from railcar.errors import NotFound, OutputError, RailcarError, RunError
from railcar.storage.address import Address
from railcar.storage.local import UNSENT, explain_output_errors, sync_folder, write_atomic
from railcar.storage.lock import LockHeld, hold_lock, is_held, is_on_own_disk

MANIFEST_FORMAT = 1
# A process that began later than this after the manifest was last written is another one with the same number.
_CLOCK_SLACK_S = 5.0
_UNBORN = ".new-"
AWAY = ".away"
_NUMBER = r"(?:-?\d[-+.\deE]*|null)"
_NUMBERS = re.compile(rf"\[\n\s*{_NUMBER}(?:,\n\s*{_NUMBER})*\n\s*\]")


class RunDir:
    """One run's folder. Making the object touches nothing; `create` makes the folder. `address` is where the run is, of
    one in a bucket: the folder is then what this computer has of it (`place.py`)."""

    def __init__(self, path: Path | str, address: Address | None = None) -> None:
        self.path = Path(path)
        self.address = address
        self.recipe_path = self.path / "recipe.yaml"
        self.manifest_path = self.path / "manifest.json"
        self.lock_path = self.path / ".lock"
        self.decisions_path = self.path / "decisions.json"
        self.architecture_path = self.path / "architecture.txt"
        self.encoding_path = self.path / "encoding.json"
        self.splits_path = self.path / "splits.parquet"
        self.metrics_path = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.best_path = self.path / "best.json"
        self.last_path = self.path / "last.json"
        self.evaluation_path = self.path / "evaluation.json"
        self.predictions_path = self.path / "predictions.parquet"
        self.plots = self.path / "plots"
        self.report_path = self.path / "report.html"
        self.explained_path = self.path / "report.json"
        self.artifact = self.path / "artifact"
        self.card_path = self.path / "model-card.md"
        self.log_path = self.path / "log.txt"
        self.unsent_path = self.path / UNSENT

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunDir) and other.path.absolute() == self.path.absolute()

    def __hash__(self) -> int:
        return hash(self.path.absolute())

    @property
    def name(self) -> str:
        return self.path.absolute().name

    @property
    def reference(self) -> str:
        """What a command takes for RUN: the name; of a run in a bucket, the address, which needs no --runs-dir."""
        return str(self.address) if self.address else self.name

    @classmethod
    def create(cls, runs_dir: Path | str, recipe_name: str, fill: Callable[[RunDir], None] | None = None) -> RunDir:
        """Make `runs_dir/<recipe_name>-<YYYYMMDD-HHMMSS>-<4 hex>/`, which nobody else has, with a first manifest.

        `fill` writes what belongs to a run from its first moment. The folder is hidden until then and appears with all
        of it, or not at all. Raises `OutputError` when nothing can be written there.
        """
        folder = Path(runs_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_unborn(folder)
            unborn = _make_unborn(folder)
        except OSError as error:
            raise OutputError(
                f"{folder}: runs cannot be written there ({(error.strerror or str(error)).lower()})",
                hint="name a folder that you may write to with --runs-dir (or RAILCAR_RUNS)",
            ) from error
        try:
            run = cls(unborn)
            run.write_manifest(
                {
                    "format": MANIFEST_FORMAT,
                    "name": None,
                    "state": "running",
                    "started": now_text(),
                    "ended": None,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "railcar": __version__,
                }
            )
            if fill:
                fill(run)
            with explain_output_errors(folder):
                return cls(_publish(run, folder, recipe_name))
        finally:
            shutil.rmtree(unborn, ignore_errors=True)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """While entered, no other process can train this run. Raises `RunError` when one does."""
        with ExitStack() as stack:
            try:
                with explain_output_errors(self.lock_path):
                    stack.enter_context(hold_lock(self.lock_path))
            except LockHeld as error:
                manifest = self.read_manifest()
                who = f"process {manifest.get('pid')} on {manifest.get('host')}"
                raise RunError(
                    f"{self.name}: the run is still going on: {who} trains it",
                    hint=f"wait for it, or stop it first; see it with: railcar runs show {self.reference}",
                ) from error
            yield

    def is_run(self) -> bool:
        """Whether this folder has a run's manifest."""
        return self.manifest_path.is_file()

    def read_manifest(self) -> dict[str, Any]:
        """Raises `NotFound` when there is none, `RunError` when it is damaged."""
        manifest = read_json(self.manifest_path)
        if manifest is None:
            raise NotFound(
                f"{self.path}: no run is there (manifest.json is missing)", hint="list runs with: railcar runs list"
            )
        if not isinstance(manifest, dict):
            raise _damaged(self.manifest_path)
        return manifest

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        write_json(self.manifest_path, manifest)

    def state(self) -> str:
        """`running`, `finished`, `interrupted` or `failed` as its manifest says; `died` when it says `running` and the
        process is gone. The lock tells that; where there is none, the process' number, on the computer it ran on."""
        manifest = self.read_manifest()
        state = str(manifest.get("state", "unknown"))
        if state != "running" or (self.path / AWAY).exists():
            return state
        held = is_held(self.lock_path)
        was_here = manifest.get("host") == socket.gethostname()
        if held is False and (was_here or is_on_own_disk(self.path)):
            return "died"
        if held or not was_here:
            return state
        pid = manifest.get("pid")
        written_s = self.manifest_path.stat().st_mtime
        return state if isinstance(pid, int) and is_alive(pid, written_s) else "died"

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add one line to metrics.jsonl and hand it to the system. What is not a finite number is written as null."""
        line = json.dumps(_plain(row), allow_nan=False) + "\n"
        with explain_output_errors(self.metrics_path), self.metrics_path.open("ab+") as file:
            _drop_cut_line(file)
            file.write(line.encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, in order; none when there is no file. A last line that was cut is left out;
        `RunError` for damage anywhere else."""
        try:
            text = self.metrics_path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        lines = text.split("\n")
        rows: list[dict[str, Any]] = []
        for number, line in enumerate(lines[:-1], start=1):
            try:
                row = _loads(line)
            except (ValueError, RecursionError) as error:
                raise _damaged(self.metrics_path, number) from error
            if not isinstance(row, dict):
                raise _damaged(self.metrics_path, number)
            rows.append(row)
        return rows

    def keep_metrics_until(self, step: int) -> int | None:
        """Drop the rows of later steps: a run that goes on from a checkpoint records them again. What a power cut left
        of the file ends at its first damaged line; its number is returned, if it was to stay."""
        rows, damaged = [], None
        try:
            lines = self.metrics_path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        except FileNotFoundError:
            return None
        for number, line in enumerate(lines, start=1):
            try:
                row = _loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                damaged = number
                break
            if row.get("step", 0) > step:
                break
            rows.append(row)
        content = "".join(json.dumps(_plain(row), allow_nan=False) + "\n" for row in rows)
        write_atomic(self.metrics_path, content.encode())
        return damaged


def now_text() -> str:
    """The time in UTC to the millisecond, as manifests have it: 2026-11-22T06:15:00.123+00:00."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_json(path: Path, value: Any) -> None:
    """Replace the file by `value` as a whole. Numbers that are not finite become null; numpy's become plain ones. A
    list of numbers is a line, so that a confusion matrix looks like one."""
    text = json.dumps(_plain(value), indent=2, allow_nan=False)
    # a string has no line break of its own: nothing in one is taken for a list
    text = _NUMBERS.sub(lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text)
    write_atomic(path, f"{text}\n".encode())


def read_json(path: Path) -> Any | None:
    """The file's content, None when there is no such file. Raises `RunError` when it is not JSON."""
    try:
        return _loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error


def _loads(text: str | bytes) -> Any:
    # NaN and Infinity are no JSON: railcar writes null for them, and could not hand them on with --json
    return json.loads(text, parse_constant=lambda _: None)


def _make_unborn(folder: Path) -> Path:
    """A hidden folder of our own; `mkdir` is what makes it ours."""
    for _ in range(100):
        path = folder / f"{_UNBORN}{secrets.token_hex(8)}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError("no free name")


def _remove_unborn(folder: Path) -> None:
    """Hidden folders of runs whose process was killed before they appeared."""
    for path in folder.glob(f"{_UNBORN}*"):
        with suppress(RailcarError, OSError):  # it may be appearing right now
            if RunDir(path).state() == "died":
                shutil.rmtree(path, ignore_errors=True)


def _publish(run: RunDir, folder: Path, recipe_name: str) -> Path:
    """Give the folder its name. Of two that draw the same, one finds it taken and draws again."""
    for _ in range(100):
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        path = folder / f"{recipe_name}-{stamp}-{secrets.token_hex(2)}"
        if path.exists():
            continue
        run.write_manifest({**run.read_manifest(), "name": path.name})
        try:
            run.path.rename(path)  # a folder that has files in it is never replaced: that fails
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue
            raise
        sync_folder(folder)
        return path
    raise FileExistsError(f"no free name for {recipe_name}")


def _drop_cut_line(file: Any) -> None:
    """Cut the file back to its last whole line: what follows was being written when the computer or process died."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def _plain(value: Any) -> Any:
    """The same value in what JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars, without importing numpy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def is_alive(pid: int, written_s: float) -> bool:
    """Whether process `pid` is there and can be the one that wrote a file at `written_s` (seconds since 1970)."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's process: it exists
    began_s = _process_start_s(pid)
    return began_s is None or began_s <= written_s + _CLOCK_SLACK_S


def _process_start_s(pid: int) -> float | None:
    """When the process began, in seconds since 1970; None where the system does not tell (no /proc)."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot_s = next(
            float(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime")
        )
        return boot_s + float(after_name[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _damaged(path: Path, line: int | None = None) -> RunError:
    place = f"{path}:{line}" if line else str(path)
    return RunError(f"{place}: is damaged, not JSON", hint="restore it from a copy, or delete the run")
