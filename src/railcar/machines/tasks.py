"""What was begun on a machine and is not forgotten here: a job, where its results belong, and their way home.

Owns the records `jobs/NAME.json` beside the lease, and the copying of a run while it goes on: checkpoints first, so
that nothing that came home speaks of one that did not; its manifest last.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from railcar.artifact.signing import SIGNATURE, sign_again, sign_run
from railcar.errors import MachineUnreachable, NotFound, RailcarError
from railcar.machines.bootstrap import Ready
from railcar.machines.jobs import Job, Patience
from railcar.machines.lease import Lease, machines_dir
from railcar.machines.shell import Shell, quote
from railcar.runs.run_dir import AWAY, RunDir, read_json, write_json
from railcar.storage.local import write_atomic

TRAIN, SCRIPT = "train", "script"
PULL_EVERY_S = 20.0
# What may be taken away at any moment comes home more often.
SPOT_PULL_EVERY_S = 5.0


@dataclass(frozen=True)
class Task:
    """A job on a machine. `machine` is the lease's name; `runs_dir` is where its run belongs here, of a training;
    `words` are what the user asked for; `home` and `package` as `Ready` has them."""

    name: str
    machine: str
    kind: str
    words: tuple[str, ...]
    home: str
    package: str
    started_s: float
    runs_dir: str | None = None
    n_shown: int = 0
    is_home: bool = False

    @property
    def job(self) -> Job:
        return Job(self.name, self.home, self.package)

    @property
    def path(self) -> Path:
        return machines_dir() / self.machine / "jobs" / f"{self.name}.json"

    def save(self) -> Task:
        write_atomic(self.path, (json.dumps(asdict(self), indent=2) + "\n").encode())
        return self

    def change(self, **what: Any) -> Task:
        return replace(self, **what).save()


def begin(
    lease: Lease,
    shell: Shell,
    ready: Ready,
    task: Task,
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None = None,
    ends_s: float | None = None,
) -> Task:
    """Write the task down, then begin it there. Repeated, it is begun once."""
    lease.save()
    task.save()
    stdout = "result" if task.kind == TRAIN else None
    variables = {**ready.environment(), **env}
    task.job.begin(shell, command, cwd=cwd or ready.home, env=variables, ends_s=ends_s, stdout=stdout)
    return task


def list_tasks(lease: Lease) -> list[Task]:
    """Those of a machine, oldest first."""
    found = []
    for path in (lease.folder / "jobs").glob("*.json"):
        with suppress(ValueError, TypeError):
            document = json.loads(path.read_text())
            found.append(Task(**{**document, "words": tuple(document["words"])}))
    return sorted(found, key=lambda one: one.started_s)


def find_task(lease: Lease, name: str | None = None) -> Task:
    """The newest task of a machine, or the one of that name. Raises `NotFound`."""
    tasks = list_tasks(lease)
    found = [one for one in tasks if name is None or one.name == name]
    if not found:
        known = f"its jobs are: {', '.join(one.name for one in tasks)}" if tasks else "nothing was begun there"
        raise NotFound(f"{lease.name}: there is no job {name or ''}".rstrip(), hint=known)
    return found[-1]


def follow(
    task: Task,
    shell: Shell,
    write: Callable[[bytes], object],
    *,
    tell: Callable[[str], None],
    is_gone: Callable[[], bool] = lambda: False,
    pull_every_s: float = PULL_EVERY_S,
) -> int:
    """Hand on the log from where it was last seen, bring the results home meanwhile, and return the status. `is_gone`
    is asked of a machine that does not answer; `MachineGone` when it says so."""
    shown = task.n_shown

    def show(block: bytes) -> None:
        nonlocal shown
        try:
            write(block)
        finally:  # Ctrl-C may come right here
            shown += len(block)

    def tell_lost(what: str) -> None:
        tell(f"{what}; the job goes on there, and is followed again as soon as it answers")

    with _Pulling(task, shell, pull_every_s):
        try:
            return task.job.follow(shell, show, offset=task.n_shown, patience=Patience(tell_lost, is_gone))
        finally:
            task.change(n_shown=shown)


class _Pulling:
    """While entered, a thread brings home every so often what a training has made. That it fails is no fault: the
    connection may be lost, and the last copy is made when the job has ended."""

    def __init__(self, task: Task, shell: Shell, every_s: float) -> None:
        self._task, self._shell, self._every_s = task, shell, every_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        if self._task.kind == TRAIN:
            self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        wait_s = min(2.0, self._every_s)  # the run's name is wanted soon
        while not self._is_over.wait(wait_s):
            began = time.monotonic()
            with suppress(RailcarError):
                pull(self._task, self._shell)
            # on a slow line no more than a third of the time
            wait_s = max(self._every_s, 2 * (time.monotonic() - began))


def pull(task: Task, shell: Shell) -> list[RunDir]:
    """Bring home what the run has by now; returns it. Raises `MachineError`."""
    if task.runs_dir is None:
        return []
    there, here = f"{task.job.folder}/runs", Path(task.runs_dir)
    names = shell.read(f"ls {quote(there)} 2>/dev/null || true").split()
    found = []
    for name in names:
        run = RunDir(here / name)
        run.path.mkdir(parents=True, exist_ok=True)
        write_json(run.path / AWAY, {"machine": task.machine, "job": task.name})
        remote, skipped = f"{there}/{name}/", ("--exclude=/.*", "--exclude=.new-*")
        shell.fetch(f"{there}/{name}/checkpoints", run.path, *skipped, "--ignore-missing-args")
        shell.fetch(remote, run.path, *skipped, "--exclude=/manifest.json", "--delete-after")
        shell.fetch(f"{there}/{name}/manifest.json", run.path)
        found.append(run)
    return found


def bring_home(task: Task, shell: Shell) -> list[RunDir]:
    """The last copy, of a job that has ended; what is home is then this computer's. Raises `MachineError` unless all
    arrived."""
    found = pull(task, shell)
    for run in found:
        _take_over(run, task)
    task.change(is_home=True)
    with suppress(MachineUnreachable):  # all is here: what goes away now takes nothing along
        task.job.mark_taken(shell)
    return found


def give_up(task: Task) -> list[RunDir]:
    """What came home of a task whose machine is gone: it is this computer's now, as far as it got."""
    found = []
    for run in map(RunDir, Path(task.runs_dir or ".").glob("*")):
        if (read_json(run.path / AWAY) or {}).get("job") == task.name:
            _take_over(run, task)
            found.append(run)
    task.change(is_home=True)
    return [run for run in found if run.is_run()]


def _take_over(run: RunDir, task: Task) -> None:
    """Make a run that came home this computer's own: what is whole of it gets this user's signature in place of the
    machine's, as the connection has proved who the machine is."""
    sign_again(run.artifact)
    if run.recipe_path.is_file() and (manifest := read_json(run.manifest_path)):
        run.write_manifest({**manifest, SIGNATURE: sign_run(run.recipe_path.read_bytes())})
    if (read_json(run.manifest_path) or {}).get("state") == "running":  # its process died there
        manifest = run.read_manifest()
        run.write_manifest({**manifest, "state": "interrupted", "reason": f"its process on {task.machine} died"})
    (run.path / AWAY).unlink(missing_ok=True)


def was_noticed(task: Task, shell: Shell) -> bool:
    """Whether the machine's provider has said that it takes it away."""
    return shell.run(f"test -e {quote(task.job.folder + '/noticed')}", check=False).status == 0


def push(run: RunDir, folder: str, shell: Shell) -> None:
    """Copy a run to the job's folder there, to go on with."""
    there = f"{folder}/runs/{run.name}"
    shell.run(f"mkdir -p {quote(there)}")
    shell.send([f"{run.path}/"], f"{there}/", "--exclude=/.*")


def read_result(task: Task, shell: Shell) -> str:
    """What a training wrote to stdout."""
    return shell.read(f"cat {quote(task.job.folder + '/result')}")
