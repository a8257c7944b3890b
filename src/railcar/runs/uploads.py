"""Sending a run to its bucket while it is trained, in a thread of its own: training does not wait for the network.

Owns when the folder is sent, and what becomes of a failure: it is told once, sending is tried again with the next
checkpoint, and only at the end is it an error. What is sent, and in which order, is `storage/mirror.py`'s business.

However many checkpoints are written while one upload is under way, one more upload follows it, with the newest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from railcar.errors import DataError, OutputError, RailcarError
from railcar.runs.lease import Lease
from railcar.runs.run_dir import RunDir
from railcar.storage.mirror import mirror_folder

# A training that was told to end has seconds: a network that does not come back within these is given up.
LAST_CALL_S = 15.0


class Uploads:
    """Sends `run` to where `lease` is, from entering to `finish`; nothing when it is None. `warn` tells the user."""

    def __init__(self, run: RunDir, lease: Lease | None, warn: Callable[[str], None]) -> None:
        self._run = run
        self._lease = lease
        self._warn = warn
        self._wake = threading.Event()
        self._give_up = threading.Event()
        self._is_over = False
        self._is_failing = False
        self._thread = threading.Thread(target=self._work, name="railcar-uploads", daemon=True)

    def __enter__(self) -> Uploads:
        if self._lease is not None:
            self._run.unsent_path.touch()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_thread()

    def request(self) -> None:
        """There is something new to send. Returns at once."""
        self._wake.set()

    def finish(self) -> None:
        """Send all of it and wait. Raises `OutputError` that says where it is and how to send it."""
        if self._lease is None:
            return
        try:
            self._send_all(threading.Event())
        except RailcarError as error:
            raise OutputError(
                f"{self._lease.address}: the results could not be sent there: {error.what}",
                hint=f"they are in {self._run.path}; send them with: railcar train --resume={self._run.reference}",
            ) from error

    def send_last(self) -> str:
        """The same for a training that ends before its time, within seconds; says in a few words what came of it."""
        if self._lease is None:
            return ""
        give_up = threading.Event()
        timer = threading.Timer(LAST_CALL_S, give_up.set)
        timer.daemon = True
        timer.start()
        try:
            step = self._send_all(give_up)
        except RailcarError as error:
            return f"it could not be sent to {self._lease.address} ({error.what}) and is in {self._run.path}"
        finally:
            timer.cancel()
        what = "no checkpoint yet" if step is None else f"the checkpoint of step {step}"
        return f"uploaded to {self._lease.address}: {what}"

    def _send_all(self, give_up: threading.Event) -> int | None:
        self._end_thread()
        step = self._send(give_up)
        self._run.unsent_path.unlink(missing_ok=True)
        return step

    def _send(self, give_up: threading.Event) -> int | None:
        if self._lease is None:
            return None
        self._lease.renew(give_up)
        self._lease.check()
        return mirror_folder(self._run.path, self._lease.address, stop=give_up).newest_step

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._is_over:
                return
            try:
                self._send(self._give_up)
                self._is_failing = False
            except (RailcarError, OSError) as error:
                self._tell(error)

    def _tell(self, error: RailcarError | OSError) -> None:
        if not self._is_failing and not self._is_over:
            what = error.what if isinstance(error, RailcarError) else str(error)
            again = "; tried again with the next checkpoint" if isinstance(error, DataError | OSError) else ""
            self._warn(f"the run could not be sent to its bucket: {what}; training goes on{again}")
        self._is_failing = True

    def _end_thread(self) -> None:
        """An upload under way is waited for, unless it fails: then it is not tried again."""
        if self._thread.is_alive():
            self._is_over = True
            self._give_up.set()
            self._wake.set()
            self._thread.join()
