"""`serve --on MACHINE`: models served on another machine, and reached here through a tunnel.

Owns what travels, when the server there is ended, and when its machine is given back. Imports no TensorFlow. Which
model a word means, and what computes it, is `serve.py`'s; renting, ssh and jobs are `railcar.machines`'.
"""

from __future__ import annotations

import http.client
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from railcar.artifact.artifact import Artifact
from railcar.errors import (
    ArtifactError,
    MachineError,
    MachineGone,
    MachineUnreachable,
    MissingExtra,
    NotFound,
    RailcarError,
    UsageError,
)
from railcar.machines import tasks
from railcar.machines.base import Provider
from railcar.machines.bootstrap import Ready
from railcar.machines.jobs import JobLost
from railcar.machines.lease import OWN, Lease
from railcar.machines.providers import PROVIDERS, find_lease, find_provider
from railcar.machines.renting import give_back
from railcar.machines.shell import Shell, quote
from railcar.machines.tasks import SCRIPT, Task
from railcar.machines.tunnel import HOST, Tunnel, find_port
from railcar.serving.engines import check_samples
from railcar.workflows.on_machine import Rental, is_gone_for_good, make, make_ready, open_machine, reference_of
from railcar.workflows.serve import Opener, find_sources, open_small

Tell = Callable[[str], None]
# Before its machine ends, a server has so long to answer what was asked.
_MARGIN_S = 60.0
_ANSWERS_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.2
_SERVING = re.compile(rb"serving (\S+) \((\w+)\) at http://127\.0\.0\.1:(\d+)\n")
# The artifact was verified here, and ssh has proved who sends it: it is that machine's user's own.
_SIGN = (
    "import sys, pathlib; from railcar.artifact.signing import sign_again; "
    "sys.exit(not all([sign_again(pathlib.Path(one)) for one in sys.argv[1:]]))"
)


@dataclass(frozen=True)
class Packed:
    """A version of a model as it travels: `folder` has it for a small runtime, or it is an artifact, which only
    TensorFlow holds. `engine` is litert, onnx or tensorflow."""

    name: str
    version: int
    folder: Path
    engine: str


@dataclass(frozen=True)
class Served:
    """What became of it. `status` is the server's; None while it goes on, then `port` is the one that it has there."""

    machine: str
    status: int | None = None
    port: int = 0


def serve_on(
    rental: Rental,
    sources: Sequence[str | Path],
    words: Sequence[str],
    *,
    port: int = 8501,
    token: str | None = None,
    engine: str = "auto",
    trust: bool = False,
    runs_dir: str | Path = "runs",
    tell: Tell,
    show: Callable[[bytes], object],
) -> Served:
    """Serve there until SIGTERM or Ctrl-C; what has been asked by then is answered. 127.0.0.1:`port` leads there;
    `words` are what `railcar serve` gets there besides the models. `tell` is told what happens, `show` gets the
    server's own lines. With `rental.detach` it returns when the server is ready, without a tunnel.

    Raises what stands in the way; a machine that was made for it is then given back.
    """
    if not rental.on.startswith("ssh:") and rental.on not in PROVIDERS:
        find_lease(rental.on)
    port = port if rental.detach else find_port(port)
    models = pack_models(sources, engine=engine, trust=trust, runs_dir=runs_dir, tell=tell)
    if rental.spec.gpu and all(one.engine != "tensorflow" for one in models):
        raise UsageError(
            f"{models[0].name} is computed by {models[0].engine}, on the processor: a GPU would do nothing",
            hint="leave --gpu out, or add --engine tensorflow",
        )
    lease, provider = open_machine(rental, models[0].name, tell)
    away = _Away(rental, lease, provider, tell, show)
    is_left = False
    try:
        found = away.serve(models, [*words], port, token)
        is_left = found.status is None
        return found
    except BaseException:
        away.end_early()
        raise
    finally:
        away.give_back(is_left=is_left)


def pack_models(
    sources: Sequence[str | Path], *, engine: str, trust: bool, runs_dir: str | Path, tell: Tell
) -> list[Packed]:
    """Each source's newest version, made ready and checked here. Raises as `serve` does."""
    opener = Opener(engine, trust, tell)
    found = []
    for source in find_sources(sources, runs_dir, opener):
        versions = {
            number: folder
            for number, folder in source.list_versions().items()
            if (folder / "model.json").is_file() or (folder / "artifact.json").is_file()
        }
        if not versions:
            raise NotFound(f"{source.folder}: no version is there", hint="export one with: railcar export")
        number = max(versions)
        chosen = opener.choose(versions[number])
        if isinstance(chosen, Artifact):
            found.append(Packed(source.name, number, chosen.path, "tensorflow"))
            continue
        runtime = "litert" if (chosen / "model.tflite").is_file() else "onnx"
        _check(source.name, chosen)
        found.append(Packed(source.name, number, chosen, runtime))
    return found


def _check(name: str, folder: Path) -> None:
    """Raise `ArtifactError` for a model that the machine would refuse, before it costs anything."""
    with suppress(MissingExtra):  # without its runtime here, the machine finds out
        try:
            check_samples(open_small(folder))
        except ArtifactError as error:
            raise ArtifactError(f"{name}: {error.what}", hint=error.hint) from error


class _Away:
    """A server on a machine: begun, reached, ended."""

    def __init__(
        self, rental: Rental, lease: Lease, provider: Provider | None, tell: Tell, show: Callable[[bytes], object]
    ) -> None:
        self._rental, self._lease, self._provider = rental, lease, provider
        self._tell, self._show = tell, show
        self._task: Task | None = None
        self._has_served = False

    def serve(self, models: list[Packed], words: list[str], port: int, token: str | None) -> Served:
        ready = self._make_ready(models)
        shell = self._lease.shell()
        self._task = task = _begin(models, words, token, self._lease, shell, ready, self._tell)
        found = self._wait_until_it_serves(task, shell, len(models))
        _remove_token(task, shell)
        name = reference_of(self._lease)
        if isinstance(found, int):
            task.job.mark_taken(shell)
            return Served(name, found or 1)
        there = int(found[0][2])
        if self._rental.detach:
            self._has_served = True
            for model, engine, _ in found:
                self._tell(f"serving {model} ({engine}) on {name} at http://{HOST}:{there} there")
            return Served(name, None, there)
        with Tunnel(shell, port, there) as tunnel:
            return Served(name, self._attend(task, shell, port, tunnel, found))

    def _make_ready(self, models: list[Packed]) -> Ready:
        engines = {one.engine for one in models}
        extras = ("serve", "export") if "onnx" in engines else ("serve",)
        wishes = replace(self._rental.wishes, extras=extras, needs_tensorflow="tensorflow" in engines)
        with ExitStack() as stack:
            if self._provider is not None:  # no other railcar ends what this one is making
                stack.enter_context(self._lease.hold())
                self._lease = make(self._lease, self._provider, self._tell)
            return make_ready(self._lease, self._lease.shell(), wishes, self._provider, self._tell)

    def _wait_until_it_serves(self, task: Task, shell: Shell, n_models: int) -> list[tuple[str, str, str]] | int:
        """(name, engine, port there) of each; or its status, when it has ended before that."""
        while True:
            state = task.job.state(shell)
            log = shell.run(f"cat {quote(task.job.folder + '/log')}").stdout
            found = [[part.decode() for part in one] for one in _SERVING.findall(log)]
            if len(found) >= n_models or state["state"] != "running":
                kept = b"".join(line for line in log.splitlines(True) if not _SERVING.match(line))
                self._show(kept)
                self._task = task.change(n_shown=len(log))
            if len(found) >= n_models:
                return [(name, engine, port) for name, engine, port in found]
            if state["state"] == "ended":
                return int(state["status"])
            if state["state"] == "lost":
                raise MachineError(f"{task.machine}: the server's process is gone", hint="it may need more memory")
            time.sleep(_LOOK_EVERY_S)

    def _attend(self, task: Task, shell: Shell, port: int, tunnel: Tunnel, found: list[tuple[str, str, str]]) -> int:
        """Say where it is reached, and hand on its log until it has ended, by itself or because we are told to end; its
        status."""
        name = reference_of(self._lease)
        again = "begin it again: railcar serve --on"
        later = f"when it answers again, end it with: railcar machine stop {name}"
        try:
            try:
                _wait_until_it_answers(port, tunnel, shell.address.host)
                self._has_served = True
                for model, engine, _ in found:
                    self._tell(f"serving {model} ({engine}) on {name} at http://{HOST}:{port}")
                status = self._follow(task, shell)
            except KeyboardInterrupt:
                self._tell(f"ending it on {name}; what was asked is answered")
                task.job.stop(shell)
                status = self._follow(task, shell)
            else:
                if tasks.was_noticed(task, shell):
                    raise MachineGone(f"{name}: its provider takes it away", hint=again)
            task.job.mark_taken(shell)
            task.change(is_home=True)
            return status
        except JobLost as error:
            raise MachineError(error.what, hint=again) from error
        except MachineGone as error:
            raise MachineGone(error.what, hint=again) from error
        except MachineUnreachable as error:
            raise MachineUnreachable(error.what, hint=later if self._stays else again) from error

    def _follow(self, task: Task, shell: Shell) -> int:
        lease = self._lease
        provider = find_provider(lease.provider, lease) if lease.state != OWN else None
        gone = partial(is_gone_for_good, lease, provider)
        return tasks.follow(tasks.find_task(lease, task.name), shell, self._show, tell=self._tell, is_gone=gone)

    @property
    def _stays(self) -> bool:
        """Whether the machine is there afterwards."""
        return self._provider is None or self._lease.is_kept

    def end_early(self) -> None:
        """Something stands in the way, or somebody asked twice: what goes on on a machine that stays is ended."""
        if self._task is not None and self._stays:
            with suppress(RailcarError):
                self._task.job.stop(self._lease.shell())
                _remove_token(self._task, self._lease.shell())

    def give_back(self, *, is_left: bool) -> None:
        """The machine, if it was made for this: unless it is to stay, and was of use."""
        if self._provider is None or is_left or (self._lease.is_kept and self._has_served):
            return
        with suppress(RailcarError):
            self._lease.shell().close()
        self._tell(f"giving {self._lease.name} back")
        give_back(self._lease, self._provider, self._tell)


def _begin(
    models: list[Packed], words: list[str], token: str | None, lease: Lease, shell: Shell, ready: Ready, tell: Tell
) -> Task:
    """Copy the models, and start the server there, on a port that is free."""
    name = f"serve-{models[0].name[:40]}-{secrets.token_hex(3)}"
    task = Task(
        name, lease.name, SCRIPT, ("serve", *(one.name for one in models)), ready.home, ready.package, time.time()
    )
    folder = f"{task.job.folder}/models"
    tell(f"copying {', '.join(one.name for one in models)} to {lease.name}")
    artifacts = []
    for one in models:
        there = f"{folder}/{one.name}/{one.version}"
        shell.run(f"mkdir -p {quote(there)}")
        shell.send([f"{one.folder}/"], f"{there}/", "--exclude=/.*")
        if one.engine == "tensorflow":
            artifacts.append(there)
    if artifacts:
        shell.run(quote("env", f"PYTHONPATH={ready.package}", ready.python, "-c", _SIGN, *artifacts))
    sources = [f"{one.name}={folder}/{one.name}" for one in models]
    engine = ["--engine", "tensorflow"] if artifacts else []
    command = ready.command("serve", *sources, "--port", "0", *engine, *words)
    env = {"RAILCAR_TOKEN": token} if token else {}
    margin_s = _MARGIN_S if lease.state != OWN else 0.0
    ends_s = lease.ends_s - margin_s if lease.ends_s else None
    task = tasks.begin(lease, shell, ready, task, command, env=env, cwd=task.job.folder, ends_s=ends_s)
    if lease.state != OWN:
        task.job.mark_taken(shell)  # nothing of it is to come home: when it has ended, its machine is idle
    return task


def _remove_token(task: Task, shell: Shell) -> None:
    """The server has read job.json, in which its token is."""
    shell.run(f"rm -f {quote(task.job.folder + '/job.json')}")


def _wait_until_it_answers(port: int, tunnel: Tunnel, host: str) -> None:
    """Raise `MachineError` when the server is not reached through the tunnel."""
    until = time.monotonic() + _ANSWERS_WITHIN_S
    while True:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        if time.monotonic() > until:
            told = tunnel.last_words()
            raise MachineError(
                f"{host}: the server there is not reached through a tunnel{f' ({told})' if told else ''}",
                hint="its sshd must allow forwarding (AllowTcpForwarding), and the port here must be free",
            )
        time.sleep(0.05)
