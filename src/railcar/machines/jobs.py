"""Commands on a machine that go on without us: begun once, followed as often as one likes, their results fetched.

The client's half of `onboard/job.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from railcar.errors import MachineError, MachineGone, MachineUnreachable
from railcar.machines.shell import Shell, quote

# How long a machine that does not answer is asked again.
LOST_S = 600.0
_AGAIN_AFTER_S = (0.5, 1, 2, 5, 10)
Result = TypeVar("Result")


class JobLost(MachineError):
    """The machine is there, and the job's process is not."""


class Patience:
    """With a machine that does not answer: `bear` tells `on_lost` so once, and pauses, longer each time. It raises
    `MachineGone` as soon as `is_gone` says so, and the error itself after `lost_s` seconds without an answer."""

    def __init__(
        self,
        on_lost: Callable[[str], None] = lambda what: None,
        is_gone: Callable[[], bool] = lambda: False,
        lost_s: float = LOST_S,
    ) -> None:
        self._on_lost, self._is_gone, self._lost_s = on_lost, is_gone, lost_s
        self.answered()

    def answered(self) -> None:
        self._since, self._n_tries = None, 0

    def bear(self, error: MachineUnreachable) -> None:
        self._since = self._since or time.monotonic()
        if self._is_gone():
            hint = "what came home is in: railcar runs list"
            raise MachineGone(f"{error.what}; the machine is gone", hint=hint) from error
        if time.monotonic() - self._since > self._lost_s:
            raise error
        if self._n_tries == 0:
            self._on_lost(error.what)
        time.sleep(_AGAIN_AFTER_S[min(self._n_tries, len(_AGAIN_AFTER_S) - 1)])
        self._n_tries += 1

    def try_until_answered(self, act: Callable[[], Result]) -> Result:
        """What `act` returns, once it does not raise `MachineUnreachable`."""
        while True:
            try:
                found = act()
            except MachineUnreachable as error:
                self.bear(error)
            else:
                self.answered()
                return found


@dataclass(frozen=True)
class Job:
    """A job by its name; `home` and `package` are absolute paths there."""

    name: str
    home: str
    package: str

    @property
    def folder(self) -> str:
        return f"{self.home}/.railcar/jobs/{self.name}"

    @property
    def _program(self) -> str:
        return f"{self.package}/railcar/machines/onboard/job.py"

    def begin(
        self,
        shell: Shell,
        command: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        ends_s: float | None = None,
        stdout: str | None = None,
        is_repeated: bool = False,
    ) -> None:
        """Begin it; of a job that was begun before nothing happens, unless `is_repeated` and that one has ended.
        `ends_s`, in seconds since 1970, is when the machine itself ends it; `stdout` is a file in its folder, else what
        it writes there is in the log."""
        document = {"command": list(command), "cwd": cwd, "env": dict(env or {}), "ends_s": ends_s}
        document["stdout"] = stdout
        folder, program = quote(self.folder), quote(self._program)
        clear = f"if test -e {folder}/status; then rm -rf {folder}; fi; " if is_repeated else ""
        script = (
            f"{clear}mkdir -p {folder} && chmod 700 {folder} && cd {folder} && "
            f"cat > job.json.new && mv job.json.new job.json && python3 {program} start {folder}"
        )
        shell.run(script, stdin=json.dumps(document).encode())

    def follow(
        self,
        shell: Shell,
        write: Callable[[bytes], object],
        *,
        offset: int = 0,
        patience: Patience | None = None,
    ) -> int:
        """Hand on its log from byte `offset` until it has ended; returns its status. A lost connection is made again
        as long as `patience` bears with it, and the log goes on where it was. Raises what that does, `JobLost` when the
        machine lost the job (it was rebooted)."""
        position, patience = offset, patience or Patience()

        def count(block: bytes) -> None:
            nonlocal position
            position += len(block)
            patience.answered()
            write(block)

        while True:
            try:
                shell.stream(quote("python3", self._program, "follow", self.folder, str(position)), count)
                found = self.state(shell)
                patience.answered()
            except MachineUnreachable as error:
                patience.bear(error)
                continue
            if found["state"] == "ended" and found["log_bytes"] <= position:
                return int(found["status"])
            if found["state"] in ("lost", "waiting"):
                raise JobLost(
                    f"{self.name}: its process is gone: {shell.address.host} was rebooted, or ran out of memory",
                    hint="what was trained until its last checkpoint can be fetched: railcar machine pull",
                )

    def state(self, shell: Shell) -> dict[str, Any]:
        """`state` (waiting, running, ended, lost), `status`, `log_bytes`, `is_taken`."""
        return json.loads(shell.read(quote("python3", self._program, "state", self.folder)))

    def stop(self, shell: Shell) -> None:
        """SIGTERM: a training saves what it has."""
        shell.run(quote("python3", self._program, "stop", self.folder))

    def mark_taken(self, shell: Shell) -> None:
        """Tell the guard there that the results are at home."""
        shell.run(quote("python3", self._program, "taken", self.folder))
