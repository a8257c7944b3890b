"""`--workers N`: N processes on this computer train one model. Starts them, passes signals on, tells who died.

Each is a process of its own, as each machine's is (`together.py`): what works here works on several machines. This
process trains nothing and imports no TensorFlow. Worker 0, the chief, speaks to the terminal; the others are silent.

What passes between here and them, in a folder that is deleted afterwards: `arguments.pickle` (ours, read by our own
child), `run` (the run's folder and address, once there is one), `error-0.json` (how a worker failed). Their stdin is a
pipe that closes when this process is gone, whatever ends it; then they end, too.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import railcar.errors
from railcar.errors import Interrupted, RailcarError, UsageError, WorkerLost
from railcar.runs.run_dir import RunDir, now_text
from railcar.storage.address import parse
from railcar.training.cluster import VARIABLE, check_split
from railcar.training.hardware import count_cores, describe_driver
from railcar.training.tensorflow import memory_settings
from railcar.workflows.inputs import Start
from railcar.workflows.look import Look

_POLL_S = 0.05
# From a worker's death or a second Ctrl-C to the end of the others, which need it to note how it ended.
GRACE_S = 20.0
_STOPPED = (130, 143)


def train_in_processes(start: Start, *, n_workers: int, look: Look) -> RunDir:
    """Train with `n_workers` processes. Raises what the chief raised, and `WorkerLost`."""
    _check(start, n_workers)
    folder = Path(tempfile.mkdtemp(prefix="railcar-workers-"))
    try:
        (folder / "arguments.pickle").write_bytes(pickle.dumps((start, look)))
        with _Workers(n_workers, folder) as workers:
            return workers.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(start: Start, n_workers: int) -> None:
    """What can be refused before anything is started."""
    if os.environ.get(VARIABLE):
        raise UsageError(
            f"--workers starts workers on this computer, and {VARIABLE} names those of another training",
            hint=f"use one of the two: leave --workers out, or unset {VARIABLE}",
        )
    if start.given is None or start.resume is not False:
        return
    node = start.given.recipe.training
    if node.distribution not in ("auto", "multi_worker"):
        raise UsageError(
            f"--workers {n_workers} and training.distribution: {node.distribution} contradict each other",
            hint="set training.distribution to auto",
        )
    if start.given.is_complete or "batch_size" in node.model_fields_set:
        check_split(node.batch_size, n_workers, "workers")


class _Workers:
    """The processes, from their start to their end; leaving it as a context kills what is left of them."""

    def __init__(self, n_workers: int, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._n_workers = n_workers
        self._n_signals = 0
        self._first_failed: int | None = None
        self._kill_at: float | None = None

    def __enter__(self) -> _Workers:
        for environment in build_environments(self._n_workers, dict(os.environ)):
            index = len(self._processes)
            with (self._folder / f"stderr-{index}").open("wb") as silent:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "railcar.workflows.local_worker", str(self._folder), str(index)],
                        env=environment,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=None if index == 0 else silent,
                        # Ctrl-C is for this process, which asks the chief to stop; the chief asks the others.
                        start_new_session=True,
                    )
                )
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()

    def wait(self) -> RunDir:
        """Until all have ended; well, or this raises."""
        with self._signals_passed_on():
            while any(process.poll() is None for process in self._processes):
                time.sleep(_POLL_S)
                self._notice_failure()
                if self._kill_at and time.monotonic() > self._kill_at:
                    for process in self._processes:
                        process.kill()
        self._notice_failure()
        run = self._read_run()
        if self._first_failed is not None:
            raise self._explain(self._first_failed, run)
        if run is None:
            raise RailcarError("the workers ended without a run", hint="run it again with --verbose and report it")
        return run

    def _notice_failure(self) -> None:
        """Who failed first; the others fail because of it. Of several that are noticed together, a killed one."""
        failed = {index: process.returncode for index, process in enumerate(self._processes) if process.poll()}
        if not failed or self._first_failed is not None:
            return
        self._first_failed = min(failed, key=lambda index: (failed[index] >= 0, index))
        if failed[self._first_failed] not in _STOPPED:  # else the chief is saving
            self._kill_at = time.monotonic() + GRACE_S

    @contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        def pass_on(number: int, frame: Any) -> None:
            self._n_signals += 1
            self._processes[0].send_signal(number)
            if self._n_signals > 1:
                self._kill_at = time.monotonic() + GRACE_S

        try:
            before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread, which signals go to
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _read_run(self) -> RunDir | None:
        try:
            path, address = json.loads((self._folder / "run").read_bytes())
        except FileNotFoundError:
            return None
        return RunDir(path, parse(address) if address else None)

    def _explain(self, index: int, run: RunDir | None) -> RailcarError:
        hint = f"go on with: railcar train --resume={run.reference} --workers {self._n_workers}" if run else ""
        status = self._processes[index].returncode
        if status < 0 and self._n_signals:
            return Interrupted("the workers were stopped", hint=hint, exit_status=128 - status)
        if status < 0:
            name = f"worker {index} of {self._n_workers}{' (the chief)' if index == 0 else ''}"
            what = f"{name} was killed by {signal.Signals(-status).name}"
            self._note_interrupted(run, what)
            return WorkerLost(f"{what}; {_describe_kept(run)}" if run else what, hint=hint)
        error = self._read_error(0) or self._read_error(index)
        if error is None:
            words = self._last_words(index) or "run it again with --verbose and report what it prints"
            return RailcarError(f"worker {index} of {self._n_workers} failed with status {status}", hint=words)
        if isinstance(error, Interrupted):
            error.hint = hint
        return error

    def _note_interrupted(self, run: RunDir | None, what: str) -> None:
        if run and run.state() in ("running", "died"):
            run.write_manifest({**run.read_manifest(), "state": "interrupted", "ended": now_text(), "reason": what})

    def _read_error(self, index: int) -> RailcarError | None:
        try:
            told = json.loads((self._folder / f"error-{index}.json").read_bytes())
        except (OSError, ValueError):
            return None
        kind = getattr(railcar.errors, told["kind"], RailcarError)
        error = kind.__new__(kind)
        # Its own fields are not known here, and its constructor may want them.
        RailcarError.__init__(error, told["what"], hint=told["hint"])
        vars(error).update(exit_status=told["exit_status"], faults=())
        return error

    def _last_words(self, index: int) -> str:
        try:
            lines = (self._folder / f"stderr-{index}").read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""


def build_environments(n_workers: int, environment: dict[str, str]) -> list[dict[str, str]]:
    """The environment of each worker: the cluster on free ports of the loopback, its share of cores and memory, and a
    GPU of its own where there are enough (else none: one GPU cannot be a worker twice). What is set already stays."""
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(n_workers)]
    n_threads = max(1, int(count_cores()[1]) // n_workers)
    threads = {"TF_NUM_INTRAOP_THREADS": str(n_threads), "TF_NUM_INTEROP_THREADS": str(min(2, n_threads))}
    shares = threads | memory_settings(n_workers)
    driver = describe_driver()
    n_gpus = len(driver["gpus"]) if driver else 0
    result = []
    for index in range(n_workers):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        own = {VARIABLE: json.dumps(config)}
        if n_gpus and "CUDA_VISIBLE_DEVICES" not in environment:
            own["CUDA_VISIBLE_DEVICES"] = str(index) if n_gpus >= n_workers else "-1"
        result.append({**shares, **environment, **own})
    return result


def _free_ports(n: int) -> list[int]:
    """Ports that were free just now, all different."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _describe_kept(run: RunDir) -> str:
    from railcar.runs.checkpoint import list_steps

    steps = list_steps(run.checkpoints)
    return f"the checkpoint of step {steps[-1]} is kept" if steps else "no checkpoint was written yet"
