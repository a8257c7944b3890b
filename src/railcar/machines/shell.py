"""OpenSSH and rsync: commands on a machine, files to it and from it, over one connection.

Owns the options that make it safe (only the known host key, nothing forwarded, nobody asked) and quick (one connection
for all, RFC 4254's channels), and what the programs' complaints mean. Knows nothing of what runs there.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from railcar.errors import HostKeyWrong, MachineError, MachineUnreachable
from railcar.machines.base import Address

CONNECT_TIMEOUT_S = 10
# So long a connection stays after its last use, for the next command.
PERSIST_S = 120
_DISK_IS_FULL = ("No space left on device", "Disk quota exceeded")
_UNREACHABLE = (
    "connection refused",
    "connection timed out",
    "connection reset",
    "connection closed",
    "no route to host",
    "network is unreachable",
    "could not resolve hostname",
    "operation timed out",
    "broken pipe",
    "kex_exchange_identification",
    "timeout, server",
    "mux_client",
)


@dataclass(frozen=True)
class Finished:
    """A command that ended: its status, and what it wrote."""

    status: int
    stdout: bytes
    stderr: str


class Shell:
    """One machine over ssh. `folder` holds its known_hosts; shells of one folder and address share a connection."""

    def __init__(self, address: Address, folder: Path) -> None:
        self.address = address
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if address.host_keys:
            _write_known_hosts(folder / "known_hosts", address)
        # each lease has its own: a new machine may have the address of one that is gone, and whose connection lingers
        owner = hashlib.sha256(f"{folder.absolute()}\0{self.target}\0{address.port}".encode()).hexdigest()
        self._control = _control_folder() / owner[:24]

    @property
    def target(self) -> str:
        return f"{self.address.user}@{self.address.host}" if self.address.user else self.address.host

    def ssh_command(self) -> list[str]:
        """`ssh` with all options, without the host."""
        address = self.address
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": CONNECT_TIMEOUT_S,
            "ServerAliveInterval": 5,
            "ServerAliveCountMax": 3,
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "PermitLocalCommand": "no",
            "ControlMaster": "auto",
            "ControlPersist": PERSIST_S,
            "ControlPath": self._control,
            "LogLevel": "ERROR",
        }
        if address.host_keys:
            options["UserKnownHostsFile"] = _quote_path(self.folder / "known_hosts")
            options["GlobalKnownHostsFile"] = "none"
            options["UpdateHostKeys"] = "no"
        if address.identity:
            options["IdentitiesOnly"] = "yes"
            options["IdentityFile"] = _quote_path(address.identity)
            options["IdentityAgent"] = "none"
        words = ["ssh", "-T"]
        if address.config:
            words += ["-F", str(address.config)]
        elif address.host_keys and address.identity:
            words += ["-F", "none"]  # a machine of ours: nothing of the user's configuration is meant for it
        for key, value in options.items():
            words += ["-o", f"{key}={value}"]
        if address.port:
            words += ["-p", str(address.port)]
        return words

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 60.0, check: bool = True) -> Finished:
        """Run a line of POSIX shell there. Raises `HostKeyWrong` and `MachineUnreachable` when it did not come to that,
        `MachineError` with the last line that it wrote to stderr when it failed (and `check`)."""
        words = [*self.ssh_command(), self.target, command]
        try:
            found = subprocess.run(words, input=stdin, capture_output=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as error:
            raise MachineUnreachable(
                f"{self.address.host}: no answer after {timeout_s:.0f} s", hint="look at the machine, then try again"
            ) from error
        except FileNotFoundError as error:
            raise _missing("ssh", "openssh-client") from error
        stderr = found.stderr.decode(errors="replace").strip()
        self._check_connection(found.returncode, stderr)
        if check and found.returncode:
            told = (stderr or found.stdout.decode(errors="replace").strip()).splitlines()
            raise MachineError(
                f"{self.address.host}: {told[-1] if told else f'a command ended with status {found.returncode}'}",
                hint="`--verbose` shows the command",
            )
        return Finished(found.returncode, found.stdout, stderr)

    def read(self, command: str, *, timeout_s: float = 60.0) -> str:
        """What the command writes to stdout, without the last line break."""
        return self.run(command, timeout_s=timeout_s).stdout.decode(errors="replace").rstrip("\n")

    def stream(self, command: str, write: Callable[[bytes], object]) -> int:
        """Run a command and hand on what it writes to stdout as it comes; its stderr is ours. Returns its status.
        Raises as `run` when the connection is not made or breaks."""
        words = [*self.ssh_command(), self.target, command]
        with (
            tempfile.TemporaryFile() as told,
            subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told) as one,
        ):
            try:
                while one.stdout and (block := os.read(one.stdout.fileno(), 1 << 16)):
                    write(block)
            except BaseException:
                one.terminate()
                raise
            status = one.wait()
            told.seek(0)
            stderr = told.read().decode(errors="replace").strip()
        self._check_connection(status, stderr)
        return status

    def open_terminal(self) -> int:
        """An ssh session on this terminal; returns its status."""
        words = [word for word in self.ssh_command() if word != "-T"]
        return subprocess.run([*words, self.target], check=False).returncode

    def forward(
        self, local_port: int, remote_port: int, *, apart: bool = False, stderr: IO[bytes] | None = None
    ) -> subprocess.Popen[bytes]:
        """A tunnel from 127.0.0.1:`local_port` to `remote_port` of the machine's own 127.0.0.1, until the process is
        ended. It ends by itself when the port here is taken, or the connection is lost. `apart`: Ctrl-C on this
        terminal does not reach it, and it ends when its stdin does, so with this process at the latest."""
        words = self.ssh_command()
        own = ["-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes"]  # the first one of an option counts
        tunnel = ["-L", f"127.0.0.1:{local_port}:127.0.0.1:{remote_port}", self.target]
        if not apart:
            return subprocess.Popen([words[0], *own, "-N", *words[1:], *tunnel], stdin=subprocess.DEVNULL)
        return subprocess.Popen(
            [words[0], *own, *words[1:], *tunnel, "exec cat >/dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )

    def send(self, sources: Sequence[Path | str], there: str, *options: str, stdin: bytes = b"") -> str:
        """rsync `sources` into the folder `there`. Returns what rsync printed."""
        return self._rsync([*options], [str(one) for one in sources], f"{self.target}:{there}", stdin)

    def fetch(self, there: str, here: Path, *options: str) -> str:
        """rsync `there` (with a slash at its end: what is in it) into the folder `here`."""
        return self._rsync([*options], [f"{self.target}:{there}"], f"{here}/", b"")

    def close(self) -> None:
        """End the connection, if there is one."""
        with suppress(OSError, subprocess.SubprocessError):
            words = [*self.ssh_command(), "-O", "exit", self.target]
            subprocess.run(words, capture_output=True, timeout=10, check=False)

    def _rsync(self, options: list[str], sources: list[str], target: str, stdin: bytes) -> str:
        if shutil.which("rsync") is None:
            raise _missing("rsync", "rsync")
        rsh = shlex.join(self.ssh_command())
        # -s: names with spaces and signs arrive as they are
        words = ["rsync", "-a", "-s", "--partial", "--timeout=60", *options, "-e", rsh, "--", *sources, target]
        found = subprocess.run(words, input=stdin, capture_output=True, check=False)
        stderr = found.stderr.decode(errors="replace").strip()
        if found.returncode in (0, 24):  # 24: files vanished meanwhile, as those of a training do
            return found.stdout.decode(errors="replace")
        if "command not found" in stderr or found.returncode == 127:
            raise MachineError(f"{self.address.host}: rsync is not installed there", hint="apt install rsync, there")
        told = [line for line in stderr.splitlines() if line.strip()]
        if found.returncode in (10, 12, 30, 35, 255) and not any(words in stderr for words in _DISK_IS_FULL):
            # what ssh or the machine said; where that is nothing, the connection ended without a word
            self._check_connection(255, "\n".join(line for line in told if not line.startswith("rsync")))
        raise MachineError(
            f"{self.address.host}: rsync failed ({told[0] if told else f'status {found.returncode}'})",
            hint="free some space, there or here; look with: railcar machine ssh",
        )

    def _check_connection(self, status: int, stderr: str) -> None:
        """Raise what ssh itself complained about; its status is then 255."""
        if status != 255:
            return
        host, told = self.address.host, stderr.lower()
        if "host key verification failed" in told or "host identification has changed" in told:
            raise HostKeyWrong(
                f"{host}: its host key is not the one that is known; nothing was sent",
                hint="somebody may be in between; if the machine was made anew, mend known_hosts: ssh-keygen -R HOST",
            )
        if "permission denied" in told or "too many authentication" in told:
            raise MachineError(
                f"{host}: refused to let {self.address.user or 'you'} in",
                hint=f"see that this works: ssh {self.target}",
            )
        if not stderr or any(words in told for words in _UNREACHABLE):
            last = stderr.splitlines()[-1] if stderr else "the connection ended"
            raise MachineUnreachable(f"{host}: {last}", hint="see that the machine runs and that its port 22 is open")
        raise MachineError(f"{host}: {stderr.splitlines()[-1]}", hint=f"see that this works: ssh {self.target}")


def _write_known_hosts(path: Path, address: Address) -> None:
    name = f"[{address.host}]:{address.port}" if address.port not in (None, 22) else address.host
    content = "".join(f"{name} {key}\n" for key in address.host_keys)
    if not path.is_file() or path.read_text() != content:
        path.write_text(content)


def _quote_path(path: Path) -> str:
    # ssh splits some values at spaces; percent signs are its placeholders
    return '"' + str(path).replace("%", "%%") + '"'


def _control_folder() -> Path:
    """A folder of this user's own with a short path: a socket's may have about 100 characters."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"railcar-{os.getuid()}"
    if len(str(folder)) > 50:
        folder = Path("/tmp") / folder.name
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise MachineError(
            f"{folder}: belongs to somebody else, or others may write there", hint="remove it, or set XDG_RUNTIME_DIR"
        )
    return folder


def _missing(program: str, package: str) -> MachineError:
    return MachineError(f"{program} is not installed here", hint=f"install it, for example with: apt install {package}")


def quote(*words: str) -> str:
    """Words as one line for a POSIX shell; a leading `~/` stays what it means."""
    return " ".join('"$HOME"/' + shlex.quote(one[2:]) if one.startswith("~/") else shlex.quote(one) for one in words)
